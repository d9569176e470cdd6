import { batchUnprotectedBytes } from "../batch/batch-header.ts";
import { KiB } from "../base/units.ts";
import { dataHeadBytes, type EntryHeader, entryFlags, frameHeadBytes, syncedBackUnknown, writeDataHead } from "./frame.ts";
import type { ChainPoint } from "./chain.ts";
import type { PendingAppend } from "./work-queue.ts";

/** Bytes that an append takes in a store. */
export function frameBytesOf(append: PendingAppend): number {
  return frameHeadBytes + append.batch.length;
}

/** Appends that are stamped, written and synced together. */
export interface AppendGroup {
  readonly entries: readonly GroupEntry[];
  /** Head and body of each entry in turn: what goes to the file in one vectored write. */
  readonly buffers: readonly Buffer[];
  readonly byteLength: number;
  readonly recordCount: number;
}

export interface GroupEntry {
  readonly append: PendingAppend;
  readonly header: EntryHeader;
  /** Of the frame, from the group's first byte. */
  readonly position: number;
}

export interface Stamp {
  /** The last entry of the log. */
  readonly last: ChainPoint;
  readonly durableIndex: number;
  readonly term: number;
  readonly now: number;
  /** Whether the first entry begins a segment by our decision. */
  readonly beginsSegment: boolean;
  readonly seed: number;
}

/**
 * Gives each append its index, term and offsets. The batches aren't changed: the 77 bytes that differ are written into memory
 * of the group's own, and the rest of each batch goes to the file from where it lies. Only small ones are copied behind their
 * heads, where they make one buffer with those before and after: that costs less than a buffer each in the vectored write.
 */
export function stampGroup(appends: readonly PendingAppend[], stamp: Stamp): AppendGroup {
  const own = Buffer.allocUnsafeSlow(appends.reduce((sum, append) => sum + ownBytesOf(append), 0));
  /** In `own`: where it is written next, and from where on it isn't in `buffers` yet. */
  let ownAt = 0;
  let ownStart = 0;
  const appendTime = Math.max(stamp.last.appendTime, stamp.now);
  const entries: GroupEntry[] = [];
  const buffers: Buffer[] = [];
  let { index, nextOffset } = stamp.last;
  let byteLength = 0;
  let recordCount = 0;
  for (const append of appends) {
    index += 1;
    const span = append.header.lastOffsetDelta + 1;
    const header: EntryHeader = {
      kind: "data",
      index,
      term: stamp.term,
      span,
      baseOffset: nextOffset,
      appendTime,
      syncedBack: Math.min(index - stamp.durableIndex, syncedBackUnknown),
      flags: stamp.beginsSegment && entries.length === 0 ? entryFlags.beginsSegment : 0,
    };
    writeDataHead(own, ownAt, header, append.batch, stamp.seed);
    ownAt += dataHeadBytes;
    if (isCopied(append)) {
      ownAt += append.batch.copy(own, ownAt, batchUnprotectedBytes);
    } else {
      buffers.push(own.subarray(ownStart, ownAt), append.batch.subarray(batchUnprotectedBytes));
      ownStart = ownAt;
    }
    entries.push({ append, header, position: byteLength });
    nextOffset += span;
    byteLength += frameBytesOf(append);
    recordCount += append.header.recordCount;
  }
  if (ownStart < ownAt) buffers.push(own.subarray(ownStart, ownAt));
  return { entries, buffers, byteLength, recordCount };
}

/** A batch up to this is copied: measured, a buffer of its own costs as much as copying 2 KiB. */
const copiedMaxBytes = 1 * KiB;

function isCopied({ batch }: PendingAppend): boolean {
  return batch.length <= copiedMaxBytes;
}

function ownBytesOf(append: PendingAppend): number {
  return isCopied(append) ? frameBytesOf(append) : dataHeadBytes;
}
