import assert from "node:assert/strict";
import { test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { zeroAheadMinBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";

async function storeBytesAfter(segmentMaxBytes: number): Promise<number> {
  const world = new LogWorld();
  const log = await world.open({ segmentMaxBytes });
  await log.append({ value: "x" });
  await world.settle();
  const bytes = world.disk.size(world.path(1)) ?? 0;
  await log.append({ value: "y" });
  await world.settle();
  assert.equal(world.disk.size(world.path(1)), bytes, "there is room for a while");
  await log.close();
  return bytes;
}

test("zeros are written ahead, and never beyond where the segment is sealed", async () => {
  const size = await storeBytesAfter(1024 * KiB);
  assert.ok(size > zeroAheadMinBytes && size < 2 * zeroAheadMinBytes);
  for (const segmentMaxBytes of [1 * KiB, 2 * KiB, 63 * KiB, 64 * KiB]) {
    assert.equal(await storeBytesAfter(segmentMaxBytes), segmentMaxBytes);
  }
});
