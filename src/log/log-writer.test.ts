import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { readAll } from "../../test/dumb-log.ts";
import { isProglogError } from "../base/error.ts";
import { operationQueueMaxCount } from "../base/limits.ts";
import { silentLogger } from "../base/logger.ts";
import { KiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import type { AppendResult, Log } from "./log.ts";

function storeSyncs(world: LogWorld): number {
  return world.disk.operations.filter(({ kind, path }) => kind === "datasync" && path.endsWith(".store")).length;
}

function outcomes(promises: readonly Promise<AppendResult>[]): { offset: number | string | undefined }[] {
  return promises.map((promise) => {
    const seen: { offset: number | string | undefined } = { offset: undefined };
    promise.then(
      ({ baseOffset }) => (seen.offset = baseOffset),
      (error: unknown) => (seen.offset = isProglogError(error) ? error.code : String(error)),
    );
    return seen;
  });
}

const value = "x".repeat(100);

describe("appends that come together", () => {
  test("share one write and one sync, and keep their order", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open();
    const before = storeSyncs(world);
    const appends = Array.from({ length: 500 }, (_, i) => log.append({ value: `${i}` }));
    const results = await Promise.all(appends);
    assert.equal(storeSyncs(world) - before, 1);
    assert.deepEqual(
      results.map((result) => result.baseOffset),
      results.map((_, i) => i),
    );
    assert.deepEqual(
      (await readAll(log)).map((record) => record.value),
      results.map((_, i) => String(i)),
    );
    await log.close();
  });

  test("while a sync runs gather, and the next one takes them all; none is acknowledged or shown before it is synced", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open();
    const hold = world.disk.holdSync({ path: ".store" });
    const first = outcomes([log.append({ value })]);
    await hold.waiting(1);
    const before = storeSyncs(world);
    const others = outcomes(Array.from({ length: 50 }, () => log.append({ value })));
    await world.settle();
    assert.deepEqual([log.highWatermark, log.logEndOffset], [0, 1], "the group behind isn't written before this one is synced");
    await assert.rejects(log.read(0), { code: "OFFSET_OUT_OF_RANGE" });
    hold.releaseOne();
    await hold.waiting(1);
    await world.settle();
    assert.deepEqual([first[0]?.offset, others[0]?.offset, log.highWatermark], [0, undefined, 1]);
    hold.release();
    await log.sync();
    assert.deepEqual(
      others.map(({ offset }) => offset),
      others.map((_, i) => 1 + i),
    );
    assert.equal(storeSyncs(world) - before, 1);
    await log.close();
  });

  test("are bounded in bytes by the option", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open({ groupMaxBytes: 1 * KiB });
    const before = storeSyncs(world);
    await Promise.all(Array.from({ length: 12 }, () => log.append({ value })));
    // A frame of 56 + 61 + some 110 bytes: four go into 1 KiB.
    assert.equal(storeSyncs(world) - before, 3);
    await log.close();
  });

  test("never share a group across a roll", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 1 * KiB });
    const results = await Promise.all(Array.from({ length: 10 }, () => log.append({ value })));
    assert.deepEqual(
      results.map((result) => result.baseOffset),
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    );
    assert.deepEqual(world.segments(), [1, 4, 7, 10]);
    await log.close();
  });
});

describe("an append that is answered without waiting for the disk lets the event loop go", () => {
  const producer = { id: 7, epoch: 0, baseSequence: 0 };
  const cases: Readonly<Record<string, (log: Log, world: LogWorld) => () => Promise<unknown>>> = {
    "a condition that doesn't hold": (log) => () => log.append({ value }, { expectedOffset: 9 }),
    "a retry": (log) => () => log.append({ value }, { producer }),
    "no room for the next segment": (log, world) => {
      world.disk.fail({ kind: "create", path: ".store", code: "ENOSPC", times: Number.POSITIVE_INFINITY });
      return () => log.append({ value: value.repeat(1_000) });
    },
  };
  for (const [title, begin] of Object.entries(cases)) {
    test(title, async () => {
      const world = new LogWorld();
      let turnCount = 0;
      const turn = (): Promise<void> => {
        turnCount += 1;
        return new Promise((resolve) => void setImmediate(resolve));
      };
      const log = await world.open({ clock: { ...world.clock, turn }, segmentMaxBytes: 64 * KiB });
      await log.append({ value }, { producer });
      const append = begin(log, world);
      let turnsOfOthers = 0;
      const goRound = (): void => {
        turnsOfOthers += 1;
        if (turnsOfOthers < 10) setImmediate(goRound);
      };
      setImmediate(goRound);
      for (let count = 0; count < 20; count += 1) await append().catch(() => {});
      assert.equal(turnsOfOthers, 10, "twenty appends one after another, and others had no turns");
      await world.settle();
      turnCount = 0;
      await Promise.allSettled([append(), append(), append()]);
      await world.settle();
      assert.equal(turnCount, title === "no room for the next segment" ? 3 : 1, "those that are judged together take one turn");
      await log.close();
    });
  }

  test("an append that is written takes no turn of its own for that", async () => {
    const world = new LogWorld();
    let turnCount = 0;
    const turn = async (): Promise<void> => void (turnCount += 1);
    const log = await world.open({ clock: { ...world.clock, turn } });
    await Promise.allSettled([log.append({ value }), log.append({ value }, { expectedOffset: 0 })]);
    await log.append({ value });
    assert.equal(turnCount, 0);
    await log.close();
  });
});

describe("the append queue", () => {
  async function stall(log: Log, world: LogWorld): Promise<ReturnType<LogWorld["disk"]["holdSync"]>> {
    const hold = world.disk.holdSync({ path: ".store" });
    void log.append({ value });
    await hold.waiting(1);
    return hold;
  }
  const batch = encodeBatch([{ value }], { now: 1 });

  test("takes as many bytes as the option says, and refuses one beyond with nothing appended", async () => {
    const world = new LogWorld();
    const log = await world.open({ appendQueueMaxBytes: 3 * batch.length });
    const hold = await stall(log, world);
    const appends = [1, 2, 3].map(() => log.appendBatch(batch));
    assert.deepEqual([log.status().queuedAppends, log.status().queuedBytes], [3, 3 * batch.length]);
    await assert.rejects(log.appendBatch(batch), { code: "APPEND_QUEUE_FULL" });
    await assert.rejects(log.append({ value }), { code: "APPEND_QUEUE_FULL" });
    hold.release();
    await Promise.all(appends);
    assert.equal(log.logEndOffset, 4);
    await log.appendBatch(batch);
    assert.equal(log.logEndOffset, 5);
    await log.close();
  });

  test("one append larger than the queue is taken when nothing waits", async () => {
    const world = new LogWorld();
    const log = await world.open({ appendQueueMaxBytes: 1 });
    assert.equal((await log.appendBatch(batch)).baseOffset, 0);
    await log.close();
  });
});

describe("closing", () => {
  test("waits for the appends that were accepted, and refuses those that come after", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const hold = world.disk.holdSync({ path: ".store" });
    const appends = outcomes([1, 2, 3].map(() => log.append({ value })));
    await hold.waiting(1);
    let isClosed = false;
    const closed = log.close().then(() => (isClosed = true));
    await assert.rejects(log.append({ value }), { code: "LOG_CLOSED" });
    await world.settle();
    assert.equal(isClosed, false);
    hold.release();
    await closed;
    assert.deepEqual(
      appends.map(({ offset }) => offset),
      [0, 1, 2],
    );
    const reopened = await world.open();
    assert.equal(reopened.recovery.kind, "clean");
    assert.equal((await readAll(reopened)).length, 3);
    await reopened.close();
  });

  test("finds its place however many operations wait, and so do appends", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const hold = world.disk.holdSync({ path: ".store" });
    const append = log.append({ value });
    await hold.waiting(1);
    const syncs = Array.from({ length: operationQueueMaxCount }, () => log.sync());
    await assert.rejects(log.sync(), { code: "OVERLOADED", message: "Cannot sync: 10000 operations wait already" });
    await assert.rejects(log.truncate(0), { code: "OVERLOADED" });
    const another = log.append({ value });
    const closed = log.close();
    hold.release();
    await Promise.all([append, ...syncs, another, closed]);
    assert.equal(log.logEndOffset, 2);
  });

  test("the sync of every interval finds its place, too, however many operations wait", async () => {
    const world = new LogWorld();
    const failures: string[] = [];
    const logger = { ...silentLogger, error: (_fields: object, message: string) => void failures.push(message) };
    const log = await world.open({ sync: "interval", syncIntervalMs: 1000, logger });
    const hold = world.disk.holdSync({ path: ".store" });
    await log.append({ value });
    const syncs = [log.sync()];
    await hold.waiting(1);
    while (syncs.length <= operationQueueMaxCount) syncs.push(log.sync());
    world.clock.advance(1000);
    hold.release();
    await Promise.all(syncs);
    assert.deepEqual(failures, []);
    await log.close();
  });

  test("twice is fine, and every operation after it is refused with LOG_CLOSED, without a file left open", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 1 * KiB });
    for (let i = 0; i < 10; i += 1) await log.append({ value });
    await log.close();
    await log.close();
    const operations: Record<string, () => Promise<unknown>> = {
      append: () => log.append({ value }),
      appendBatch: () => log.appendBatch(encodeBatch([{ value }], { now: 1 })),
      "read sealed": () => log.read(0),
      "read active": () => log.read(9),
      records: () => readAll(log),
      "records by time": () => readAll(log, { from: { timestamp: 0 } }),
      batches: () => log.batches({ tail: true }).next(),
      findOffset: () => log.findOffset("start"),
      "findOffset by time": () => log.findOffset({ timestamp: 0 }),
      waitForOffset: () => log.waitForOffset(5),
      truncate: () => log.truncate(5),
      trim: () => log.trim(5),
      applyRetention: () => log.applyRetention(),
      sync: () => log.sync(),
      scrub: () => log.scrub(),
    };
    for (const [name, operation] of Object.entries(operations)) await assert.rejects(operation(), { code: "LOG_CLOSED" }, name);
    assert.equal(world.openFiles.count, 0);
    assert.equal(log.status().state, "closed");
  });

  test("waits for reads under way, so that none opens a file after it", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 1 * KiB });
    for (let i = 0; i < 10; i += 1) await log.append({ value });
    const hold = world.hold({ kind: "read", path: ".store" });
    const read = log.read(0);
    await hold.arrived;
    let isClosed = false;
    const closed = log.close().then(() => (isClosed = true));
    await world.settle();
    assert.equal(isClosed, false);
    hold.release();
    assert.equal((await read).offset, 0);
    await closed;
    assert.equal(world.openFiles.count, 0);
  });

  test("leaves the log to the next one, in the same process", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await assert.rejects(world.open(), { code: "LOG_LOCKED" });
    await log.close();
    await (await world.open()).close();
  });
});

describe("sync policies", () => {
  test("always: what is acknowledged is durable", async () => {
    const world = new LogWorld();
    const log = await world.open();
    assert.equal((await log.append({ value })).isDurable, true);
    assert.equal(log.status().durableIndex, 1);
    await log.close();
  });

  for (const sync of ["interval", "never"] as const) {
    test(`${sync}: what is acknowledged is readable at once and says that it isn't durable`, async () => {
      const world = new LogWorld({ isRecording: true });
      const log = await world.open({ sync, syncIntervalMs: 500 });
      const before = storeSyncs(world);
      assert.equal((await log.append({ value })).isDurable, false);
      assert.equal((await log.read(0)).offset, 0);
      assert.deepEqual([storeSyncs(world) - before, log.status().durableIndex], [0, 0]);
      world.clock.advance(499);
      await world.settle();
      assert.equal(log.status().durableIndex, 0);
      world.clock.advance(1);
      await world.settle();
      assert.equal(log.status().durableIndex, sync === "interval" ? 1 : 0);
      await log.append({ value });
      await log.sync();
      assert.equal(log.status().durableIndex, 2);
      await log.close();
    });
  }
});

test("the sync mark is itself synced once nothing was appended for 100 ms", async () => {
  const world = new LogWorld({ isRecording: true });
  const log = await world.open();
  const markSyncs = (): number =>
    world.disk.operations.filter(({ kind, path }) => kind === "datasync" && path.endsWith("sync-mark")).length;
  await log.append({ value });
  await world.settle();
  const before = markSyncs();
  world.clock.advance(99);
  await world.settle();
  assert.equal(markSyncs(), before);
  world.clock.advance(1);
  await world.settle();
  assert.equal(markSyncs(), before + 1);
  world.clock.advance(10_000);
  await world.settle();
  assert.equal(markSyncs(), before + 1, "an idle log does nothing");
  await log.close();
});

test("the 100 ms after which the sync mark is synced count from the last append, not from the first", async () => {
  const world = new LogWorld({ isRecording: true });
  const log = await world.open();
  const markSyncs = (): number =>
    world.disk.operations.filter(({ kind, path }) => kind === "datasync" && path.endsWith("sync-mark")).length;
  await log.append({ value });
  await world.settle();
  const before = markSyncs();
  for (let i = 0; i < 10; i += 1) {
    world.clock.advance(60);
    await world.settle();
    await log.append({ value });
    await world.settle();
  }
  assert.equal(markSyncs(), before);
  assert.ok(world.clock.timerCount <= 3, "one timer at a time, and those of retention and compaction");
  world.clock.advance(99);
  await world.settle();
  assert.equal(markSyncs(), before);
  world.clock.advance(1);
  await world.settle();
  assert.equal(markSyncs(), before + 1);
  await log.close();
});

test("a close that fails lets go of all descriptors", async () => {
  const world = new LogWorld();
  const { disk } = world;
  let isFailing = false;
  const open = disk.open.bind(disk);
  disk.open = (path, mode) => {
    const file = open(path, mode);
    if (!path.endsWith(".index") || mode !== "create") return file;
    const close = file.close.bind(file);
    file.close = () => {
      close();
      if (isFailing) throw new Error("the index couldn't be unmapped");
    };
    return file;
  };
  const log = await world.open();
  disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
  await assert.rejects(log.append({ value }), { code: "DISK_FAILED" });
  isFailing = true;
  await assert.rejects(log.close());
  // The store's own descriptor is the one whose closing came behind the failure.
  assert.equal(disk.openFileCount, 0);
});

test("an append leaves the caller's buffer as it is, and takes it whatever offset it names", async () => {
  const world = new LogWorld();
  const log = await world.open();
  const batch = encodeBatch([{ value: "a" }, { value: "b" }], { now: 1 });
  batch.writeBigInt64BE(77n, 0);
  batch.writeUInt32BE(9, 12);
  const before = Buffer.from(batch);
  await log.append({ value });
  assert.equal((await log.appendBatch(batch)).baseOffset, 1);
  assert.deepEqual(batch, before);
  assert.deepEqual(
    (await readAll(log, { from: 1 })).map(({ offset, value: read }) => [offset, read]),
    [
      [1, "a"],
      [2, "b"],
    ],
  );
  await log.close();
});

test("append time never goes back, whatever the clock does, also over a reopening", async () => {
  const world = new LogWorld();
  let log = await world.open();
  const first = await log.append({ value });
  world.clock.jumpWall(-60_000);
  assert.equal((await log.append({ value })).appendTime, first.appendTime);
  await log.close();
  log = await world.open();
  assert.equal((await log.append({ value })).appendTime, first.appendTime);
  world.clock.jumpWall(120_000);
  assert.ok((await log.append({ value })).appendTime > first.appendTime);
  await log.close();
});

test("a segment is rolled by bytes, by a full index and by age", async () => {
  const world = new LogWorld();
  const byIndex = await world.open({ indexMaxBytes: 40 });
  for (let i = 0; i < 5; i += 1) await byIndex.append({ value });
  await byIndex.close();
  assert.deepEqual(world.segments(), [1, 3, 5]);
  const byAge = await world.open({ segmentMaxAgeMs: 1000 });
  world.clock.advance(1000);
  await byAge.append({ value });
  await byAge.append({ value });
  assert.deepEqual(world.segments(), [1, 3, 5, 6]);
  world.clock.advance(999);
  await byAge.append({ value });
  assert.deepEqual(world.segments(), [1, 3, 5, 6]);
  world.clock.advance(1);
  await byAge.append({ value });
  assert.deepEqual(world.segments(), [1, 3, 5, 6, 9]);
  await byAge.close();
  const bySize = await world.open({ segmentMaxBytes: 1 * KiB });
  await bySize.append({ value: "y".repeat(5000) });
  await bySize.append({ value });
  assert.deepEqual(world.segments(), [1, 3, 5, 6, 9, 10, 11], "a batch larger than a segment gets one of its own");
  await bySize.close();
});
