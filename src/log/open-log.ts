import { dirname, join, resolve } from "node:path";
import { systemClock } from "../base/clock.ts";
import { type Disk, type DiskLock, systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { producersMaxCount } from "../base/limits.ts";
import { silentLogger } from "../base/logger.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { loadMmap, type Mmap } from "../base/mmap.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { systemRandom } from "../base/random.ts";
import { ActiveSegment } from "./active-segment.ts";
import { type BaseRecord, baseRecordNames, readBaseRecord } from "./base-record.ts";
import { BaseSlots } from "./base-slots.ts";
import { CommitLog } from "./commit-log.ts";
import { noControlEntries } from "./control-entries.ts";
import { corruptError } from "./corrupt-error.ts";
import { DamageBook } from "./damage-book.ts";
import { findDataEnd } from "./active-store.ts";
import { logSeed } from "./frame.ts";
import { guardObserver } from "./guarded-observer.ts";
import type { Log, LogOptions, RecoveryReport } from "./log.ts";
import type { LogContext } from "./log-context.ts";
import { LogDescription } from "./log-description.ts";
import { type ResolvedOptions, resolveOptions } from "./log-options.ts";
import { LogState } from "./log-state.ts";
import { OpenFiles } from "./open-files.ts";
import { markAt, recoverLog } from "./recovery.ts";
import { listBaseIndexes, removeSegment } from "./segment-files.ts";
import { logIdBytes, segmentHeaderBytes } from "./segment-header.ts";
import { segmentPath, storeSuffix } from "./segment-name.ts";
import { Segments } from "./segments.ts";
import { readSyncMark, SyncMarkFile } from "./sync-mark.ts";
import { refusalOf } from "./write-failure.ts";

export const lockName = "lock";

/** Read descriptors of all logs of a disk that aren't given a cache of their own. */
const sharedOpenFiles = new WeakMap<Disk, OpenFiles>();

function openFilesOf(disk: Disk): OpenFiles {
  const shared = sharedOpenFiles.get(disk) ?? new OpenFiles();
  sharedOpenFiles.set(disk, shared);
  return shared;
}

/**
 * Opens the log of a directory, or makes one there.
 *
 * After a crash it keeps every acknowledged record and removes a torn write that wasn't (`recovery` tells). When acknowledged
 * data rotted it changes nothing and throws LOG_CORRUPT; `proglog repair` then says what can be saved.
 *
 * Other errors: LOG_LOCKED with details {pid}, LOG_NOT_FOUND, UNSUPPORTED_FORMAT, DISK_FULL, DISK_FAILED, INVALID_ARGUMENT.
 */
export function openLog(directory: string, options: LogOptions = {}): Promise<Log> {
  return openCommitLog(directory, options);
}

export interface OpenOptions extends LogOptions {
  /** Of a log that is made: its id, of 16 bytes, and not one by chance. */
  readonly logId?: Buffer;
  /** Of a log that is made: what was trimmed away before it began. Default nothing. */
  readonly base?: BaseRecord;
  /** Somebody else decides what is written and what goes. Default false. */
  readonly isReplicas?: boolean;
}

/** `openLog`, for the log of a replica, which has more to do with it. */
export async function openCommitLog(directory: string, options: OpenOptions): Promise<CommitLog> {
  const resolved = resolveOptions(options);
  const disk = options.disk ?? nodeDisk;
  const path = disk === nodeDisk ? resolve(directory) : directory;
  try {
    return await openDirectory(path, disk, options, resolved);
  } catch (error) {
    const answer = refusalOf(`open ${path}`, error);
    if (isProglogError(answer)) throw answer;
    throw new ProglogError("DISK_FAILED", `Cannot open ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** A log in memory, with the same engine on a disk of its own: for tests and prototypes. It is gone with the process. */
export async function openMemoryLog(options: LogOptions = {}): Promise<Log> {
  return openLog("/memory", { index: "heap", disk: createMemoryDisk(), ...options });
}

async function openDirectory(
  directory: string,
  disk: Disk,
  options: OpenOptions,
  resolved: ResolvedOptions,
): Promise<CommitLog> {
  if (!disk.isDirectory(directory)) {
    if (!resolved.createIfMissing) throw notFoundError(directory);
    await disk.makeDirectory(directory);
  }
  const lock = resolved.takesLock ? disk.lock(join(directory, lockName)) : undefined;
  try {
    return await openLocked(directory, disk, options, resolved, lock);
  } catch (error) {
    lock?.release();
    throw error;
  }
}

async function openLocked(
  directory: string,
  disk: Disk,
  options: OpenOptions,
  resolved: ResolvedOptions,
  lock: DiskLock | undefined,
): Promise<CommitLog> {
  const clock = options.clock ?? systemClock;
  const start = clock.monotonic();
  const { logger = silentLogger, random = systemRandom } = options;
  const observer = guardObserver(options.observer ?? {}, logger);
  const contextOf = (logId: Buffer): LogContext => ({
    directory,
    disk,
    clock,
    random,
    logger,
    observer,
    damages: new DamageBook(logger, observer),
    openFiles: options.openFiles ?? openFilesOf(disk),
    mmap: chooseMmap(resolved.index, disk, directory),
    producerLimits: { expiryMs: resolved.producerExpiryMs, maxCount: producersMaxCount },
    logId,
    seed: logSeed(logId),
  });

  const { isReplicas = false } = options;
  const baseRead = readBaseRecord(disk, directory);
  if (baseRead.state !== "valid") {
    // A crash may have cut short the very first writing of the base record, too: then its name is there, and not its bytes.
    checkNothingThere(disk, directory, baseRead.state);
    if (!resolved.createIfMissing) throw notFoundError(directory);
    // Made by somebody else, or by an opening that a crash or a failure cut short: its name may not be durable yet.
    await syncName(disk, directory);
    const context = contextOf(options.logId ?? random.bytes(logIdBytes));
    const state = await createLog(context, options.base ?? emptyBase(context.logId));
    const recovery = report(state, "created", clock.monotonic() - start);
    observer.opened(recovery);
    return new CommitLog(state, resolved, { lock, recovery, isReplicas });
  }

  const { logId } = baseRead.record;
  const context = contextOf(logId);
  const baseSlots = new BaseSlots(disk, directory, baseRead);
  const recovered = await recoverLog(context, baseSlots, readSyncMark(disk, directory, logId));
  const state = new LogState({ context, ...recovered, baseSlots });
  const { kind, cut, scannedBytes, rewrittenBytes, notes } = recovered;
  const recovery = {
    ...report(state, kind, clock.monotonic() - start),
    ...(cut !== undefined && { cut }),
    scannedBytes,
    rewrittenBytes,
    notes,
  };
  if (kind === "recovered") context.logger.debug({ directory, ...recovery }, "recovered a log that hadn't been closed");
  observer.opened(recovery);
  return new CommitLog(state, resolved, { lock, recovery, isReplicas });
}

/** Makes the files of an empty log. The base record comes last: before it is there, there is no log, and nothing to lose. */
async function createLog(context: LogContext, base: BaseRecord): Promise<LogState> {
  const { disk, directory, logId } = context;
  for (const baseIndex of listBaseIndexes(context)) removeSegment(context, baseIndex);
  // The time of what was trimmed isn't known, and no entry may be earlier than the one before.
  const before = { index: base.baseIndex, term: base.baseTerm, nextOffset: base.nextOffset, appendTime: 0 };
  const active = await ActiveSegment.create(context, before, base.baseIndex);
  let markFile: SyncMarkFile | undefined;
  try {
    markFile = await SyncMarkFile.create(disk, directory, logId, markAt(active, base.describedIndex));
    await disk.syncDirectory(directory);
    const baseSlots = await BaseSlots.create(disk, directory, base);
    const description = LogDescription.of(base, context.producerLimits);
    return new LogState({ context, markFile, segments: new Segments([], active), baseSlots, description });
  } catch (error) {
    markFile?.close();
    await active.close();
    throw error;
  }
}

function emptyBase(logId: Buffer): BaseRecord {
  return {
    logId,
    baseIndex: 0,
    baseTerm: 0,
    nextOffset: 0,
    logStartOffset: 0,
    describedIndex: 0,
    termHistory: [],
    membership: Buffer.alloc(0),
    producers: [],
    controls: noControlEntries,
    otherSections: [],
  };
}

async function syncName(disk: Disk, directory: string): Promise<void> {
  try {
    await disk.syncDirectory(dirname(directory));
  } catch (error) {
    // Who may not even read the parent directory didn't make anything in it.
    const code = systemErrorCode(error);
    if (code !== "EACCES" && code !== "EPERM") throw error;
  }
}

/** A directory without a valid base record may hold what a crash left of a creation, and nothing else that looks like a log. */
function checkNothingThere(disk: Disk, directory: string, state: "missing" | "unreadable"): void {
  const baseIndexes = listBaseIndexes({ disk, directory });
  for (const baseIndex of baseIndexes) {
    const path = segmentPath(directory, baseIndex, storeSuffix);
    const file = disk.open(path, "read");
    try {
      const hasEntries = findDataEnd(file, 0) > segmentHeaderBytes;
      if (baseIndex === 1 && baseIndexes.length === 1 && !hasEntries) return;
    } finally {
      file.close();
    }
    throw baseError(directory, `the base record is ${state}, and there are segments`);
  }
}

function baseError(directory: string, reason: string): ProglogError {
  const file = join(directory, baseRecordNames[0]);
  return corruptError(`open ${directory}`, { file, position: 0, firstOffset: 0, nextOffset: 0, reason });
}

function notFoundError(directory: string): ProglogError {
  return new ProglogError("LOG_NOT_FOUND", `Cannot open ${directory}: there is no log`);
}

/** Throws INVALID_ARGUMENT where "mmap" was asked for and isn't to be had. */
function chooseMmap(kind: ResolvedOptions["index"], disk: Disk, directory: string): Mmap | undefined {
  if (kind === "heap") return undefined;
  const mmap = disk.canMap(directory) ? loadMmap() : undefined;
  if (mmap === undefined && kind === "mmap") {
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot map the index of ${directory}: koffi isn't there or the file system is unfit`,
      {
        hint: 'Install the optional dependency koffi, or use index "auto".',
        details: { option: "index" },
      },
    );
  }
  return mmap;
}

function report(state: LogState, kind: RecoveryReport["kind"], durationMs: number): RecoveryReport {
  const { index, nextOffset } = state.last;
  return { kind, durationMs, lastIndex: index, logEndOffset: nextOffset, scannedBytes: 0, rewrittenBytes: 0, notes: [] };
}
