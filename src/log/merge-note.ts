import { join } from "node:path";
import { crc32c } from "../batch/crc32c.ts";
import { readUint64LE, writeUint64LE } from "../base/bytes.ts";
import type { Disk } from "../base/disk.ts";
import { segmentsMergedMaxCount } from "../base/limits.ts";
import { writeNewFile } from "../base/write-new-file.ts";
import { FrameScanner } from "./frame-scanner.ts";
import type { LogContext } from "./log-context.ts";
import { removeIndexes, removeSegment } from "./segment-files.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { segmentPath, storeSuffix, temporarySuffix } from "./segment-name.ts";

/**
 * Says that segments are being merged: the first gets a store that holds the entries of all, and then the others go. A crash in
 * between leaves stores whose entries the first one holds as well, and nothing but this file tells opening to look
 * (docs/format.md):
 *
 *      0       8     12        14      16           24              28      32
 *     ┌───────┬─────┬─────────┬───────┬────────────┬───────────────┬───────┬──────────────────┐
 *     │ magic │ crc │ version │ zeros │ last index │ segment count │ zeros │ base indexes u64 │
 *     └───────┴─────┴─────────┴───────┴────────────┴───────────────┴───────┴──────────────────┘
 *
 * It is durable before the rename, and gone, durably, before the log does anything else. What it says is believed only where
 * the first store is found to hold all entries.
 */
export interface MergeNote {
  /** Of all segments that are merged, ascending; the first one stays. */
  readonly baseIndexes: readonly number[];
  /** Of the last entry of them. */
  readonly lastIndex: number;
}

export const mergeNoteName = "merging";

const magic = Buffer.from("PLMERGE1", "latin1");
const headBytes = 32;
const version = 1;

export function encodeMergeNote({ baseIndexes, lastIndex }: MergeNote, seed: number): Buffer {
  const bytes = Buffer.alloc(headBytes + 8 * baseIndexes.length);
  magic.copy(bytes, 0);
  bytes.writeUInt16LE(version, 12);
  writeUint64LE(bytes, lastIndex, 16);
  bytes.writeUInt32LE(baseIndexes.length, 24);
  for (const [i, baseIndex] of baseIndexes.entries()) writeUint64LE(bytes, baseIndex, headBytes + 8 * i);
  bytes.writeUInt32LE(crc32c(bytes, 12, bytes.length, seed), 8);
  return bytes;
}

/** Undefined when the bytes are no valid note of this log. */
export function decodeMergeNote(bytes: Buffer, seed: number): MergeNote | undefined {
  if (bytes.length < headBytes || bytes.compare(magic, 0, 8, 0, 8) !== 0) return undefined;
  if (crc32c(bytes, 12, bytes.length, seed) !== bytes.readUInt32LE(8) || bytes.readUInt16LE(12) !== version) return undefined;
  const count = bytes.readUInt32LE(24);
  if (count < 2 || bytes.length !== headBytes + 8 * count) return undefined;
  const baseIndexes = Array.from({ length: count }, (_, i) => readUint64LE(bytes, headBytes + 8 * i));
  return { baseIndexes, lastIndex: readUint64LE(bytes, 16) };
}

type Place = Pick<LogContext, "disk" | "directory" | "seed">;

/** Durable when it resolves. */
export async function writeMergeNote({ disk, directory, seed }: Place, note: MergeNote): Promise<void> {
  const path = join(directory, mergeNoteName);
  await writeNewFile(disk, path + temporarySuffix, encodeMergeNote(note, seed));
  disk.rename(path + temporarySuffix, path);
  await disk.syncDirectory(directory);
}

/** Durable when it resolves, with all that was removed before. */
export async function removeMergeNote({ disk, directory }: Pick<Place, "disk" | "directory">): Promise<void> {
  await disk.syncDirectory(directory);
  // What the writing of a note left that failed, too.
  for (const name of [mergeNoteName + temporarySuffix, mergeNoteName]) disk.remove(join(directory, name));
  await disk.syncDirectory(directory);
}

/** Finishes a merge that a crash cut short, or undoes it: before anything is made of the list of stores. Returns what it did. */
export async function finishMerge(context: Place & Pick<LogContext, "openFiles">): Promise<string | undefined> {
  const { disk, directory, seed } = context;
  const path = join(directory, mergeNoteName);
  if (disk.size(path) === undefined) return undefined;
  const note = decodeMergeNote(readFile(disk, path), seed);
  const [first, ...others] = note?.baseIndexes ?? [];
  const isMerged = note !== undefined && first !== undefined && (await findLastIndex(context, first)) === note.lastIndex;
  if (isMerged) {
    for (const baseIndex of others) removeSegment(context, baseIndex);
    // They may be those of the store before.
    removeIndexes(context, first);
  }
  await removeMergeNote(context);
  return isMerged ? `finished merging ${others.length + 1} segments` : "gave up merging segments, which had not begun";
}

/** Of the last entry of a store that is whole; undefined of any other. */
async function findLastIndex({ disk, directory, seed }: Place, baseIndex: number): Promise<number | undefined> {
  const path = segmentPath(directory, baseIndex, storeSuffix);
  if (disk.size(path) === undefined) return undefined;
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(segmentHeaderBytes);
    const read = readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
    if ("fault" in read) return undefined;
    const scanner = new FrameScanner({
      file,
      position: segmentHeaderBytes,
      endPosition: file.size(),
      chain: read.before,
      seed,
      reusesMemory: true,
    });
    while (scanner.end === undefined) await scanner.next();
    return scanner.end.kind === "end" ? scanner.chain.index : undefined;
  } finally {
    file.close();
  }
}

function readFile(disk: Disk, path: string): Buffer {
  const file = disk.open(path, "read");
  try {
    const bytes = Buffer.alloc(Math.min(file.size(), headBytes + 8 * segmentsMergedMaxCount));
    return bytes.subarray(0, file.readSync(bytes, 0));
  } finally {
    file.close();
  }
}
