import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError, ProglogError } from "../base/error.ts";
import { batchHeaderBytes, batchUnprotectedBytes, parseBatchHeader, readBatchHeader, verifyBatchCrc } from "./batch-header.ts";
import { dumbBatch, dumbRecord } from "./dumb-batch.ts";

const batch = dumbBatch([dumbRecord(), dumbRecord({ offsetDelta: 1n })], {
  baseOffset: 2n ** 53n - 3n,
  leaderEpoch: 77,
  attributes: 0x0c,
  baseTimestamp: 1_700_000_000_000n,
  maxTimestamp: 1_700_000_000_001n,
  producerId: 9_000_000_000n,
  producerEpoch: 3,
  baseSequence: 2_000_000_000,
});

test("a header is read field by field, anywhere in a buffer", () => {
  const shifted = Buffer.concat([Buffer.alloc(5, 0xee), batch, Buffer.alloc(5, 0xee)]);
  const { crc, ...header } = readBatchHeader(shifted, 5);
  assert.equal(crc, batch.readUInt32BE(17));
  assert.deepEqual(header, {
    baseOffset: 2 ** 53 - 3,
    byteLength: batch.length,
    leaderEpoch: 77,
    magic: 2,
    attributes: 0x0c,
    compression: "zstd",
    timestampType: "append",
    lastOffsetDelta: 1,
    baseTimestamp: 1_700_000_000_000,
    maxTimestamp: 1_700_000_000_001,
    producerId: 9_000_000_000,
    producerEpoch: 3,
    baseSequence: 2_000_000_000,
    recordCount: 2,
  });
});

test("61 bytes are read as a header, and 60 are too few", () => {
  assert.equal(readBatchHeader(batch.subarray(0, batchHeaderBytes)).byteLength, batch.length);
  for (let length = 0; length < batchHeaderBytes; length += 1) {
    assert.throws(
      () => readBatchHeader(batch.subarray(0, length)),
      refusal(`a batch has at least 61 bytes, and ${length} are there`),
    );
  }
  assert.throws(() => readBatchHeader(batch, batch.length + 10), refusal("a batch has at least 61 bytes, and 0 are there"));
});

test("another magic is named, however short the batch is", () => {
  const old = Buffer.from(batch);
  old[16] = 1;
  for (const bytes of [old, old.subarray(0, 17)]) {
    assert.throws(() => readBatchHeader(bytes), refusal("magic is 1, and only 2 is supported"));
  }
});

test("a length that holds no header is refused", () => {
  assert.equal(readBatchHeader(dumbBatch([], { batchLength: 49 })).byteLength, 61);
  for (const batchLength of [48, 0, -1, -(2 ** 31)]) {
    const bytes = dumbBatch([], { batchLength });
    assert.throws(() => readBatchHeader(bytes), refusal(`batchLength is ${batchLength}, less than a header takes`));
  }
});

test("numbers beyond a safe integer are refused by name, and the largest safe ones are read", () => {
  for (const field of ["baseOffset", "baseTimestamp", "maxTimestamp", "producerId"] as const) {
    for (const value of [2n ** 53n - 1n, -(2n ** 53n) + 1n]) {
      assert.equal(readBatchHeader(dumbBatch([], { [field]: value }))[field], Number(value));
    }
    for (const value of [2n ** 53n, -(2n ** 53n), 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
      assert.throws(() => readBatchHeader(dumbBatch([], { [field]: value })), refusal(`${field} is beyond 2^53-1`));
    }
  }
});

test("a compression number that nothing stands for is unsupported", () => {
  for (const number of [5, 6, 7]) {
    const bytes = dumbBatch([], { attributes: number });
    assert.throws(
      () => readBatchHeader(bytes),
      (error) => isProglogError(error, "UNSUPPORTED_COMPRESSION") && error.message.includes(`compression ${number}`),
    );
  }
});

test("whoever parses a header chooses the error", () => {
  assert.throws(() => parseBatchHeader(Buffer.alloc(3), 0, (reason) => new ProglogError("INTERNAL", reason)), {
    code: "INTERNAL",
  });
});

test("a CRC is verified in place, over attributes to end", () => {
  const shifted = Buffer.concat([Buffer.alloc(3, 0xee), batch, Buffer.alloc(3, 0xee)]);
  assert.equal(verifyBatchCrc(shifted, 3, 3 + batch.length), true);
  assert.equal(verifyBatchCrc(shifted, 3, 4 + batch.length), false);
  assert.equal(verifyBatchCrc(shifted, 2, 3 + batch.length), false);
  for (let end = 0; end < batchHeaderBytes; end += 1) assert.equal(verifyBatchCrc(batch, 0, end), false);
  for (let at = 0; at < batch.length; at += 1) {
    const changed = Buffer.from(batch);
    changed[at] = (changed[at] ?? 0) ^ 0x10;
    const isCovered = at >= batchUnprotectedBytes || (at >= 17 && at < 21);
    assert.equal(verifyBatchCrc(changed, 0, changed.length), !isCovered, `byte ${at}`);
  }
});

function refusal(reason: string): (error: unknown) => boolean {
  return (error) => isProglogError(error, "INVALID_BATCH") && error.message === `Cannot read the batch header: ${reason}`;
}
