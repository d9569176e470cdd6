import assert from "node:assert/strict";
import fs from "node:fs";
import { describe, test } from "node:test";
import { encodeBatch } from "../batch/encode-batch.ts";
import { LogWorld } from "../../test/log-world.ts";
import { AssertionError } from "../base/assert.ts";
import { systemError } from "../base/disk-error.ts";
import { KiB } from "../base/units.ts";
import type { Log } from "./log.ts";
import { isDiskFull, isOutOfFiles, poisonedError, poisonOf } from "./write-failure.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

async function fill(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value: "v".repeat(100) });
}

describe("a full disk", () => {
  test("is one that a write, an opening or a cut meets, and none that a sync reports", () => {
    for (const call of ["write", "writev", "open", "ftruncate"])
      assert.equal(isDiskFull(systemError("ENOSPC", call, "/a")), true);
    assert.equal(isDiskFull(systemError("EDQUOT", "write", "/a")), true);
    assert.equal(isDiskFull(systemError("EIO", "write", "/a")), false);
    for (const call of ["fsync", "fdatasync", "datasync", "sync-directory"]) {
      assert.equal(isDiskFull(systemError("ENOSPC", call, "/a")), false);
      assert.equal(isDiskFull(systemError("EDQUOT", call, "/a")), false);
      assert.equal(isOutOfFiles(systemError("ENFILE", call, "/a")), false);
    }
  });

  test("Node names the syncs that fail as it is relied upon", async () => {
    const named = (sync: typeof fs.fsync): Promise<unknown> =>
      new Promise((resolve) => {
        sync(99_999, (error) => resolve(error !== null && "syscall" in error && error.syscall));
      });
    assert.deepEqual([await named(fs.fsync), await named(fs.fdatasync)], ["fsync", "fdatasync"]);
  });

  const syncs = {
    "of a new segment's store": { kind: "datasync", path: "04.store" },
    "of the directory of a new segment": { kind: "sync-directory" },
  } as const;
  for (const [what, call] of Object.entries(syncs)) {
    test(`reported by the sync ${what} poisons the log: what is durable isn't known`, async () => {
      for (const code of ["ENOSPC", "EDQUOT"]) {
        const world = new LogWorld();
        const log = await world.open(small);
        await fill(log, 3);
        world.disk.fail({ ...call, code });
        await assert.rejects(log.append({ value: "v".repeat(200) }), { code: "DISK_FAILED" });
        assert.equal(log.status().state, "poisoned");
        await log.close();
      }
    });
  }

  test("reported by the sync of a base record poisons the log, and nothing is removed", async () => {
    for (const nth of [1, 2]) {
      const world = new LogWorld();
      const log = await world.open(small);
      await fill(log, 20);
      world.disk.fail({ kind: "datasync", path: /base-\d$/, nth, code: "ENOSPC" });
      await assert.rejects(log.trim(11), { code: "DISK_FAILED" });
      assert.equal(log.status().state, "poisoned");
      assert.deepEqual(world.segments(), [1, 4, 7, 10, 13, 16, 19]);
      await log.close();
    }
  });

  test("reported by a sync while a log opens is no full disk either", async () => {
    const world = new LogWorld();
    await world.open();
    world.kill();
    world.disk.fail({ kind: "datasync", path: ".store", code: "ENOSPC" });
    await assert.rejects(world.open(), { code: "DISK_FAILED" });
  });
});

describe("no descriptor left", () => {
  test("while a segment is begun is an answer to try again after, and nothing has changed", async () => {
    for (const code of ["EMFILE", "ENFILE"]) {
      for (const path of ["04.store", "04.index"]) {
        const world = new LogWorld();
        const log = await world.open(small);
        await fill(log, 3);
        const before = world.files();
        world.disk.fail({ kind: "create", path, code });
        const append = { value: "w".repeat(200) };
        await assert.rejects(log.append(append), {
          code: "OVERLOADED",
          message: "Cannot begin a segment: too many files are open",
          details: { systemCode: code },
        });
        assert.equal(log.status().state, "open");
        assert.deepEqual([...world.files().keys()], [...before.keys()]);
        assert.equal((await log.append(append)).baseOffset, 3);
        await log.close();
      }
    }
  });

  test("while the base record is written leaves the trim undone, and the log going on", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 20);
    world.disk.fail({ kind: "open", path: /base-\d$/, code: "EMFILE" });
    await assert.rejects(log.trim(11), { code: "OVERLOADED" });
    assert.deepEqual([log.logStartOffset, world.segments().length], [0, 7]);
    await log.trim(11);
    assert.deepEqual([log.logStartOffset, world.segments().length], [11, 4]);
    await log.close();
  });
});

describe("an assertion that fails in the writer", () => {
  test("poisons the log, and is called what it is", async () => {
    const world = new LogWorld();
    let isMoonFull = false;
    const { clock } = world;
    // What the writer asks when it begins a sync.
    const monotonic = (): number => {
      if (!isMoonFull) return clock.monotonic();
      isMoonFull = false;
      throw new AssertionError("Assertion failed: the moon is full");
    };
    const log = await world.open({ clock: { ...clock, monotonic } });
    const packed = encodeBatch([{ value: "a" }], { now: 0 });
    isMoonFull = true;
    await assert.rejects(log.appendBatch(packed), {
      code: "INTERNAL",
      message: "Cannot append: Assertion failed: the moon is full",
    });
    assert.equal(log.status().state, "poisoned");
    await assert.rejects(log.appendBatch(packed), {
      code: "LOG_POISONED",
      message: "Cannot append: the log stopped itself (Cannot append: Assertion failed: the moon is full)",
    });
    await log.close();
  });

  test("is found however it was wrapped, and a failed write stays one", () => {
    const wrapped = new Error("half-way", { cause: new Error("outer", { cause: new AssertionError("inner") }) });
    assert.equal(poisonOf("truncate", wrapped).code, "INTERNAL");
    const failed = poisonOf("truncate", new Error("half-way", { cause: systemError("EIO", "write", "/a") }));
    assert.equal(failed.code, "DISK_FAILED");
    assert.match(poisonedError("append", failed).hint ?? "", /^Check the disk, then open the log again\. /);
  });
});
