import { batchUnprotectedBytes, readBatchHeader } from "../batch/batch-header.ts";
import { KiB } from "../base/units.ts";
import {
  dataHeadBytes,
  encodeControlFrame,
  encodeDataFrame,
  type EntryHeader,
  readFrame,
  syncedBackUnknown,
  writeDataHead,
} from "./frame.ts";

/**
 * An entry as the leader of a group stamped it: everything that a frame says but how far the log was synced, which is each
 * replica's own. The payload of data is a batch, whose base offset and epoch are stamped anew wherever it is written: to the same
 * values, so it doesn't matter whether they were before.
 */
export interface StampedEntry extends Omit<EntryHeader, "syncedBack"> {
  readonly payload: Buffer;
}

export interface StampedGroup {
  readonly entries: readonly StampedGroupEntry[];
  readonly buffers: readonly Buffer[];
  readonly byteLength: number;
  readonly recordCount: number;
}

interface StampedGroupEntry {
  readonly header: EntryHeader;
  readonly payload: Buffer;
  /** -1 where it has none. */
  readonly maxTimestamp: number;
  /** Of the frame, from the group's first byte. */
  readonly position: number;
}

/** A batch up to this is copied behind its head: one buffer costs less than two. */
const copiedMaxBytes = 1 * KiB;

/** The frames of a replica's own store. */
export function encodeStamped(
  stamped: readonly StampedEntry[],
  { durableIndex, seed }: { readonly durableIndex: number; readonly seed: number },
): StampedGroup {
  const entries: StampedGroupEntry[] = [];
  const buffers: Buffer[] = [];
  let byteLength = 0;
  let recordCount = 0;
  for (const entry of stamped) {
    const header = headerOf(entry, Math.min(entry.index - durableIndex, syncedBackUnknown));
    const { payload } = entry;
    const batch = entry.kind === "data" ? readBatchHeader(payload) : undefined;
    entries.push({ header, payload, maxTimestamp: batch?.maxTimestamp ?? -1, position: byteLength });
    const frame = encodeParts(header, payload, seed);
    buffers.push(...frame);
    for (const part of frame) byteLength += part.length;
    recordCount += batch?.recordCount ?? 0;
  }
  return { entries, buffers, byteLength, recordCount };
}

/** The frame as it travels to a peer. What it says of syncs is for nobody: the receiver stamps its own. */
export function encodeForPeer(entry: StampedEntry, seed: number): Buffer {
  const header = headerOf(entry, syncedBackUnknown);
  const { payload } = entry;
  return entry.kind === "data" ? encodeDataFrame(header, payload, seed) : encodeControlFrame(header, payload, seed);
}

/** A frame that a peer sent, with both its crcs verified; undefined when it is none of this group. The payload is a view of `bytes`. */
export function decodeFromPeer(bytes: Buffer, seed: number): StampedEntry | undefined {
  const read = readFrame(bytes, 0, bytes.length, 0, seed);
  if (read.outcome !== "frame" || read.frame.byteLength !== bytes.length) return undefined;
  return read.frame.kind === "segment-header" || read.frame.kind === "pad" ? undefined : read.frame;
}

function headerOf({ kind, index, term, span, baseOffset, appendTime, flags }: StampedEntry, syncedBack: number): EntryHeader {
  return { kind, index, term, span, baseOffset, appendTime, syncedBack, flags };
}

function encodeParts(header: EntryHeader, payload: Buffer, seed: number): readonly Buffer[] {
  if (header.kind !== "data") return [encodeControlFrame(header, payload, seed)];
  if (payload.length <= copiedMaxBytes) return [encodeDataFrame(header, payload, seed)];
  const head = Buffer.allocUnsafe(dataHeadBytes);
  writeDataHead(head, 0, header, payload, seed);
  return [head, payload.subarray(batchUnprotectedBytes)];
}
