import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { loadMmap } from "../base/mmap.ts";
import type { Log } from "./log.ts";
import { openLog, openMemoryLog } from "./open-log.ts";

async function valuesOf(log: Log): Promise<(string | null)[]> {
  return (await readAll(log)).map(({ value }) => value);
}

describe("a log in memory", () => {
  test("does what one on a disk does", async () => {
    await using log = await openMemoryLog({ segmentMaxBytes: 1024 });
    for (let i = 0; i < 10; i += 1) await log.append({ value: `${i}`.padEnd(200) });
    assert.ok(log.status().segments > 1);
    await log.truncate(8);
    await log.trim(5);
    assert.deepEqual(
      (await readAll(log)).map(({ offset }) => offset),
      [5, 6, 7],
    );
    assert.equal(log.recovery.kind, "created");
    assert.equal(log.status().indexKind, "heap");
    await assert.rejects(log.read(8), { code: "OFFSET_OUT_OF_RANGE" });
  });

  test("has nothing to do with another one", async () => {
    await using a = await openMemoryLog();
    await using b = await openMemoryLog();
    await a.append({ value: "a" });
    await b.append([{ value: "b" }, { value: "c" }]);
    assert.deepEqual([await valuesOf(a), await valuesOf(b)], [["a"], ["b", "c"]]);
    await a.close();
    assert.equal((await b.append({ value: "d" })).baseOffset, 2);
  });

  test("two disks may have a log at the same path", async () => {
    const options = { segmentMaxBytes: 1024 };
    await using a = await openLog("/x", { ...options, disk: createMemoryDisk() });
    await using b = await openLog("/x", { ...options, disk: createMemoryDisk() });
    for (let i = 0; i < 10; i += 1) {
      await a.append({ value: `a${i}`.padEnd(200) });
      await b.append({ value: `b${i}`.padEnd(200) });
    }
    assert.deepEqual([(await a.read(0)).value?.toString().trim(), (await b.read(0)).value?.toString().trim()], ["a0", "b0"]);
    assert.deepEqual(
      (await valuesOf(b)).map((value) => value?.trim()),
      Array.from({ length: 10 }, (_, i) => `b${i}`),
    );
  });
});

describe("opening", () => {
  test("a log that was closed doesn't take the time index of an earlier closing for its own", async () => {
    const world = new LogWorld();
    let log = await world.open();
    await log.append({ value: "a", timestamp: 1 });
    await log.close();
    const path = world.path(1, ".timeindex");
    const before = world.disk.contentOf(path);
    log = await world.open();
    await log.append({ value: "b", timestamp: 2 });
    await log.close();
    // What a power cut leaves: nothing syncs these files.
    world.replace(path, before);
    log = await world.open();
    assert.equal(await log.findOffset({ timestamp: 2 }), 1);
    await log.append({ value: "c", timestamp: 3 });
    assert.equal(await log.findOffset({ timestamp: 3 }), 2);
    await log.close();
  });

  test("a directory without a log makes one, or says that there is none", async () => {
    const world = new LogWorld();
    await assert.rejects(world.open({ createIfMissing: false }), { code: "LOG_NOT_FOUND" });
    assert.equal(world.disk.isDirectory("/log"), false);
    const log = await world.open();
    assert.equal(log.recovery.kind, "created");
    await log.close();
    await (await world.open({ createIfMissing: false })).close();
    await world.disk.makeDirectory("/empty");
    await assert.rejects(openLog("/empty", { disk: world.disk, createIfMissing: false }), { code: "LOG_NOT_FOUND" });
    assert.deepEqual(world.disk.list("/empty"), []);
  });

  test("a log twice is refused, and the pid of its holder told", async () => {
    const world = new LogWorld();
    const log = await world.open();
    await assert.rejects(world.open(), { code: "LOG_LOCKED", details: { directory: "/log", pid: 1 } });
    await log.close();
    await (await world.open()).close();
  });

  test("a log that was closed says so and reads no frame; one that was killed is scanned", async () => {
    const world = new LogWorld({ isRecording: true });
    let log = await world.open();
    await log.append({ value: "a" });
    await log.close();
    const before = world.disk.operations.length;
    log = await world.open();
    const reads = world.disk.operations.slice(before).filter(({ kind, path }) => kind === "read" && path.endsWith(".store"));
    assert.deepEqual([log.recovery.kind, log.recovery.scannedBytes, reads.length], ["clean", 0, 1]);
    await log.append({ value: "b" });
    world.kill();
    log = await world.open();
    assert.deepEqual([log.recovery.kind, log.recovery.lastIndex, log.recovery.logEndOffset], ["recovered", 2, 2]);
    assert.deepEqual(await valuesOf(log), ["a", "b"]);
    await log.close();
  });

  test("a log that was killed before anything was appended to it opens as it was closed", async () => {
    const world = new LogWorld();
    const options = { indexMaxBytes: 64 } as const;
    const first = await world.open(options);
    for (let i = 0; i < 3; i += 1) await first.append({ value: `${i}`, timestamp: 1000 + i });
    await first.close();
    const closed = world.files();
    for (let kills = 0; kills < 3; kills += 1) {
      const log = await world.open(options);
      assert.deepEqual([log.recovery.kind, log.recovery.scannedBytes], ["clean", 0]);
      assert.deepEqual(await valuesOf(log), ["0", "1", "2"]);
      assert.equal((await log.read(1)).value?.toString(), "1");
      assert.equal(await log.findOffset({ timestamp: 1002 }), 2);
      world.kill();
      assert.deepEqual(world.files(), closed);
    }
    // Closed again without a change, trimmed, and rolled over with the indexes it found.
    await (await world.open(options)).close();
    assert.deepEqual(world.files(), closed);
    const trimmed = await world.open(options);
    await trimmed.trim(1);
    await trimmed.close();
    const rolled = await world.open(options);
    assert.equal(rolled.recovery.kind, "clean");
    for (let i = 3; i < 6; i += 1) await rolled.append({ value: `${i}`, timestamp: 1000 + i });
    assert.deepEqual(world.segments(), [1, 5]);
    assert.deepEqual((await rolled.scrub()).damages, []);
    assert.deepEqual(await valuesOf(rolled), ["1", "2", "3", "4", "5"]);
    assert.equal(await rolled.findOffset({ timestamp: 1003 }), 3);
    world.kill();
    const recovered = await world.open(options);
    assert.deepEqual([recovered.recovery.kind, recovered.logEndOffset], ["recovered", 6]);
    await recovered.close();
  });

  test("a full disk at the first append to a log that was closed loses its index and nothing else", async () => {
    const world = new LogWorld();
    const first = await world.open();
    await first.append({ value: "a" });
    await first.close();
    const log = await world.open();
    world.disk.fail({ kind: "create", path: ".index", code: "ENOSPC" });
    await assert.rejects(log.append({ value: "b" }), { code: "DISK_FULL" });
    assert.equal((await log.read(0)).value?.toString(), "a");
    world.disk.fail({ kind: "create", path: ".index", code: "ENOSPC" });
    await assert.rejects(log.append({ value: "b" }), { code: "DISK_FULL" });
    await log.append({ value: "c" });
    assert.deepEqual(await valuesOf(log), ["a", "c"]);
    await log.close();
    const reopened = await world.open();
    assert.equal(reopened.recovery.kind, "clean");
    assert.deepEqual(await valuesOf(reopened), ["a", "c"]);
    await reopened.close();
  });

  test("leaves names alone that are none of the log's, and removes what was half made", async () => {
    const world = new LogWorld();
    await (await world.open()).close();
    for (const name of ["notes.txt", "1.store", "00000000000000000000.store", "x.store", "00000000000000000009.store.tmp"]) {
      world.replace(world.file(name), Buffer.from("?"));
    }
    const log = await world.open();
    await log.append({ value: "a" });
    await log.close();
    assert.deepEqual(
      world.disk.list("/log").filter((name) => !/^0{19}1\.|^base|^lock|^sync/.test(name)),
      ["00000000000000000000.store", "1.store", "notes.txt", "x.store"],
    );
  });

  test("options out of range are refused before anything is made", async () => {
    const world = new LogWorld();
    await assert.rejects(world.open({ segmentMaxBytes: 10 }), { code: "INVALID_ARGUMENT" });
    await assert.rejects(world.open({ index: "mmap" }), { code: "INVALID_ARGUMENT", details: { option: "index" } });
    assert.equal((world.disk.isDirectory("/log") ? world.disk.list("/log") : []).length, 0);
  });

  test("what the disk throws comes with a code", async () => {
    const world = new LogWorld();
    await (await world.open()).close();
    world.disk.fail({ kind: "read", path: "base-0", code: "EIO" });
    await assert.rejects(world.open(), { code: "DISK_FAILED" });
    const log = await world.open();
    await log.append({ value: "a" });
    world.disk.fail({ kind: "read", path: ".store", code: "EIO" });
    await assert.rejects(log.read(0), { code: "DISK_FAILED" });
    await log.close();
  });

  for (const index of ["heap", "mmap"] as const) {
    const skip = index === "mmap" && loadMmap() === undefined ? "koffi isn't installed, or this isn't Linux" : false;
    test(`a real directory, index ${index}, again and again, with small limits`, { skip }, async () => {
      const directory = mkdtempSync(join(tmpdir(), "proglog-open-"));
      try {
        for (let round = 0; round < 4; round += 1) {
          await using log = await openLog(directory, { index, segmentMaxBytes: 1024 });
          assert.equal(log.recovery.kind, round === 0 ? "created" : "clean");
          assert.equal(log.status().indexKind, index);
          for (let i = 0; i < 5; i += 1) await log.append({ value: `${round}.${i}`.padEnd(200) });
          assert.equal((await valuesOf(log)).length, 5 * (round + 1));
        }
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
  }
});

describe("limits of records and batches", () => {
  test("are the options', at the limit and one beyond, and nothing is appended", async () => {
    await using log = await openMemoryLog({ recordMaxBytes: 100, batchMaxBytes: 1024 });
    await log.append({ value: "x".repeat(100) });
    await assert.rejects(log.append({ value: "x".repeat(101) }), { code: "RECORD_TOO_LARGE" });
    const records = (bytes: number) => [
      ...Array.from({ length: 8 }, () => ({ value: "y".repeat(100) })),
      { value: "z".repeat(bytes) },
    ];
    // 61 bytes of header, and 9 of framing for each record: two for its length, two for the value's, five for the other fields.
    const left = 1024 - 61 - 8 * (9 + 100) - 9;
    const { lastOffset } = await log.append(records(left));
    assert.equal(lastOffset, 9);
    await assert.rejects(log.append(records(left + 1)), { code: "BATCH_TOO_LARGE" });
    await assert.rejects(log.append([]), { code: "INVALID_BATCH" });
    await assert.rejects(log.appendBatch(Buffer.alloc(1025)), { code: "BATCH_TOO_LARGE" });
    await assert.rejects(log.appendBatch(Buffer.alloc(100)), { code: "INVALID_BATCH" });
    assert.equal(log.logEndOffset, 10);
    assert.equal((await log.append({ value: "goes on" })).baseOffset, 10);
  });
});
