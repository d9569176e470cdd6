import { type EntryHeader, hasIndex, nextOffsetOf } from "./frame.ts";

/**
 * Where a sequence of frames stands: what the next one is held against. A frame whose crc is right but that doesn't follow is
 * bad all the same, since an old frame behind a new one must never come back to life.
 */
export interface ChainPoint {
  /** Of the last entry; 0 none. */
  readonly index: number;
  readonly term: number;
  /** The offset that the next record gets. */
  readonly nextOffset: number;
  readonly appendTime: number;
}

export const chainStart: ChainPoint = { index: 0, term: 0, nextOffset: 0, appendTime: 0 };

/** Why `entry` can't follow `point`, or undefined when it does. */
export function findChainFault(point: ChainPoint, entry: EntryHeader): string | undefined {
  const expectedIndex = hasIndex(entry.kind) ? point.index + 1 : point.index;
  if (entry.index !== expectedIndex) return `entry ${entry.index} where ${expectedIndex} follows`;
  if (entry.term < point.term) return `term ${entry.term} behind term ${point.term}`;
  if (entry.baseOffset !== point.nextOffset) return `offset ${entry.baseOffset} where ${point.nextOffset} follows`;
  if (entry.appendTime < point.appendTime) return `append time ${entry.appendTime} behind ${point.appendTime}`;
  if (!Number.isSafeInteger(nextOffsetOf(entry)) || !Number.isSafeInteger(entry.appendTime)) return "a number beyond 2^53-1";
  return undefined;
}

export function advanceChain(entry: EntryHeader): ChainPoint {
  return { index: entry.index, term: entry.term, nextOffset: nextOffsetOf(entry), appendTime: entry.appendTime };
}
