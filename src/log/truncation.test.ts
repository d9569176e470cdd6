import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { KiB } from "../base/units.ts";
import type { Log } from "./log.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

async function fill(log: Log, count: number, text = "v"): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value: `${text}${log.logEndOffset}`.padEnd(100, ".") });
}

async function valuesOf(log: Log): Promise<string[]> {
  return (await readAll(log)).map(({ value }) => value?.replace(/\.+$/, "") ?? "");
}

describe("truncation", () => {
  test("drops the offset it names and all behind, and the next record gets that offset", async () => {
    const log = await new LogWorld().open(small);
    await fill(log, 20);
    for (const offset of [19, 12, 6, 3, 1, 0]) {
      await log.truncate(offset);
      assert.deepEqual([log.logEndOffset, log.highWatermark], [offset, offset]);
      assert.equal((await log.append({ value: `new${offset}` })).baseOffset, offset);
      assert.deepEqual(await valuesOf(log), [...Array.from({ length: offset }, (_, i) => `v${i}`), `new${offset}`]);
      await log.truncate(offset);
    }
    await log.close();
  });

  test("removes whole segments, and their files", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 20);
    assert.deepEqual(world.segments(), [1, 4, 7, 10, 13, 16, 19]);
    await log.truncate(7);
    assert.deepEqual(world.segments(), [1, 4, 7]);
    await log.truncate(6);
    assert.deepEqual(world.segments(), [1, 4]);
    await log.truncate(5);
    assert.deepEqual(world.segments(), [1, 4]);
    await log.truncate(0);
    assert.deepEqual(world.segments(), [1]);
    await log.close();
  });

  test("at the end does nothing, beyond it or below the log start is out of range, inside a batch is refused", async () => {
    const log = await new LogWorld().open(small);
    await log.append([{ value: "a" }, { value: "b" }, { value: "c" }]);
    await fill(log, 5);
    await log.truncate(8);
    assert.equal(log.logEndOffset, 8);
    await assert.rejects(log.truncate(9), { code: "OFFSET_OUT_OF_RANGE" });
    await assert.rejects(log.truncate(-1), { code: "INVALID_ARGUMENT" });
    await assert.rejects(log.truncate(1), { code: "OFFSET_INSIDE_BATCH", details: { baseOffset: 0, nextOffset: 3 } });
    await log.trim(4);
    await assert.rejects(log.truncate(3), { code: "OFFSET_OUT_OF_RANGE" });
    await log.truncate(4);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [4, 4]);
    assert.equal((await log.append({ value: "x" })).baseOffset, 4);
    await log.close();
  });

  test("survives a reopening, after a close and after a kill, and nothing that was cut comes back", async () => {
    for (const end of ["close", "kill"] as const) {
      const world = new LogWorld();
      let log = await world.open(small);
      await fill(log, 20, "old");
      await log.truncate(8);
      await fill(log, 2, "new");
      if (end === "close") await log.close();
      else world.kill();
      log = await world.open(small);
      assert.equal(log.recovery.cut, undefined);
      assert.deepEqual(await valuesOf(log), [...Array.from({ length: 8 }, (_, i) => `old${i}`), "new8", "new9"]);
      await log.close();
    }
  });

  test("a time is looked up in what is there now, not in what was cut", async () => {
    const log = await new LogWorld().open({ indexMaxBytes: 6 * 16 });
    const append = (timestamp: number): Promise<unknown> => log.append({ value: "x".repeat(3 * KiB), timestamp });
    for (const timestamp of [10, 20, 30, 40, 50, 60, 70]) await append(timestamp);
    // Segment 1 is sealed, and its time index has been read.
    assert.equal(await log.findOffset({ timestamp: 52 }), 5);
    await log.truncate(1);
    for (const timestamp of [55, 56, 57, 58, 59, 90]) await append(timestamp);
    assert.equal(await log.findOffset({ timestamp: 52 }), 1);
    assert.equal(await log.findOffset({ timestamp: 57 }), 3);
    await log.close();
  });

  test("an entry that can't be read is found before anything is changed", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 20);
    world.disk.flipBit(world.path(7), 128 + 300, 0);
    const before = world.files();
    // The entry that would be the last is the one that rotted.
    await assert.rejects(log.truncate(8), { code: "LOG_CORRUPT" });
    assert.deepEqual(world.files(), before);
    assert.equal(log.status().state, "open");
    assert.equal((await log.append({ value: "goes on" })).baseOffset, 20);
    await log.close();
  });

  test("rot anywhere in what stays of a segment is found before anything is changed", async () => {
    for (const [rotten, position, offset] of [
      // In the active segment, and in a sealed one that would be the active one again.
      [19, 128 + 60, 20],
      [7, 128 + 60, 8],
    ] as const) {
      const world = new LogWorld();
      const log = await world.open(small);
      await fill(log, 21);
      world.disk.flipBit(world.path(rotten), position, 0);
      const before = world.files();
      await assert.rejects(log.truncate(offset), { code: "LOG_CORRUPT" });
      assert.deepEqual(world.files(), before);
      assert.equal(log.status().state, "open");
      assert.equal((await log.append({ value: "goes on" })).baseOffset, 21);
      await log.close();
    }
  });

  test("rot in what is cut keeps nobody from cutting it", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 20);
    for (const rotten of [7, 10, 13]) world.disk.flipBit(world.path(rotten), 128 + 500, 0);
    await log.truncate(7);
    assert.equal((await log.append({ value: "new" })).baseOffset, 7);
    world.kill();
    log = await world.open(small);
    assert.deepEqual(await valuesOf(log), [...Array.from({ length: 7 }, (_, i) => `v${i}`), "new"]);
    await log.close();
  });
});
