import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { type ErrorCode, isProglogError } from "../base/error.ts";
import { batchInflatedMaxBytes, batchMaxBytes, batchMaxRecords, recordMaxBytes, recordMaxHeaders } from "../base/limits.ts";
import { checkBatch } from "./check-batch.ts";
import { compressions } from "./compression.ts";
import { type DumbBatchFields, dumbBatch, type DumbRecordFields, dumbRecord } from "./dumb-batch.ts";
import { encodeBatch } from "./encode-batch.ts";
import { goldenBatch, goldenGzipBatch, goldenNow, goldenRecords } from "./golden-batch.ts";

const now = goldenNow;
const gzip = 1;
const snappy = 2;
const zstd = 4;
const appendTime = 8;
const two = [dumbRecord({ value: Buffer.from("one") }), dumbRecord({ value: Buffer.from("two"), offsetDelta: 1n })];

test("batches of other clients pass", () => {
  assert.equal(checkBatch(goldenBatch).recordCount, 3);
  assert.equal(checkBatch(goldenGzipBatch, { deep: true }).recordCount, 3);
});

/** Kafka's CRC begins at attributes. Before it, length and magic are checked; base offset and epoch are the leader's to stamp. */
test("every flipped bit is refused, but in the two fields that the leader stamps", () => {
  for (const compression of compressions) {
    const batch = encodeBatch(goldenRecords, { now, compression });
    for (let bit = 0; bit < batch.length * 8; bit += 1) {
      const at = bit >> 3;
      const isStamped = at < 8 || (at >= 12 && at < 16);
      if (isStamped) continue;
      const flipped = Buffer.from(batch);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7));
      assert.throws(() => checkBatch(flipped), isProglogError, `${compression}: bit ${bit & 7} of byte ${at}`);
    }
  }
});

test("a batch cut at any byte is refused, and so is one with a byte more", () => {
  for (const compression of ["none", "zstd"] as const) {
    const batch = encodeBatch(goldenRecords, { now, compression });
    for (let end = 0; end < batch.length; end += 1) {
      assert.throws(() => checkBatch(batch.subarray(0, end)), coded("INVALID_BATCH", / and \d+ are there/));
    }
    assert.throws(() => checkBatch(Buffer.concat([batch, Buffer.alloc(1)])), coded("INVALID_BATCH", /batchLength asks for/));
  }
});

test("base offset and leader epoch may be anything that can be stamped over", () => {
  const batch = dumbBatch(two, { baseOffset: 2n ** 53n - 3n, leaderEpoch: -1 });
  assert.equal(checkBatch(batch).baseOffset, 2 ** 53 - 3);
});

/** What each of these says of itself is sealed with a right CRC: only the check of the field itself can refuse it. */
const wrongHeaders: readonly (readonly [string, DumbBatchFields, RegExp])[] = [
  ["a negative base offset", { baseOffset: -1n }, /baseOffset is -1, and offsets begin at 0/],
  ["offsets beyond 2^53-1", { baseOffset: 2n ** 53n - 2n }, /the offsets pass 2\^53-1/],
  [
    "no records",
    { recordCount: 0, lastOffsetDelta: -1, body: Buffer.alloc(0) },
    /recordCount is 0, and a batch holds at least one/,
  ],
  ["a negative record count", { recordCount: -1 }, /recordCount is -1/],
  [
    "more records than allowed",
    { recordCount: batchMaxRecords + 1, lastOffsetDelta: batchMaxRecords },
    /recordCount is 1000001, and 1000000 are allowed/,
  ],
  ["more records than there are", { recordCount: 3, lastOffsetDelta: 2 }, /recordCount is 3, and \d+ bytes can't hold so many/],
  ["fewer records than there are", { recordCount: 1, lastOffsetDelta: 0 }, /10 bytes are left behind the last of 1 records/],
  [
    "a byte behind its records",
    { body: Buffer.concat([...two, Buffer.alloc(1)]) },
    /1 bytes are left behind the last of 2 records/,
  ],
  ["a last offset delta too large", { lastOffsetDelta: 2 }, /lastOffsetDelta is 2, and with 2 records it must be 1/],
  ["a last offset delta too small", { lastOffsetDelta: 0 }, /lastOffsetDelta is 0, and with 2 records it must be 1/],
  ["the transactional bit", { attributes: 0x10 }, /part of a transaction/],
  ["the control bit", { attributes: 0x20 }, /control batch/],
  ["bit 6", { attributes: 0x40 }, /attributes are 0x40, and only bits 0 to 3 are known/],
  ["bit 15", { attributes: 0x8000 }, /attributes are 0x8000/],
  ["a producer without an epoch", { producerId: 5n, baseSequence: 0 }, /don't go together/],
  ["a producer without a sequence", { producerId: 5n, producerEpoch: 0 }, /don't go together/],
  ["a producer id below -1", { producerId: -2n }, /producerId -2/],
  ["an epoch without a producer", { producerEpoch: 1 }, /don't go together/],
  ["a sequence without a producer", { baseSequence: 1 }, /don't go together/],
  ["a maximum timestamp before 1970", { maxTimestamp: -2n }, /maxTimestamp is -2: before 1970/],
  ["a maximum timestamp too late", { maxTimestamp: 1n }, /maxTimestamp is 1, and the largest of its records is 0/],
  [
    "a maximum timestamp too early",
    { baseTimestamp: 9n, maxTimestamp: 8n },
    /maxTimestamp is 8, and the largest of its records is 9/,
  ],
  ["no maximum timestamp", { maxTimestamp: -1n }, /maxTimestamp is -1, and the largest of its records is 0/],
];

for (const [what, fields, reason] of wrongHeaders) {
  test(`a batch with ${what} is refused`, () => {
    assert.equal(checkBatch(dumbBatch(two)).recordCount, 2);
    assert.throws(() => checkBatch(dumbBatch(two, fields)), coded("INVALID_BATCH", reason));
  });
}

const wrongRecords: readonly (readonly [string, DumbRecordFields, RegExp])[] = [
  ["a length too long", { length: 9n }, /record 1: length is 9, and \d+ bytes are left/],
  ["a negative length", { length: -1n }, /record 1: length is -1/],
  ["a length of 33 bits", { length: 2n ** 32n }, /record 1: length is longer than 32 bits/],
  ["a length too short for its fields", { length: 4n }, /record 1: the bytes end before valueLength does/],
  ["attributes", { attributes: 1 }, /record 1: attributes are 1, and no bit of them is known/],
  ["an offset delta of the record before", { offsetDelta: 0n }, /record 1: offsetDelta is 0/],
  ["an offset delta that leaves a gap", { offsetDelta: 2n }, /record 1: offsetDelta is 2/],
  ["a key length beyond the record", { keyLength: 200n }, /record 1: keyLength is 200, and 2 bytes are left in it/],
  ["a key length below null's", { keyLength: -2n }, /record 1: keyLength is -2/],
  ["a value length beyond the record", { valueLength: 2n }, /record 1: valueLength is 2, and 1 bytes are left in it/],
  ["a value length below null's", { valueLength: -2n }, /record 1: valueLength is -2/],
  ["a negative header count", { headerCount: -1n }, /record 1: headerCount is -1/],
  ["a header count beyond the record", { headerCount: 1n }, /record 1: headerCount is 1, and 0 bytes are left/],
  [
    "a header that isn't counted",
    { headerCount: 0n, headers: [[Buffer.from("h"), null]] },
    /fields end 3 bytes before its length does/,
  ],
  ["a header without a key", { headers: [[null, Buffer.from("v")]] }, /keyLength is -1, and only values may be null/],
  ["a header key that isn't UTF-8", { headers: [[Buffer.from([0xff]), null]] }, /a header's key isn't UTF-8/],
  ["a timestamp before 1970", { timestampDelta: -2n }, /record 1: the timestamp is -2: before 1970/],
  ["a timestamp beyond 64 bits", { timestampDelta: 2n ** 70n }, /record 1: timestampDelta is longer than 64 bits/],
  ["a timestamp beyond 2^53-1", { timestampDelta: 2n ** 53n }, /record 1: timestampDelta is beyond 2\^53-1/],
];

for (const [what, fields, reason] of wrongRecords) {
  test(`a batch whose record has ${what} is refused, uncompressed and deep`, () => {
    const right = [dumbRecord(), dumbRecord({ offsetDelta: 1n })];
    const wrong = [dumbRecord(), dumbRecord({ offsetDelta: 1n, ...fields })];
    assert.equal(checkBatch(dumbBatch(right)).recordCount, 2);
    assert.throws(() => checkBatch(dumbBatch(wrong)), coded("INVALID_BATCH", reason));
    const compressed = dumbBatch(wrong, { attributes: zstd, body: zstdCompressSync(Buffer.concat(wrong)) });
    assert.throws(() => checkBatch(compressed, { deep: true }), coded("INVALID_BATCH", reason));
    assert.equal(checkBatch(compressed).recordCount, 2);
  });
}

test("a sum of timestamps beyond 2^53-1 is refused", () => {
  const most = 2n ** 53n - 1n;
  const records = [dumbRecord(), dumbRecord({ offsetDelta: 1n, timestampDelta: 1n })];
  assert.throws(
    () => checkBatch(dumbBatch(records, { baseTimestamp: most, maxTimestamp: most })),
    coded("INVALID_BATCH", /maxTimestamp is 9007199254740991, and the largest/),
  );
});

test("the largest timestamp is found wherever it stands, and -1 is none", () => {
  const deltas = [-5n, 7n, 0n].map((timestampDelta, at) => dumbRecord({ timestampDelta, offsetDelta: BigInt(at) }));
  assert.equal(checkBatch(dumbBatch(deltas, { baseTimestamp: 100n, maxTimestamp: 107n })).maxTimestamp, 107);
  assert.equal(checkBatch(dumbBatch(two, { baseTimestamp: -1n, maxTimestamp: -1n })).maxTimestamp, -1);
});

test("under append time the maximum is every record's time, and the deltas mean nothing", () => {
  const records = [dumbRecord({ timestampDelta: -5n }), dumbRecord({ timestampDelta: 7n, offsetDelta: 1n })];
  const header = checkBatch(dumbBatch(records, { attributes: appendTime, maxTimestamp: 100n }));
  assert.equal(header.timestampType, "append");
});

test("producers that leave a zero where they have no id are no producers", () => {
  for (const fields of [{ producerEpoch: 0 }, { baseSequence: 0 }, { producerEpoch: 0, baseSequence: 0 }]) {
    assert.equal(checkBatch(dumbBatch(two, fields)).producerId, -1);
  }
  assert.equal(checkBatch(dumbBatch(two, { producerId: 0n, producerEpoch: 0, baseSequence: 0 })).producerId, 0);
});

test("a batch larger than allowed is refused by its size alone", () => {
  assert.equal(checkBatch(goldenBatch, { maxBytes: goldenBatch.length }).recordCount, 3);
  assert.throws(
    () => checkBatch(goldenBatch, { maxBytes: goldenBatch.length - 1 }),
    coded("BATCH_TOO_LARGE", /it has 101 bytes, and 100 are allowed/),
  );
  assert.throws(() => checkBatch(Buffer.alloc(batchMaxBytes + 1)), coded("BATCH_TOO_LARGE", /4194304 are allowed/));
  assert.throws(() => checkBatch(Buffer.alloc(batchMaxBytes)), coded("INVALID_BATCH", /magic is 0/));
});

test("a packed record may be as large as one alone, and not larger", () => {
  const atLimit = dumbRecord({
    key: Buffer.from("k"),
    value: Buffer.alloc(recordMaxBytes - 2),
    headers: [[Buffer.from("h"), null]],
  });
  assert.equal(checkBatch(dumbBatch([atLimit])).recordCount, 1);
  const beyond = dumbRecord({
    key: Buffer.from("k"),
    value: Buffer.alloc(recordMaxBytes - 1),
    headers: [[Buffer.from("h"), null]],
  });
  assert.throws(() => checkBatch(dumbBatch([beyond])), coded("RECORD_TOO_LARGE", /record 0: .* take 1048577 bytes/));
});

test("a packed record may have as many headers as one alone, and not more", () => {
  const headers = Array.from({ length: recordMaxHeaders }, () => [Buffer.from("h"), null] as const);
  assert.equal(checkBatch(dumbBatch([dumbRecord({ headers })])).recordCount, 1);
  const more = [...headers, [Buffer.from("h"), null] as const];
  assert.throws(() => checkBatch(dumbBatch([dumbRecord({ headers: more })])), coded("RECORD_TOO_LARGE", /1025 headers/));
});

test("a compressed batch stays closed unless the check is deep", () => {
  const garbled = dumbBatch(two, { attributes: gzip, body: Buffer.from("no gzip at all") });
  assert.equal(checkBatch(garbled).recordCount, 2);
  assert.throws(() => checkBatch(garbled, { deep: true }), coded("INVALID_BATCH", /no whole gzip data/));
  const foreign = dumbBatch(two, { attributes: snappy, body: Buffer.from("whatever") });
  assert.equal(checkBatch(foreign).compression, "snappy");
  assert.throws(() => checkBatch(foreign, { deep: true }), coded("INVALID_BATCH", /no whole snappy data/));
  const empty = dumbBatch(two, { attributes: snappy, body: Buffer.alloc(0) });
  assert.throws(() => checkBatch(empty), coded("INVALID_BATCH", /no bytes follow the header/));
});

test("a deep check inflates no bomb", () => {
  const bomb = gzipSync(Buffer.alloc(batchInflatedMaxBytes + 1));
  assert.throws(
    () => checkBatch(dumbBatch(two, { attributes: gzip, body: bomb }), { deep: true }),
    coded("BATCH_TOO_LARGE", /inflated/),
  );
});

test("random and mutated bytes are refused with a coded error or pass, and stay as they were", () => {
  const mutation = fc.record({ at: fc.nat(200), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(mutation, { minLength: 1, maxLength: 6 }), fc.uint8Array({ maxLength: 120 }), (mutations, noise) => {
      const mutated = Buffer.from(goldenBatch);
      for (const { at, byte } of mutations) mutated[at % mutated.length] = byte;
      // Sealed again with the fields as they are now, so that the walk is reached and not only the CRC.
      const sealed = dumbBatch([], {
        body: mutated.subarray(61),
        recordCount: mutated.readInt32BE(57),
        lastOffsetDelta: mutated.readInt32BE(57) - 1 || 0,
        attributes: mutated.readUInt16BE(21),
        baseTimestamp: mutated.readBigInt64BE(27),
        maxTimestamp: mutated.readBigInt64BE(35),
      });
      for (const bytes of [
        mutated,
        sealed,
        Buffer.from(noise),
        dumbBatch([], { body: noise, recordCount: 2, lastOffsetDelta: 1 }),
      ]) {
        const before = Buffer.from(bytes);
        onlyCoded(() => checkBatch(bytes, { deep: true }));
        assert.deepEqual(bytes, before);
      }
    }),
    { seed: 1, numRuns: 3000 },
  );
});

function onlyCoded(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!isProglogError(error)) throw error;
  }
}

function coded(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) =>
    isProglogError(error, code) && error.message.startsWith("Cannot accept the batch: ") && message.test(error.message);
}

test("a record without a key is refused where keys are asked for, at any place, and an empty key is one", () => {
  for (const compression of ["none", "gzip"] as const) {
    for (let place = 0; place < 5; place += 1) {
      const records = Array.from({ length: 5 }, (_, i) => ({ key: i === place ? null : `k${i}`, value: "v" }));
      const batch = encodeBatch(records, { now, compression });
      const refused = { code: "INVALID_RECORD", message: new RegExp(`record ${place}: it has no key`) };
      assert.throws(() => checkBatch(batch, { deep: true, requiresKeys: true }), refused);
      assert.equal(checkBatch(batch, { deep: true }).recordCount, 5);
    }
    const keyed = encodeBatch(
      [
        { key: "", value: "v" },
        { key: "k", value: null, headers: [{ key: "h", value: null }] },
      ],
      { now, compression },
    );
    assert.equal(checkBatch(keyed, { deep: true, requiresKeys: true }).recordCount, 2);
  }
});
