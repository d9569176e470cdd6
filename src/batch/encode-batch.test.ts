import assert from "node:assert/strict";
import { mock, test } from "node:test";
import fc from "fast-check";
import { type ErrorCode, isProglogError } from "../base/error.ts";
import { batchInflatedMaxBytes, batchMaxBytes, batchMaxHeaders, batchMaxRecords, recordMaxBytes } from "../base/limits.ts";
import { checkBatch } from "./check-batch.ts";
import { compressions } from "./compression.ts";
import { decodeBatch } from "./decode-batch.ts";
import { dumbBatch, dumbRecord } from "./dumb-batch.ts";
import { encodeBatch } from "./encode-batch.ts";
import { goldenBatch, goldenNow, goldenRecords } from "./golden-batch.ts";
import type { RecordHeader, RecordInput } from "./record.ts";

const now = goldenNow;

test("the golden records are packed into the golden bytes", () => {
  assert.equal(encodeBatch(goldenRecords, { now }).toString("hex"), goldenBatch.toString("hex"));
});

test("a batch is packed byte for byte as its dumb twin packs it", () => {
  fc.assert(
    fc.property(anyRecords(), fc.maxSafeNat(), fc.boolean(), (records, time, hasProducer) => {
      const producer = hasProducer ? { producerId: 7, producerEpoch: 32767, baseSequence: 2 ** 31 - 1 } : {};
      assert.deepEqual(encodeBatch(records, { now: time, ...producer }), twin(records, time, hasProducer));
    }),
    { seed: 1, numRuns: 500 },
  );
});

test("what is packed passes the check and comes back as it was, whatever the compression", () => {
  fc.assert(
    fc.property(anyRecords(), fc.constantFrom(...compressions), (records, compression) => {
      const batch = encodeBatch(records, { now, compression });
      const header = checkBatch(batch, { deep: true });
      assert.equal(header.compression, compression);
      assert.equal(header.recordCount, records.length);
      assert.equal(header.baseOffset, 0);
      assert.equal(header.leaderEpoch, 0);
      assert.deepEqual(decodeBatch(batch), records.map(stored));
    }),
    { seed: 1, numRuns: 500 },
  );
});

test("no byte of a batch is left as its memory came", () => {
  const packings = [0x00, 0xaa, 0x55].map((poison) => {
    const allocate = mock.method(Buffer, "allocUnsafeSlow", (size: number) => Buffer.alloc(size, poison));
    try {
      return (["none", "zstd"] as const).map((compression) => encodeBatch(goldenRecords, { now, compression }).toString("hex"));
    } finally {
      assert.ok(allocate.mock.callCount() > 0);
      allocate.mock.restore();
    }
  });
  assert.deepEqual(packings[0], packings[1]);
  assert.deepEqual(packings[0], packings[2]);
});

test("a batch is alone in its memory", () => {
  for (const compression of ["none", "gzip"] as const) {
    const batch = encodeBatch([{ value: "x" }], { now, compression });
    assert.equal(batch.buffer.byteLength, batch.length);
  }
});

test("a record that becomes shorter or another kind while it is packed is refused, never padded with old memory", () => {
  const values: readonly (readonly [unknown, unknown])[] = [
    ["long enough", "short"],
    [Buffer.alloc(9), Buffer.alloc(3)],
    [Buffer.alloc(3), Buffer.alloc(9)],
    [Buffer.alloc(3), null],
    [null, Buffer.alloc(3)],
    [null, "text"],
    ["ü", "u"],
  ];
  for (const [first, then] of values) {
    for (const others of [[], [{ value: "next" }]]) {
      const records = [changing("value", first, then), ...others];
      assert.throws(() => encodeBatch(records, { now }), coded("INVALID_RECORD", /a record changed while it was packed/));
    }
  }
  const headed = (first: unknown, then: unknown): RecordInput => {
    // A header's value is read three times: checked, measured, written.
    const header = changing("value", first, then, 2);
    Object.defineProperty(header, "key", { value: "h" });
    return { value: "x", headers: [header as RecordHeader] };
  };
  for (const then of [Buffer.alloc(2), Buffer.alloc(4), Buffer.alloc(500), null, "text"]) {
    const records = [headed(Buffer.alloc(3), then)];
    assert.throws(() => encodeBatch(records, { now }), coded("INVALID_RECORD", /a record changed while it was packed/));
  }
  const swapped = [headed(Buffer.alloc(3), Buffer.alloc(4)), headed(Buffer.alloc(4), Buffer.alloc(3))];
  assert.throws(() => encodeBatch(swapped, { now }), coded("INVALID_RECORD", /a record changed while it was packed/));
  const shrinking: RecordInput[] = [{ value: "x" }, { value: "y" }];
  let reads = 0;
  Object.defineProperty(shrinking[0], "value", { get: () => ((reads += 1) === 2 && shrinking.pop(), "x") });
  assert.throws(() => encodeBatch(shrinking, { now }), coded("INVALID_RECORD", /a record changed while it was packed/));
  const [late] = decodeBatch(encodeBatch([changing("timestamp", 7, 1.5)], { now }));
  assert.equal(late?.timestamp, 7);
});

test("the input isn't touched", () => {
  const records = [{ key: Buffer.from("key"), value: Buffer.from("value"), headers: [{ key: "h", value: Buffer.from("v") }] }];
  const before = structuredClone(records);
  encodeBatch(records, { now, compression: "zstd" });
  assert.deepEqual(
    records.map(({ key, value }) => [key.toString(), value.toString()]),
    before.map(() => ["key", "value"]),
  );
  const frozen = Object.freeze([Object.freeze({ value: "x", headers: Object.freeze([]) })]);
  assert.equal(decodeBatch(encodeBatch(frozen, { now })).length, 1);
});

test("a wrong record is named by its number", () => {
  assert.throws(
    () => encodeBatch([{ value: "fine" }, { value: 7 as unknown as string }], { now }),
    coded("INVALID_RECORD", /^Cannot pack record 1 of the batch: its value is 7/),
  );
  assert.throws(
    () => encodeBatch([{ value: Buffer.alloc(recordMaxBytes + 1) }], { now }),
    coded("RECORD_TOO_LARGE", /^Cannot pack record 0 of the batch/),
  );
});

test("one record's headers don't count for the next", () => {
  const large = Buffer.alloc(0.6 * recordMaxBytes);
  const records = [{ value: null, headers: [{ key: "h", value: large }] }, { value: large }];
  assert.equal(decodeBatch(encodeBatch(records, { now })).length, 2);
});

test("a batch of nothing is refused", () => {
  assert.throws(() => encodeBatch([], { now }), coded("INVALID_BATCH", /there are no records/));
});

test("as many records as allowed go into a batch, and one more doesn't", () => {
  const record = { value: null };
  const most = Array.from({ length: batchMaxRecords }, () => record);
  const batch = encodeBatch(most, { now, compression: "zstd" });
  assert.equal(checkBatch(batch, { deep: true }).recordCount, batchMaxRecords);
  assert.throws(
    () => encodeBatch([...most, record], { now, compression: "zstd" }),
    coded("INVALID_BATCH", /1000000 are allowed/),
  );
});

test("as many headers as allowed go into a batch, and one more doesn't", () => {
  const headers = Array.from({ length: 1000 }, () => ({ key: "", value: null }));
  const most: RecordInput[] = Array.from({ length: batchMaxHeaders / 1000 }, () => ({ value: null, headers }));
  const batch = encodeBatch(most, { now, compression: "zstd" });
  assert.equal(checkBatch(batch, { deep: true }).recordCount, 1000);
  assert.equal(decodeBatch(batch).length, 1000);
  const beyond = [...most, { value: null, headers: headers.slice(0, 1) }];
  assert.throws(
    () => encodeBatch(beyond, { now, compression: "zstd" }),
    coded("INVALID_BATCH", /have 1000001 headers, and 1000000/),
  );
});

test("a batch of exactly the largest size is packed, and one byte more is refused", () => {
  const whole = Array.from({ length: 3 }, () => ({ value: Buffer.alloc(recordMaxBytes) }));
  const packedBytes = encodeBatch([...whole, { value: Buffer.alloc(500_000) }], { now }).length;
  const last = 500_000 + batchMaxBytes - packedBytes;
  const batch = encodeBatch([...whole, { value: Buffer.alloc(last) }], { now });
  assert.equal(batch.length, batchMaxBytes);
  assert.equal(checkBatch(batch).recordCount, 4);
  const beyond = [...whole, { value: Buffer.alloc(last + 1) }];
  assert.throws(() => encodeBatch(beyond, { now }), coded("BATCH_TOO_LARGE", /a batch has room for 4194243/));
  assert.ok(encodeBatch(beyond, { now, compression: "zstd" }).length < 10_000);
});

test("records that no reader would inflate aren't compressed", () => {
  const whole = Array.from({ length: 15 }, () => ({ value: Buffer.alloc(recordMaxBytes) }));
  // Around a value of 1 MiB stand 13 bytes; around one a little smaller 11, since both lengths are a byte shorter.
  const last = recordMaxBytes - 15 * 13 - 11;
  const fitting = [...whole, { value: Buffer.alloc(last) }];
  assert.equal(checkBatch(encodeBatch(fitting, { now, compression: "zstd" }), { deep: true }).recordCount, 16);
  const beyond = [...whole, { value: Buffer.alloc(last + 1) }];
  assert.throws(
    () => encodeBatch(beyond, { now, compression: "zstd" }),
    coded("BATCH_TOO_LARGE", new RegExp(`room for ${batchInflatedMaxBytes}`)),
  );
});

test("half a producer is a programmer's error", () => {
  for (const producer of [{ producerId: 1 }, { producerId: 1, producerEpoch: 0 }, { baseSequence: 0 }]) {
    assert.throws(() => encodeBatch([{ value: "x" }], { now, ...producer }), { name: "AssertionError" });
  }
});

/** Records of all shapes, for property tests: every field present and absent, text and bytes, times before and after each other. */
function anyRecords(): fc.Arbitrary<RecordInput[]> {
  const text = fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.string({ unit: "grapheme", maxLength: 80 }),
    fc.constant("x".repeat(200)),
  );
  const field = fc.oneof(
    fc.constant(null),
    text,
    fc.uint8Array({ maxLength: 150 }),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  );
  const timestamp = fc.oneof(
    fc.maxSafeNat(),
    fc.integer({ min: -1000, max: 1000 }).map((delta) => goldenNow + delta),
  );
  const record = fc.record(
    {
      key: fc.oneof(field, fc.constant(undefined)),
      value: field,
      headers: fc.array(fc.record({ key: text, value: field }), { maxLength: 4 }),
      timestamp,
    },
    { requiredKeys: ["value"] },
  );
  return fc.oneof(
    { weight: 5, arbitrary: fc.array(record, { minLength: 1, maxLength: 12 }) },
    { weight: 1, arbitrary: fc.array(record, { minLength: 60, maxLength: 140, size: "max" }) },
  );
}

function fieldOf(field: Uint8Array | string | null | undefined): Buffer | null {
  return field === null || field === undefined ? null : Buffer.from(field as Uint8Array);
}

function twin(records: readonly RecordInput[], time: number, hasProducer: boolean): Buffer {
  const timestamps = records.map((record) => BigInt(record.timestamp ?? time));
  const baseTimestamp = timestamps[0] ?? 0n;
  const packed = records.map((record, at) =>
    dumbRecord({
      timestampDelta: (timestamps[at] ?? 0n) - baseTimestamp,
      offsetDelta: BigInt(at),
      key: fieldOf(record.key),
      value: fieldOf(record.value),
      headers: (record.headers ?? []).map(({ key, value }: RecordHeader) => [Buffer.from(key), fieldOf(value)] as const),
    }),
  );
  return dumbBatch(packed, {
    baseTimestamp,
    maxTimestamp: timestamps.reduce((most, timestamp) => (timestamp > most ? timestamp : most)),
    ...(hasProducer ? { producerId: 7n, producerEpoch: 32767, baseSequence: 2 ** 31 - 1 } : {}),
  });
}

function stored(record: RecordInput, offset: number): object {
  return {
    offset,
    timestamp: record.timestamp ?? now,
    key: fieldOf(record.key),
    value: fieldOf(record.value),
    headers: (record.headers ?? []).map(({ key, value }) => ({ key, value: fieldOf(value) })),
  };
}

/** A record whose field `name` has another value once it was read `times` times. */
function changing(name: "value" | "timestamp", first: unknown, then: unknown, times = 1): RecordInput {
  let reads = 0;
  const record = { value: null };
  Object.defineProperty(record, name, { get: () => ((reads += 1) <= times ? first : then) });
  return record;
}

function coded(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => isProglogError(error, code) && message.test(error.message);
}
