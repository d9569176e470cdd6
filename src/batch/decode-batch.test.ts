import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { type ErrorDetails, isProglogError } from "../base/error.ts";
import { batchInflatedMaxBytes, batchMaxRecords, recordMaxBytes } from "../base/limits.ts";
import { readBatchHeader } from "./batch-header.ts";
import { compressions } from "./compression.ts";
import { decodeBatch } from "./decode-batch.ts";
import { type DumbBatchFields, dumbBatch, dumbRecord } from "./dumb-batch.ts";
import { encodeBatch } from "./encode-batch.ts";
import { goldenBatch, goldenGzipBatch, goldenNow, goldenRecords } from "./golden-batch.ts";

const golden = [
  { offset: 0, timestamp: goldenNow, key: Buffer.from("k1"), value: Buffer.from("hello"), headers: [] },
  {
    offset: 1,
    timestamp: goldenNow + 5,
    key: null,
    value: Buffer.from([0, 255, 128]),
    headers: [
      { key: "h", value: Buffer.from("v") },
      { key: "ü", value: Buffer.alloc(0) },
    ],
  },
  { offset: 2, timestamp: goldenNow - 300, key: Buffer.alloc(0), value: null, headers: [] },
];

test("the golden batches of other clients are decoded", () => {
  assert.deepEqual(decodeBatch(goldenBatch), golden);
  assert.deepEqual(decodeBatch(goldenGzipBatch), golden);
});

test("offsets are those that the leader stamped", () => {
  const stamped = Buffer.from(goldenBatch);
  stamped.writeBigInt64BE(2n ** 40n, 0);
  stamped.writeInt32BE(9, 12);
  assert.deepEqual(
    decodeBatch(stamped).map(({ offset }) => offset),
    [2 ** 40, 2 ** 40 + 1, 2 ** 40 + 2],
  );
});

test("keys and values are views into the batch", () => {
  const batch = Buffer.from(goldenBatch);
  const records = decodeBatch(batch);
  batch.fill("x", 61 + 5, 61 + 7);
  assert.equal(records[0]?.key?.toString(), "xx");
  assert.equal(records[0]?.value?.buffer, batch.buffer);
});

test("records that share no headers object with the caller can't be harmed through it", () => {
  assert.ok(Object.isFrozen(decodeBatch(goldenBatch)[0]?.headers));
});

test("a batch that compaction emptied has no records, and one that it thinned keeps their offsets", () => {
  assert.deepEqual(decodeBatch(dumbBatch([], { baseOffset: 40n, lastOffsetDelta: 9 })), []);
  assert.deepEqual(decodeBatch(dumbBatch([], { lastOffsetDelta: 9, attributes: 4 })), []);
  const thinned = [dumbRecord({ offsetDelta: 2n }), dumbRecord({ offsetDelta: 7n })];
  assert.deepEqual(
    decodeBatch(dumbBatch(thinned, { baseOffset: 40n, lastOffsetDelta: 9 })).map(({ offset }) => offset),
    [42, 47],
  );
});

test("under append time every record has the batch's time", () => {
  const records = [dumbRecord({ timestampDelta: -5n }), dumbRecord({ timestampDelta: 7n, offsetDelta: 1n })];
  const batch = dumbBatch(records, { attributes: 8, baseTimestamp: 3n, maxTimestamp: 100n });
  assert.deepEqual(
    decodeBatch(batch).map(({ timestamp }) => timestamp),
    [100, 100],
  );
});

test("what was stored under larger limits is still decoded", () => {
  const record = dumbRecord({ value: Buffer.alloc(recordMaxBytes + 1) });
  assert.equal(decodeBatch(dumbBatch([record]))[0]?.value?.length, recordMaxBytes + 1);
});

const two = [dumbRecord(), dumbRecord({ offsetDelta: 1n })];
const at40 = { baseOffset: 40, nextOffset: 42 };
const nowhere = { baseOffset: 40, nextOffset: null };

const undecodable: readonly (readonly [string, Buffer, ErrorDetails, RegExp])[] = [
  ["of an unknown compression", at({ attributes: 7 }), at40, /offsets 40 to 41: .*compression 7/],
  ["that is no LZ4 frame", at({ attributes: 3 }), at40, /no whole lz4 data/],
  ["that is no snappy data", at({ attributes: 2, body: Buffer.from("ff", "hex") }), at40, /no whole snappy data/],
  [
    "that claims 4 GiB of records",
    at({ attributes: 2, body: Buffer.from("ffffffff0f00", "hex") }),
    at40,
    /take more than 16777216/,
  ],
  ["that isn't what its compression says", at({ attributes: 1, body: Buffer.from("no gzip") }), at40, /no whole gzip data/],
  [
    "that is a bomb",
    at({ attributes: 1, body: gzipSync(Buffer.alloc(batchInflatedMaxBytes + 1)) }),
    at40,
    /take more than 16777216/,
  ],
  [
    "with bytes behind its compressed data",
    at({ attributes: 4, body: Buffer.concat([zstdCompressSync(Buffer.concat(two)), Buffer.alloc(1)]) }),
    at40,
    /ends 1 bytes before/,
  ],
  ["of a transaction", at({ attributes: 0x10 }), at40, /transaction/],
  ["of a shorter length", at({ batchLength: 60 }), at40, /batchLength asks for 72/],
  [
    "whose offsets pass 2^53-1",
    at({ baseOffset: 2n ** 53n - 2n }),
    { baseOffset: 2 ** 53 - 2, nextOffset: null },
    /no range of offsets/,
  ],
  ["of another length", at({ batchLength: 100 }), at40, /batchLength asks for 112/],
  ["of a negative record count", at({ recordCount: -1 }), at40, /recordCount is -1/],
  ["of more records than bytes", at({ recordCount: batchMaxRecords }), at40, /can't hold so many/],
  [
    "of more records than allowed",
    at({ recordCount: batchMaxRecords + 1 }),
    at40,
    /recordCount is 1000001, and 1000000 are allowed/,
  ],
  [
    "that unfolds to more headers than allowed",
    at({ attributes: 4, body: zstdCompressSync(manyHeaders()), recordCount: 1001, lastOffsetDelta: 1000 }),
    { baseOffset: 40, nextOffset: 1041 },
    /record 1000: the batch has 1000001 headers up to here/,
  ],
  ["with a record behind the last", at({ recordCount: 1 }), at40, /7 bytes are left/],
  [
    "whose offsets go back",
    at({}, [dumbRecord({ offsetDelta: 1n }), dumbRecord({ offsetDelta: 1n })]),
    at40,
    /record 1: offsetDelta is 1/,
  ],
  ["whose offsets pass its last", at({ lastOffsetDelta: 0 }), { baseOffset: 40, nextOffset: 41 }, /record 1: offsetDelta is 1/],
  [
    "with a timestamp beyond 2^53-1",
    at({ baseTimestamp: 2n ** 53n - 1n }, [dumbRecord({ timestampDelta: 1n }), dumbRecord()]),
    at40,
    /record 0: the timestamp/,
  ],
  ["of a negative span", at({ lastOffsetDelta: -1 }), nowhere, /no range of offsets/],
  ["of a negative base offset", at({ baseOffset: -1n }), { baseOffset: null, nextOffset: null }, /no range of offsets/],
  ["of another magic", at({ magic: 1 }), at40, /magic is 1/],
  ["of too few bytes", at({}).subarray(0, 20), nowhere, /at least 61 bytes, and 20 are there/],
  ["of hardly any bytes", at({}).subarray(0, 3), { baseOffset: null, nextOffset: null }, /and 3 are there/],
];

for (const [what, batch, details, reason] of undecodable) {
  test(`a batch ${what} is undecodable, and the error says where to go on`, () => {
    assert.equal(decodeBatch(at({})).length, 2);
    assert.throws(
      () => decodeBatch(batch),
      (error) => {
        assert.ok(isProglogError(error, "UNDECODABLE_BATCH"), String(error));
        assert.match(error.message, /^Cannot decode the batch/);
        assert.match(error.message, reason);
        assert.deepEqual(error.details, details);
        return true;
      },
    );
  });
}

test("a batch cut at any byte is undecodable", () => {
  for (const compression of compressions) {
    const batch = encodeBatch(goldenRecords, { now: goldenNow, compression });
    for (let end = 0; end < batch.length; end += 1) {
      assert.throws(() => decodeBatch(batch.subarray(0, end)), { code: "UNDECODABLE_BATCH" });
      const adjusted = Buffer.from(batch.subarray(0, end));
      if (end >= 61) adjusted.writeInt32BE(end - 12, 8);
      assert.throws(() => decodeBatch(adjusted), { code: "UNDECODABLE_BATCH" });
    }
  }
});

test("of random and mutated bytes, decoding knows one error only, and leaves them as they were", () => {
  const mutation = fc.record({ at: fc.nat(200), byte: fc.nat(255) });
  const start = fc.constantFrom(
    goldenBatch,
    goldenGzipBatch,
    ...(["zstd", "snappy", "lz4"] as const).map((compression) => encodeBatch(goldenRecords, { now: goldenNow, compression })),
  );
  fc.assert(
    fc.property(
      start,
      fc.array(mutation, { minLength: 1, maxLength: 6 }),
      fc.uint8Array({ maxLength: 120 }),
      (batch, mutations, noise) => {
        const mutated = Buffer.from(batch);
        for (const { at: position, byte } of mutations) mutated[position % mutated.length] = byte;
        // The header as it was, so that all of the mutations meet the records.
        const headed = Buffer.concat([batch.subarray(0, 61), mutated.subarray(61)]);
        for (const bytes of [
          mutated,
          headed,
          Buffer.from(noise),
          dumbBatch([], { body: noise, recordCount: 2, lastOffsetDelta: 1 }),
        ]) {
          const before = Buffer.from(bytes);
          try {
            decodeBatch(bytes);
          } catch (error) {
            assert.ok(isProglogError(error, "UNDECODABLE_BATCH"), String(error));
          }
          try {
            readBatchHeader(bytes);
          } catch (error) {
            assert.ok(isProglogError(error), String(error));
          }
          assert.deepEqual(bytes, before);
        }
      },
    ),
    { seed: 1, numRuns: 3000 },
  );
});

/** A thousand records of a thousand headers, and one of one. */
function manyHeaders(): Buffer {
  const headers = Array.from({ length: 1000 }, () => [Buffer.alloc(0), null] as const);
  const records = Array.from({ length: 1000 }, (_, number) => dumbRecord({ offsetDelta: BigInt(number), headers }));
  return Buffer.concat([...records, dumbRecord({ offsetDelta: 1000n, headers: headers.slice(0, 1) })]);
}

/** Two records from offset 40 on, or others, with fields changed. */
function at(fields: DumbBatchFields, records: readonly Buffer[] = two): Buffer {
  return dumbBatch(records, { baseOffset: 40n, ...fields });
}
