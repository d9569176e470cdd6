import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isProglogError } from "../base/error.ts";
import { dumbVarint } from "./dumb-batch.ts";
import { invalidBatch } from "./refusal.ts";
import { VarintReader, varintSize, varlongSize, writeVarint, writeVarlong } from "./varint.ts";

/** Values whose bytes follow from the definition by hand: 150 is 300 zigzag, and 300 = 0b10_0101100. */
const known: readonly (readonly [number, string])[] = [
  [0, "00"],
  [-1, "01"],
  [1, "02"],
  [-2, "03"],
  [63, "7e"],
  [-64, "7f"],
  [64, "8001"],
  [150, "ac02"],
  [2 ** 31 - 1, "feffffff0f"],
  [-(2 ** 31), "ffffffff0f"],
];

test("varints have the bytes that Kafka's protocol gives them", () => {
  for (const [value, hex] of known) {
    const buffer = Buffer.alloc(10);
    assert.equal(writeVarint(buffer, value, 0), hex.length / 2);
    assert.equal(buffer.toString("hex", 0, hex.length / 2), hex);
    assert.equal(varintSize(value), hex.length / 2);
    assert.equal(read(Buffer.from(hex, "hex")).readVarint("it"), value);
    assert.equal(read(Buffer.from(hex, "hex")).readVarlong("it"), value);
  }
});

const interesting = [7, 14, 21, 28, 31, 32, 33, 35, 42, 49, 52, 53].flatMap((bits) =>
  [-2, -1, 0, 1].flatMap((near) => [2 ** bits / 2 + near, -(2 ** bits) / 2 + near, 2 ** bits + near, -(2 ** bits) + near]),
);

test("varlongs agree with arithmetic on bigint, size included, up to safe integers", () => {
  const value = fc.oneof(fc.maxSafeInteger(), fc.integer(), fc.constantFrom(...interesting.filter(Number.isSafeInteger)));
  fc.assert(
    fc.property(value, (number) => {
      const expected = dumbVarint(BigInt(number));
      const buffer = Buffer.alloc(12);
      assert.equal(writeVarlong(buffer, number, 1), 1 + expected.length);
      assert.deepEqual(buffer.subarray(1, 1 + expected.length), expected);
      assert.equal(varlongSize(number), expected.length);
      const reader = read(buffer);
      reader.position = 1;
      assert.equal(reader.readVarlong("it"), number);
      assert.equal(reader.position, 1 + expected.length);
    }),
    { seed: 1, numRuns: 2000 },
  );
});

test("varints agree with arithmetic on bigint over all 32 bits", () => {
  fc.assert(
    fc.property(fc.oneof(fc.integer(), fc.integer({ min: -70_000, max: 70_000 })), (number) => {
      const expected = dumbVarint(BigInt(number));
      const buffer = Buffer.alloc(10);
      assert.equal(writeVarint(buffer, number, 0), expected.length);
      assert.deepEqual(buffer.subarray(0, expected.length), expected);
      assert.equal(varintSize(number), expected.length);
      assert.equal(read(expected).readVarint("it"), number);
    }),
    { seed: 1, numRuns: 2000 },
  );
});

test("the extremes of a safe integer go there and back, and one beyond is refused", () => {
  for (const value of [Number.MAX_SAFE_INTEGER, -Number.MAX_SAFE_INTEGER]) {
    const buffer = Buffer.alloc(10);
    assert.equal(writeVarlong(buffer, value, 0), 8);
    assert.equal(read(buffer).readVarlong("it"), value);
  }
  for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.throws(() => read(dumbVarint(value)).readVarlong("it"), refusal("it is beyond 2^53-1"));
  }
});

test("a varint of more than 32 bits is refused, and one written too long is taken", () => {
  assert.throws(() => read(Buffer.from("ffffffff10", "hex")).readVarint("it"), refusal("it is longer than 32 bits"));
  assert.throws(() => read(Buffer.from("ffffffffff01", "hex")).readVarint("it"), refusal("it is longer than 32 bits"));
  assert.equal(read(Buffer.from("8280808000", "hex")).readVarint("it"), 1);
  assert.equal(read(Buffer.from("82808080808080808000", "hex")).readVarlong("it"), 1);
  assert.throws(() => read(Buffer.alloc(11, 0x80)).readVarlong("it"), refusal("it is longer than 64 bits"));
});

test("an integer cut short is refused at every length, and no byte beyond the end is read", () => {
  for (const value of [64n, 10_000n, 2n ** 31n - 1n]) {
    const bytes = dumbVarint(value);
    for (let end = 0; end < bytes.length; end += 1) {
      const reader = new VarintReader(bytes, 0, end, invalidBatch("Cannot read"));
      assert.throws(() => reader.readVarint("it"), refusal("the bytes end before it does"));
      reader.position = 0;
      assert.throws(() => reader.readVarlong("it"), refusal("the bytes end before it does"));
    }
  }
});

function read(bytes: Buffer): VarintReader {
  return new VarintReader(bytes, 0, bytes.length, invalidBatch("Cannot read"));
}

function refusal(reason: string): (error: unknown) => boolean {
  return (error) => isProglogError(error, "INVALID_BATCH") && error.message === `Cannot read: ${reason}`;
}
