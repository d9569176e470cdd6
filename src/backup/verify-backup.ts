import { join } from "node:path";
import type { Disk } from "../base/disk.ts";
import { decodeBaseRecord } from "../log/base-record.ts";
import type { ChainPoint } from "../log/chain.ts";
import { type BackupLogEntry, type BackupManifest, getBackupManifest } from "./backup-manifest.ts";
import { checkStore, hashFile } from "./store-check.ts";
import { logsName } from "./write-backup.ts";

export interface BackupVerification {
  /** Nothing is damaged. */
  readonly ok: boolean;
  readonly manifest: BackupManifest;
  readonly logs: readonly VerifiedLog[];
}

export interface VerifiedLog {
  /** "orders/0". */
  readonly name: string;
  readonly uuid: string;
  readonly segments: number;
  readonly bytes: number;
  readonly logStartOffset: number;
  readonly nextOffset: number;
  /** What is wrong, one thing a text; none in a sound one. */
  readonly faults: readonly string[];
}

/**
 * Reads every file of a backup: each against the manifest's length and checksum, each frame against its own, and each segment against the
 * one before it. Nothing is changed. Throws LOG_NOT_FOUND, MANIFEST_CORRUPT, UNSUPPORTED_FORMAT.
 */
export async function verifyBackup(
  folder: string,
  {
    disk,
    onProgress,
  }: { readonly disk: Disk; readonly onProgress?: (progress: { readonly log: string; readonly bytes: number }) => void },
): Promise<BackupVerification> {
  const manifest = getBackupManifest(disk, folder, "verify");
  const logs: VerifiedLog[] = [];
  let bytes = 0;
  for (const { name, log } of namedLogs(manifest)) {
    const verified = await verifyLog(disk, join(folder, logsName, log.uuid), log, (more) => {
      bytes += more;
      onProgress?.({ log: name, bytes });
    });
    logs.push({ name, uuid: log.uuid, ...verified });
  }
  return { ok: logs.every(({ faults }) => faults.length === 0), manifest, logs };
}

/** The logs by topic and partition. */
export function namedLogs({
  topics,
  logs,
}: BackupManifest): readonly { readonly name: string; readonly log: BackupLogEntry }[] {
  const byUuid = new Map(logs.map((log) => [log.uuid, log]));
  return topics.flatMap(({ name, partitions }) =>
    partitions.flatMap((uuid, partition) => {
      const log = byUuid.get(uuid);
      return log === undefined ? [] : [{ name: `${name}/${partition}`, log }];
    }),
  );
}

async function verifyLog(
  disk: Disk,
  directory: string,
  log: BackupLogEntry,
  onBytes: (bytes: number) => void,
): Promise<Omit<VerifiedLog, "name" | "uuid">> {
  const faults: string[] = [];
  const base = await checkBase(disk, directory, log);
  if (typeof base === "string") faults.push(base);
  let last: Partial<ChainPoint> | undefined = typeof base === "string" ? undefined : base;
  for (const segment of log.segments) {
    const path = join(directory, segment.name);
    const size = disk.size(path);
    if (size !== segment.bytes) {
      faults.push(
        size === undefined ? `${segment.name} is missing` : `${segment.name} has ${size} bytes, and had ${segment.bytes}`,
      );
      last = undefined;
      continue;
    }
    const checked = await checkStore(disk, path, log.logId);
    onBytes(size);
    if (typeof checked === "string") faults.push(`${segment.name}: ${checked}`);
    else if (checked.sha256 !== segment.sha256) faults.push(`${segment.name}: its checksum isn't the manifest's`);
    else if (last !== undefined && !follows(checked.before, last))
      faults.push(`${segment.name} doesn't follow the segment before it`);
    last = typeof checked === "string" ? undefined : checked.last;
  }
  if (last !== undefined && (last.index !== log.lastIndex || last.nextOffset !== log.nextOffset))
    faults.push(`it ends with entry ${last.index}, and ended with ${log.lastIndex}`);
  const bytes = log.segments.reduce((sum, segment) => sum + segment.bytes, log.baseRecord.bytes);
  const { logStartOffset, nextOffset } = log;
  return { segments: log.segments.length, bytes, logStartOffset, nextOffset, faults };
}

/** Where the log begins, or why its base record isn't sound. */
async function checkBase(disk: Disk, directory: string, log: BackupLogEntry): Promise<Partial<ChainPoint> | string> {
  const { name, sha256 } = log.baseRecord;
  const path = join(directory, name);
  const record = readBase(disk, path);
  if (record === undefined) return `${name} is missing`;
  if ((await hashFile(disk, path)) !== sha256) return `${name}: its checksum isn't the manifest's`;
  const base = decodeBaseRecord(record)?.record;
  if (base === undefined || base.logId.toString("hex") !== log.logId) return `${name} is no base record of this log`;
  return { index: base.baseIndex, term: base.baseTerm, nextOffset: base.nextOffset };
}

export function readBase(disk: Disk, path: string): Buffer | undefined {
  const size = disk.size(path);
  if (size === undefined) return undefined;
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(size);
    return bytes.subarray(0, file.readSync(bytes, 0));
  } finally {
    file.close();
  }
}

/** Of the entry before the first segment the time isn't known. */
function follows(before: ChainPoint, last: Partial<ChainPoint>): boolean {
  const isSame = before.index === last.index && before.term === last.term && before.nextOffset === last.nextOffset;
  return isSame && (last.appendTime === undefined || before.appendTime === last.appendTime);
}
