import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { loseAll } from "../sim/crash.ts";
import type { Disk } from "../src/base/disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { KiB } from "../src/base/units.ts";
import { decodeBatch } from "../src/batch/decode-batch.ts";
import type { Log } from "../src/log/log.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import { openLog, openMemoryLog } from "../src/log/open-log.ts";
import { readAll } from "./dumb-log.ts";
import { LogWorld } from "./log-world.ts";

/**
 * What the tests of the book "Distributed Services with Go" and of its port to Rust assert of the store, the index, the segment
 * and the log, held against ours at the level where both have the same thing to say. Then the faults of the book's own code
 * that lose data or stop a node, by their numbers in our list of them, each as what ours does instead.
 */
const hello = { value: "hello world" };

async function valuesOf(log: Log, from?: number): Promise<(string | null)[]> {
  return (await readAll(log, { from: from ?? "start" })).map(({ value }) => value);
}

describe("the book's storage", () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "proglog-book-"));
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  const storeBytes = (): number => {
    const stores = readdirSync(directory).filter((name) => name.endsWith(".store"));
    return stores.reduce((sum, name) => sum + statSync(join(directory, name)).size, 0);
  };

  test("store, append and read: three records are read back, and by whoever opens the same file next", async () => {
    let log = await openLog(directory);
    const positions: number[] = [];
    for (let i = 0; i < 3; i += 1) {
      await log.append(hello);
      positions.push(log.status().storeBytes);
    }
    // Each takes as much as the first, one behind the other.
    assert.deepEqual(
      positions.map((end, i) => end - (positions[i - 1] ?? 128)),
      [135, 135, 135],
    );
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(await valuesOf(log), ["hello world", "hello world", "hello world"]);
      await log.close();
      log = await openLog(directory);
    }
    await log.close();
  });

  test("store, close: what was appended is in the file, and nothing else once it is closed", async () => {
    const log = await openLog(directory);
    const before = storeBytes();
    await log.append(hello);
    assert.ok(storeBytes() >= before + 135, "not only at close, as in the book");
    await log.close();
    assert.equal(storeBytes(), 128 + 135);
  });

  test("index: an empty one has no last entry, one reopened has the same last one", async () => {
    let log = await openLog(directory);
    assert.deepEqual([log.status().lastIndex, log.logEndOffset], [0, 0]);
    await log.append(hello);
    await log.append(hello);
    await assert.rejects(log.read(2), { code: "OFFSET_OUT_OF_RANGE" });
    await log.close();
    log = await openLog(directory);
    assert.deepEqual([log.status().lastIndex, log.logEndOffset], [2, 2]);
    assert.equal((await log.read(1)).offset, 1);
    await log.close();
  });

  test("segment: it is full by its index or by its store, and the next one goes on", async () => {
    const byIndex = await openLog(join(directory, "a"), { indexMaxBytes: 3 * 16 });
    for (let i = 0; i < 3; i += 1) assert.equal((await byIndex.append(hello)).baseOffset, i);
    assert.equal(byIndex.status().segments, 1);
    assert.equal((await byIndex.append(hello)).baseOffset, 3);
    assert.equal(byIndex.status().segments, 2);
    assert.deepEqual((await valuesOf(byIndex)).length, 4);
    await byIndex.close();

    const byStore = await openLog(join(directory, "b"), { segmentMaxBytes: 1 * KiB });
    for (let i = 0; i < 7; i += 1) await byStore.append(hello);
    assert.equal(byStore.status().segments, 2);
    await byStore.close();
  });

  test("log, append and read: the first offset is 0", async () => {
    await using log = await openLog(directory);
    assert.equal((await log.append(hello)).baseOffset, 0);
    assert.equal((await log.read(0)).value?.toString(), "hello world");
  });

  test("log, offset out of range: an error of its own, which carries the offset", async () => {
    await using log = await openLog(directory);
    await assert.rejects(log.read(1), {
      code: "OFFSET_OUT_OF_RANGE",
      details: { offset: 1, logStartOffset: 0, highWatermark: 0 },
    });
  });

  test("log, init with existing: lowest and highest are the same after a reopening, and the next append gets the next offset", async () => {
    let log = await openLog(directory);
    for (let i = 0; i < 3; i += 1) await log.append(hello);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [0, 3]);
    await log.close();
    log = await openLog(directory);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [0, 3]);
    assert.equal((await log.append(hello)).baseOffset, 3);
    await log.close();
  });

  test("log, reader: what lies there is a packed batch that anybody can unpack", async () => {
    await using log = await openLog(directory);
    await log.append(hello);
    for await (const { batch } of log.batches()) assert.equal(decodeBatch(batch)[0]?.value?.toString(), "hello world");
  });

  test("log, truncate: what lies below the lowest offset that is kept can't be read any more", async () => {
    await using log = await openLog(directory, { indexMaxBytes: 16 });
    for (let i = 0; i < 3; i += 1) await log.append(hello);
    // The book's Truncate(1) drops offset 0 and 1; ours names the first one that stays.
    await log.trim(2);
    await assert.rejects(log.read(0), { code: "OFFSET_OUT_OF_RANGE" });
    await assert.rejects(log.read(1), { code: "OFFSET_OUT_OF_RANGE" });
    assert.equal((await log.read(2)).value?.toString(), "hello world");
  });
});

describe("the Rust port's storage", () => {
  test("store: a torn record at the end is dropped, and those before it are kept", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await log.append({ value: "first" });
    await log.append({ value: "second" });
    const end = log.status().storeBytes;
    world.kill();
    // A length of 50, and 10 bytes of what it promises.
    world.disk.corrupt(world.path(1), end, Buffer.concat([Buffer.from([50, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(10, 1)]));
    const reopened = await world.open();
    assert.deepEqual(await valuesOf(reopened), ["first", "second"]);
    assert.deepEqual([reopened.recovery.cut?.position, reopened.recovery.cut?.bytes], [end, 18]);
    await assert.rejects(reopened.read(2), { code: "OFFSET_OUT_OF_RANGE" });
    assert.equal((await reopened.append({ value: "third" })).baseOffset, 2);
    await reopened.close();
  });

  test("segment: offsets start anywhere, below and above are out of range", async () => {
    await using log = await openMemoryLog();
    for (let i = 0; i < 103; i += 1) await log.append(hello);
    await log.trim(100);
    for (const offset of [100, 102]) assert.equal((await log.read(offset)).offset, offset);
    for (const offset of [99, 103]) await assert.rejects(log.read(offset), { code: "OFFSET_OUT_OF_RANGE" });
  });

  test("log: all records are readable over a rotation, and a scan from an offset goes over segments", async () => {
    await using log = await openMemoryLog({ segmentMaxBytes: 1 * KiB });
    for (let i = 0; i < 30; i += 1) await log.append({ value: `${i}` });
    assert.ok(log.status().segments > 3);
    for (let i = 0; i < 30; i += 1) assert.equal((await log.read(i)).value?.toString(), `${i}`);
    assert.deepEqual(
      await valuesOf(log, 2),
      Array.from({ length: 28 }, (_, i) => `${i + 2}`),
    );
  });

  test("log: an empty one has one segment and no latest offset", async () => {
    await using log = await openMemoryLog();
    assert.deepEqual([log.status().segments, log.status().lastIndex, log.logEndOffset], [1, 0, 0]);
    assert.deepEqual(await valuesOf(log), []);
  });

  test("integration: the cost of a record is 16 bytes of index and what its frame and batch need", async () => {
    const disk = createMemoryDisk();
    const log = await openLog("/log", { disk });
    for (let i = 0; i < 10; i += 1) await log.append(hello);
    await log.close();
    assert.equal(disk.size("/log/00000000000000000001.index"), 10 * 16 + 80);
    assert.equal(disk.size("/log/00000000000000000001.store"), 128 + 10 * (56 + 61 + 18));
  });
});

describe("what the book's log gets wrong, and ours doesn't", () => {
  test("an acknowledged record survives a power cut (W2)", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 2 * KiB });
    for (let i = 0; i < 100; i += 1) await log.append({ value: `${i}` });
    // All that wasn't synced is gone.
    const after = new LogWorld({ disk: world.disk.crash(loseAll) });
    const reopened = await after.open();
    assert.deepEqual(
      await valuesOf(reopened),
      Array.from({ length: 100 }, (_, i) => `${i}`),
    );
    assert.equal((await reopened.append({ value: "next" })).baseOffset, 100);
    await reopened.close();
  });

  test("an unclean stop leaves the next offset right, however far ahead the index file had grown (W3)", async () => {
    const world = new LogWorld();
    let log = await world.open();
    for (let round = 0; round < 4; round += 1) {
      await log.append({ value: `${round}` });
      world.kill();
      // What a mapped index looks like after a kill: full of zeros behind its last slot.
      world.replace(world.path(1, ".index"), Buffer.alloc(64 * KiB));
      log = await world.open();
      assert.equal(log.logEndOffset, round + 1);
    }
    assert.deepEqual(await valuesOf(log), ["0", "1", "2", "3"]);
    await log.close();
  });

  test("a log that is emptied goes on, and is there after a restart (W4)", async () => {
    const world = new LogWorld();
    let log = await world.open({ segmentMaxBytes: 1 * KiB });
    for (let i = 0; i < 20; i += 1) await log.append({ value: "x".repeat(100) });
    await log.truncate(0);
    assert.equal((await log.append({ value: "a" })).baseOffset, 0);
    await log.trim(1);
    assert.equal((await log.append({ value: "b" })).baseOffset, 1);
    world.kill();
    log = await world.open();
    assert.deepEqual([log.logStartOffset, await valuesOf(log)], [1, ["b"]]);
    await log.close();
  });

  test("restarts leave each record there once: none is appended again (W5), none lost by stopping in order (W6)", async () => {
    const world = new LogWorld();
    for (let round = 0; round < 4; round += 1) {
      const log = await world.open();
      assert.equal(log.logEndOffset, 3 * round);
      for (let i = 0; i < 3; i += 1) await log.append({ value: `${round}.${i}` });
      if (round % 2 === 0) await log.close();
      else world.kill();
    }
    const log = await world.open();
    assert.equal((await valuesOf(log)).length, 12);
    assert.equal(new Set(await valuesOf(log)).size, 12);
    await log.close();
  });

  test("removing the end of the log leaves its front as it is (W8)", async () => {
    const world = new LogWorld();
    const log = await world.open({ indexMaxBytes: 2 * 16 });
    for (let i = 1; i <= 5; i += 1) await log.append({ value: `${i}` });
    await log.truncate(3);
    assert.deepEqual(await valuesOf(log), ["1", "2", "3"]);
    assert.equal((await log.append({ value: "4 again" })).baseOffset, 3);
    world.kill();
    const reopened = await world.open();
    assert.deepEqual(await valuesOf(reopened), ["1", "2", "3", "4 again"]);
    await reopened.close();
  });

  test("thousands of segments are written and read with a few descriptors (W10)", async () => {
    const counting = countOpenFiles(createMemoryDisk());
    const openFiles = new OpenFiles(16);
    const options = { disk: counting.disk, openFiles, segmentMaxBytes: 1 * KiB };
    let log = await openLog("/log", options);
    const value = "x".repeat(700);
    for (let i = 0; i < 2000; i += 1) await log.append({ value });
    assert.equal(log.status().segments, 2000);
    assert.ok(counting.mostOpen() <= 8, `${counting.mostOpen()} files are open to write`);
    await log.close();
    assert.equal(counting.open(), 0);

    log = await openLog("/log", options);
    for (let i = 0; i < 2000; i += 37) assert.equal((await log.read(i)).offset, i);
    let next = 0;
    for await (const { offset } of log.records()) assert.equal(offset, next++);
    assert.equal(next, 2000);
    assert.ok(counting.mostOpen() <= 16 + 8, `${counting.mostOpen()} files are open to read`);
    await log.close();
    assert.equal(counting.open(), 0);
  });

  test("an index whose limit is no multiple of an entry's size is full in time, and the log rolls (W11)", async () => {
    for (const indexMaxBytes of [16, 17, 31, 33, 100, 1000]) {
      const log = await openMemoryLog({ indexMaxBytes });
      const perSegment = Math.floor(indexMaxBytes / 16);
      for (let i = 0; i < 2 * perSegment + 1; i += 1) assert.equal((await log.append({ value: "" })).baseOffset, i);
      assert.equal(log.status().segments, 3);
      assert.equal((await valuesOf(log)).length, 2 * perSegment + 1);
      await log.close();
    }
  });

  test("an append that a full disk refused is told, and leaves no trace (W13)", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await log.append({ value: "before" });
    world.disk.fail({ kind: "write", path: ".store", code: "ENOSPC", effect: "half" });
    await assert.rejects(log.append({ value: "no room" }), { code: "DISK_FULL" });
    assert.equal((await log.append({ value: "after" })).baseOffset, 1);
    assert.deepEqual(await valuesOf(log), ["before", "after"]);
    world.kill();
    const reopened = await world.open();
    assert.deepEqual(await valuesOf(reopened), ["before", "after"]);
    await reopened.close();
  });

  test("a waiting reader does nothing until it is woken (W21)", async () => {
    const world = new LogWorld({ isRecording: true });
    const log = await world.open();
    const waiting = log.records({ tail: true }).next();
    await world.settle();
    const before = world.disk.operations.length;
    for (let i = 0; i < 10; i += 1) await world.settle();
    assert.equal(world.disk.operations.length, before);
    await log.append({ value: "woken" });
    assert.equal((await waiting).value?.value?.toString(), "woken");
    await log.close();
  });

  test("a torn length and a stray file don't keep the log from starting (W28)", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await log.append({ value: "a" });
    const end = log.status().storeBytes;
    world.kill();
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(2n ** 40n);
    world.disk.corrupt(world.path(1), end, length);
    world.replace(world.file("stray.store"), Buffer.from("not ours"));
    const reopened = await world.open();
    assert.deepEqual(await valuesOf(reopened), ["a"]);
    await reopened.close();
  });

  test("an empty log and one with one record don't look the same (W34)", async () => {
    await using log = await openMemoryLog();
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [0, 0]);
    await log.append(hello);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [0, 1]);
  });

  test("zeros at the end are no records (the port takes them for some)", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await log.append({ value: "a" });
    const end = log.status().storeBytes;
    world.kill();
    assert.ok((world.disk.size(world.path(1)) ?? 0) > end, "zeros are written ahead");
    const reopened = await world.open();
    assert.deepEqual([await valuesOf(reopened), reopened.logEndOffset, reopened.recovery.cut], [["a"], 1, undefined]);
    await reopened.close();
  });
});

/** The same disk, which knows how many files are open. */
function countOpenFiles(disk: Disk): { disk: Disk; open(): number; mostOpen(): number } {
  const open = new Set<object>();
  let mostOpen = 0;
  const counted: Disk = Object.create(disk, {
    open: {
      value: (...parameters: Parameters<Disk["open"]>) => {
        const file = disk.open(...parameters);
        open.add(file);
        mostOpen = Math.max(mostOpen, open.size);
        const close = file.close.bind(file);
        file.close = () => {
          open.delete(file);
          close();
        };
        return file;
      },
    },
  });
  // The calls of a disk use its private fields, which only the disk itself has.
  const names = [
    "list",
    "size",
    "isDirectory",
    "makeDirectory",
    "rename",
    "remove",
    "removeDirectory",
    "syncDirectory",
    "lock",
    "canMap",
  ] as const;
  for (const name of names) Object.defineProperty(counted, name, { value: disk[name].bind(disk) });
  return { disk: counted, open: () => open.size, mostOpen: () => mostOpen };
}
