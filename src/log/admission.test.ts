import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { batchInflatedMaxBytes, batchMaxBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { checkBatch } from "../batch/check-batch.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import { dumbBatch } from "../batch/dumb-batch.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { goldenNow, goldenRecords } from "../batch/golden-batch.ts";
import { admitBatch } from "./admission.ts";
import type { LogOptions } from "./log.ts";
import { resolveOptions } from "./log-options.ts";

const now = goldenNow;

function admit(batch: Buffer, options: LogOptions, time = now) {
  const repacked: number[] = [];
  const observer = { repacked: ({ bytes }: { readonly bytes: number }) => void repacked.push(bytes) };
  return { ...admitBatch(batch, resolveOptions(options), { now: time, observer }), repacked };
}

/** Its CRC is right, and what the codec is to unpack is none of its data. */
const closedRubbish = dumbBatch([], {
  attributes: 1,
  lastOffsetDelta: 0,
  recordCount: 1,
  maxTimestamp: 0n,
  body: Buffer.from("rubbish"),
});

test("a batch passes as it is where nothing is asked for, whatever its codec", () => {
  for (const compression of ["none", "gzip", "zstd"] as const) {
    const batch = encodeBatch(goldenRecords, { now, compression });
    for (const options of [{}, { batchCompression: compression }, { deepCheck: true }] as const) {
      const admitted = admit(batch, options);
      assert.equal(admitted.batch, batch);
      assert.deepEqual(admitted.header, checkBatch(batch));
      assert.deepEqual(admitted.repacked, []);
    }
  }
});

test("where the log is compacted each record needs a key, whatever the codec", () => {
  for (const compression of ["none", "gzip", "zstd"] as const) {
    const keyed = encodeBatch(
      [
        { key: "a", value: "1" },
        { key: "", value: null },
      ],
      { now, compression },
    );
    for (const cleanup of ["compact", "both"] as const) {
      assert.equal(admit(keyed, { cleanup }).batch, keyed);
      const message = "Cannot accept the batch: record 1: it has no key, and the log is compacted by key";
      assert.throws(() => admit(encodeBatch(goldenRecords, { now, compression }), { cleanup }), {
        code: "INVALID_RECORD",
        message,
      });
    }
  }
});

test("a closed batch is opened where the options ask for it, where the log is compacted, and to pack it anew", () => {
  assert.equal(admit(closedRubbish, {}).batch, closedRubbish);
  assert.equal(admit(closedRubbish, { batchCompression: "gzip" }).batch, closedRubbish);
  for (const options of [
    { deepCheck: true },
    { cleanup: "compact" },
    { cleanup: "both" },
    { batchCompression: "zstd" },
    { batchCompression: "none" },
  ] as const) {
    assert.throws(() => admit(closedRubbish, options), { code: "INVALID_BATCH" }, JSON.stringify(options));
  }
});

test("what is inflated is bounded, and the records in it by the limit of one", () => {
  const large = encodeBatch([{ value: Buffer.alloc(MiB) }], { now, compression: "gzip" });
  assert.equal(admit(large, { deepCheck: true }).batch, large);
  const bomb = dumbBatch([], {
    attributes: 1,
    lastOffsetDelta: 0,
    recordCount: 1,
    body: gzipSync(Buffer.alloc(batchInflatedMaxBytes + 1)),
  });
  for (const options of [{ deepCheck: true }, { batchCompression: "zstd" }] as const) {
    assert.throws(() => admit(large, { ...options, recordMaxBytes: MiB - 1 }), { code: "RECORD_TOO_LARGE" });
    assert.throws(() => admit(bomb, options), { code: "BATCH_TOO_LARGE" });
  }
});

test("a batch in another codec than the log keeps is packed anew, and told of; one in the same isn't", () => {
  for (const from of ["none", "gzip", "zstd"] as const) {
    for (const to of ["none", "gzip", "zstd"] as const) {
      const batch = encodeBatch(goldenRecords, { now, compression: from });
      const admitted = admit(batch, { batchCompression: to });
      assert.equal(admitted.header.compression, to);
      assert.deepEqual(decodeBatch(admitted.batch), decodeBatch(batch));
      assert.deepEqual(admitted.repacked, from === to ? [] : [admitted.batch.length]);
    }
  }
});

test("where the log sets the times, a batch gets the append's, and the caller's buffer stays as it was", () => {
  const batch = encodeBatch(goldenRecords, { now });
  const before = Buffer.from(batch);
  const admitted = admit(batch, { timestampType: "append" }, 5_000);
  assert.deepEqual(batch, before);
  assert.deepEqual([admitted.header.timestampType, admitted.header.maxTimestamp], ["append", 5_000]);
  assert(decodeBatch(admitted.batch).every(({ timestamp }) => timestamp === 5_000));
  assert.deepEqual(admitted.repacked, []);
  checkBatch(admitted.batch, { deep: true });
});

test("a batch that was sent with times of an append keeps them where records keep their own", () => {
  const batch = encodeBatch(goldenRecords, { now, timestampType: "append" });
  assert.equal(admit(batch, {}).batch, batch);
  const { header } = admit(batch, { batchCompression: "gzip" }, 5_000);
  assert.deepEqual([header.timestampType, header.maxTimestamp], ["append", now]);
});

test("a batch that is too large unpacked is refused where the log keeps it so", () => {
  const large = encodeBatch(
    Array.from({ length: 5 }, () => ({ value: Buffer.alloc(MiB - KiB) })),
    { now, compression: "gzip" },
  );
  assert(large.length < batchMaxBytes);
  assert.equal(admit(large, { deepCheck: true }).batch, large);
  assert.throws(() => admit(large, { batchCompression: "none" }), { code: "BATCH_TOO_LARGE" });
});
