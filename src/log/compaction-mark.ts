import { join } from "node:path";
import { crc32c } from "../batch/crc32c.ts";
import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import type { Disk } from "../base/disk.ts";
import { temporarySuffix } from "./segment-name.ts";

/**
 * How far a log is compacted, kept beside it (docs/format.md):
 *
 *      0       8     12        14      16              24            28      32
 *     ┌───────┬─────┬─────────┬───────┬───────────────┬─────────────┬───────┬─────────────────────────────┐
 *     │ magic │ crc │ version │ zeros │ mapped offset │ point count │ zeros │ points: offset u64, time u64 │
 *     └───────┴─────┴─────────┴───────┴───────────────┴─────────────┴───────┴─────────────────────────────┘
 *
 * It may lag, and be lost: then more is compacted again than needs to be, and tombstones stay longer. It never leads: it is
 * written after what it tells is durable, and lowered before a truncation.
 */
export interface CompactionMark {
  /** Keys were looked at up to here, exclusive: what lies behind is dirty. */
  readonly mappedOffset: number;
  /** Ascending in both; the last one is the clean offset. */
  readonly points: readonly CleanPoint[];
}

/**
 * From `time` on (append time) no record below `offset` had a newer one of its key below `offset`. So of a tombstone below it
 * no older record is left, and whoever begins to read from then on never sees one.
 */
export interface CleanPoint {
  readonly offset: number;
  readonly time: number;
}

export const compactionMarkName = "compaction-mark";

/** Points kept: times between them are rounded up to the next, so tombstones stay a sixteenth of their time too long or so. */
const pointsMaxCount = 16;

export const noCompactionMark: CompactionMark = { mappedOffset: 0, points: [] };

/** Below it no record is left that a newer one of its key, also below it, supersedes. */
export function cleanOffsetOf(mark: CompactionMark): number {
  return mark.points.at(-1)?.offset ?? 0;
}

/** Tombstones below this offset may go: it was clean `retentionMs` before `lastAppendTime`, or earlier. */
export function tombstoneEndOf(mark: CompactionMark, lastAppendTime: number, retentionMs: number): number {
  return mark.points.findLast(({ time }) => lastAppendTime - time >= retentionMs)?.offset ?? 0;
}

/** The mark after a pass that mapped keys up to `mappedOffset` and found everything below `clean.offset` in order. */
export function advanceMark(mark: CompactionMark, mappedOffset: number, clean: CleanPoint): CompactionMark {
  const last = mark.points.at(-1);
  if ((last?.offset ?? 0) >= clean.offset) return { ...mark, mappedOffset: Math.max(mark.mappedOffset, mappedOffset) };
  const points = [...mark.points, { offset: clean.offset, time: Math.max(clean.time, last?.time ?? 0) }];
  if (points.length > pointsMaxCount) points.splice(findDispensable(points), 1);
  return { mappedOffset, points };
}

/** The mark once everything from `offset` on is gone. What is claimed of what lies below stays true. */
export function cutMark(mark: CompactionMark, offset: number): CompactionMark {
  const points: CleanPoint[] = [];
  for (const point of mark.points) {
    points.push({ offset: Math.min(point.offset, offset), time: point.time });
    if (point.offset >= offset) break;
  }
  return { mappedOffset: Math.min(mark.mappedOffset, offset), points };
}

/** The point whose place its successor takes with the least delay; never the last. */
function findDispensable(points: readonly CleanPoint[]): number {
  let found = 0;
  let shortest = Number.POSITIVE_INFINITY;
  for (let i = 0; i + 1 < points.length; i += 1) {
    const delay = (points[i + 1]?.time ?? 0) - (points[i]?.time ?? 0);
    if (delay >= shortest) continue;
    shortest = delay;
    found = i;
  }
  return found;
}

const magic = Buffer.from("PLCOMPM1", "latin1");
const headBytes = 32;
const pointBytes = 16;
const version = 1;

/** Where the point of this number begins. */
export function compactionMarkPointAt(number: number): number {
  return headBytes + number * pointBytes;
}

export function encodeCompactionMark({ mappedOffset, points }: CompactionMark, seed: number): Buffer {
  const bytes = Buffer.alloc(headBytes + points.length * pointBytes);
  magic.copy(bytes, 0);
  bytes.writeUInt16LE(version, 12);
  writeUint64LE(bytes, mappedOffset, 16);
  bytes.writeUInt32LE(points.length, 24);
  for (const [i, { offset, time }] of points.entries()) {
    writeUint64LE(bytes, offset, compactionMarkPointAt(i));
    writeUint64LE(bytes, time, compactionMarkPointAt(i) + 8);
  }
  bytes.writeUInt32LE(crc32c(bytes, 12, bytes.length, seed), 8);
  return bytes;
}

/** Undefined when the bytes are no valid mark of this log. */
export function decodeCompactionMark(bytes: Buffer, seed: number): CompactionMark | undefined {
  if (bytes.length < headBytes || bytes.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (crc32c(bytes, 12, bytes.length, seed) !== bytes.readUInt32LE(8) || bytes.readUInt16LE(12) !== version) return undefined;
  const count = bytes.readUInt32LE(24);
  if (count > pointsMaxCount || bytes.length !== headBytes + count * pointBytes) return undefined;
  const points = Array.from({ length: count }, (_, i) => ({
    offset: readUint64LE(bytes, compactionMarkPointAt(i)),
    time: readUint64LE(bytes, compactionMarkPointAt(i) + 8),
  }));
  return { mappedOffset: readUint64LE(bytes, 16), points };
}

/** The mark of a log that ends at `logEndOffset`; an empty one when there is none, or none that can be true. */
export function readCompactionMark(
  { disk, directory, seed }: { readonly disk: Disk; readonly directory: string; readonly seed: number },
  logEndOffset: number,
): CompactionMark {
  const path = join(directory, compactionMarkName);
  if (disk.size(path) === undefined) return noCompactionMark;
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(headBytes + pointsMaxCount * pointBytes);
    const mark = decodeCompactionMark(bytes.subarray(0, file.readSync(bytes, 0)), seed);
    return mark === undefined || mark.mappedOffset > logEndOffset ? noCompactionMark : mark;
  } finally {
    file.close();
  }
}

/** Puts the mark in the place of the one before, durably. When it throws, either may be there. */
export async function writeCompactionMark(
  { disk, directory, seed }: { readonly disk: Disk; readonly directory: string; readonly seed: number },
  mark: CompactionMark,
): Promise<void> {
  const path = join(directory, compactionMarkName);
  const temporaryPath = path + temporarySuffix;
  disk.remove(temporaryPath);
  const file = disk.open(temporaryPath, "create");
  try {
    file.writeSync([encodeCompactionMark(mark, seed)], 0);
    await file.datasync();
  } finally {
    file.close();
  }
  disk.rename(temporaryPath, path);
  await disk.syncDirectory(directory);
}
