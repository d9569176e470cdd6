import { assert } from "../base/assert.ts";
import { KeyHash } from "./key-hash.ts";

const slotWords = 6;
/** Of one key: 16 bytes of hash and 8 of offset. */
export const keySlotBytes = 4 * slotWords;
const slotsAtFirst = 1024;
/** Some milliseconds' worth, so that others get their turn while the table grows. */
const slotsMovedAtOnce = 16_384;

/**
 * The newest offset of each key, for a bounded number of keys: a table of hashes, open addressing, at most three quarters full.
 * It grows as keys come; while it does, the old table is there beside the new one of twice its size.
 */
export class KeyMap {
  readonly #hash: KeyHash;
  readonly #slotsMax: number;
  /** Slots of four words of hash and two of offset + 1; a slot of zero offset is free. */
  #slots: Int32Array;
  #slotCount: number;
  #count = 0;

  /** `hashKey` is 16 random bytes; `maxBytes` the size of the table at the most. */
  constructor(hashKey: Buffer, maxBytes: number) {
    this.#hash = new KeyHash(hashKey);
    // A power of two, so that the hash's low bits say where to begin.
    this.#slotsMax = 2 ** Math.floor(Math.log2(Math.max(2, maxBytes / keySlotBytes)));
    this.#slotCount = Math.min(slotsAtFirst, this.#slotsMax);
    this.#slots = new Int32Array(this.#slotCount * slotWords);
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Makes room for `keyCount` more keys, as far as the table may grow, and takes a turn of the loop after each piece of it: all
   * at once would keep the loop for half a second where there are millions. Nothing else may be asked of it meanwhile.
   */
  async makeRoom(keyCount: number, takeTurn: () => Promise<void>): Promise<void> {
    while (this.#slotCount < this.#slotsMax && this.#count + keyCount > roomIn(this.#slotCount)) {
      const old = this.#growEmpty();
      for (let from = 0; from < old.length; from += slotsMovedAtOnce * slotWords) {
        this.#move(old, from, Math.min(old.length, from + slotsMovedAtOnce * slotWords));
        await takeTurn();
      }
    }
  }

  /** Notes that `offset` has the key `bytes[start, end)`. False when there is no room for one more key. */
  put(bytes: Buffer, start: number, end: number, offset: number): boolean {
    assert(offset >= 0 && offset < Number.MAX_SAFE_INTEGER, "an offset that a record can have");
    this.#hash.hash(bytes, start, end);
    const { words } = this.#hash;
    let at = this.#find(words, 0);
    if (this.#isFree(at)) {
      if (this.#count + 1 > roomIn(this.#slotCount)) {
        if (this.#slotCount === this.#slotsMax) return false;
        this.#grow();
        at = this.#find(words, 0);
      }
      this.#count += 1;
      this.#slots.set(words, at);
    }
    this.#slots[at + 4] = (offset + 1) | 0;
    this.#slots[at + 5] = Math.floor((offset + 1) / 2 ** 32);
    return true;
  }

  /** The newest offset that has the key `bytes[start, end)`; -1 when none is noted. */
  newestOffset(bytes: Buffer, start: number, end: number): number {
    if (this.#count === 0) return -1;
    this.#hash.hash(bytes, start, end);
    const at = this.#find(this.#hash.words, 0);
    return this.#word(at + 5) * 2 ** 32 + (this.#word(at + 4) >>> 0) - 1;
  }

  clear(): void {
    this.#slots.fill(0);
    this.#count = 0;
  }

  /** Where the hash that stands in `from` at `fromAt` has its slot, or would. */
  #find(from: Int32Array, fromAt: number): number {
    // The casts say that a hash has four words.
    const first = from[fromAt] as number;
    const second = from[fromAt + 1] as number;
    const third = from[fromAt + 2] as number;
    const fourth = from[fromAt + 3] as number;
    const slots = this.#slots;
    for (let slot = first & (this.#slotCount - 1); ; slot = (slot + 1) & (this.#slotCount - 1)) {
      const at = slot * slotWords;
      if (this.#isFree(at)) return at;
      if (slots[at] === first && slots[at + 1] === second && slots[at + 2] === third && slots[at + 3] === fourth) return at;
    }
  }

  #isFree(at: number): boolean {
    return this.#slots[at + 4] === 0 && this.#slots[at + 5] === 0;
  }

  #word(at: number): number {
    return this.#slots[at] as number;
  }

  #grow(): void {
    const old = this.#growEmpty();
    this.#move(old, 0, old.length);
  }

  /** Begins a table of twice the size, and returns the old one. */
  #growEmpty(): Int32Array {
    const old = this.#slots;
    this.#slotCount *= 2;
    this.#slots = new Int32Array(this.#slotCount * slotWords);
    return old;
  }

  #move(old: Int32Array, from: number, to: number): void {
    for (let at = from; at < to; at += slotWords) {
      if (old[at + 4] === 0 && old[at + 5] === 0) continue;
      this.#slots.set(old.subarray(at, at + slotWords), this.#find(old, at));
    }
  }
}

/** How many keys a table of so many slots takes: a quarter stays free, so that a search soon meets its end. */
function roomIn(slotCount: number): number {
  return Math.max(1, Math.floor((slotCount / 4) * 3));
}
