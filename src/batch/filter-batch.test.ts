import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { constants, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { createSeededRandom } from "../../sim/random.ts";
import { batchMaxBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { batchHeaderBytes, readBatchHeader, verifyBatchCrc } from "./batch-header.ts";
import { decodeBatch, openStoredBatch } from "./decode-batch.ts";
import { dumbBatch, dumbRecord } from "./dumb-batch.ts";
import { encodeBatch } from "./encode-batch.ts";
import { filterBatch, RecordWalk } from "./filter-batch.ts";
import { goldenBatch, goldenGzipBatch, goldenNow } from "./golden-batch.ts";

/** As a leader stamps it, which lies outside of its CRC. */
function stamp(batch: Buffer, baseOffset: number, term: number): Buffer {
  const stamped = Buffer.from(batch);
  stamped.writeBigInt64BE(BigInt(baseOffset), 0);
  stamped.writeInt32BE(term, 12);
  return stamped;
}

const records = fc.array(
  fc.record({
    key: fc.option(fc.uint8Array({ maxLength: 20 })),
    value: fc.option(fc.uint8Array({ maxLength: 40 })),
    headers: fc.array(fc.record({ key: fc.string({ unit: "grapheme-ascii" }), value: fc.option(fc.uint8Array()) }), {
      maxLength: 2,
    }),
    timestamp: fc.integer({ min: 0, max: 2 ** 40 }),
  }),
  { minLength: 1, maxLength: 30 },
);

describe("a filtered batch", () => {
  test("has the records that were kept, as they were, at their offsets, whatever its codec", () => {
    const codec = fc.constantFrom("none", "gzip", "zstd");
    fc.assert(
      fc.property(records, codec, fc.infiniteStream(fc.boolean()), (given, compression, keeping) => {
        const producer = { producerId: 2 ** 40, producerEpoch: 3, baseSequence: 77 };
        const batch = stamp(encodeBatch(given, { now: 1, compression, ...producer }), 1_000_000, 9);
        const kept = decodeBatch(batch).filter(() => keeping.next().value);
        const offsets = new Set(kept.map(({ offset }) => offset));
        const filtered = filterBatch(batch, ({ offset }) => offsets.has(offset));
        if (kept.length === given.length) {
          assert.equal(filtered, undefined);
          return;
        }
        assert.ok(filtered !== undefined && verifyBatchCrc(filtered, 0, filtered.length));
        assert.deepEqual(decodeBatch(filtered), kept);
        const header = readBatchHeader(filtered);
        const { baseOffset, leaderEpoch, lastOffsetDelta, recordCount, producerId, producerEpoch, baseSequence } = header;
        assert.deepEqual([baseOffset, leaderEpoch, lastOffsetDelta], [1_000_000, 9, given.length - 1]);
        assert.deepEqual({ producerId, producerEpoch, baseSequence }, producer);
        assert.equal(recordCount, kept.length);
        assert.equal(header.maxTimestamp, Math.max(-1, ...kept.map(({ timestamp }) => timestamp)));
        if (kept.length > 0) assert.equal(header.compression, compression);
      }),
    );
  });

  test("that keeps none is of 61 bytes and spans as much as before", () => {
    const empty = filterBatch(stamp(goldenGzipBatch, 40, 2), () => false);
    assert.ok(empty !== undefined);
    assert.equal(empty.length, batchHeaderBytes);
    const { baseOffset, leaderEpoch, lastOffsetDelta, recordCount, maxTimestamp } = readBatchHeader(empty);
    assert.deepEqual([baseOffset, leaderEpoch, lastOffsetDelta, recordCount, maxTimestamp], [40, 2, 2, 0, -1]);
    assert.deepEqual(decodeBatch(empty), []);
    assert.equal(
      filterBatch(empty, () => assert.fail("there is nothing to ask about")),
      undefined,
    );
  });

  test("may be filtered again", () => {
    const once = filterBatch(goldenBatch, ({ offset }) => offset !== 0) ?? assert.fail();
    const twice = filterBatch(once, ({ offset }) => offset === 2) ?? assert.fail();
    assert.deepEqual(
      decodeBatch(twice).map(({ offset, timestamp, key }) => [offset, timestamp, key?.toString()]),
      [[2, goldenNow - 300, ""]],
    );
  });

  test("keeps the timestamp of the append for all its records", () => {
    const appendTime = 8;
    const two = [dumbRecord({}), dumbRecord({ offsetDelta: 1n, timestampDelta: 5n })];
    const batch = dumbBatch(two, { attributes: appendTime, maxTimestamp: 1234n });
    const filtered = filterBatch(batch, ({ offset }) => offset === 1) ?? assert.fail();
    assert.deepEqual(
      decodeBatch(filtered).map(({ offset, timestamp }) => [offset, timestamp]),
      [[1, 1234]],
    );
    assert.equal(readBatchHeader(filtered).timestampType, "append");
  });
});

describe("a walk over a batch's records", () => {
  test("tells key, value and place of each", () => {
    const walk = new RecordWalk(openStoredBatch(stamp(goldenBatch, 100, 1)));
    const told: unknown[] = [];
    while (walk.next()) {
      const { bytes, keyStart, keyBytes, offset, timestamp, isTombstone } = walk;
      told.push([offset, timestamp, keyBytes < 0 ? null : bytes.toString("utf8", keyStart, keyStart + keyBytes), isTombstone]);
    }
    assert.deepEqual(told, [
      [100, goldenNow, "k1", false],
      [101, goldenNow + 5, null, false],
      [102, goldenNow - 300, "", true],
    ]);
  });

  test("refuses what decoding refuses, and nothing else", () => {
    fc.assert(
      fc.property(fc.nat(goldenBatch.length - 1), fc.nat(255), (at, byte) => {
        const damaged = Buffer.from(goldenBatch);
        damaged[at] = byte;
        assert.equal(walks(damaged), decodes(damaged));
      }),
      { numRuns: 2000 },
    );
  });
});

function decodes(batch: Buffer): string {
  try {
    return `${decodeBatch(batch).length} records`;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "another error";
  }
}

function walks(batch: Buffer): string {
  try {
    const walk = new RecordWalk(openStoredBatch(batch));
    let count = 0;
    while (walk.next()) count += 1;
    return `${count} records`;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "another error";
  }
}

test("a batch that would be larger without some of its records than batches may be is refused, and stays", () => {
  // The same noise, further apart than the level looks back that is packed with here.
  const noise = createSeededRandom("far noise").bytes(2 * MiB + 200 * KiB);
  const sent = ["gone", "a", "b"].map((key, i) =>
    dumbRecord({ offsetDelta: BigInt(i), key: Buffer.from(key), value: i === 0 ? Buffer.alloc(1) : noise }),
  );
  const params = { [constants.ZSTD_c_compressionLevel]: 9, [constants.ZSTD_c_windowLog]: 23 };
  const batch = dumbBatch(sent, { attributes: 4, body: zstdCompressSync(Buffer.concat(sent), { params }) });
  assert.ok(batch.length < batchMaxBytes);
  assert.throws(() => filterBatch(batch, ({ offset }) => offset !== 0), { code: "BATCH_TOO_LARGE" });
  assert.ok((filterBatch(batch, ({ offset }) => offset !== 1)?.length ?? 0) < batchMaxBytes);
});
