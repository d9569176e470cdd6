import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findFirstAtOrAbove, findLastAtOrBelow, readSlot, slotBytes, type SlotSource, writeSlot } from "./slots.ts";

function slotsOf(firsts: readonly number[]): SlotSource {
  return { count: firsts.length, first: (slot) => firsts[slot] ?? Number.NaN, second: (slot) => slot };
}

test("a slot is two 64-bit integers, little-endian, and the first one may be negative", () => {
  const bytes = Buffer.alloc(3 * slotBytes);
  writeSlot(bytes, 1, -1, 257);
  assert.equal(bytes.toString("hex", 16, 32), "ffffffffffffffff" + "0101000000000000");
  assert.deepEqual(readSlot(bytes, 1), { first: -1, second: 257 });
  fc.assert(
    fc.property(fc.maxSafeInteger(), fc.maxSafeNat(), fc.nat(2), (first, second, slot) => {
      writeSlot(bytes, slot, first, second);
      assert.deepEqual(readSlot(bytes, slot), { first, second });
    }),
  );
});

test("both searches find what a look at every slot finds", () => {
  const firsts = fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 40 }).map((numbers) => numbers.sort((a, b) => a - b));
  fc.assert(
    fc.property(firsts, fc.integer({ min: -1, max: 31 }), (sorted, target) => {
      const slots = slotsOf(sorted);
      assert.equal(
        findLastAtOrBelow(slots, target),
        sorted.findLastIndex((first) => first <= target),
      );
      const above = sorted.findIndex((first) => first >= target);
      assert.equal(findFirstAtOrAbove(slots, target), above === -1 ? sorted.length : above);
    }),
  );
});
