import { readInt64LE, readUint64LE, writeInt64LE, writeUint64LE } from "../base/bytes.ts";

/** Entries of both index files are 16 bytes: two 64-bit integers, little-endian. */
export const slotBytes = 16;

/** Reads slots, from memory or from a file. */
export interface SlotSource {
  readonly count: number;
  first(slot: number): number;
  second(slot: number): number;
}

/** The last slot whose first number is at or below `target`, or -1. First numbers never fall. */
export function findLastAtOrBelow(slots: SlotSource, target: number): number {
  let low = 0;
  let high = slots.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (slots.first(middle) <= target) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The first slot whose first number is at or above `target`, or `count`. */
export function findFirstAtOrAbove(slots: SlotSource, target: number): number {
  let low = 0;
  let high = slots.count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (slots.first(middle) < target) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function readSlot(bytes: Buffer, slot: number): { first: number; second: number } {
  return { first: readInt64LE(bytes, slot * slotBytes), second: readUint64LE(bytes, slot * slotBytes + 8) };
}

export function writeSlot(bytes: Buffer, slot: number, first: number, second: number): void {
  writeInt64LE(bytes, first, slot * slotBytes);
  writeUint64LE(bytes, second, slot * slotBytes + 8);
}
