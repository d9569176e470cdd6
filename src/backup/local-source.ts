import { join, resolve } from "node:path";
import { backupPieceBytes, backupSegmentsMaxCount } from "../base/backup-limits.ts";
import type { Clock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import type { Logger } from "../base/logger.ts";
import type { Log } from "../log/log.ts";
import { logDirectoryOf } from "../log/log-restore.ts";
import { type LogSnapshots, snapshotsOf } from "../log/log-snapshot.ts";
import { type Manifest, manifestName, readManifest } from "../log/manifest.ts";
import { openLog } from "../log/open-log.ts";
import type { BackupPartition, BackupSource, SegmentRange, StorePiece } from "./backup-source.ts";

/**
 * The data directory of a single node that doesn't run. Each log is opened as a start of the node would, so what a crash left is recovered
 * first, and closed again. Throws LOG_NOT_FOUND, LOG_LOCKED, MANIFEST_CORRUPT; INVALID_ARGUMENT for the directory of a cluster's node.
 */
export async function openLocalSource(
  dataDir: string,
  { disk, clock, logger }: { readonly disk: Disk; readonly clock: Clock; readonly logger: Logger },
): Promise<BackupSource> {
  const path = resolve(dataDir);
  const manifestPath = join(path, manifestName);
  if (disk.size(join(path, nodeRecordName)) !== undefined) {
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot back up ${path}: it belongs to a node of a cluster, and what topics there are is the cluster's to say`,
      {
        hint: "Make the backup of the running cluster, with --server.",
      },
    );
  }
  if (disk.size(manifestPath) === undefined)
    throw new ProglogError("LOG_NOT_FOUND", `Cannot back up ${path}: it is no node's data directory`, {
      hint: "Name what proglog serve has as --data-dir.",
    });
  const lock = disk.lock(join(path, "lock"));
  try {
    const manifest = readManifest(disk, manifestPath);
    if (manifest === undefined) throw new ProglogError("LOG_NOT_FOUND", `Cannot back up ${path}: its manifest is gone`);
    return new LocalSource(manifest, {
      open: async (uuid) =>
        openLog(logDirectoryOf(path, uuid), { ...{ disk, clock, logger }, createIfMissing: false, takesLock: false }),
      release: () => lock.release(),
    });
  } catch (error) {
    lock.release();
    throw error;
  }
}

const nodeRecordName = "node-record";

class LocalSource implements BackupSource {
  readonly #manifest: Manifest;
  readonly #parts: LocalParts;
  /** One at a time: those of a node may be more than a process may have open. */
  #open: { readonly uuid: string; readonly log: Log } | undefined;

  constructor(manifest: Manifest, parts: LocalParts) {
    this.#manifest = manifest;
    this.#parts = parts;
  }

  async topics() {
    const { storageId, topics } = this.#manifest;
    return {
      ...{ storageId, clusterId: null },
      topics: topics.map(({ partitions, ...topic }) => {
        return { ...topic, replicationFactor: 1, partitions: partitions.map(({ uuid }) => uuid) };
      }),
    };
  }

  async log(partition: BackupPartition) {
    const snapshot = await (await this.#use(partition)).take();
    return { uuid: partition.uuid, ...snapshot };
  }

  async segments(partition: BackupPartition, range: SegmentRange) {
    return (await this.#use(partition)).segments({ ...range, maxCount: backupSegmentsMaxCount });
  }

  async read(partition: BackupPartition, piece: StorePiece) {
    return (await this.#use(partition)).read({ ...piece, maxBytes: backupPieceBytes });
  }

  async close(): Promise<void> {
    try {
      await this.#closeLog();
    } finally {
      this.#parts.release();
    }
  }

  async #use({ topic, partition, uuid }: BackupPartition): Promise<LogSnapshots> {
    if (this.#open?.uuid !== uuid) {
      await this.#closeLog();
      try {
        this.#open = { uuid, log: await this.#parts.open(uuid) };
      } catch (error) {
        if (!isProglogError(error)) throw error;
        throw new ProglogError(error.code, `Cannot copy partition ${partition} of topic ${topic}: ${error.message}`, {
          ...(error.hint === undefined ? {} : { hint: error.hint }),
          ...{ details: error.details, cause: error },
        });
      }
    }
    return snapshotsOf(this.#open.log);
  }

  async #closeLog(): Promise<void> {
    const open = this.#open;
    this.#open = undefined;
    await open?.log.close();
  }
}

interface LocalParts {
  readonly open: (uuid: string) => Promise<Log>;
  readonly release: () => void;
}
