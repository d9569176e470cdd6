import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loseAll } from "../../sim/crash.ts";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { silentLogger } from "../base/logger.ts";
import { KiB, minuteMs } from "../base/units.ts";
import type { Log } from "./log.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

async function fill(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value: `${log.logEndOffset}`.padEnd(100, ".") });
}

async function offsetsOf(log: Log, from?: number): Promise<number[]> {
  return (await readAll(log, { from: from ?? "start" })).map(({ offset }) => offset);
}

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

describe("trimming", () => {
  test("moves the log start, removes the segments below it and leaves all offsets as they were", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 20);
    await log.trim(2);
    assert.deepEqual(world.segments(), [1, 4, 7, 10, 13, 16, 19]);
    await log.trim(7);
    assert.deepEqual(world.segments(), [7, 10, 13, 16, 19]);
    assert.equal(log.logStartOffset, 7);
    assert.deepEqual(await offsetsOf(log), range(7, 20));
    await assert.rejects(log.read(6), { code: "OFFSET_OUT_OF_RANGE", message: "Cannot read offset 6: the log starts at 7" });
    await assert.rejects(offsetsOf(log, 6), { code: "OFFSET_OUT_OF_RANGE" });
    await log.close();
  });

  test("below the log start does nothing, and beyond the end is out of range", async () => {
    const log = await new LogWorld().open(small);
    await fill(log, 5);
    await log.trim(3);
    await log.trim(1);
    assert.equal(log.logStartOffset, 3);
    await assert.rejects(log.trim(6), { code: "OFFSET_OUT_OF_RANGE" });
    await assert.rejects(log.trim(0.5), { code: "INVALID_ARGUMENT" });
    await log.close();
  });

  test("to the end leaves an empty log that goes on at its offset", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 10);
    await log.trim(10);
    assert.deepEqual(world.segments(), [11]);
    assert.deepEqual(await offsetsOf(log), []);
    await log.close();
    log = await world.open(small);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [10, 10]);
    await log.trim(10);
    await fill(log, 1);
    assert.deepEqual(await offsetsOf(log), [10]);
    await log.close();
  });

  test("inside a batch hides its first records only", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await log.append([{ value: "a" }, { value: "b" }, { value: "c" }]);
    await log.trim(1);
    assert.deepEqual(await offsetsOf(log), [1, 2]);
    await assert.rejects(log.read(0), { code: "OFFSET_OUT_OF_RANGE" });
    assert.equal((await log.read(1)).value?.toString(), "b");
    assert.equal(await log.findOffset({ timestamp: 0 }), 1);
    await log.close();
    log = await world.open(small);
    assert.deepEqual(await offsetsOf(log), [1, 2]);
    await log.close();
  });

  test("what was trimmed away stays known after a kill", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 20);
    await log.trim(11);
    world.kill();
    log = await world.open(small);
    assert.equal(log.logStartOffset, 11);
    assert.deepEqual(await offsetsOf(log), range(11, 20));
    await log.close();
  });

  test("the log start never lies behind what a power cut leaves, though the log isn't synced", async () => {
    for (const sync of ["interval", "never"] as const) {
      const world = new LogWorld();
      const log = await world.open({ sync });
      await fill(log, 10);
      await log.trim(8);
      const after = new LogWorld({ disk: world.disk.crash(loseAll) });
      const reopened = await after.open({ sync });
      assert.equal(reopened.logStartOffset, 8);
      assert.ok(reopened.logEndOffset >= 8);
      await reopened.close();
    }
  });

  test("a segment that can't be removed is left to the next opening", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 20);
    world.disk.fail({ kind: "remove", path: "0001.store", code: "EACCES" });
    await log.trim(11);
    assert.ok(world.segments().includes(1));
    assert.deepEqual(await offsetsOf(log), range(11, 20));
    await log.close();
    log = await world.open(small);
    assert.deepEqual(world.segments(), [10, 13, 16, 19]);
    assert.deepEqual(log.recovery.notes, ["removed 1 segments that had been trimmed"]);
    await log.close();
  });

  test("that a crash cut short between its two base records is written to both before anything is removed", async () => {
    const world = new LogWorld({ isRecording: true });
    let log = await world.open(small);
    await fill(log, 20);
    world.disk.fail({ kind: "write", path: /base-\d$/, nth: 2, effect: "none", code: "EIO" });
    await assert.rejects(log.trim(11), { code: "DISK_FAILED" });
    world.kill();
    log = await world.open(small);
    assert.deepEqual([log.logStartOffset, world.segments()], [11, [10, 13, 16, 19]]);
    const steps = world.disk.operations.map(({ kind, path }) => `${kind} ${path.slice(world.directory.length + 1)}`);
    const firstRemoval = steps.findIndex((step) => step.startsWith("remove ") && step.endsWith(".store"));
    for (const slot of ["base-0", "base-1"]) assert.ok(steps.indexOf(`datasynced ${slot}`) < firstRemoval, slot);
    await fill(log, 1);
    await log.close();
    for (const slot of ["base-0", "base-1"]) {
      const copy = world.copy();
      copy.disk.remove(copy.file(slot));
      const reopened = await copy.open(small);
      assert.deepEqual(await offsetsOf(reopened), range(11, 21));
      await reopened.close();
    }
  });

  test("that a crash cut short between its two base records is kept whichever of them rots later", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 3);
    // Nothing is to be removed here.
    world.disk.fail({ kind: "write", path: /base-\d$/, nth: 2, effect: "none", code: "EIO" });
    await assert.rejects(log.trim(2), { code: "DISK_FAILED" });
    world.kill();
    log = await world.open(small);
    await log.close();
    for (const slot of ["base-0", "base-1"]) {
      const copy = world.copy();
      copy.disk.remove(copy.file(slot));
      const reopened = await copy.open(small);
      assert.equal(reopened.logStartOffset, 2, slot);
      await reopened.close();
    }
  });

  test("left unfinished by a log that was closed is brought to the disk before it is finished", async () => {
    const world = new LogWorld({ isRecording: true });
    let log = await world.open(small);
    await fill(log, 20);
    world.disk.fail({ kind: "remove", path: "0001.store", code: "EACCES" });
    await log.trim(11);
    await log.close();
    world.kill();
    log = await world.open(small);
    assert.equal(log.recovery.kind, "clean");
    const steps = world.disk.operations.map(({ kind, path }) => `${kind} ${path.slice(world.directory.length + 1)}`);
    const synced = steps.findIndex((step) => step.startsWith("datasynced base-"));
    const removed = steps.findIndex((step) => step.startsWith("remove ") && step.endsWith("0001.store"));
    assert.ok(synced >= 0 && synced < removed);
    await log.close();
  });

  test("is finished later when a full disk leaves no room for the second base record", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 20);
    world.disk.fail({ kind: "write", path: /base-\d$/, nth: 2, effect: "none", code: "EIO" });
    await assert.rejects(log.trim(11), { code: "DISK_FAILED" });
    world.kill();
    // The first write is that of the newer one, as it is.
    world.disk.fail({ kind: "write", path: /base-\d$/, nth: 2, effect: "none", code: "ENOSPC" });
    log = await world.open(small);
    assert.deepEqual([log.logStartOffset, world.segments().length], [11, 7]);
    assert.match(log.recovery.notes.join(), /one file of the base record couldn't be written/);
    await log.close();
    log = await world.open(small);
    assert.deepEqual(world.segments(), [10, 13, 16, 19]);
    await log.close();
  });

  test("append times don't fall when no segment is left and the clock went back", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    await fill(log, 4);
    const { appendTime } = await log.append({ value: "last" });
    await log.trim(5);
    world.kill();
    for (const baseIndex of world.segments()) world.disk.remove(world.path(baseIndex));
    world.clock.jumpWall(-60 * minuteMs);
    log = await world.open(small);
    assert.equal((await log.append({ value: "next" })).appendTime, appendTime);
    await log.close();
  });
});

describe("retention", () => {
  test("by bytes removes whole segments from the front, as long as the log stays as large as the limit", async () => {
    const world = new LogWorld();
    const log = await world.open({ ...small, retentionMaxBytes: 2 * KiB });
    await fill(log, 20);
    await log.applyRetention();
    const { storeBytes, logStartOffset } = log.status();
    assert.ok(storeBytes >= 2 * KiB && storeBytes < 3 * KiB);
    assert.deepEqual(await offsetsOf(log), range(logStartOffset, 20));
    assert.equal(log.logEndOffset, 20);
    await log.close();
  });

  test("by age goes by append time, takes the active segment too, and runs by itself", async () => {
    const world = new LogWorld();
    const log = await world.open({ ...small, retentionMaxAgeMs: 10 * minuteMs, retentionIntervalMs: minuteMs });
    for (let i = 0; i < 10; i += 1) await log.append({ value: `${i}`.padEnd(100), timestamp: 0 });
    world.clock.advance(5 * minuteMs);
    await fill(log, 1);
    world.clock.advance(5 * minuteMs);
    await world.settle();
    assert.equal(log.logStartOffset, 0);
    world.clock.advance(1 * minuteMs);
    await world.settle();
    // Offsets 9 and 10 lie in one segment, and the younger one keeps it.
    assert.deepEqual(await offsetsOf(log), [9, 10]);
    world.clock.advance(6 * minuteMs);
    await world.settle();
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [11, 11]);
    await log.close();
  });

  test("removes a segment whose store and index are both bad when it is due, by bytes, and says so", async () => {
    const world = new LogWorld();
    const warnings: unknown[] = [];
    const logger = { ...silentLogger, warn: (fields: object, message: string) => void warnings.push([fields, message]) };
    const options = { ...small, retentionMaxBytes: 2 * KiB, logger };
    let log = await world.open(options);
    await fill(log, 20);
    await log.close();
    const sound = world.copy();
    for (const base of [1, 7]) {
      world.disk.flipBit(world.path(base), 200, 3);
      world.disk.remove(world.path(base, ".index"));
    }
    log = await world.open(options);
    const expected = await sound.open(options);
    await expected.applyRetention();
    await log.applyRetention();
    assert.ok(log.logStartOffset > 9);
    assert.equal(log.logStartOffset, expected.logStartOffset);
    assert.deepEqual(world.segments(), sound.segments());
    assert.deepEqual(await offsetsOf(log), range(log.logStartOffset, 20));
    assert.deepEqual(
      warnings,
      [1, 7].map((base) => [{ segment: world.path(base) }, "retention removed a segment whose index couldn't be read"]),
    );
    await log.close();
    await expected.close();
  });

  test("goes by the append time in the next header where a segment is bad, or in one further behind", async () => {
    for (const bad of [[1], [4], [1, 4]]) {
      const world = new LogWorld();
      const options = { ...small, retentionMaxAgeMs: 10 * minuteMs, retentionIntervalMs: 60 * minuteMs };
      let log = await world.open(options);
      // The last entries of the segments are of minutes 2, 5, 8 and so on.
      for (let i = 0; i < 20; i += 1) {
        await fill(log, 1);
        world.clock.advance(minuteMs);
      }
      await log.close();
      for (const base of bad) {
        world.disk.flipBit(world.path(base), 20, 3);
        world.disk.remove(world.path(base, ".index"));
      }
      log = await world.open({ ...options, retentionMaxAgeMs: 18 * minuteMs });
      await log.applyRetention();
      assert.equal(log.logStartOffset, 0, "minute 2 isn't older than 18 minutes at minute 20");
      await log.close();
      log = await world.open({ ...options, retentionMaxAgeMs: 17 * minuteMs });
      await log.applyRetention();
      // Where the header behind it is bad, nobody tells where the log would begin; where both are, it may be as young as minute 5.
      assert.equal(log.logStartOffset, bad.includes(4) ? 0 : 3);
      assert.equal(log.status().damages, bad.length === 1 && bad.includes(4) ? 1 : 0);
      await log.close();
      log = await world.open({ ...options, retentionMaxAgeMs: 14 * minuteMs });
      await log.applyRetention();
      assert.equal(log.logStartOffset, 6);
      assert.equal(log.status().damages, 0);
      await log.close();
    }
  });

  test("reads no store for what an index or a header tells", async () => {
    const world = new LogWorld();
    let log = await world.open({ ...small });
    await fill(log, 20);
    await log.close();
    world.disk.remove(world.path(1, ".index"));
    log = await world.open({ ...small, retentionMaxBytes: 2 * KiB });
    const lengths: (number | undefined)[] = [];
    world.hold({ kind: "read", path: ".store", where: ({ length }) => (lengths.push(length), false) });
    await log.applyRetention();
    assert.ok(log.logStartOffset > 0);
    assert.deepEqual(lengths, [], "headers are read at once, stores as the disk gets round to it");
    await log.close();
  });

  test("without limits touches nothing", async () => {
    const log = await new LogWorld().open(small);
    await fill(log, 20);
    await log.applyRetention();
    assert.equal(log.logStartOffset, 0);
    await log.close();
  });
});
