import { assert } from "../src/base/assert.ts";
import type { Random } from "../src/base/random.ts";

/** Randomness that is the same for the same seed, for ever: a seed printed by a failed run has to bring that run back. */
export interface SeededRandom extends Random {
  readonly seed: string;
  /** A whole number in [0, end). */
  integer(end: number): number;
  /** True with probability `probability`. */
  chance(probability: number): boolean;
  /** One of `items`, of which there is at least one. */
  pick<Item>(items: readonly Item[]): Item;
  /**
   * Another source, named by this one's seed and `name` alone: what is drawn from it doesn't shift what is drawn here, so that a
   * change in one part of a simulation leaves the others' luck as it was.
   */
  fork(name: string): SeededRandom;
}

/** sfc32 by Chris Doty-Humphrey (public domain): four words of state, passes PractRand, one addition of a counter against short cycles. */
export function createSeededRandom(seed: string | number): SeededRandom {
  const name = String(seed);
  let [a, b, c] = seedWords(name);
  let counter = 1;

  function word(): number {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  // Nearby seeds give unlike sequences only after the state has been stirred.
  for (let round = 0; round < 12; round += 1) word();

  const random: SeededRandom = {
    seed: name,
    bytes(count) {
      const bytes = Buffer.alloc(count);
      for (let position = 0; position < count; position += 1) bytes[position] = word() >>> 24;
      return bytes;
    },
    // 53 bits, as Math.random has: with 32 only, large ranges would have numbers that never come.
    float: () => ((word() >>> 5) * 2 ** 26 + (word() >>> 6)) / 2 ** 53,
    integer(end) {
      assert(Number.isSafeInteger(end) && end > 0, "a range has an end above 0");
      return Math.floor(random.float() * end);
    },
    chance: (probability) => random.float() < probability,
    pick<Item>(items: readonly Item[]): Item {
      assert(items.length > 0, "there is something to pick from");
      return items[random.integer(items.length)] as Item;
    },
    fork: (child) => createSeededRandom(`${name}/${child}`),
  };
  return random;
}

/** Three words from a text, by FNV-1a with three offsets. */
function seedWords(text: string): [number, number, number] {
  const hash = (offset: number): number => {
    let value = offset | 0;
    for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
    return value;
  };
  return [hash(0x811c9dc5), hash(0x9e3779b9), hash(0x85ebca6b)];
}
