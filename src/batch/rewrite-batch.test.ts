import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { batchHeaderBytes, readBatchHeader } from "./batch-header.ts";
import { checkBatch, openBatch } from "./check-batch.ts";
import type { Compression } from "./compression.ts";
import { decodeBatch } from "./decode-batch.ts";
import { encodeBatch } from "./encode-batch.ts";
import { goldenBatch, goldenNow, goldenRecords } from "./golden-batch.ts";
import { type BatchRewrite, rewriteBatch } from "./rewrite-batch.ts";

const codecs = ["none", "gzip", "zstd"] as const satisfies readonly Compression[];
const producer = { producerId: 7, producerEpoch: 3, baseSequence: 2 ** 31 - 1 };

function rewrite(batch: Buffer, change: Partial<BatchRewrite>): Buffer {
  const header = checkBatch(batch);
  const { compression = header.compression } = change;
  const isOpened = compression !== header.compression && header.compression !== "none";
  const body = isOpened ? openBatch(batch, header) : batch.subarray(batchHeaderBytes);
  const { timestampType, maxTimestamp } = header;
  return rewriteBatch(header, { body, compression, timestampType, maxTimestamp, ...change });
}

test("a batch in another codec has the same records, times and producer, and passes the deep check", () => {
  const records = fc.array(
    fc.record({
      key: fc.option(fc.string()),
      value: fc.option(fc.string()),
      timestamp: fc.option(fc.maxSafeNat(), { nil: undefined }),
    }),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(
    fc.property(records, fc.constantFrom(...codecs), fc.constantFrom(...codecs), (input, from, to) => {
      const batch = encodeBatch(input, { now: goldenNow, compression: from, ...producer });
      const copy = Buffer.from(batch);
      const rewritten = rewrite(batch, { compression: to });
      assert.deepEqual(batch, copy, "the batch that came isn't changed");
      const header = checkBatch(rewritten, { deep: true });
      const { crc: _crc, byteLength: _length, attributes: _attributes, ...rest } = header;
      const { crc: _otherCrc, byteLength: _otherLength, attributes: _otherAttributes, ...expected } = readBatchHeader(batch);
      assert.deepEqual(rest, { ...expected, compression: to });
      assert.deepEqual(decodeBatch(rewritten), decodeBatch(batch));
    }),
    { seed: 1, numRuns: 200 },
  );
});

test("there and back again is the same batch byte for byte", () => {
  for (const codec of codecs) {
    assert.equal(
      rewrite(rewrite(goldenBatch, { compression: codec }), { compression: "none" }).toString("hex"),
      goldenBatch.toString("hex"),
    );
  }
});

test("with the times of an append, every record has that time and keeps the rest", () => {
  for (const from of codecs) {
    for (const to of codecs) {
      const batch = encodeBatch(goldenRecords, { now: goldenNow, compression: from, ...producer });
      const rewritten = rewrite(batch, { compression: to, timestampType: "append", maxTimestamp: 42 });
      const header = checkBatch(rewritten, { deep: true });
      assert.deepEqual([header.timestampType, header.maxTimestamp, header.producerId], ["append", 42, 7]);
      assert.deepEqual(
        decodeBatch(rewritten),
        decodeBatch(batch).map((record) => ({ ...record, timestamp: 42 })),
      );
    }
  }
});

test("a batch that the codec can't bring under the limit is refused, and one at it isn't", () => {
  const batch = encodeBatch([{ value: "x".repeat(100) }], { now: goldenNow });
  const { length } = rewrite(batch, { compression: "gzip" });
  assert.equal(rewrite(batch, { compression: "gzip", maxBytes: length }).length, length);
  assert.throws(() => rewrite(batch, { compression: "gzip", maxBytes: length - 1 }), { code: "BATCH_TOO_LARGE" });
});
