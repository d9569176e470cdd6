import { join } from "node:path";
import { encodeEmptyBatch } from "../batch/empty-batch.ts";
import { assert } from "../base/assert.ts";
import type { Disk, DiskFile } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { readPieceBytes } from "../base/limits.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { type BaseRecord, writeBaseRecord } from "./base-record.ts";
import type { ChainPoint } from "./chain.ts";
import { compactionMarkName } from "./compaction-mark.ts";
import { encodeControlFrame, encodeDataFrame, type EntryHeader, entryFlags, logSeed, syncedBackUnknown } from "./frame.ts";
import { finishMerge } from "./merge-note.ts";
import { type OfflineLog, withOfflineLog } from "./offline-log.ts";
import { OpenFiles } from "./open-files.ts";
import { encodeSegmentHeader } from "./segment-header.ts";
import { indexSuffix, segmentPath, temporarySuffix, timeIndexSuffix } from "./segment-name.ts";
import { type Gap, type SegmentSurvey, type Survey, surveyLog } from "./survey.ts";
import { SyncMarkFile } from "./sync-mark.ts";
import { lockName } from "./open-log.ts";

/**
 * Makes a damaged log one that opens again, keeping every record that can still be read, at its offset. What is lost is not
 * closed up: an entry of the same index, span and offsets takes its place, flagged `lost` and without records, so no offset
 * ever gets another record. Only for a log with no replica to fetch from.
 */
export interface RepairPlan {
  readonly directory: string;
  readonly isNeeded: boolean;
  readonly losses: readonly RepairLoss[];
  /** What is mended without any loss. */
  readonly mends: readonly string[];
  /** Of all files: what a copy takes. */
  readonly copyBytes: number;
}

/** Records `[firstOffset, nextOffset)` can't be read any more. */
export interface RepairLoss {
  readonly file: string;
  readonly position: number;
  readonly firstOffset: number;
  readonly nextOffset: number;
  /** Entries, control entries included. */
  readonly entries: number;
  readonly reason: string;
}

export interface RepairReport {
  readonly losses: readonly RepairLoss[];
  readonly mends: readonly string[];
  readonly copiedTo: string;
  readonly copiedBytes: number;
  readonly rewrittenSegments: number;
}

export interface RepairOptions {
  readonly disk?: Disk;
}

/** Says what a repair would do. Changes nothing. Throws LOG_NOT_FOUND, LOG_LOCKED, and LOG_CORRUPT when there is nothing to go by. */
export function planRepair(directory: string, { disk = nodeDisk }: RepairOptions = {}): Promise<RepairPlan> {
  return withOfflineLog(directory, disk, async (log) => describePlan(log, await surveyForRepair(log)));
}

/**
 * Copies the directory's files to `copyTo`, which must not exist, and then repairs the log as `planRepair` says now. Each
 * segment is written to a new file that takes the old one's place, so a crash leaves each as it was or repaired.
 */
export function applyRepair(
  plan: Pick<RepairPlan, "directory">,
  options: RepairOptions & { readonly copyTo: string; readonly now?: number },
): Promise<RepairReport> {
  const { disk = nodeDisk, copyTo, now = 0 } = options;
  const { directory } = plan;
  return withOfflineLog(directory, disk, async (log) => {
    await finishMerge({ ...log, seed: logSeed(log.logId), openFiles: new OpenFiles() });
    const survey = await surveyForRepair(log);
    const { losses, mends } = describePlan(log, survey);
    const copiedBytes = await copyDirectory(disk, directory, copyTo);
    const damaged = survey.segments.filter(isDamaged);
    // It may tell of records that are lost, and others may come in their place.
    disk.remove(join(directory, compactionMarkName));
    await disk.syncDirectory(directory);
    for (const segment of damaged) await rewriteSegment(log, segment, now);
    await writeMark(log, survey);
    await mendBase(log, survey);
    return { losses, mends, copiedTo: copyTo, copiedBytes, rewrittenSegments: damaged.length };
  });
}

function surveyForRepair(log: OfflineLog): Promise<Survey> {
  const { base, mark } = log;
  return surveyLog(log, { base, mark, decodes: false });
}

function isDamaged(segment: SegmentSurvey): boolean {
  return segment.isMissing || !segment.isHeaderSound || segment.parts.some((part) => part.kind === "gap");
}

function describePlan(log: OfflineLog, survey: Survey): RepairPlan {
  const mends: string[] = [];
  if (log.baseRead.state !== "valid")
    mends.push(`the base record is ${log.baseRead.state}: it is written anew, and the log starts at its first segment`);
  // Without a mark, and with a bad end, opening refuses; the repair decides.
  if (log.markRead.state !== "valid")
    mends.push(`the sync mark is ${log.markRead.state}: it is written anew for what is there`);
  for (const segment of survey.segments) {
    if (!segment.isHeaderSound && !segment.isMissing) mends.push(`the segment header of ${segment.path} is written anew`);
  }
  const losses = survey.gaps.filter((gap) => gap.last.index > gap.before.index || gap.position > 0).map(describeLoss);
  const { disk, directory } = log;
  const copyBytes = listFiles(disk, directory).reduce((sum, name) => sum + (disk.size(join(directory, name)) ?? 0), 0);
  return { directory, isNeeded: losses.length > 0 || mends.length > 0, losses, mends, copyBytes };
}

function describeLoss(gap: Gap): RepairLoss {
  const { file, position, before, last, reason } = gap;
  return {
    file,
    position,
    firstOffset: before.nextOffset,
    nextOffset: last.nextOffset,
    entries: last.index - before.index,
    reason,
  };
}

function listFiles(disk: Disk, directory: string): string[] {
  return disk
    .list(directory)
    .filter((name) => name !== lockName && !name.startsWith(`${lockName}.`) && !name.endsWith(temporarySuffix))
    .filter((name) => !disk.isDirectory(join(directory, name)));
}

async function copyDirectory(disk: Disk, from: string, to: string): Promise<number> {
  if (disk.isDirectory(to) || disk.size(to) !== undefined) {
    throw new ProglogError("INVALID_ARGUMENT", `Cannot copy ${from} to ${to}: it is there already`, {
      hint: "Name a path that doesn't exist.",
    });
  }
  await disk.makeDirectory(to);
  let bytes = 0;
  for (const name of listFiles(disk, from)) {
    const source = disk.open(join(from, name), "read");
    const target = disk.open(join(to, name), "create");
    try {
      bytes += await copyRange(source, target, { from: 0, to: source.size(), at: 0 });
      await target.datasync();
    } finally {
      source.close();
      target.close();
    }
  }
  await disk.syncDirectory(to);
  return bytes;
}

async function copyRange(
  source: DiskFile,
  target: DiskFile,
  range: { readonly from: number; readonly to: number; readonly at: number },
): Promise<number> {
  const piece = Buffer.allocUnsafeSlow(readPieceBytes);
  for (let position = range.from; position < range.to; position += piece.length) {
    const bytes = piece.subarray(0, Math.min(piece.length, range.to - position));
    await source.read(bytes, position);
    await target.write([bytes], range.at + position - range.from);
  }
  return range.to - range.from;
}

async function rewriteSegment(log: OfflineLog, segment: SegmentSurvey, now: number): Promise<void> {
  const { disk, directory, logId } = log;
  const seed = logSeed(logId);
  const temporaryPath = segment.path + temporarySuffix;
  disk.remove(temporaryPath);
  const source = segment.isMissing ? undefined : disk.open(segment.path, "read");
  const target = disk.open(temporaryPath, "create");
  try {
    let at = 0;
    const write = async (bytes: Buffer): Promise<void> => {
      await target.write([bytes], at);
      at += bytes.length;
    };
    // Nothing here vouches for anything: the mark, written last, says what is durable.
    await write(encodeSegmentHeader({ logId, createdAt: now }, segment.before, segment.before.index - syncedBackUnknown));
    for (const part of segment.parts) {
      if (part.kind === "gap") for (const frame of encodeLostEntries(part, seed)) await write(frame);
      else if (source !== undefined) at += await copyRange(source, target, { from: part.position, to: part.endPosition, at });
    }
    await target.datasync();
  } finally {
    source?.close();
    target.close();
  }
  for (const suffix of [indexSuffix, timeIndexSuffix] as const) disk.remove(segmentPath(directory, segment.baseIndex, suffix));
  disk.rename(temporaryPath, segment.path);
  await disk.syncDirectory(directory);
}

/** Entries in the place of those lost: no-ops, and last an empty batch that spans the lost offsets. */
function encodeLostEntries(gap: Gap, seed: number): Buffer[] {
  const { before, last } = gap;
  const count = last.index - before.index;
  const span = last.nextOffset - before.nextOffset;
  assert(count >= 0 && span >= 0 && (count > 0 || span === 0), "offsets are lost with entries");
  const headerOf = (index: number, kind: EntryHeader["kind"], entrySpan: number): EntryHeader => ({
    kind,
    index,
    term: before.term,
    span: entrySpan,
    baseOffset: before.nextOffset,
    appendTime: before.appendTime,
    syncedBack: syncedBackUnknown,
    flags: entryFlags.lost,
  });
  const frames: Buffer[] = [];
  for (let index = before.index + 1; index < last.index; index += 1) {
    frames.push(encodeControlFrame(headerOf(index, "no-op", 0), Buffer.alloc(0), seed));
  }
  if (count === 0) return frames;
  frames.push(
    span === 0
      ? encodeControlFrame(headerOf(last.index, "no-op", 0), Buffer.alloc(0), seed)
      : encodeDataFrame(headerOf(last.index, "data", span), encodeEmptyBatch(span), seed),
  );
  return frames;
}

/** A mark for the end as repaired, so that opening scans and finds all of it acknowledged. */
async function writeMark(log: OfflineLog, survey: Survey): Promise<void> {
  const { disk, directory, logId } = log;
  const newest = survey.segments.at(-1);
  const end: ChainPoint = survey.end;
  const mark = await SyncMarkFile.create(disk, directory, logId, {
    ...end,
    segmentBaseIndex: newest?.baseIndex ?? end.index + 1,
    position: 0,
    newsIndex: null,
    isClean: false,
    isCutting: false,
    isPoisoned: false,
  });
  mark.close();
  await disk.syncDirectory(directory);
}

async function mendBase(log: OfflineLog, survey: Survey): Promise<void> {
  const first = survey.segments[0];
  if (log.baseRead.state === "valid" || first === undefined) return;
  const { before } = first;
  const base: BaseRecord = {
    logId: log.logId,
    baseIndex: before.index,
    baseTerm: before.term,
    nextOffset: before.nextOffset,
    logStartOffset: before.nextOffset,
    describedIndex: 0,
    termHistory: [],
    membership: Buffer.alloc(0),
    producers: [],
    controls: { fromIndex: before.index + 1, entries: [] },
    otherSections: [],
  };
  for (const slot of [0, 1] as const) {
    await writeBaseRecord(log.disk, log.directory, { slot, generation: slot + 1 }, base);
  }
}
