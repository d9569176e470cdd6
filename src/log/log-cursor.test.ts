import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { createSeededRandom, type SeededRandom } from "../../sim/random.ts";
import { isProglogError } from "../base/error.ts";
import { offsetWaitsMaxCount } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import type { StoredRecord } from "../batch/record.ts";
import type { Log } from "./log.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

function valueOf(i: number): string {
  return `${i}/`.padEnd(100, "x");
}

async function fill(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value: valueOf(log.logEndOffset) });
}

async function outcomeOf<T>(promise: Promise<T>): Promise<T | string> {
  try {
    return await promise;
  } catch (error) {
    if (isProglogError(error)) return error.code;
    throw error;
  }
}

async function offsetsOf(records: AsyncIterable<StoredRecord>): Promise<number[]> {
  const offsets: number[] = [];
  for await (const record of records) offsets.push(record.offset);
  return offsets;
}

function range(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, i) => start + i);
}

describe("reading", () => {
  test("an empty log is told from one with one record", async () => {
    const log = await new LogWorld().open();
    assert.deepEqual([log.logStartOffset, log.logEndOffset, log.highWatermark], [0, 0, 0]);
    assert.deepEqual(await readAll(log), []);
    await assert.rejects(log.read(0), {
      code: "OFFSET_OUT_OF_RANGE",
      message: "Cannot read offset 0: the log is empty, and its next offset is 0",
      details: { offset: 0, logStartOffset: 0, highWatermark: 0 },
    });
    await log.append({ value: "a" });
    assert.deepEqual([log.logStartOffset, log.logEndOffset, log.highWatermark], [0, 1, 1]);
    assert.equal((await log.read(0)).value?.toString(), "a");
    await assert.rejects(log.read(1), { code: "OFFSET_OUT_OF_RANGE", message: "Cannot read offset 1: the log ends at 1" });
    await log.trim(1);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [1, 1]);
    await assert.rejects(log.read(0), { message: "Cannot read offset 0: the log is empty, and its next offset is 1" });
    await log.close();
  });

  test("a bound that is none is refused, and one that is as low as can be is kept", async () => {
    const log = await new LogWorld().open();
    await fill(log, 3);
    for (const bound of [Number.NaN, -1, 0.5, 2 ** 53, Number.NEGATIVE_INFINITY]) {
      for (const option of ["limit", "maxBytes"] as const) {
        const message = `Cannot read with ${option} ${bound}: it must be a whole number from ${option === "limit" ? 0 : 1}, or Infinity`;
        const refused = { code: "INVALID_ARGUMENT", message, details: { option } };
        assert.throws(() => log.batches({ [option]: bound }), refused);
        assert.throws(() => log.records({ [option]: bound }), refused);
      }
      await assert.rejects(log.scrub({ bytesPerSecond: bound }), { code: "INVALID_ARGUMENT" });
    }
    assert.throws(() => log.batches({ maxBytes: 0 }), { code: "INVALID_ARGUMENT" });
    await assert.rejects(log.scrub({ bytesPerSecond: 0 }), { code: "INVALID_ARGUMENT" });
    assert.deepEqual(await offsetsOf(log.records({ limit: 0 })), []);
    assert.deepEqual(await offsetsOf(log.records({ maxBytes: 1 })), [0]);
    assert.deepEqual(
      await offsetsOf(log.records({ limit: Number.POSITIVE_INFINITY, maxBytes: Number.POSITIVE_INFINITY })),
      [0, 1, 2],
    );
    await log.close();
  });

  test("batches read over one another are whole until the next is asked for, across pieces, segments and one that is larger", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 4 * MiB });
    const sizes = [...Array.from({ length: 60 }, (_, i) => 1 + i * 4 * KiB), 1 * MiB, 3 * KiB, 900 * KiB, 900 * KiB, 7];
    const batches = sizes.map((size, i) => encodeBatch([{ value: Buffer.alloc(Math.min(size, 1000 * KiB), i) }], { now: 1 }));
    for (const batch of batches) await log.appendBatch(batch);
    assert.ok(world.segments().length > 2);
    for (const reusesMemory of [false, true]) {
      const memories = new Set<ArrayBufferLike>();
      let position = 0;
      for await (const { batch, baseOffset } of log.batches({ reusesMemory })) {
        // The first 21 bytes bear the offset.
        assert.ok(batch.subarray(21).equals(batches[position]?.subarray(21) ?? assert.fail()), `batch ${position}`);
        assert.equal(baseOffset, position);
        memories.add(batch.buffer);
        position += 1;
      }
      assert.equal(position, batches.length);
      // It is made larger while pieces still grow, and then no more.
      if (reusesMemory) assert.ok(memories.size <= 4, `${memories.size} pieces of memory`);
      else assert.ok(memories.size > 8);
    }
    await log.close();
  });

  test("batches read over one another are read anew when the log is truncated under them", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const fillWith = async (letter: string): Promise<void> => {
      for (let i = log.logEndOffset; i < 40; i += 1) await log.append({ value: letter.repeat(10 * KiB) });
    };
    await fillWith("a");
    const reader = log.batches({ reusesMemory: true });
    const seen: string[] = [];
    for await (const batch of reader) {
      seen.push(batch.records()[0]?.value?.toString("latin1", 0, 1) ?? "");
      if (seen.length === 6) {
        await log.truncate(20);
        await fillWith("b");
      }
    }
    assert.equal(seen.join(""), "a".repeat(20) + "b".repeat(20));
    await log.close();
  });

  test("an offset that is no whole number is refused", async () => {
    const log = await new LogWorld().open();
    for (const offset of [-1, 0.5, Number.NaN, 2 ** 53]) await assert.rejects(log.read(offset), { code: "INVALID_ARGUMENT" });
    await assert.rejects(readAll(log, { from: { timestamp: 0.5 } }), { code: "INVALID_ARGUMENT" });
    await log.close();
  });

  test("begins at the start, the end, an offset or a time, and ends at a limit of records or bytes", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    for (let i = 0; i < 10; i += 1) {
      await log.append({ value: valueOf(i) });
      world.clock.advance(10);
    }
    assert.deepEqual(await offsetsOf(log.records()), range(0, 10));
    assert.deepEqual(await offsetsOf(log.records({ from: "end" })), []);
    assert.deepEqual(await offsetsOf(log.records({ from: 7 })), [7, 8, 9]);
    assert.deepEqual(await offsetsOf(log.records({ from: 10 })), []);
    assert.deepEqual(await offsetsOf(log.records({ from: { timestamp: world.clock.now() - 25 } })), [8, 9]);
    assert.deepEqual(await offsetsOf(log.records({ from: { timestamp: world.clock.now() } })), []);
    assert.deepEqual(await offsetsOf(log.records({ from: 2, limit: 3 })), [2, 3, 4]);
    assert.deepEqual(await offsetsOf(log.records({ limit: 0 })), []);
    await assert.rejects(offsetsOf(log.records({ from: 11 })), { code: "OFFSET_OUT_OF_RANGE" });
    const { batch } = (await log.batches().next()).value ?? assert.fail("there is a batch");
    const count = async (maxBytes: number): Promise<number> => (await offsetsOf(log.records({ maxBytes }))).length;
    assert.deepEqual(await Promise.all([1, batch.length, batch.length + 1, 3 * batch.length].map(count)), [1, 1, 2, 3]);
    await log.close();
  });

  test("in the middle of a batch begins there by records, and with the whole batch by batches", async () => {
    const log = await new LogWorld().open();
    await log.append([{ value: "a" }, { value: "b" }, { value: "c" }]);
    await log.append({ value: "d" });
    assert.deepEqual(await offsetsOf(log.records({ from: 1, limit: 2 })), [1, 2]);
    const batches: number[][] = [];
    for await (const { baseOffset, nextOffset, recordCount } of log.batches({ from: 1 }))
      batches.push([baseOffset, nextOffset, recordCount]);
    assert.deepEqual(batches, [
      [0, 3, 3],
      [3, 4, 1],
    ]);
    await log.close();
  });

  test("two readers at once, and one that stops early, don't disturb each other", async () => {
    const log = await new LogWorld().open(small);
    await fill(log, 20);
    const a = log.records();
    const b = log.records({ from: 5 });
    assert.equal((await a.next()).value?.offset, 0);
    assert.equal((await b.next()).value?.offset, 5);
    assert.equal((await a.next()).value?.offset, 1);
    for await (const record of a) if (record.offset === 3) break;
    assert.deepEqual(await offsetsOf(b), range(6, 20));
    assert.deepEqual(await offsetsOf(log.records()), range(0, 20));
    await log.close();
  });
});

describe("a tail", () => {
  test("waits without polling, and wakes on each append", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open();
    await fill(log, 2);
    const tail = log.records({ tail: true });
    assert.equal((await tail.next()).value?.offset, 0);
    assert.equal((await tail.next()).value?.offset, 1);
    const next = tail.next();
    await world.settle();
    const before = world.disk.operations.length;
    const { timerCount } = world.clock;
    await world.settle();
    assert.equal(world.disk.operations.length, before);
    assert.equal(world.clock.timerCount, timerCount, "none of the timers is the tail's");
    await fill(log, 1);
    assert.equal((await next).value?.offset, 2);
    await tail.return();
    await log.close();
  });

  test("on an empty log reads nothing until there is something", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open();
    const next = log.records({ tail: true, from: "end" }).next();
    await world.settle();
    assert.equal(world.disk.operations.filter(({ kind, path }) => kind === "read" && path.endsWith(".store")).length, 0);
    await fill(log, 1);
    assert.equal((await next).value?.offset, 0);
    await log.close();
  });

  test("isn't woken before what it waits for is synced", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const hold = world.disk.holdSync({ path: ".store" });
    let seen: number | undefined;
    const next = log
      .records({ tail: true })
      .next()
      .then(({ value }) => (seen = value?.offset));
    void log.append({ value: "a" });
    await hold.waiting(1);
    await world.settle();
    assert.equal(seen, undefined);
    hold.release();
    await next;
    assert.equal(seen, 0);
    await log.close();
  });

  test("ends with its signal, waiting or not", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await fill(log, 3);
    const abort = new AbortController();
    const waiting = offsetsOf(log.records({ tail: true, signal: abort.signal }));
    const reading = log.records({ tail: true, signal: abort.signal });
    await reading.next();
    await world.settle();
    abort.abort();
    assert.deepEqual(await waiting, [0, 1, 2]);
    assert.equal((await reading.next()).done, true);
    assert.deepEqual(await offsetsOf(log.records({ tail: true, signal: abort.signal })), []);
    await log.close();
  });

  test("ends when the log is closed, and gets what was appended before", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const tails = range(0, 20).map(() => offsetsOf(log.records({ tail: true })));
    await world.settle();
    await fill(log, 3);
    await world.settle();
    await log.close();
    for (const tail of tails) assert.deepEqual(await tail, [0, 1, 2]);
  });

  test("ends with the log, wherever the close meets it", async () => {
    for (const turns of range(0, 40)) {
      const world = new LogWorld();
      const log = await world.open();
      await log.append({ value: "a" });
      const tail = log.batches({ tail: true, signal: new AbortController().signal });
      await tail.next();
      const next = tail.next();
      for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
      const closed = log.close();
      assert.equal((await next).done, true);
      await closed;
    }
  });

  test("is followed over rolls", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    const tail = offsetsOf(log.records({ tail: true, limit: 30 }));
    await fill(log, 30);
    assert.deepEqual(await tail, range(0, 30));
    assert.ok(world.segments().length > 5);
    await log.close();
  });

  test("that waits behind the end of a truncation is told, and one that waits at it goes on", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 10);
    const behind = outcomeOf(log.records({ tail: true, from: "end" }).next());
    const at = log.records({ tail: true, from: 4, limit: 2 });
    assert.equal((await at.next()).value?.offset, 4);
    await world.settle();
    await log.truncate(5);
    assert.equal(await behind, "OFFSET_OUT_OF_RANGE");
    const waiting = log.records({ tail: true, from: "end" }).next();
    await fill(log, 1);
    assert.equal((await waiting).value?.offset, 5);
    await log.close();
  });

  test("many of them raise no warning", async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error): void => void warnings.push(warning);
    process.on("warning", onWarning);
    const world = new LogWorld();
    const log = await world.open();
    const signal = new AbortController().signal;
    const tails = range(0, 40).map((i) => log.records({ tail: true, ...(i % 2 === 0 && { signal }) }).next());
    await world.settle();
    await log.close();
    await Promise.all(tails);
    await world.settle();
    process.off("warning", onWarning);
    assert.deepEqual(warnings, []);
  });
});

test("who only reads what is there is told that the log was closed, and doesn't take it for the end", async () => {
  const log = await new LogWorld().open(small);
  await fill(log, 20);
  const reader = log.records();
  await reader.next();
  await log.close();
  await assert.rejects(offsetsOf(reader), { code: "LOG_CLOSED" });
});

describe("waiting for an offset", () => {
  test("resolves when the high watermark passes it, at once when it has", async () => {
    const world = new LogWorld();
    const log = await world.open();
    let isThere = false;
    const wait = log.waitForOffset(1).then(() => (isThere = true));
    await fill(log, 1);
    await world.settle();
    assert.equal(isThere, false);
    await fill(log, 1);
    await wait;
    await log.waitForOffset(0);
    await log.close();
  });

  test("goes on waiting over a truncation", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await fill(log, 3);
    let isThere = false;
    const wait = log.waitForOffset(5).then(() => (isThere = true));
    await log.truncate(1);
    await world.settle();
    assert.equal(isThere, false);
    await fill(log, 5);
    await wait;
    await log.close();
  });

  test("ends with its signal and with the log", async () => {
    const log = await new LogWorld().open();
    const abort = new AbortController();
    const cancelled = outcomeOf(log.waitForOffset(5, { signal: abort.signal }));
    const closed = outcomeOf(log.waitForOffset(5));
    abort.abort();
    assert.equal(await cancelled, "CANCELLED");
    await log.close();
    assert.equal(await closed, "LOG_CLOSED");
  });
});

test("past the waits that a log takes a tail is told, and doesn't go round in vain", async () => {
  const log = await new LogWorld().open();
  await fill(log, 1);
  const waits = Array.from({ length: offsetWaitsMaxCount }, () => outcomeOf(log.waitForOffset(5)));
  const tail = log.records({ tail: true });
  assert.equal((await tail.next()).value?.offset, 0);
  await assert.rejects(tail.next(), { code: "OVERLOADED" });
  await fill(log, 5);
  await Promise.all(waits);
  await log.close();
});

describe("a reader whose log is changed under it", () => {
  test("reads through a roll that waits for the disk half-way", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 2 * KiB });
    const ahead = world.hold({ kind: "write", path: ".store" });
    await log.append({ value: "x".repeat(900) });
    await ahead.arrived;
    // The roll has to wait until zeros written ahead are on their way.
    const rolled = log.append({ value: "y".repeat(1500) });
    await world.settle();
    assert.equal((await log.read(0)).value?.length, 900);
    assert.equal(await log.findOffset({ timestamp: 0 }), 0);
    ahead.release();
    await rolled;
    assert.deepEqual(await offsetsOf(log.records()), [0, 1]);
    await log.close();
  });

  test("that falls behind the log start is told, and never given a gap", async () => {
    const log = await new LogWorld().open(small);
    await fill(log, 30);
    const reader = log.records({ from: 3, maxBytes: Number.MAX_SAFE_INTEGER });
    assert.equal((await reader.next()).value?.offset, 3);
    await log.trim(20);
    const seen: number[] = [];
    const ended = await outcomeOf(
      (async () => {
        for await (const record of reader) seen.push(record.offset);
        return "end";
      })(),
    );
    assert.equal(ended, "OFFSET_OUT_OF_RANGE");
    // What was read in one piece before is given out still.
    assert.deepEqual(seen, range(4, 4 + seen.length));
    assert.ok(seen.length < 16);
    await log.close();
  });

  test("that falls behind a log start inside its segment is told, too", async () => {
    const world = new LogWorld();
    const log = await world.open();
    // Two records a batch, and so large that no more than one lies in the first piece that is read.
    const value = "x".repeat(20 * KiB);
    for (let i = 0; i < 10; i += 1) await log.append([{ value }, { value }]);
    const reader = log.records();
    assert.deepEqual([(await reader.next()).value?.offset, (await reader.next()).value?.offset], [0, 1]);
    const within = log.batches({ from: 3 });
    const behind = log.batches({ from: 4 });
    const before = log.batches({ from: 2 });
    // Their places are found; what is held is the first piece from there on.
    const hold = world.hold({ kind: "read", path: ".store", where: ({ length }) => length === 64 * KiB });
    const read = [within, behind, before].map((batches) => outcomeOf(batches.next()));
    await world.settle();
    await log.trim(3);
    hold.release();
    await assert.rejects(reader.next(), {
      code: "OFFSET_OUT_OF_RANGE",
      message: "Cannot go on reading at offset 2: the log starts at 3 now",
      details: { offset: 2, logStartOffset: 3, highWatermark: 20 },
    });
    const offsets = (await Promise.all(read)).map((result) => (typeof result === "string" ? result : result.value?.baseOffset));
    // The batch that the log start lies in is read by those who want its records from there on only.
    assert.deepEqual(offsets, [2, 4, "OFFSET_OUT_OF_RANGE"]);
    await log.close();
  });

  test("that wants records behind a truncation is told, though it began inside the batch that went", async () => {
    const world = new LogWorld();
    const log = await world.open();
    const value = "x".repeat(20 * KiB);
    for (let i = 0; i < 10; i += 1) await log.append([{ value }, { value }]);
    const hold = world.hold({ kind: "read", path: ".store", where: ({ length }) => length === 64 * KiB });
    const reads = [5, 4].map((from) => log.batches({ from, tail: true }).next());
    await world.settle();
    const truncated = log.truncate(4);
    await world.settle();
    hold.release();
    await truncated;
    await log.append([{ value: "new" }, { value: "new" }]);
    const [within, first] = await Promise.all(reads.map(outcomeOf));
    assert.equal(within, "OFFSET_OUT_OF_RANGE");
    assert.equal(typeof first === "object" && first.value?.records()[0]?.value?.toString(), "new");
    await log.close();
  });

  test("goes on when only what it has read was trimmed", async () => {
    const log = await new LogWorld().open(small);
    await fill(log, 30);
    const reader = log.records({ from: 20 });
    assert.equal((await reader.next()).value?.offset, 20);
    await log.trim(20);
    assert.deepEqual(await offsetsOf(reader), range(21, 30));
    await log.close();
  });

  test("by offset is told that it is out of range when a trim or a truncation overtakes it, and no damage is reported", async () => {
    for (const sync of ["always", "never"] as const) {
      for (const change of ["trim", "truncate"] as const) {
        const world = new LogWorld();
        const log = await world.open({ ...small, sync });
        await fill(log, 30);
        // The two readers' reads, and not those of the truncation.
        let reads = 0;
        const hold = world.hold({ kind: "read", path: ".store", where: () => (reads += 1) <= 2 });
        const read = outcomeOf(log.read(15));
        const all = outcomeOf(offsetsOf(log.records({ from: 15 })));
        await hold.arrived;
        const changed = log[change](change === "trim" ? 25 : 5);
        await world.settle();
        hold.release();
        await changed;
        assert.equal(await read, "OFFSET_OUT_OF_RANGE");
        assert.equal(await all, "OFFSET_OUT_OF_RANGE");
        assert.equal(log.status().damages, 0);
        await log.close();
      }
    }
  });

  test("by time starts again when the log is trimmed under it", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    for (let i = 0; i < 30; i += 1) await log.append({ value: valueOf(i), timestamp: 1000 + i });
    const hold = world.hold({ kind: "read", path: ".store" });
    const found = log.findOffset({ timestamp: 1010 });
    const later = log.findOffset({ timestamp: 1028 });
    await hold.arrived;
    await log.trim(25);
    hold.release();
    assert.equal(await found, 25);
    assert.equal(await later, 28);
    await log.close();
  });

  for (let seed = 0; seed < 16; seed += 1) {
    test(`gets the right record or a coded error, in a storm of everything, seed ${seed}`, async () => {
      await storm(createSeededRandom(`storm/${seed}`));
    });
  }
});

/** One writer that does everything a writer can, and readers of all kinds, over a disk that takes its time. */
async function storm(random: SeededRandom): Promise<void> {
  const world = new LogWorld();
  world.delay = async () => {
    for (let turns = random.integer(4); turns > 0; turns -= 1) await Promise.resolve();
    if (random.chance(0.1)) await new Promise((resolve) => setImmediate(resolve));
  };
  const log = await world.open({ ...small, sync: random.pick(["always", "never"] as const) });
  const writing = { isOver: false };

  const writer = (async () => {
    for (let step = 0; step < 150; step += 1) {
      const choice = random.integer(20);
      if (choice === 0) await log.truncate(log.logStartOffset + random.integer(log.logEndOffset - log.logStartOffset + 1));
      else if (choice === 1) await log.trim(log.logStartOffset + random.integer(log.highWatermark - log.logStartOffset + 1));
      else if (choice === 2) await log.trim(log.highWatermark);
      else {
        const end = log.logEndOffset;
        await Promise.all(range(end, end + 1 + random.integer(4)).map((i) => log.append({ value: valueOf(i), timestamp: i })));
      }
    }
    writing.isOver = true;
  })();

  const check = (record: StoredRecord): void => {
    assert.equal(record.value?.toString("latin1", 0, record.value.indexOf("/")), String(record.offset));
  };
  const somewhere = (): number => log.logStartOffset + random.integer(log.highWatermark - log.logStartOffset + 2);
  const readers: (() => Promise<void>)[] = [
    async () => check(await log.read(somewhere())),
    async () => {
      let next = somewhere();
      for await (const record of log.records({
        from: next,
        limit: random.integer(40),
        tail: random.chance(0.3),
        signal: AbortSignal.abort(),
      })) {
        check(record);
        assert.equal(record.offset, next);
        next += 1;
      }
    },
    async () => {
      let next = somewhere();
      for await (const record of log.records({ from: next, limit: random.integer(40) })) {
        check(record);
        assert.equal(record.offset, next);
        next += 1;
      }
    },
    async () => {
      const found = await log.findOffset({ timestamp: somewhere() });
      assert.ok(Number.isSafeInteger(found));
    },
    async () => {
      assert.deepEqual((await log.scrub()).damages, []);
    },
  ];
  const reading = readers.map(async (read) => {
    while (!writing.isOver) {
      try {
        await read();
      } catch (error) {
        if (!isProglogError(error, "OFFSET_OUT_OF_RANGE")) throw error;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
  await Promise.all([writer, ...reading]);
  assert.equal(log.status().damages, 0);
  await log.close();
}
