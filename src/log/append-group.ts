import { batchUnprotectedBytes } from "../batch/batch-header.ts";
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
 * Gives each append its index, term and offsets. The batches aren't copied nor changed: the 77 bytes that differ are written
 * into memory of the group's own, and the rest of each batch goes to the file from where it lies.
 */
export function stampGroup(appends: readonly PendingAppend[], stamp: Stamp): AppendGroup {
  const heads = Buffer.allocUnsafeSlow(dataHeadBytes * appends.length);
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
    const headAt = entries.length * dataHeadBytes;
    writeDataHead(heads, headAt, header, append.batch, stamp.seed);
    buffers.push(heads.subarray(headAt, headAt + dataHeadBytes), append.batch.subarray(batchUnprotectedBytes));
    entries.push({ append, header, position: byteLength });
    nextOffset += span;
    byteLength += frameBytesOf(append);
    recordCount += append.header.recordCount;
  }
  return { entries, buffers, byteLength, recordCount };
}
