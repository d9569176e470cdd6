import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { segmentDamagesMaxCount } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import type { Log, ScrubReport } from "./log.ts";
import type { LogDamage } from "./log-observer.ts";

/** Of one record of 174 bytes, as `padEnd` makes them below. */
const frameBytes = 300;

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

  test("finds every damage of a segment, and says which offsets each has hit", async () => {
    const world = new LogWorld();
    const told: LogDamage[] = [];
    const log = await world.open({ indexMaxBytes: 20 * 16, observer: { damaged: (damage) => void told.push(damage) } });
    for (let i = 0; i < 41; i += 1) await log.append({ value: `${i}`.padEnd(174, "."), timestamp: 1 });
    const frameAt = (number: number): number => 128 + number * frameBytes;
    const path = world.path(1);
    assert.equal(world.disk.size(path), frameAt(20));
    world.disk.flipBit(path, 99, 3);
    // The batch of 2; the lengths of 5 and 6; the head of the last one. Of the second segment, all but one in the middle.
    world.disk.flipBit(path, frameAt(2) + 200, 0);
    world.disk.flipBit(path, frameAt(5), 6);
    world.disk.flipBit(path, frameAt(6), 7);
    world.disk.flipBit(path, frameAt(19) + 30, 1);
    world.disk.corrupt(world.path(21), 128, Buffer.alloc(9 * frameBytes));
    world.disk.corrupt(world.path(21), frameAt(10), Buffer.alloc(10 * frameBytes));
    const { damages, segments } = await log.scrub();
    assert.deepEqual(
      damages.map(({ position, firstOffset, nextOffset }) => [position, firstOffset, nextOffset]),
      [
        [0, 0, 0],
        [frameAt(2), 2, 3],
        [frameAt(5), 5, 7],
        [frameAt(19), 19, 20],
        [128, 20, 29],
        [frameAt(10), 30, 40],
      ],
    );
    assert.deepEqual(told, damages);
    assert.equal(segments, 0);
    for (const { firstOffset } of damages.slice(1)) await assert.rejects(log.read(firstOffset), { code: "LOG_CORRUPT" });
    assert.equal(told.length, 6, "a reader finds them at the same places");
    await log.close();
  });

  test("goes on behind a header that is bad with no index to tell what it held", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log);
    await log.close();
    const reopened = await world.open(small);
    world.disk.flipBit(world.path(4), 20, 3);
    world.disk.remove(world.path(4, ".index"));
    world.disk.flipBit(world.path(4), 700, 3);
    const { damages } = await reopened.scrub();
    assert.deepEqual(
      damages.map(({ file, firstOffset, nextOffset }) => [file, firstOffset, nextOffset]),
      [
        [world.path(4), 3, 3],
        [world.path(4), 5, 6],
      ],
    );
    await reopened.close();
  });

  test("names so many damages of a segment, and not one more", async () => {
    for (const count of [segmentDamagesMaxCount - 1, segmentDamagesMaxCount, segmentDamagesMaxCount + 1]) {
      const world = new LogWorld();
      const log = await world.open({ indexMaxBytes: 250 * 16 });
      for (let i = 0; i < 251; i += 1) await log.append({ value: `${i}`.padEnd(174, "."), timestamp: 1 });
      for (let i = 0; i < count; i += 1) world.disk.flipBit(world.path(1), 128 + 2 * i * frameBytes + 250, 0);
      const { damages } = await log.scrub();
      assert.equal(damages.length, Math.min(count, segmentDamagesMaxCount));
      const isCut = damages.at(-1)?.reason.endsWith("what follows isn't looked at any more");
      assert.equal(isCut, count >= segmentDamagesMaxCount);
      assert.equal(damages.at(-1)?.nextOffset, isCut ? 250 : 2 * count - 1);
      await log.close();
    }
  });

  test("reports what it found in a segment before the disk gave up", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 3 * MiB });
    for (let i = 0; i < 5; i += 1) await log.append({ value: "x".repeat(1000 * KiB) });
    world.disk.flipBit(world.path(1), 300, 3);
    world.disk.fail({
      kind: "read",
      path: world.path(1),
      code: "EIO",
      where: ({ position = 0 }) => position > 1.5 * MiB,
    });
    const { damages } = await log.scrub();
    assert.deepEqual(
      damages.slice(0, 2).map(({ position, reason }) => [position, reason.slice(0, 4)]),
      [
        [128, "the "],
        [0, "EIO:"],
      ],
    );
    await log.close();
  });

  test("finds that entries are missing between two segments that are whole", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log);
    await log.close();
    world.disk.remove(world.path(7));
    // Without its index, nothing but the store tells where the one before ends.
    world.disk.remove(world.path(4, ".index"));
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
