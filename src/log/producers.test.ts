import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { dayMs, KiB } from "../base/units.ts";
import { writeBatchHeader } from "../batch/batch-header.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { readBaseRecord, writeBaseRecord } from "./base-record.ts";
import type { AppendResult, Log, LogOptions } from "./log.ts";
import { openMemoryLog } from "./open-log.ts";

/** Rolls after two entries. */
const small = { indexMaxBytes: 2 * 16 } as const;

function send(log: Log, id: number, baseSequence: number, ...values: readonly string[]): Promise<AppendResult> {
  return log.append(
    (values.length === 0 ? [`${id}/${baseSequence}`] : values).map((value) => ({ value })),
    { producer: { id, epoch: 0, baseSequence } },
  );
}

/** As the first time, and nothing was appended. */
async function assertRetried(log: Log, first: AppendResult, retry: Promise<AppendResult>): Promise<void> {
  const end = log.logEndOffset;
  assert.deepEqual(await retry, { ...first, isDuplicate: true });
  assert.equal(log.logEndOffset, end);
}

describe("a retry", () => {
  test("is answered as the first try was, and nothing is appended", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await log.append({ value: "nobody's" });
    const first = await send(log, 7, 0, "a", "b");
    assert.deepEqual(first, {
      baseOffset: 1,
      lastOffset: 2,
      count: 2,
      appendTime: world.clock.now(),
      isDurable: true,
      isDuplicate: false,
    });
    world.clock.advance(1_000);
    await assertRetried(log, first, send(log, 7, 0, "a", "b"));
    assert.equal((await send(log, 7, 2)).baseOffset, 3);
    await assertRetried(log, first, send(log, 7, 0, "a", "b"));
    await log.close();
  });

  test("is recognized over rolls, a close, a kill, a trim and a truncation behind it", async () => {
    const world = new LogWorld();
    let log = await world.open(small);
    const first = await send(log, 7, 0);
    const steps: Readonly<Record<string, () => Promise<void>>> = {
      roll: async () => {
        for (let i = 0; i < 5; i += 1) await send(log, 8, i);
      },
      close: async () => {
        await log.close();
        log = await world.open(small);
        assert.equal(log.recovery.kind, "clean");
      },
      kill: async () => {
        world.kill();
        log = await world.open(small);
      },
      truncation: () => log.truncate(4),
      "closing after it": async () => {
        await log.close();
        log = await world.open(small);
      },
      trim: () => log.trim(3),
      "kill after it": async () => {
        world.kill();
        log = await world.open(small);
      },
    };
    for (const [name, step] of Object.entries(steps)) {
      await step();
      world.clock.advance(10);
      await assertRetried(log, first, send(log, 7, 0)).catch((error: unknown) => {
        throw new Error(`after the ${name}: ${String(error)}`, { cause: error });
      });
    }
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [3, 4]);
    await log.close();
  });

  test("of what was truncated is appended, since it is there no more", async () => {
    for (const isClosedBefore of [false, true]) {
      const world = new LogWorld();
      let log = await world.open();
      for (let i = 0; i < 8; i += 1) await send(log, 7, i);
      if (isClosedBefore) {
        await log.close();
        log = await world.open();
      }
      await log.truncate(6);
      assert.equal((await send(log, 7, 5)).isDuplicate, true);
      const again = await send(log, 7, 6);
      assert.deepEqual([again.baseOffset, again.isDuplicate], [6, false]);
      // The five batches before the cut are known again, though the newest three had taken the place of some.
      assert.equal((await send(log, 7, 2)).baseOffset, 2);
      await log.close();
    }
  });

  test("is recognized again when what its producer was forgotten by is truncated", async () => {
    for (const isClosedBefore of [false, true]) {
      const world = new LogWorld();
      let log = await world.open(small);
      const first = await send(log, 7, 0);
      // The clock is wrong for a while, and what was written by it is cut.
      world.clock.jumpWall(2 * dayMs);
      for (let i = 0; i < 6; i += 1) await log.append({ value: "nobody's" });
      assert.equal(log.status().producers, 0);
      if (isClosedBefore) {
        await log.close();
        log = await world.open(small);
      }
      await log.truncate(1);
      world.clock.jumpWall(-2 * dayMs);
      assert.equal(log.status().producers, 1);
      await assertRetried(log, first, send(log, 7, 0));
      await log.close();
    }
  });

  test("of a packed batch is one, too, by what the batch itself says", async () => {
    const log = await openMemoryLog();
    const pack = (baseSequence: number): Buffer =>
      encodeBatch([{ value: "a" }, { value: "b" }], { now: 1, producerId: 7, producerEpoch: 2, baseSequence });
    const first = await log.appendBatch(pack(10));
    await assertRetried(log, first, log.appendBatch(pack(10)));
    await assert.rejects(log.appendBatch(pack(13)), { code: "OUT_OF_ORDER_SEQUENCE" });
    const halfSaid = pack(12);
    const header = { compression: "none", baseTimestamp: 1, maxTimestamp: 1, recordCount: 2 } as const;
    writeBatchHeader(halfSaid, { ...header, producerId: 7, producerEpoch: 2, baseSequence: -1 });
    await assert.rejects(log.appendBatch(halfSaid), { code: "INVALID_BATCH" });
    await log.close();
  });

  test("comes too late for a producer that appended nothing for so long", async () => {
    const world = new LogWorld();
    const log = await world.open({ producerExpiryMs: 1_000 });
    const first = await send(log, 7, 0);
    world.clock.advance(1_000);
    await assertRetried(log, first, send(log, 7, 0));
    world.clock.advance(1);
    assert.equal((await send(log, 7, 0)).isDuplicate, false);
    await log.close();
  });

  test("under interval and never is as durable as the first try is by then", async () => {
    for (const sync of ["interval", "never"] as const) {
      const log = await new LogWorld().open({ sync });
      const first = await send(log, 7, 0);
      assert.equal(first.isDurable, false);
      await assertRetried(log, first, send(log, 7, 0));
      await log.sync();
      await assertRetried(log, { ...first, isDurable: true }, send(log, 7, 0));
      await log.close();
    }
  });
});

describe("a producer that is refused", () => {
  test("is told why, and nothing is appended", async () => {
    const log = await openMemoryLog();
    const sendAs = (epoch: number, baseSequence: number): Promise<AppendResult> =>
      log.append({ value: "x" }, { producer: { id: 7, epoch, baseSequence } });
    for (let i = 0; i < 6; i += 1) await sendAs(1, i);
    await assert.rejects(sendAs(0, 6), {
      code: "PRODUCER_FENCED",
      message: "Cannot append as producer 7 of epoch 0: epoch 1 has written",
      details: { producerId: 7, producerEpoch: 0, currentEpoch: 1 },
    });
    await assert.rejects(sendAs(1, 8), {
      code: "OUT_OF_ORDER_SEQUENCE",
      message: "Cannot append sequence 8 of producer 7: 6 follows",
      details: { producerId: 7, expectedSequence: 6, sequence: 8 },
    });
    await assert.rejects(sendAs(1, 0), {
      code: "DUPLICATE_SEQUENCE",
      message: "Cannot append sequence 0 of producer 7: it was appended before, and at which offset isn't known any more",
      details: { producerId: 7, sequence: 0 },
    });
    assert.equal(log.logEndOffset, 6);
    assert.equal(log.status().producers, 1);
    await log.close();
  });

  test("for numbers that can't be is told so before anything is packed", async () => {
    const log = await openMemoryLog();
    const good = { id: 7, epoch: 0, baseSequence: 0 };
    const bad = [
      ["producer.id", { id: -1 }],
      ["producer.id", { id: 2 ** 53 }],
      ["producer.epoch", { epoch: 2 ** 15 }],
      ["producer.epoch", { epoch: 0.5 }],
      ["producer.baseSequence", { baseSequence: -1 }],
      ["producer.baseSequence", { baseSequence: 2 ** 31 }],
    ] as const;
    for (const [option, change] of bad) {
      await assert.rejects(log.append({ value: "x" }, { producer: { ...good, ...change } }), {
        code: "INVALID_ARGUMENT",
        details: { option },
      });
    }
    const largest = { id: 2 ** 53 - 1, epoch: 2 ** 15 - 1, baseSequence: 2 ** 31 - 1 };
    assert.equal((await log.append({ value: "x" }, { producer: largest })).baseOffset, 0);
    await log.close();
  });
});

describe("an append with a condition", () => {
  test("is appended when the log ends where it says, and else told where it ends", async () => {
    const log = await openMemoryLog();
    assert.equal((await log.append([{ value: "a" }, { value: "b" }], { expectedOffset: 0 })).baseOffset, 0);
    await assert.rejects(log.append({ value: "c" }, { expectedOffset: 0 }), {
      code: "CONDITION_FAILED",
      message: "Cannot append at offset 0: the log ends at 2",
      details: { expectedOffset: 0, logEndOffset: 2 },
    });
    const batch = encodeBatch([{ value: "c" }], { now: 1 });
    await assert.rejects(log.appendBatch(batch, { expectedOffset: 3 }), { code: "CONDITION_FAILED" });
    assert.equal((await log.appendBatch(batch, { expectedOffset: 2 })).baseOffset, 2);
    for (const expectedOffset of [-1, 0.5, 2 ** 53, Number.NaN]) {
      await assert.rejects(log.append({ value: "c" }, { expectedOffset }), {
        code: "INVALID_ARGUMENT",
        details: { option: "expectedOffset" },
      });
    }
    await log.close();
  });

  test("is looked for as a retry first: it is answered though its condition doesn't hold any more", async () => {
    const log = await openMemoryLog();
    const options = { producer: { id: 7, epoch: 0, baseSequence: 0 }, expectedOffset: 0 };
    const first = await log.append({ value: "a" }, options);
    await assertRetried(log, first, log.append({ value: "a" }, options));
    await log.close();
  });
});

/** What each of several appends came to, as one word. */
async function outcomesOf(appends: readonly Promise<AppendResult>[]): Promise<string[]> {
  const settled = await Promise.allSettled(appends);
  return settled.map((outcome) => {
    if (outcome.status === "rejected") return String((outcome.reason as { code?: string }).code);
    return `${outcome.value.isDuplicate ? "duplicate of " : ""}${outcome.value.baseOffset}`;
  });
}

describe("retries and conditions that wait together", () => {
  test("are judged in order, each against what those before it leave", async () => {
    const log = await openMemoryLog();
    const appends = [
      send(log, 7, 0, "a", "b"),
      send(log, 7, 0, "a", "b"),
      send(log, 7, 2),
      log.append({ value: "c" }, { expectedOffset: 2 }),
      log.append({ value: "c" }, { expectedOffset: 3 }),
      log.append({ value: "d" }, { expectedOffset: 3 }),
      send(log, 7, 4),
      send(log, 7, 2),
      log.append({ value: "e" }, { producer: { id: 7, epoch: 1, baseSequence: 0 } }),
      send(log, 7, 3),
    ];
    assert.deepEqual(await outcomesOf(appends), [
      "0",
      "duplicate of 0",
      "2",
      "CONDITION_FAILED",
      "3",
      "CONDITION_FAILED",
      "OUT_OF_ORDER_SEQUENCE",
      "duplicate of 2",
      "4",
      "PRODUCER_FENCED",
    ]);
    assert.deepEqual(
      (await readAll(log)).map(({ value }) => value),
      ["a", "b", "7/2", "c", "e"],
    );
    await log.close();
  });

  test("are answered once what they rest on is durable, and not before", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const hold = world.disk.holdSync({ path: ".store" });
    const settled: string[] = [];
    const note = (word: string) => () => void settled.push(word);
    const first = send(log, 7, 0).then(note("first"));
    await hold.waiting(1);
    const retry = send(log, 7, 0).then(note("retry"));
    const condition = log.append({ value: "x" }, { expectedOffset: 0 }).catch(note("condition"));
    const sameGroup = log.append({ value: "y" }).then(note("append"));
    const condition2 = log.append({ value: "x" }, { expectedOffset: 1 }).catch(note("condition behind it"));
    await world.settle();
    assert.deepEqual(settled, []);
    hold.releaseOne();
    await hold.waiting(1);
    await world.settle();
    // The next group is under way, and who rests on it waits for it.
    assert.deepEqual(settled, ["first", "retry", "condition"]);
    hold.release();
    await Promise.all([first, retry, condition, sameGroup, condition2]);
    assert.deepEqual(new Set(settled.slice(3)), new Set(["append", "condition behind it"]));
    await log.close();
  });

  test("are left open with a write that fails: what they rest on may never have been", async () => {
    const world = new LogWorld();
    const log = await world.open();
    world.disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    const appends = [send(log, 7, 0), send(log, 7, 0), log.append({ value: "x" }, { expectedOffset: 0 })];
    for (const append of appends) {
      await assert.rejects(append, { code: "DISK_FAILED", details: { systemCode: "EIO", outcome: "unknown" } });
    }
    await log.close();
  });

  test("are taken back with a group for which there is no room, so that a retry is appended", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const first = await send(log, 7, 0);
    world.disk.capacityBytes = world.disk.usedBytes;
    const large = "x".repeat(200 * KiB);
    const appends = [
      send(log, 7, 1, large),
      send(log, 7, 1, large),
      log.append({ value: "y" }, { producer: { id: 7, epoch: 1, baseSequence: 0 } }),
      send(log, 7, 2),
      log.append({ value: "z" }, { expectedOffset: 1 }),
    ];
    assert.deepEqual(
      await outcomesOf(appends),
      Array.from(appends, () => "DISK_FULL"),
    );
    world.disk.capacityBytes = Number.POSITIVE_INFINITY;
    await assertRetried(log, first, send(log, 7, 0));
    assert.deepEqual(await outcomesOf([send(log, 7, 1, large)]), ["1"]);
    await log.close();
  });
});

describe("what is known of producers", () => {
  const baseWrites = (world: LogWorld): number =>
    world.disk.operations.filter(({ kind, path }) => kind === "write" && /base-\d$/.test(path)).length;
  const sealedReads = (world: LogWorld, count: number): string[] => {
    const stores = world.segments().slice(0, count);
    const paths = new Set(stores.map((baseIndex) => world.path(baseIndex)));
    // The header tells where a segment begins, and is read in any case.
    const reads = world.disk.operations.filter(
      ({ kind, path, position }) => kind === "read" && paths.has(path) && position !== 0,
    );
    return reads.map(({ path, position }) => `${path} ${position}`);
  };

  async function fill(world: LogWorld, options: LogOptions, hasProducers: boolean): Promise<Log> {
    const log = await world.open(options);
    for (let i = 0; i < 9; i += 1) await (hasProducers ? send(log, i % 2, i >> 1) : log.append({ value: `${i}` }));
    return log;
  }

  test("costs a log without producers nothing at close, and one with them a write where they wrote", async () => {
    for (const [hasProducers, writes] of [
      [false, 0],
      [true, 1],
    ] as const) {
      const world = new LogWorld({ isRecording: true });
      let log = await fill(world, {}, hasProducers);
      let before = baseWrites(world);
      await log.close();
      assert.equal(baseWrites(world) - before, writes);
      log = await world.open();
      before = baseWrites(world);
      await log.append({ value: "nobody's" });
      await log.close();
      assert.equal(baseWrites(world) - before, 0);
    }
  });

  test("is known again without reading a sealed segment, after a close and after a kill", async () => {
    for (const hasProducers of [false, true]) {
      for (const end of ["close", "kill"] as const) {
        const world = new LogWorld({ isRecording: true });
        let log = await fill(world, small, hasProducers);
        if (end === "close") await log.close();
        world.kill();
        log = await world.open(small);
        assert.deepEqual(sealedReads(world, 4), [], `${end}, ${hasProducers}`);
        assert.equal(log.status().producers, hasProducers ? 2 : 0);
        await log.close();
      }
    }
  });

  test("is nothing to be read again for, in a log without producers that is truncated, once and again", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open(small);
    for (let i = 0; i < 20; i += 1) await log.append({ value: "nobody's" });
    for (const [offset, staying] of [
      [14, 13],
      [8, 7],
    ] as const) {
      const before = world.disk.operations.length;
      await log.truncate(offset);
      const reads = world.disk.operations.slice(before).filter(({ kind, path }) => kind === "read" && path.endsWith(".store"));
      assert.deepEqual(
        reads.map(({ path }) => path).filter((path) => path < world.path(staying)),
        [],
      );
    }
    await log.close();
  });

  test("is known again though a file of the base record is lost, or the mark, or both", async () => {
    for (const end of ["close", "kill"] as const) {
      const world = new LogWorld();
      const log = await fill(world, small, true);
      if (end === "close") await log.close();
      world.kill();
      for (const lost of [["base-0"], ["base-1"], ["sync-mark"], ["sync-mark", "base-0"], ["sync-mark", "base-1"]]) {
        const copy = world.copy();
        for (const name of lost) copy.disk.remove(copy.file(name));
        const reopened = await copy.open(small);
        for (const [id, sequence, offset] of [
          [0, 4, 8],
          [1, 3, 7],
          [0, 0, 0],
          [1, 0, 1],
        ] as const) {
          const { baseOffset, isDuplicate } = await send(reopened, id, sequence);
          assert.deepEqual([baseOffset, isDuplicate], [offset, true], `${end}, without ${lost.join()}`);
        }
        await reopened.close();
      }
    }
  });

  test("is read again from all segments when there was no room to write it down; damage there keeps no log from opening", async () => {
    for (const end of ["close", "kill"] as const) {
      const world = new LogWorld();
      const log = await world.open(small);
      const planned = world.disk.fail({
        kind: "write",
        path: /base-\d$/,
        effect: "half",
        code: "ENOSPC",
        times: Number.POSITIVE_INFINITY,
      });
      for (let i = 0; i < 9; i += 1) await send(log, i % 3, Math.floor(i / 3));
      if (end === "close") await log.close();
      assert.ok(planned.struckCount >= 4);
      world.kill();
      const whole = world.copy();
      const reopened = await whole.open(small);
      assert.deepEqual(reopened.recovery.notes, []);
      for (let i = 0; i < 9; i += 1) assert.equal((await send(reopened, i % 3, Math.floor(i / 3))).baseOffset, i);
      await reopened.close();

      const damaged = world.copy();
      damaged.disk.flipBit(damaged.path(5), 128 + 80, 0);
      const opened = await damaged.open(small);
      assert.match(opened.recovery.notes.join(), /which producers wrote to .*5\.store isn't known/);
      assert.equal((await send(opened, 2, 2)).baseOffset, 8);
      await opened.close();
      // What is known is written down, so the damage isn't come upon again.
      const again = await damaged.open(small);
      assert.deepEqual(again.recovery.notes, []);
      await again.close();
    }
  });

  test("and can't be read again just now makes the opening fail, and nothing stays open", async () => {
    const world = new LogWorld();
    const log = await fill(world, {}, true);
    await log.close();
    let failedCount = 0;
    for (const slot of ["base-0", "base-1"]) {
      const copy = world.copy();
      copy.disk.remove(copy.file(slot));
      const planned = copy.disk.fail({ kind: "read", path: ".store", where: ({ position = 0 }) => position > 0, code: "EIO" });
      const opened = await copy.open().catch((error: unknown) => error);
      failedCount += planned.struckCount;
      if (planned.struckCount > 0) assert.equal((opened as { code?: string }).code, "DISK_FAILED");
      else await (opened as Log).close();
      assert.equal(copy.disk.openFileCount, copy.openFiles.count);
    }
    // Of the two, one is the newer, and says everything.
    assert.equal(failedCount, 1);
  });

  test("goes no further than the log, whatever a base record says", async () => {
    const world = new LogWorld();
    let log = await world.open();
    for (let i = 0; i < 3; i += 1) await send(log, 7, i);
    await log.close();
    const read = readBaseRecord(world.disk, world.directory);
    assert.ok(read.state === "valid");
    const { record, generation } = read;
    const beyond = { baseSequence: 3, recordCount: 1, baseOffset: 3, appendTime: world.clock.now() };
    const producers = record.producers.map((producer) => ({ ...producer, batches: [...producer.batches, beyond] }));
    for (const slot of [0, 1] as const) {
      const said = { ...record, describedIndex: 4, producers };
      await writeBaseRecord(world.disk, world.directory, { slot, generation: generation + 1 + slot }, said);
    }
    log = await world.open();
    assert.deepEqual(log.recovery.notes, ["the base record described the log up to entry 4, and it ends with 3"]);
    world.kill();
    log = await world.open();
    assert.deepEqual(log.recovery.notes, []);
    assert.deepEqual([(await send(log, 7, 2)).baseOffset, (await send(log, 7, 3)).isDuplicate], [2, false]);
    await log.close();
  });

  test("is a day's worth of producers by default", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await send(log, 7, 0);
    world.clock.advance(dayMs);
    await log.append({ value: "x" });
    assert.equal(log.status().producers, 1);
    world.clock.advance(1);
    await log.append({ value: "x" });
    assert.equal(log.status().producers, 0);
    await log.close();
  });
});
