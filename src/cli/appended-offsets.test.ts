import assert from "node:assert/strict";
import { test } from "node:test";
import { AppendedOffsets, type AppendedRange } from "./appended-offsets.ts";

type Range = Omit<AppendedRange, "isDurable">;

function describe(...ranges: readonly Range[]): string {
  const offsets = new AppendedOffsets();
  for (const range of ranges) offsets.add({ ...range, isDurable: true });
  return offsets.describe();
}

test("offsets are told as one range, whatever the number of requests", () => {
  assert.equal(describe(), "");
  assert.equal(describe({ partition: 0, baseOffset: 7, count: 1 }), ", offset 7");
  assert.equal(
    describe({ partition: 0, baseOffset: 0, count: 600 }, { partition: 0, baseOffset: 600, count: 400 }),
    ", offsets 0-999",
  );
});

test("other producers' records among ours are told of", () => {
  const ranges = [
    { partition: 0, baseOffset: 0, count: 10 },
    { partition: 0, baseOffset: 11, count: 10 },
  ];
  assert.equal(describe(...ranges), ", offsets 0-20 with others between");
});

test("partitions are named when it isn't the first alone", () => {
  assert.equal(describe({ partition: 2, baseOffset: 5, count: 1 }), ", partition 2 offset 5");
  assert.equal(
    describe({ partition: 1, baseOffset: 0, count: 2 }, { partition: 0, baseOffset: 3, count: 1 }),
    ", partition 0 offset 3, partition 1 offsets 0-1",
  );
});

test("one acknowledgement that wasn't synced makes the whole not durable", () => {
  const offsets = new AppendedOffsets();
  const range = { partition: 0, baseOffset: 0, count: 1 };
  assert.equal(offsets.isDurable, true);
  offsets.add({ ...range, isDurable: false });
  offsets.add({ ...range, isDurable: true });
  assert.equal(offsets.isDurable, false);
});
