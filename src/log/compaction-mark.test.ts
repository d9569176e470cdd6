import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSimDisk } from "../../sim/disk.ts";
import {
  advanceMark,
  cleanOffsetOf,
  type CompactionMark,
  compactionMarkName,
  cutMark,
  decodeCompactionMark,
  encodeCompactionMark,
  noCompactionMark,
  readCompactionMark,
  tombstoneEndOf,
  writeCompactionMark,
} from "./compaction-mark.ts";

const mark: CompactionMark = {
  mappedOffset: 50,
  points: [
    { offset: 10, time: 100 },
    { offset: 30, time: 200 },
    { offset: 40, time: 300 },
  ],
};

describe("a compaction mark", () => {
  test("lets tombstones go below what was clean long enough ago", () => {
    assert.equal(tombstoneEndOf(mark, 300, 201), 0);
    assert.equal(tombstoneEndOf(mark, 300, 100), 30);
    assert.equal(tombstoneEndOf(mark, 300, 200), 10);
    assert.equal(tombstoneEndOf(mark, 300, 0), 40);
    assert.equal(tombstoneEndOf(noCompactionMark, 1e15, 0), 0);
  });

  test("advances, and never back, in offset and in time", () => {
    assert.deepEqual(advanceMark(mark, 70, { offset: 60, time: 400 }), {
      mappedOffset: 70,
      points: [...mark.points, { offset: 60, time: 400 }],
    });
    assert.deepEqual(advanceMark(mark, 70, { offset: 40, time: 400 }), { ...mark, mappedOffset: 70 });
    assert.deepEqual(advanceMark(mark, 45, { offset: 20, time: 400 }), mark);
    assert.equal(advanceMark(mark, 70, { offset: 60, time: 250 }).points.at(-1)?.time, 300);
    assert.deepEqual(advanceMark(noCompactionMark, 0, { offset: 0, time: 5 }), noCompactionMark);
  });

  test("keeps sixteen points; the one that goes leaves its place to the next, so nothing goes too early", () => {
    let full = noCompactionMark;
    const times = Array.from({ length: 40 }, (_, i) => i * i);
    for (const [i, time] of times.entries()) full = advanceMark(full, i + 1, { offset: i + 1, time });
    assert.equal(full.points.length, 16);
    assert.equal(cleanOffsetOf(full), 40);
    for (const { offset, time } of full.points) assert.equal(times[offset - 1], time);
    assert.deepEqual(decodeCompactionMark(encodeCompactionMark(full, 7), 7), full);
  });

  test("is cut with the log: what it says of the rest stays true", () => {
    assert.deepEqual(cutMark(mark, 35), {
      mappedOffset: 35,
      points: [
        { offset: 10, time: 100 },
        { offset: 30, time: 200 },
        { offset: 35, time: 300 },
      ],
    });
    assert.deepEqual(cutMark(mark, 10), { mappedOffset: 10, points: [{ offset: 10, time: 100 }] });
    assert.deepEqual(cutMark(mark, 60), mark);
    assert.equal(cleanOffsetOf(cutMark(mark, 0)), 0);
  });

  test("comes back from its bytes; no changed byte, no other log's and no cut one is taken", () => {
    const bytes = encodeCompactionMark(mark, 5);
    assert.deepEqual(decodeCompactionMark(bytes, 5), mark);
    assert.equal(decodeCompactionMark(bytes, 6), undefined);
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 4;
      assert.equal(decodeCompactionMark(changed, 5), undefined, `byte ${at}`);
      assert.equal(decodeCompactionMark(bytes.subarray(0, at), 5), undefined, `cut at ${at}`);
    }
  });

  test("that tells of more than the log has is none, as is one that is missing or damaged", async () => {
    const disk = createSimDisk();
    await disk.makeDirectory("/log");
    const place = { disk, directory: "/log", seed: 5 };
    assert.deepEqual(readCompactionMark(place, 100), noCompactionMark);
    await writeCompactionMark(place, mark);
    assert.deepEqual(readCompactionMark(place, 50), mark);
    assert.deepEqual(readCompactionMark(place, 49), noCompactionMark);
    disk.flipBit(`/log/${compactionMarkName}`, 20, 0);
    assert.deepEqual(readCompactionMark(place, 100), noCompactionMark);
  });
});
