import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { KiB } from "../base/units.ts";
import type { Log, ScrubReport } from "./log.ts";
import type { LogDamage } from "./log-observer.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

/** Segments of three entries each: 1, 4, 7, 10, 13, 16, and 19 the active one. */
async function fill(log: Log): Promise<void> {
  for (let i = 0; i < 20; i += 1) await log.append({ value: `${i}`.padEnd(100, ".") });
}

describe("scrub", () => {
  test("reads every byte of the sealed segments and finds nothing in a sound log", async () => {
    const world = new LogWorld();
    const scrubbed: object[] = [];
    const log = await world.open({ ...small, observer: { scrubbed: (event) => void scrubbed.push(event) } });
    await fill(log);
    const { segments, bytes, damages } = await log.scrub();
    const stored = world
      .segments()
      .slice(0, -1)
      .reduce((sum, base) => sum + (world.disk.size(world.path(base)) ?? 0) - 128, 0);
    assert.deepEqual([segments, bytes, damages], [6, stored, []]);
    assert.deepEqual(scrubbed, [{ segments: 6, bytes: stored, damages: 0 }]);
    await log.close();
  });

  test("finds each damage, reports it once to the observer, and changes nothing", async () => {
    const world = new LogWorld();
    const told: LogDamage[] = [];
    const log = await world.open({ ...small, observer: { damaged: (damage) => void told.push(damage) } });
    await fill(log);
    world.disk.flipBit(world.path(1), 20, 3);
    world.disk.flipBit(world.path(4), 200, 3);
    world.truncate(world.path(7), 128);
    world.disk.remove(world.path(10));
    const before = world.files();
    const places = ({ damages }: ScrubReport): unknown[] => damages.map(({ file, position }) => [file, position]);
    const report = await log.scrub();
    assert.deepEqual(places(report), [
      [world.path(1), 0],
      [world.path(4), 128],
      [world.path(7), 128],
      [world.path(10), 0],
    ]);
    const { reason, firstOffset, nextOffset } = report.damages[2] ?? assert.fail();
    assert.deepEqual([reason, firstOffset, nextOffset], ["entries 7 to 9 are missing", 6, 9]);
    assert.deepEqual(places(await log.scrub()), places(report));
    assert.equal(told.length, 4);
    assert.equal(log.status().damages, 4);
    assert.deepEqual(world.files(), before);
    await log.close();
  });

  test("finds a segment that is missing between two that are whole", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log);
    await log.close();
    world.disk.remove(world.path(7));
    const reopened = await world.open(small);
    const { damages } = await reopened.scrub();
    assert.deepEqual(
      damages.map(({ file, firstOffset, nextOffset, reason }) => [file, firstOffset, nextOffset, reason]),
      [[world.path(4), 6, 9, "entries 7 to 9 are missing"]],
    );
    await reopened.close();
  });

  test("takes what the disk can't read for damage, and goes on", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log);
    world.disk.fail({ kind: "read", path: "0004.store", code: "EIO", times: Infinity });
    const { segments, damages } = await log.scrub();
    assert.deepEqual(
      damages.map(({ file }) => file),
      [world.path(4)],
    );
    assert.equal(segments, 5);
    await log.close();
  });

  test("builds a wrong index anew", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log);
    await log.close();
    const before = world.files();
    world.disk.flipBit(world.path(4, ".index"), 9, 0);
    world.disk.remove(world.path(7, ".index"));
    const reopened = await world.open(small);
    assert.deepEqual((await reopened.scrub()).damages, []);
    for (const base of [4, 7]) {
      const path = world.path(base, ".index");
      assert.deepEqual(world.disk.contentOf(path), before.get(path.slice("/log/".length)));
    }
    await reopened.close();
  });

  test("keeps to its rate, runs by itself, and ends with the log however long it would wait", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 4 * KiB, scrubIntervalMs: 10_000, scrubBytesPerSecond: 1 * KiB });
    for (let i = 0; i < 30; i += 1) await log.append({ value: "x".repeat(1000) });
    const reads = (): number => world.openFiles.count;
    assert.equal(reads(), 0);
    world.clock.advance(10_000);
    await world.settle();
    const first = reads();
    assert.ok(first > 0);
    world.clock.advance(1000);
    await world.settle();
    assert.equal(reads(), first, "3.4 KiB take more than three seconds");
    world.clock.advance(3000);
    await world.settle();
    assert.ok(reads() > first);
    await log.close();
    assert.equal(world.openFiles.count, 0);
  });

  test("ends with its signal", async () => {
    const log = await new LogWorld().open(small);
    await fill(log);
    const { segments, damages } = await log.scrub({ signal: AbortSignal.abort() });
    assert.deepEqual([segments, damages], [0, []]);
    await log.close();
  });

  test("goes on over segments that are trimmed and rolled under it", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log);
    const hold = world.hold({ kind: "read", path: "0001.store" });
    const scrubbed = log.scrub();
    await hold.arrived;
    await log.trim(9);
    await fill(log);
    hold.release();
    const { segments, damages } = await scrubbed;
    assert.deepEqual(damages, []);
    assert.equal(segments, world.segments().length - 1);
    assert.equal((await readAll(log)).length, 31);
    await log.close();
  });
});
