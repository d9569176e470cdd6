import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { checkBatch } from "../src/batch/check-batch.ts";
import type { Compression } from "../src/batch/compression.ts";
import { inflate } from "../src/batch/compression.ts";
import { decodeBatch } from "../src/batch/decode-batch.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { goldenNow, goldenRecords } from "../src/batch/golden-batch.ts";

/** Batches that Kafka's Java client and others packed by snappy and LZ4. How they were made stands in the folder's README. */
describe("foreign batches", () => {
  const five = Array.from({ length: 5 }, (_, i) => ({
    key: `k${i}`,
    value: `value number ${i} `.repeat(1500),
    timestamp: goldenNow + i,
  }));
  const batches: readonly (readonly [file: string, Compression, records: Parameters<typeof encodeBatch>[0]])[] = [
    ["java-snappy.bin", "snappy", goldenRecords],
    ["java-lz4.bin", "lz4", goldenRecords],
    ["java-snappy-blocks.bin", "snappy", five],
    ["java-lz4-blocks.bin", "lz4", five],
    ["python-snappy-blocks.bin", "snappy", five],
    ["python-lz4-blocks.bin", "lz4", five],
  ];
  for (const [file, compression, records] of batches)
    test(`${file} passes the deep check, and holds the records that it was made of`, () => {
      const batch = readForeign(file);
      assert.equal(checkBatch(batch, { deep: true }).compression, compression);
      assert.deepEqual(decodeBatch(batch), decodeBatch(encodeBatch(records, { now: goldenNow })));
    });

  const bodies: readonly (readonly [file: string, Compression])[] = [
    ["raw-snappy-records.bin", "snappy"],
    ["lz4-large-block-records.bin", "lz4"],
    ["lz4-linked-blocks-records.bin", "lz4"],
  ];
  for (const [file, compression] of bodies)
    test(`${file} inflates to the records that it was made of`, () => {
      assert.deepEqual(inflate(compression, readForeign(file)), encodeBatch(five, { now: goldenNow }).subarray(61));
    });

  test("a bit flipped in an LZ4 frame with checksums is noticed, wherever it is", () => {
    const frame = readForeign("lz4-linked-blocks-records.bin");
    for (let position = 0; position < frame.length; position += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = Buffer.from(frame);
        flipped.writeUInt8(flipped.readUInt8(position) ^ (1 << bit), position);
        assert.throws(() => inflate("lz4", flipped), /^ProglogError: Cannot inflate the batch/, `bit ${bit} of ${position}`);
      }
    }
  });
});

function readForeign(file: string): Buffer {
  return readFileSync(join(import.meta.dirname, "foreign-batches", file));
}
