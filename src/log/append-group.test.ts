import assert from "node:assert/strict";
import { test } from "node:test";
import { readBatchHeader } from "../batch/batch-header.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { frameBytesOf, stampGroup } from "./append-group.ts";
import { encodeDataFrame } from "./frame.ts";
import type { PendingAppend } from "./work-queue.ts";

const last = { index: 6, term: 2, nextOffset: 40, appendTime: 1_000 };
const seed = 77;

function pending(valueBytes: number): PendingAppend {
  const batch = encodeBatch([{ value: Buffer.alloc(valueBytes, valueBytes) }, { value: null }], { now: 1 });
  return { batch, header: readBatchHeader(batch), expectedOffset: undefined, resolve() {}, reject() {} };
}

test("what a group writes is its frames one behind the other, whatever sizes small and large batches come in", () => {
  for (const sizes of [[1], [50_000], [1, 2, 3], [50_000, 1, 2, 60_000, 70_000, 3], [900, 1_000, 1_024, 1_100, 2_000]]) {
    const appends = sizes.map(pending);
    const group = stampGroup(appends, { last, durableIndex: 5, term: 3, now: 900, beginsSegment: true, seed });
    const frames = group.entries.map(({ header, append }) => encodeDataFrame(header, append.batch, seed));
    assert.deepEqual(Buffer.concat(group.buffers), Buffer.concat(frames));
    assert.equal(group.byteLength, Buffer.concat(frames).length);
    assert.deepEqual(
      group.entries.map(({ position }) => position),
      appends.map((_, number) => appends.slice(0, number).reduce((sum, append) => sum + frameBytesOf(append), 0)),
    );
  }
});

test("small batches go to the file in one buffer, and a large one from where it lies", () => {
  const large = pending(50_000);
  const appends = [pending(1), pending(2), large, pending(3), pending(4)];
  const { buffers } = stampGroup(appends, { last, durableIndex: 6, term: 2, now: 0, beginsSegment: false, seed });
  assert.equal(buffers.length, 3);
  assert.equal(buffers[1]?.buffer, large.batch.buffer);
});

test("the batches themselves aren't changed", () => {
  const append = pending(100);
  const before = Buffer.from(append.batch);
  stampGroup([append], { last, durableIndex: 6, term: 2, now: 0, beginsSegment: false, seed });
  assert.deepEqual(append.batch, before);
});

test("index, offset and append time go on from the last entry, and each entry tells how far back the log was synced", () => {
  const { entries, recordCount } = stampGroup([pending(1), pending(2)], {
    last,
    durableIndex: 5,
    term: 3,
    now: 900,
    beginsSegment: true,
    seed,
  });
  assert.deepEqual(
    entries.map(({ header }) => header),
    [
      { kind: "data", index: 7, term: 3, span: 2, baseOffset: 40, appendTime: 1_000, syncedBack: 2, flags: 1 },
      { kind: "data", index: 8, term: 3, span: 2, baseOffset: 42, appendTime: 1_000, syncedBack: 3, flags: 0 },
    ],
  );
  assert.equal(recordCount, 4);
});
