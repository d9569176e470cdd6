import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { openLog } from "./open-log.ts";
import { logSeed } from "./frame.ts";
import { SyncMarkFile, readSyncMark } from "./sync-mark.ts";
import { readBaseRecord } from "./base-record.ts";

describe("the sync mark of a poisoned log", () => {
  test("stays poisoned whatever is still written to it, and is sound again once the log was opened anew", async () => {
    const disk = createMemoryDisk();
    await (await openLog("/log", { disk, index: "heap" })).close();
    const base = readBaseRecord(disk, "/log");
    assert.ok(base.state === "valid");
    const { logId } = base.record;
    const read = readSyncMark(disk, "/log", logId);
    assert.ok(read.state === "valid" && logSeed(logId) > 0);
    const file = SyncMarkFile.open(disk, "/log", logId, read.sequence, read.mark);
    file.write({ ...read.mark, isPoisoned: true });
    file.write({ ...read.mark, isClean: true });
    assert.deepEqual([file.mark.isPoisoned, file.mark.isClean], [true, false]);
    file.close();
    const log = await openLog("/log", { disk, index: "heap" });
    assert.equal(log.recovery.kind, "recovered");
    await log.append({ value: "a" });
    await log.close();
    const after = readSyncMark(disk, "/log", logId);
    assert.ok(after.state === "valid");
    assert.deepEqual([after.mark.isPoisoned, after.mark.isClean], [false, true]);
  });
});

describe("a store whose header rotted", () => {
  test("with entries behind it is never removed, though nothing vouches for them", async () => {
    const world = new LogWorld();
    const log = await world.open({ segmentMaxBytes: 1024 });
    for (let i = 0; i < 8; i += 1) await log.append({ value: "x".repeat(300) });
    world.kill();
    const newest =
      world.disk
        .list(world.directory)
        .filter((name) => name.endsWith(".store"))
        .at(-1) ?? "";
    world.disk.flipBit(`${world.directory}/${newest}`, 30, 1);
    await assert.rejects(world.open(), { code: "LOG_CORRUPT" });
    assert.ok(world.disk.list(world.directory).includes(newest));
  });
});
