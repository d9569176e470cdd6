import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import type { BackupPartition, BackupSource } from "../src/backup/index.ts";
import { type RestoreReport, restoreBackup } from "../src/backup/restore-backup.ts";
import { type BackupReport, writeBackup } from "../src/backup/write-backup.ts";
import { backupPieceBytes, backupSegmentsMaxCount } from "../src/base/backup-limits.ts";
import { ProglogError } from "../src/base/error.ts";
import { silentLogger } from "../src/base/logger.ts";
import { CommitLog } from "../src/log/commit-log.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { snapshotsOf } from "../src/log/log-snapshot.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import { openCommitLog } from "../src/log/open-log.ts";
import { ReplicaLog } from "../src/log/replica-log.ts";
import { startMs } from "./log-world.ts";

export const folder = "/backup";
export const restored = "/restored";

/** A uuid that ends with a number. */
export function uuidOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** Topics of one partition each, whose logs the test has open and does with what it likes while they are copied. */
export class OpenLogs implements BackupSource {
  readonly storageId = "5".repeat(32);
  clusterId: string | null = null;
  /** By topic. */
  readonly logs = new Map<string, { readonly uuid: string; readonly log: Log }>();
  /** Awaited before each answer, with its number from 1. */
  beforeRead: (readCount: number) => Promise<void> = async () => {};
  readCount = 0;
  /** Bytes at most of an answer. */
  pieceBytes = backupPieceBytes;
  segmentsMaxCount = backupSegmentsMaxCount;

  add(topic: string, log: Log, uuid = uuidOf(this.logs.size + 1)): this {
    this.logs.set(topic, { uuid, log });
    return this;
  }

  async topics() {
    const { storageId, clusterId } = this;
    const settings = { retentionMs: 86_400_000 };
    return {
      ...{ storageId, clusterId },
      topics: [...this.logs].map(([name, { uuid }], number) => {
        return { name, uuid: uuidOf(900 + number), createdAt: startMs, replicationFactor: 1, settings, partitions: [uuid] };
      }),
    };
  }

  async log(partition: BackupPartition) {
    const { uuid, log } = this.#get(partition);
    return { uuid, ...(await snapshotsOf(log).take()) };
  }

  async segments(partition: BackupPartition, range: Parameters<BackupSource["segments"]>[1]) {
    return snapshotsOf(this.#get(partition).log).segments({ ...range, maxCount: this.segmentsMaxCount });
  }

  async read(partition: BackupPartition, piece: Parameters<BackupSource["read"]>[1]) {
    this.readCount += 1;
    await this.beforeRead(this.readCount);
    return snapshotsOf(this.#get(partition).log).read({ ...piece, maxBytes: this.pieceBytes });
  }

  async close(): Promise<void> {}

  #get({ topic }: BackupPartition) {
    const found = this.logs.get(topic);
    if (found === undefined) throw new ProglogError("TOPIC_NOT_FOUND", `Cannot use topic ${topic}: it was deleted`);
    return found;
  }
}

/** A backup to a disk of its own, under a clock on which every wait is over at once. */
export function backUp(
  source: BackupSource,
  disk: SimDisk,
  options: { readonly signal?: AbortSignal } = {},
): Promise<BackupReport> {
  return writeBackup(source, folder, { disk, clock: hurriedClock(), release: "0.0.0", ...options });
}

export function restore(disk: SimDisk, to: string = restored): Promise<RestoreReport> {
  const random = createSeededRandom("restored");
  return restoreBackup(folder, to, { disk, clock: createVirtualClock(startMs), random, logger: silentLogger });
}

function hurriedClock() {
  const clock = createVirtualClock(startMs + 1_000);
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    turn: () => clock.turn(),
    setTimer(_delayMs: number, run: () => void) {
      let isCancelled = false;
      setImmediate(() => {
        if (!isCancelled) run();
      });
      return { cancel: () => void (isCancelled = true) };
    },
  };
}

/** Opens the log of a topic that was restored. */
export function openRestored(disk: SimDisk, uuid: string, options: LogOptions = {}): Promise<CommitLog> {
  const clock = createVirtualClock(startMs + 2_000);
  const opened = { disk, clock, openFiles: new OpenFiles(), random: createSeededRandom("opened"), takesLock: false } as const;
  return openCommitLog(`${restored}/logs/${uuid}`, { ...opened, createIfMissing: false, ...options });
}

export function newDisk(): SimDisk {
  return createSimDisk({ isRecording: false });
}

/** All that a log holds and knows, but for what is each copy's own: to be equal in a copy. */
export async function contentOf(log: Log): Promise<object> {
  if (!(log instanceof CommitLog)) throw new Error("a log of files");
  const { state } = log.parts();
  const { logId, baseIndex, baseTerm, nextOffset, logStartOffset } = state.base;
  const { termHistory, producers } = state.description.sections();
  const entries: object[] = [];
  const { shown } = state;
  await new ReplicaLog(log).scan(1, ({ kind, index, term, span, baseOffset, appendTime, flags, payload }) => {
    entries.push({ kind, index, term, span, baseOffset, appendTime, flags, payload: payload.toString("base64") });
  });
  // A replica's log shows nothing until it is told, and this one is nobody's.
  state.shown = shown;
  return {
    base: { logId: logId.toString("hex"), baseIndex, baseTerm, nextOffset, logStartOffset },
    ...{ termHistory, producers, entries },
    segments: [...state.segments.sealed, state.segments.active].map((segment) => segment.baseIndex),
  };
}
