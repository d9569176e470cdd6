import { basename, join } from "node:path";
import { readBatchHeader } from "../batch/batch-header.ts";
import type { Disk } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { baseRecordMaxBytes } from "../base/limits.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { KiB } from "../base/units.ts";
import { baseRecordNames, decodeBaseRecord } from "./base-record.ts";
import { compactionMarkName, compactionMarkPointAt, decodeCompactionMark } from "./compaction-mark.ts";
import { FileSlots, readIndexSummary, readSealedSlots } from "./entry-index.ts";
import { logSeed } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import type { LogDamage } from "./log-observer.ts";
import { manifestName, readManifest } from "./manifest.ts";
import { mergeNoteName } from "./merge-note.ts";
import { withOfflineLog } from "./offline-log.ts";
import { listBaseIndexes } from "./segment-files.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { indexSuffix, parseStoreName, segmentPath, storeSuffix, timeIndexSuffix } from "./segment-name.ts";
import { slotBytes } from "./slots.ts";
import { findScanFault } from "./store-scan.ts";
import { surveyLog } from "./survey.ts";
import { decodeSyncMark, syncMarkName, syncMarkSlotBytes, syncMarkSlotPositions } from "./sync-mark.ts";
import { readTimeIndex, timeIndexTrailerBytes } from "./time-index.ts";

/** What the offline commands read of a log's files: plain data, that prints as JSON. Nothing here changes a file. */
export interface LogInspection {
  readonly directory: string;
  readonly logId: string;
  readonly baseRecord: InspectedFields | undefined;
  readonly baseRecordState: "valid" | "missing" | "unreadable";
  readonly syncMark: InspectedFields | undefined;
  readonly syncMarkState: "valid" | "missing" | "unreadable";
  readonly segments: readonly InspectedSegment[];
}

export interface InspectedSegment {
  readonly baseIndex: number;
  readonly baseOffset: number | undefined;
  readonly nextOffset: number | undefined;
  readonly entryCount: number | undefined;
  readonly storeBytes: number;
  readonly createdAt: number | undefined;
  /** Sealed, by its index's trailer; a segment whose index is missing or active isn't. */
  readonly isSummed: boolean;
  readonly fault: string | undefined;
}

export type InspectedFields = Readonly<Record<string, string | number | boolean | null>>;

/** One thing found in a file, in order. */
export interface InspectedItem extends InspectedFields {
  readonly item: string;
  readonly position: number;
}

export interface OfflineOptions {
  readonly disk?: Disk;
}

export type { Manifest } from "./manifest.ts";
export { manifestName, readManifest } from "./manifest.ts";

/** What a log's directory holds. Throws LOG_NOT_FOUND, LOG_LOCKED, LOG_CORRUPT, UNSUPPORTED_FORMAT. */
export function inspectLog(directory: string, { disk = nodeDisk }: OfflineOptions = {}): Promise<LogInspection> {
  return withOfflineLog(directory, disk, async (log) => ({
    directory,
    logId: log.logId.toString("hex"),
    baseRecordState: log.baseRead.state,
    baseRecord: log.base === undefined ? undefined : describeBase(log.base),
    syncMarkState: log.markRead.state,
    syncMark: log.mark === undefined ? undefined : { ...log.mark },
    segments: listBaseIndexes(log).map((baseIndex) => inspectSegment(log, baseIndex)),
  }));
}

function inspectSegment(
  log: { readonly disk: Disk; readonly directory: string; readonly logId: Buffer },
  baseIndex: number,
): InspectedSegment {
  const { disk, directory, logId } = log;
  const storePath = segmentPath(directory, baseIndex, storeSuffix);
  const indexPath = segmentPath(directory, baseIndex, indexSuffix);
  const bytes = Buffer.alloc(segmentHeaderBytes);
  const readBytes = withFile(disk, storePath, (file) => file.readSync(bytes, 0));
  const read = readSegmentHeader(bytes.subarray(0, readBytes));
  const header = "fault" in read ? undefined : read.header;
  const summary =
    disk.size(indexPath) === undefined
      ? undefined
      : withFile(disk, indexPath, (file) => readIndexSummary(file, baseIndex, logSeed(logId)));
  return {
    baseIndex,
    baseOffset: header?.baseOffset ?? summary?.baseOffset,
    nextOffset: summary?.nextOffset,
    entryCount: summary?.entryCount,
    storeBytes: disk.size(storePath) ?? 0,
    createdAt: header?.createdAt,
    isSummed: summary !== undefined,
    fault: "fault" in read ? read.fault : read.header.logId.equals(logId) ? undefined : "it belongs to another log",
  };
}

/**
 * What one file holds: the frames of a store, the slots of an index or time index, the slots of a sync mark, a base record or a
 * manifest. The kind is told by the name. Index files and sync marks of a log need its id: it is taken from the store or base
 * record beside them. Throws INVALID_ARGUMENT for a file that is none of ours.
 */
export async function* inspectFile(
  path: string,
  { disk = nodeDisk }: OfflineOptions = {},
): AsyncGenerator<InspectedItem, void, undefined> {
  const name = basename(path);
  if (disk.size(path) === undefined) throw new ProglogError("LOG_NOT_FOUND", `Cannot inspect ${path}: there is no such file`);
  if (parseStoreName(name) !== undefined) yield* inspectStore(path, disk);
  else if (name.endsWith(timeIndexSuffix)) yield* inspectTimeIndex(path, disk);
  else if (name.endsWith(indexSuffix)) yield* inspectIndex(path, disk);
  else if (name === syncMarkName) yield* inspectSyncMark(path, disk);
  else if ((baseRecordNames as readonly string[]).includes(name)) yield inspectBaseRecord(path, disk);
  else if (name === compactionMarkName) yield* inspectCompactionMark(path, disk);
  else if (name === manifestName) yield inspectManifest(path, disk);
  else {
    throw new ProglogError("INVALID_ARGUMENT", `Cannot inspect ${path}: its name is none of a log's files`, {
      hint: "Name a .store, .index or .timeindex file, sync-mark, compaction-mark, base-0, base-1, manifest, node-record, hard-state, or a directory.",
    });
  }
}

async function* inspectStore(path: string, disk: Disk): AsyncGenerator<InspectedItem, void, undefined> {
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(segmentHeaderBytes);
    const read = readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
    if ("fault" in read) {
      yield { item: "damage", position: 0, reason: read.fault };
      return;
    }
    const { logId, ...header } = read.header;
    yield { item: "segment-header", position: 0, logId: logId.toString("hex"), ...header };
    const scanner = new FrameScanner({
      file,
      position: segmentHeaderBytes,
      endPosition: file.size(),
      chain: read.before,
      seed: logSeed(logId),
    });
    while (scanner.end === undefined) {
      for (const { payload, kind, ...frame } of await scanner.next()) {
        const batch = kind === "data" ? readBatchHeader(payload) : undefined;
        yield {
          item: kind,
          ...frame,
          ...(batch !== undefined && {
            recordCount: batch.recordCount,
            compression: batch.compression,
            maxTimestamp: batch.maxTimestamp,
            producerId: batch.producerId,
            baseSequence: batch.baseSequence,
          }),
        };
      }
    }
    const fault = findScanFault(file, scanner);
    if (fault !== undefined) yield { item: "damage", position: scanner.position, reason: fault };
    else if (scanner.end.kind === "empty")
      yield { item: "zeros", position: scanner.position, byteLength: file.size() - scanner.position };
  } finally {
    file.close();
  }
}

function* inspectIndex(path: string, disk: Disk): Generator<InspectedItem, void, undefined> {
  const baseIndex = Number(basename(path, indexSuffix));
  const seed = seedBeside(path, disk);
  const file = disk.open(path, "read");
  try {
    const summary = readIndexSummary(file, baseIndex, seed);
    const slots = new FileSlots(file, summary?.entryCount ?? Math.floor(file.size() / slotBytes));
    for (let slot = 0; slot < slots.count; slot += 1) {
      yield {
        item: "slot",
        position: slot * slotBytes,
        index: baseIndex + slot,
        baseOffset: slots.first(slot),
        storePosition: slots.second(slot),
      };
    }
    if (summary === undefined) return;
    const isSound = readSealedSlots(file, baseIndex, seed) !== undefined;
    yield { item: "trailer", position: slots.count * slotBytes, isSound, ...summary };
  } finally {
    file.close();
  }
}

function* inspectTimeIndex(path: string, disk: Disk): Generator<InspectedItem, void, undefined> {
  const baseIndex = Number(basename(path, timeIndexSuffix));
  const slots = withFile(disk, path, (file) => readTimeIndex(file, baseIndex, seedBeside(path, disk)));
  if (slots === undefined) {
    yield { item: "damage", position: 0, reason: "no valid time index of this log and segment" };
    return;
  }
  for (let slot = 0; slot < slots.count; slot += 1) {
    yield { item: "slot", position: slot * slotBytes, timestamp: slots.first(slot), index: slots.second(slot) };
  }
  yield { item: "trailer", position: slots.count * slotBytes, byteLength: timeIndexTrailerBytes };
}

function* inspectSyncMark(path: string, disk: Disk): Generator<InspectedItem, void, undefined> {
  const seed = seedBeside(path, disk);
  for (const position of syncMarkSlotPositions) {
    const bytes = Buffer.alloc(syncMarkSlotBytes);
    withFile(disk, path, (file) => file.readSync(bytes, position));
    const slot = decodeSyncMark(bytes, seed);
    if (slot === undefined) yield { item: "damage", position, reason: "no valid slot of this log" };
    else {
      const { position: storePosition, ...mark } = slot.mark;
      yield { item: "sync-mark", position, sequence: slot.sequence, storePosition, ...mark };
    }
  }
}

function* inspectCompactionMark(path: string, disk: Disk): Generator<InspectedItem, void, undefined> {
  const mark = decodeCompactionMark(readWhole(path, disk, 4 * KiB), seedBeside(path, disk));
  if (mark === undefined) {
    yield { item: "damage", position: 0, reason: "no valid compaction mark of this log" };
    return;
  }
  yield { item: "compaction-mark", position: 0, mappedOffset: mark.mappedOffset };
  for (const [i, point] of mark.points.entries()) yield { item: "clean-point", position: compactionMarkPointAt(i), ...point };
}

function inspectBaseRecord(path: string, disk: Disk): InspectedItem {
  const bytes = readWhole(path, disk, baseRecordMaxBytes);
  const found = decodeBaseRecord(bytes);
  if (found === undefined) return { item: "damage", position: 0, reason: "no valid base record" };
  return { item: "base-record", position: 0, generation: found.generation, ...describeBase(found.record) };
}

function inspectManifest(path: string, disk: Disk): InspectedItem {
  const manifest = readManifest(disk, path) ?? null;
  return { item: "manifest", position: 0, json: JSON.stringify(manifest) };
}

function describeBase(base: {
  readonly logId: Buffer;
  readonly baseIndex: number;
  readonly baseTerm: number;
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly describedIndex: number;
  readonly termHistory: readonly unknown[];
  readonly membership: Buffer;
  readonly producers: readonly unknown[];
}): InspectedFields {
  const { logId, termHistory, membership, producers, baseIndex, baseTerm, nextOffset, logStartOffset, describedIndex } = base;
  return {
    logId: logId.toString("hex"),
    baseIndex,
    baseTerm,
    nextOffset,
    logStartOffset,
    describedIndex,
    terms: termHistory.length,
    membershipBytes: membership.length,
    producers: producers.length,
  };
}

/** The seed for a file that doesn't tell its log, from those beside it. */
function seedBeside(path: string, disk: Disk): number {
  const directory = path.slice(0, Math.max(0, path.length - basename(path).length - 1)) || ".";
  for (const name of baseRecordNames) {
    const basePath = `${directory}/${name}`;
    if (disk.size(basePath) === undefined) continue;
    const base = decodeBaseRecord(readWhole(basePath, disk, baseRecordMaxBytes));
    if (base !== undefined) return logSeed(base.record.logId);
  }
  throw new ProglogError("LOG_NOT_FOUND", `Cannot inspect ${path}: no base record beside it tells which log it belongs to`);
}

function readWhole(path: string, disk: Disk, maxBytes: number): Buffer {
  return withFile(disk, path, (file) => {
    const bytes = Buffer.alloc(Math.min(file.size(), maxBytes));
    return bytes.subarray(0, file.readSync(bytes, 0));
  });
}

function withFile<T>(disk: Disk, path: string, use: (file: ReturnType<Disk["open"]>) => T): T {
  const file = disk.open(path, "read");
  try {
    return use(file);
  } finally {
    file.close();
  }
}

export interface VerifyReport {
  /** Nothing is damaged. A torn write at the end and a missing index are no damage: opening mends them. */
  readonly ok: boolean;
  readonly segments: number;
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
  readonly damages: readonly LogDamage[];
  readonly notes: readonly string[];
}

/** Reads every byte of a log against its checksums and decodes every batch. Changes nothing. */
export function verifyLog(
  directory: string,
  options: OfflineOptions & {
    readonly onProgress?: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
  } = {},
): Promise<VerifyReport> {
  const { disk = nodeDisk, onProgress } = options;
  return withOfflineLog(directory, disk, async (log) => {
    const { base, mark } = log;
    const survey = await surveyLog(log, { base, mark, ...(onProgress !== undefined && { onProgress }) });
    const notes: string[] = [];
    const damages: LogDamage[] = survey.gaps.map(({ file, position, before, last, reason }) => ({
      file,
      position,
      firstOffset: before.nextOffset,
      nextOffset: last.nextOffset,
      reason,
    }));
    for (const { file, position, frame, reason } of survey.undecodable) {
      damages.push({ file, position, firstOffset: frame.baseOffset, nextOffset: frame.baseOffset + frame.span, reason });
    }
    if (log.baseRead.state !== "valid") {
      damages.push({
        file: `${directory}/${baseRecordNames[0]}`,
        position: 0,
        firstOffset: 0,
        nextOffset: 0,
        reason: `the base record is ${log.baseRead.state}`,
      });
    }
    if (log.markRead.state !== "valid")
      notes.push(`the sync mark is ${log.markRead.state}: opening writes it anew when all frames are whole`);
    if (mark !== undefined && !mark.isClean) notes.push("the log wasn't closed; opening it scans the newest segment");
    if (disk.size(join(directory, mergeNoteName)) !== undefined)
      notes.push("segments were being merged; opening finishes that, or undoes it");
    if (survey.tear !== undefined)
      notes.push(`${survey.tear.bytes} bytes of a torn write that was never acknowledged; opening removes them`);
    const { batches, records, bytes } = survey;
    return { ok: damages.length === 0, segments: survey.segments.length, batches, records, bytes, damages, notes };
  });
}
