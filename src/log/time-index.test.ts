import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { KiB } from "../base/units.ts";
import { crc32c } from "../batch/crc32c.ts";
import {
  ActiveTimeIndex,
  decodeTimeIndex,
  encodeTimeIndex,
  findIndexRange,
  readTimeIndex,
  TimeSlots,
  writeTimeIndex,
} from "./time-index.ts";

const seed = crc32c(Buffer.from("000102030405060708090a0b0c0d0e0f", "hex"));

function slotsOf(pairs: readonly (readonly [number, number])[]): TimeSlots {
  const slots = new TimeSlots();
  for (const [timestamp, index] of pairs) slots.push(timestamp, index);
  return slots;
}

describe("time index", () => {
  test("the range holds the first batch at or after the time, active and sealed, whatever clients' clocks do", () => {
    const batch = fc.record({ timestamp: fc.integer({ min: -1, max: 40 }), bytes: fc.constantFrom(100, 2 * KiB, 5 * KiB) });
    fc.assert(
      fc.property(fc.array(batch, { maxLength: 30 }), fc.integer({ min: 0, max: 41 }), (batches, timestamp) => {
        const active = new ActiveTimeIndex();
        let position = 128;
        batches.forEach((each, i) => {
          active.append(each.timestamp, i + 1, position);
          position += each.bytes;
        });
        const first = batches.findIndex((each) => each.timestamp >= timestamp) + 1;
        const check = (range: ReturnType<ActiveTimeIndex["findRange"]>): void => {
          if (first === 0) assert.equal(range, undefined);
          else assert.ok(range !== undefined && range.after < first && first <= range.through);
        };
        check(active.findRange(timestamp));
        assert.equal(active.maxTimestamp, Math.max(-1, ...batches.map((each) => each.timestamp)));
        const sealed = decodeTimeIndex(encodeTimeIndex(active.sealedSlots(), 1, seed), 1, seed);
        assert.ok(sealed !== undefined);
        check(findIndexRange(sealed, timestamp));
        // An index that goes on from a sealed one knows as much.
        const goneOn = new ActiveTimeIndex(sealed);
        check(goneOn.findRange(timestamp));
        assert.equal(goneOn.maxTimestamp, active.maxTimestamp);
      }),
    );
  });

  test("it is sparse: one slot at most for 4 KiB of store, and one at the seal", () => {
    const active = new ActiveTimeIndex();
    for (let i = 0; i < 100; i += 1) active.append(1000 + i, i + 1, 128 + 512 * i);
    assert.equal(active.slots.count, Math.ceil((100 * 512) / (4 * KiB)));
    const sealed = active.sealedSlots();
    assert.deepEqual([sealed.first(sealed.count - 1), sealed.second(sealed.count - 1)], [1099, 100]);
    const { count } = sealed;
    assert.equal(active.sealedSlots().count, count, "sealing twice adds nothing");
  });

  test("a sealed file's bytes are those of docs/format.md", () => {
    const bytes = Buffer.from(
      "00c02cc899010000" +
        "0100000000000000" +
        "01c02cc899010000" +
        "0900000000000000" +
        Buffer.from("PLTIMEX1").toString("hex") +
        "00000000" +
        "02000000" +
        "0a00000000000000" +
        "0000000000000000",
      "hex",
    );
    bytes.writeUInt32LE(crc32c(Buffer.concat([bytes.subarray(0, 32), bytes.subarray(44)]), 0, 52, seed), 40);
    const slots = slotsOf([
      [1_760_000_000_000, 1],
      [1_760_000_000_001, 9],
    ]);
    assert.deepEqual(encodeTimeIndex(slots, 10, seed), bytes);
  });

  test("one with any bit flipped, cut at any byte, of another segment or another log is none", () => {
    const bytes = encodeTimeIndex(
      slotsOf([
        [5, 1],
        [9, 4],
      ]),
      10,
      seed,
    );
    assert.ok(decodeTimeIndex(bytes, 10, seed) !== undefined);
    for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.equal(decodeTimeIndex(flipped, 10, seed), undefined, `bit ${bit & 7} of byte ${bit >> 3}`);
    }
    for (let end = 0; end < bytes.length; end += 1) assert.equal(decodeTimeIndex(bytes.subarray(0, end), 10, seed), undefined);
    assert.equal(decodeTimeIndex(bytes, 11, seed), undefined);
    assert.equal(decodeTimeIndex(bytes, 10, seed + 1), undefined);
  });

  test("a file is replaced whole", () => {
    const disk = createMemoryDisk();
    writeTimeIndex(
      disk,
      "/t",
      encodeTimeIndex(
        slotsOf([
          [5, 1],
          [9, 4],
        ]),
        10,
        seed,
      ),
    );
    writeTimeIndex(disk, "/t", encodeTimeIndex(slotsOf([[7, 2]]), 10, seed));
    const file = disk.open("/t", "read");
    const slots = readTimeIndex(file, 10, seed);
    assert.deepEqual([slots?.count, slots?.first(0), slots?.second(0)], [1, 7, 2]);
  });

  test("an empty one is sealed as a trailer, and finds nothing", () => {
    const bytes = encodeTimeIndex(new ActiveTimeIndex().sealedSlots(), 10, seed);
    assert.equal(bytes.length, 32);
    const slots = decodeTimeIndex(bytes, 10, seed);
    assert.ok(slots !== undefined);
    assert.equal(findIndexRange(slots, 0), undefined);
  });
});
