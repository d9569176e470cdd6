import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { backUp, contentOf, folder, newDisk, OpenLogs, openRestored, restore, uuidOf } from "../../test/backup-world.ts";
import { appendEntries, compactedOptions, stateOf } from "../../test/compacted-log.ts";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import type { SimDisk } from "../../sim/disk.ts";
import { keepAll, loseAll, randomChoice } from "../../sim/crash.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { backupTriesMaxCount } from "../base/backup-limits.ts";
import { isProglogError } from "../base/error.ts";
import { KiB, minuteMs } from "../base/units.ts";
import type { Log } from "../log/log.ts";
import { readManifest } from "../log/manifest.ts";
import { getBackupManifest } from "./backup-manifest.ts";
import { verifyBackup } from "./verify-backup.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

/** Three records to a segment. */
async function fill(log: Log, count: number, from = log.logEndOffset): Promise<void> {
  for (let i = from; i < from + count; i += 1) await log.append({ key: `k${i}`, value: `${i}`.padEnd(100, ".") });
}

async function faultsOf(disk: SimDisk): Promise<readonly string[]> {
  return (await verifyBackup(folder, { disk })).logs.flatMap(({ faults }) => faults);
}

describe("a backup", () => {
  test("of a log that is open and written to holds all that was committed, and a log restored from it is the same", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 20);
    await log.append([{ value: "a" }, { value: "b" }], { producer: { id: 7, epoch: 1, baseSequence: 0 } });
    await log.trim(5);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    const report = await backUp(source, disk);
    assert.deepEqual([report.topics, report.logs, report.keptBytes, report.deleted], [1, 1, 0, []]);
    assert.deepEqual(await faultsOf(disk), []);
    const expected = await contentOf(log);
    // What comes later isn't in it.
    await fill(log, 3);
    await restore(disk);
    const copy = await openRestored(disk, uuidOf(1), small);
    assert.deepEqual(await contentOf(copy), expected);
    assert.deepEqual([copy.logStartOffset, copy.logEndOffset], [5, 22]);
    // Where a retry of before is still known, and new records go on.
    const retry = await copy.append([{ value: "a" }, { value: "b" }], {
      producer: { id: 7, epoch: 1, baseSequence: 0 },
    });
    assert.deepEqual([retry.baseOffset, retry.isDuplicate], [20, true]);
    assert.equal((await copy.append({ value: "more" })).baseOffset, 22);
    await Promise.all([copy.close(), log.close()]);
  });

  test("of an empty log, and of one of which all was trimmed, restores as such", async () => {
    const world = new LogWorld();
    const [empty, trimmed] = [await world.openAt("/empty", small), await world.openAt("/trimmed", small)];
    await fill(trimmed, 7);
    await trimmed.trim(7);
    const disk = newDisk();
    await backUp(new OpenLogs().add("empty", empty).add("trimmed", trimmed), disk);
    assert.deepEqual(await faultsOf(disk), []);
    await restore(disk);
    for (const [number, log] of [empty, trimmed].entries()) {
      const copy = await openRestored(disk, uuidOf(number + 1), small);
      assert.deepEqual(await contentOf(copy), await contentOf(log));
      assert.equal((await copy.append({ value: "first" })).baseOffset, number * 7);
      await copy.close();
    }
    await Promise.all([empty.close(), trimmed.close()]);
  });

  test("fetches of sealed segments only those that the folder hasn't", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 10);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    const first = await backUp(source, disk);
    assert.equal(first.segments, 4);
    await fill(log, 6);
    source.readCount = 0;
    const second = await backUp(source, disk);
    // Three stay; what was the newest goes on, and two are new.
    assert.deepEqual([second.generation, second.segments, source.readCount], [2, 6, 3]);
    assert.equal(second.bytes, second.keptBytes + second.fetchedBytes);
    assert.deepEqual(await faultsOf(disk), []);
    await restore(disk);
    const copy = await openRestored(disk, uuidOf(1), small);
    assert.deepEqual(await contentOf(copy), await contentOf(log));
    await Promise.all([copy.close(), log.close()]);
  });

  test("has a long list of segments in pages, and a large one in pieces", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 40);
    const source = new OpenLogs().add("orders", log);
    Object.assign(source, { pieceBytes: 100, segmentsMaxCount: 2 });
    const disk = newDisk();
    assert.equal((await backUp(source, disk)).segments, 14);
    assert.deepEqual(await faultsOf(disk), []);
    await log.close();
  });

  test("that is cut short leaves the one before whole, and the next run goes on with what it fetched", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 4);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    await backUp(source, disk);
    await fill(log, 12);
    const stop = new AbortController();
    source.readCount = 0;
    source.beforeRead = async (count) => {
      if (count === 3) stop.abort();
    };
    await assert.rejects(backUp(source, disk, { signal: stop.signal }), { code: "CANCELLED" });
    assert.equal(getBackupManifest(disk, folder, "look at").generation, 1);
    assert.deepEqual(await faultsOf(disk), []);
    source.beforeRead = async () => {};
    source.readCount = 0;
    await backUp(source, disk);
    // Of six segments the first is that of the first run, and three came with the one that was cut short.
    assert.equal(source.readCount, 2);
    assert.deepEqual(await faultsOf(disk), []);
    await log.close();
  });

  test("doesn't go by what a run that was cut short has left rotten", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 10);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    source.beforeRead = async (count) => {
      if (count === 3) throw new Error("the power went");
    };
    await assert.rejects(backUp(source, disk), /the power went/);
    await assert.rejects(verifyBackup(folder, { disk }), { code: "LOG_NOT_FOUND", message: /holds no whole backup/ });
    const directory = `${folder}/logs/${uuidOf(1)}`;
    const [name = ""] = disk.list(directory);
    disk.flipBit(`${directory}/${name}`, 200, 1);
    source.beforeRead = async () => {};
    await backUp(source, disk);
    assert.deepEqual(await faultsOf(disk), []);
    await log.close();
  });

  test("begins a log again that is trimmed while it is copied", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 20);
    const source = new OpenLogs().add("orders", log);
    source.beforeRead = async (count) => {
      if (count === 2) await log.trim(14);
    };
    const disk = newDisk();
    await backUp(source, disk);
    assert.deepEqual(await faultsOf(disk), []);
    await restore(disk);
    const copy = await openRestored(disk, uuidOf(1), small);
    assert.deepEqual(await contentOf(copy), await contentOf(log));
    await Promise.all([copy.close(), log.close()]);
  });

  test("of a compacted log is of one moment, and none of an older one comes back in it", async () => {
    const world = new LogWorld();
    const log = await world.open(compactedOptions);
    await appendEntries(log, "a=1", "b=1", "c=1", "a=2", "b", "c=2", "d=1", "e=1", "f=1", "g=1");
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    await backUp(source, disk);
    // The tombstone of b goes, and with it all that could say that b=1 isn't the newest.
    await log.compact();
    world.clock.advance(11 * minuteMs);
    await appendEntries(log, "h=1", "i=1", "j=1", "k=1");
    await log.compact();
    assert.equal(stateOf(await readAll(log)).has("b"), false);
    let isCompacted = false;
    source.beforeRead = async (count) => {
      if (isCompacted || count < 3) return;
      isCompacted = true;
      await appendEntries(log, "a=3", "c", "l=1", "m=1", "n=1");
      await log.compact();
    };
    const expected = async (): Promise<unknown> => stateOf(await readAll(log));
    await backUp(source, disk);
    assert.equal(isCompacted, true);
    assert.deepEqual(await faultsOf(disk), []);
    await restore(disk);
    const copy = await openRestored(disk, uuidOf(1), compactedOptions);
    assert.deepEqual(stateOf(await readAll(copy)), await expected());
    assert.deepEqual(await contentOf(copy), await contentOf(log));
    await Promise.all([copy.close(), log.close()]);
  });

  test("of a log that never holds still is given up in the end", async () => {
    const world = new LogWorld();
    const log = await world.open({ ...compactedOptions, tombstoneRetentionMs: 0 });
    await appendEntries(log, "a=1", "b=1", "c=1", "d=1", "e=1", "f=1");
    const source = new OpenLogs().add("orders", log);
    let number = 0;
    source.beforeRead = async () => {
      number += 1;
      await appendEntries(log, `a=${number % 10}`, `b=${number % 10}`, `c=${number % 10}`);
      await log.compact();
    };
    await assert.rejects(backUp(source, newDisk()), { code: "CHANGE_IN_PROGRESS" });
    assert.ok(number >= backupTriesMaxCount);
    await log.close();
  });

  test("leaves out a topic that is deleted while it runs, and says so", async () => {
    const world = new LogWorld();
    const [orders, users] = [await world.openAt("/orders", small), await world.openAt("/users", small)];
    await fill(orders, 4);
    await fill(users, 4);
    const source = new OpenLogs().add("orders", orders).add("users", users);
    source.beforeRead = async () => void source.logs.delete("users");
    const disk = newDisk();
    const report = await backUp(source, disk);
    assert.deepEqual([report.topics, report.logs, report.deleted], [1, 1, ["users"]]);
    assert.deepEqual(await faultsOf(disk), []);
    await Promise.all([orders.close(), users.close()]);
  });

  test("of a log with rot is refused, and the one before stays", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 4);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    await backUp(source, disk);
    await fill(log, 6);
    world.disk.flipBit(world.path(7), 300, 2);
    await assert.rejects(backUp(source, disk), {
      code: "LOG_CORRUPT",
      message: /^Cannot copy partition 0 of topic orders: of the segment 7 came/,
    });
    assert.deepEqual([(await verifyBackup(folder, { disk })).manifest.generation, await faultsOf(disk)], [1, []]);
    await log.close();
  });

  test("goes to no folder of another node, of something else, or of a backup that runs", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 4);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    await backUp(source, disk);
    const other = new OpenLogs().add("orders", log);
    other.clusterId = "c".repeat(32);
    await assert.rejects(backUp(other, disk), { code: "INVALID_ARGUMENT", message: /it holds one of the node 5555/ });
    disk.open(`${folder}/holiday.jpg`, "create").close();
    await assert.rejects(backUp(source, disk), { code: "INVALID_ARGUMENT", message: /it holds holiday\.jpg/ });
    disk.remove(`${folder}/holiday.jpg`);
    const lock = disk.lock(`${folder}/lock`);
    await assert.rejects(backUp(source, disk), { code: "LOG_LOCKED" });
    lock.release();
    await log.close();
  });

  test("whenever the power goes, the folder holds the backup before or the new one, whole", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 4);
    const source = new OpenLogs().add("orders", log);
    const before = newDisk();
    await backUp(source, before);
    await fill(log, 6);
    const images: SimDisk[] = [];
    const choices = [loseAll, keepAll, randomChoice(createSeededRandom("cut"))];
    const disk = before.endProcess({
      isRecording: false,
      onCall: () => {
        for (const choice of choices) images.push(disk.crash(choice, { isRecording: false }));
      },
    });
    await backUp(source, disk);
    const generations = new Set<number>();
    for (const image of images) {
      const verified = await verifyBackup(folder, { disk: image });
      assert.deepEqual(
        verified.logs.flatMap(({ faults }) => faults),
        [],
      );
      generations.add(verified.manifest.generation);
    }
    assert.deepEqual(generations, new Set([1, 2]));
    // And from any of them the next run comes to its end.
    for (const image of images.filter((_, number) => number % 25 === 0)) {
      await backUp(source, image);
      assert.deepEqual(await faultsOf(image), []);
    }
    await log.close();
  });

  test("to a disk that is full says so, and goes on when there is room", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 10);
    const source = new OpenLogs().add("orders", log);
    const disk = newDisk();
    const fault = disk.fail({ kind: "write", nth: 3, code: "ENOSPC" });
    await assert.rejects(backUp(source, disk), { code: "DISK_FULL", message: /^Cannot make a backup in \/backup/ });
    fault.cancel();
    await backUp(source, disk);
    assert.deepEqual(await faultsOf(disk), []);
    await log.close();
  });
});

describe("a backup that isn't sound", () => {
  /** A disk with a backup of two logs. */
  async function makeBackup(): Promise<SimDisk> {
    const world = new LogWorld();
    const [orders, users] = [await world.openAt("/orders", small), await world.openAt("/users", small)];
    await fill(orders, 7);
    await fill(users, 2);
    const disk = newDisk();
    await backUp(new OpenLogs().add("orders", orders).add("users", users), disk);
    await Promise.all([orders.close(), users.close()]);
    return disk;
  }

  function filesOf(disk: SimDisk): readonly string[] {
    const logs = `${folder}/logs`;
    return disk.list(logs).flatMap((uuid) => disk.list(`${logs}/${uuid}`).map((name) => `${logs}/${uuid}/${name}`));
  }

  /** Found by `verify`, and refused by `restore`, which leaves nothing that a node would start on. */
  async function checkFound(disk: SimDisk, file: string): Promise<void> {
    const { ok, logs } = await verifyBackup(folder, { disk });
    assert.equal(ok, false, file);
    assert.equal(logs.filter(({ faults }) => faults.length > 0).length, 1);
    await assert.rejects(restore(disk), (error) => isProglogError(error, "LOG_CORRUPT") && error.details["file"] === file);
    assert.throws(() => readManifest(disk, "/restored/manifest"), { code: "MANIFEST_CORRUPT" });
  }

  test("is found to be rotten at whichever byte", async () => {
    const disk = await makeBackup();
    const files = filesOf(disk);
    assert.equal(files.length, 6);
    const random = createSeededRandom("rot");
    for (const file of files) {
      const size = disk.size(file) ?? 0;
      for (const position of [0, size - 1, ...Array.from({ length: 10 }, () => Math.floor(random.float() * size))]) {
        const rotten = disk.crash(keepAll, { isRecording: false });
        rotten.flipBit(file, position, Math.floor(random.float() * 8));
        await checkFound(rotten, file);
      }
    }
  });

  test("is found to lack a file, or a part of one, or to have more", async () => {
    const disk = await makeBackup();
    for (const file of filesOf(disk)) {
      const without = disk.crash(keepAll, { isRecording: false });
      without.remove(file);
      await checkFound(without, file);
      for (const change of [-1, 1]) {
        const changed = disk.crash(keepAll, { isRecording: false });
        const opened = changed.open(file, "write");
        if (change < 0) opened.truncate(opened.size() - 1);
        else opened.writeSync([Buffer.from([1])], opened.size());
        opened.close();
        await checkFound(changed, file);
      }
    }
  });

  test("without its manifest, or with a bad one, is no backup", async () => {
    const disk = await makeBackup();
    const path = `${folder}/backup`;
    const bytes = disk.contentOf(path);
    for (let position = 0; position < bytes.length; position += 7) {
      const rotten = disk.crash(keepAll, { isRecording: false });
      rotten.flipBit(path, position, 4);
      await assert.rejects(verifyBackup(folder, { disk: rotten }), { code: "MANIFEST_CORRUPT" });
      await assert.rejects(restore(rotten), { code: "MANIFEST_CORRUPT" });
    }
    disk.remove(path);
    await assert.rejects(verifyBackup(folder, { disk }), { code: "LOG_NOT_FOUND" });
    await assert.rejects(restore(disk), { code: "LOG_NOT_FOUND" });
    await assert.rejects(verifyBackup("/elsewhere", { disk }), { code: "LOG_NOT_FOUND", message: /there is no such folder/ });
  });

  test("isn't restored over anything", async () => {
    const disk = await makeBackup();
    await restore(disk);
    await assert.rejects(restore(disk), { code: "INVALID_ARGUMENT", message: /^Cannot restore to \/restored: it holds/ });
  });
});
