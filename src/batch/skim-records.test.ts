import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { batchHeaderBytes } from "./batch-header.ts";
import { checkBatch } from "./check-batch.ts";
import { dumbBatch, type DumbRecordFields, dumbRecord } from "./dumb-batch.ts";
import { encodeBatch } from "./encode-batch.ts";
import { RecordReader } from "./record-reader.ts";
import { invalidBatch } from "./refusal.ts";
import { type PlainRecords, skimRecords } from "./skim-records.ts";

const recordMaxBytes = 1000;

/** The same by the reader, a record at a time, with all that makes a record plain asked for in so many words. */
function skimSlowly(bytes: Buffer, start: number, recordCount: number): PlainRecords {
  const reader = new RecordReader(bytes, start, bytes.length, invalidBatch("Cannot read"));
  let position = start;
  let count = 0;
  let largestTimestampDelta = 0;
  try {
    for (; count < recordCount; count += 1) {
      reader.readRecord();
      if (reader.headerCount !== 0) break;
      reader.endRecord();
      const { attributes, timestampDelta, offsetDelta, keyBytes, valueBytes } = reader;
      if (attributes !== 0 || timestampDelta < 0 || offsetDelta !== count) break;
      if (Math.max(0, keyBytes) + Math.max(0, valueBytes) > recordMaxBytes) break;
      largestTimestampDelta = Math.max(largestTimestampDelta, timestampDelta);
      // A plain record ends with its value and a header count of one byte.
      position = reader.valueStart + Math.max(0, valueBytes) + 1;
    }
  } catch {
    // A wrong record isn't plain.
  }
  return { count, position, largestTimestampDelta };
}

function skim(bytes: Buffer, recordCount: number): PlainRecords {
  return skimRecords(bytes, batchHeaderBytes, recordCount, recordMaxBytes);
}

const plainRecords = fc.array(
  fc.record({
    key: fc.option(fc.uint8Array({ maxLength: 200 })),
    value: fc.option(fc.uint8Array({ maxLength: 400 })),
    timestamp: fc.integer({ min: 1_000_000, max: 1_500_000 }),
  }),
  { minLength: 1, maxLength: 300 },
);

test("plain records are skimmed to the end, but for a last one that is tiny", () => {
  fc.assert(
    fc.property(plainRecords, (records) => {
      const batch = encodeBatch([{ value: "first", timestamp: 1_000_000 }, ...records], { now: 0 });
      const skimmed = skim(batch, records.length + 1);
      const slow = skimSlowly(batch, batchHeaderBytes, records.length + 1);
      if (skimmed.count === slow.count) assert.deepEqual(skimmed, slow);
      else assert.ok(batch.length - skimmed.position < 13 && slow.position === batch.length);
    }),
  );
});

test("whatever the bytes are, it never passes over a record that isn't plain, nor over one differently than the reader", () => {
  const mutation = fc.record({ at: fc.nat(), byte: fc.integer({ min: 0, max: 255 }) });
  fc.assert(
    fc.property(plainRecords, fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.nat(20), (records, mutations, cut) => {
      const batch = encodeBatch(records, { now: 0 });
      for (const { at, byte } of mutations) batch[batchHeaderBytes + (at % (batch.length - batchHeaderBytes))] = byte;
      const bytes = batch.subarray(0, Math.max(batchHeaderBytes, batch.length - cut));
      const skimmed = skim(bytes, records.length);
      assert.deepEqual(skimmed, skimSlowly(bytes, batchHeaderBytes, skimmed.count));
      assert.ok(skimmed.position <= bytes.length);
    }),
    { numRuns: 2_000 },
  );
});

const value = Buffer.alloc(20);
const unusual: readonly (readonly [string, DumbRecordFields])[] = [
  ["a header", { value, headers: [[Buffer.from("k"), value]] }],
  ["an earlier timestamp than the first", { value, timestampDelta: -1n }],
  ["a timestamp delta of four bytes", { value, timestampDelta: 2n ** 21n }],
  ["an attribute", { value, attributes: 1 }],
  ["another's offset delta", { value, offsetDelta: 2n }],
  ["more bytes than allowed", { value: Buffer.alloc(recordMaxBytes + 1) }],
];

for (const [what, fields] of unusual) {
  test(`it stops before a record with ${what}`, () => {
    const first = dumbRecord({ value });
    const batch = dumbBatch([first, dumbRecord({ offsetDelta: 1n, ...fields }), dumbRecord({ value, offsetDelta: 2n })]);
    assert.deepEqual(skim(batch, 3), { count: 1, position: batchHeaderBytes + first.length, largestTimestampDelta: 0 });
  });
}

test("a batch of plain and unusual records passes the check as a whole", () => {
  const records = [
    { value: "plain", timestamp: 1_000 },
    { value: "plain", timestamp: 9_000 },
    { value: "unusual", headers: [{ key: "k", value: "v" }], timestamp: 5_000 },
    { value: "plain", timestamp: 2_000 },
  ];
  assert.equal(checkBatch(encodeBatch(records, { now: 0 })).maxTimestamp, 9_000);
  assert.equal(checkBatch(encodeBatch(records.toReversed(), { now: 0 })).maxTimestamp, 9_000);
});
