import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { type CrashModel, keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { sectorBytes } from "../sim/sector-file.ts";
import { isProglogError } from "../src/base/error.ts";
import type { LogOptions } from "../src/log/log.ts";
import { indexSuffix, segmentPath, timeIndexSuffix } from "../src/log/segment-name.ts";
import { isProving } from "./crash-explorer.ts";
import { logDirectory, OwingLog } from "./owing-log.ts";
import { nothingOwed, type OwedRecords } from "./owed-records.ts";

/**
 * The disk has room for nothing, then for one sector, then for two, and so on (with PROVE=1 one by one to the end, else in larger
 * steps above 16) until the scenario passes. What doesn't fit ends in
 * DISK_FULL and leaves no trace; reading goes on; and once there is room again, so does the log as it is.
 */
describe("a full disk", () => {
  fullDiskTest("while a log is made", {
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("a"));
    },
  });

  fullDiskTest("while groups are appended", {
    begin: (owing) => owing.append("a"),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.appendGroup("b".repeat(600), "c".repeat(600)));
      // Larger than what zeros were written ahead for, and then a small one, which may fit where the large one didn't.
      await attempt(() => owing.append("d".repeat(70_000)));
      await attempt(() => owing.append("e"));
    },
  });

  fullDiskTest("while segments are rolled", {
    log: { segmentMaxBytes: 1024 },
    begin: (owing) => owing.append("a".repeat(400)),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("b".repeat(600)));
      await attempt(() => owing.append("c"));
      await attempt(() => owing.append("d".repeat(600)));
      await attempt(() => owing.append("e".repeat(2_000)));
      await attempt(() => owing.append("f"));
    },
  });

  fullDiskTest("while producers write, and what they wrote is truncated and trimmed", {
    log: { segmentMaxBytes: 1024 },
    begin: (owing) => produce(owing, 6),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => produce(owing, 5));
      await attempt(() => owing.truncate(3));
      await attempt(() => produce(owing, 2));
      await attempt(() => owing.trim(2));
      await attempt(() => owing.close());
      await attempt(() => owing.open());
      await attempt(() => produce(owing, 1));
    },
  });

  fullDiskTest("while a log is closed and opened", {
    begin: (owing) => owing.appendGroup("a", "b").then(() => owing.close()),
    async run(attempt, owing) {
      for (const letter of ["c", "d"]) {
        await attempt(() => owing.open());
        await attempt(() => owing.append(letter.repeat(2_000)));
        await attempt(() => owing.close());
      }
      await attempt(() => owing.open());
    },
  });

  fullDiskTest("while a log is truncated and trimmed", {
    log: { segmentMaxBytes: 1024 },
    begin: (owing) => appendOneByOne(owing, 8).then(() => owing.close()),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("z".repeat(700)));
      await attempt(() => owing.append("y".repeat(700)));
      await attempt(() => owing.truncate(5));
      await attempt(() => owing.append("b".repeat(300)));
      await attempt(() => owing.trim(3));
      await attempt(() => owing.append("c".repeat(300)));
      await attempt(() => owing.trim(owing.log.highWatermark));
      await attempt(() => owing.append("d".repeat(300)));
    },
  });

  fullDiskTest("while a log recovers that had been poisoned", {
    begin: (owing) => leavePoisoned(owing),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("e".repeat(600)));
    },
  });

  test("lets a segment be read whose index there is no room for", async () => {
    const log = { segmentMaxBytes: 1024 };
    const { disk, owed } = await beginning({ log, begin: (owing) => appendOneByOne(owing, 8), run: async () => {} }, "strict");
    const firstStores = disk.list(logDirectory).filter((name) => name.endsWith(".store"));
    assert.ok(firstStores.length >= 2);
    for (const suffix of [indexSuffix, timeIndexSuffix] as const) disk.remove(segmentPath(logDirectory, 1, suffix));
    const owing = await OwingLog.open(disk.crash(keepAll), { log, owed });
    await owing.close();
    disk.capacityBytes = disk.usedBytes;
    const full = await OwingLog.open(disk, { log, owed });
    await full.check();
    assert.equal(disk.size(segmentPath(logDirectory, 1, indexSuffix)) ?? 0, 0, "there was no room for it");
  });

  test("that fails a write half-way leaves nothing that a power cut could bring back", async () => {
    const { disk, owed } = await beginning({ begin: (owing) => owing.append("a"), run: async () => {} }, "strict");
    const owing = await OwingLog.open(disk, { owed });
    // Room for the first frame of the group and half of the second.
    disk.capacityBytes = disk.usedBytes + 2 * sectorBytes;
    const group = ["b".repeat(300), "c".repeat(1000)].map((value) => owing.append(value));
    for (const append of group) await assert.rejects(append, { code: "DISK_FULL", message: /the disk is full/ });
    for (const image of imagesOf(disk, 64)) await OwingLog.open(image, { owed: owing.owed() });
  });
});

type Attempt = (work: () => Promise<unknown>) => Promise<void>;

interface FullDiskScenario {
  readonly log?: LogOptions;
  /** Leaves a disk for the scenario to start from; there is room for it. */
  readonly begin?: (owing: OwingLog) => Promise<unknown>;
  readonly run: (attempt: Attempt, owing: OwingLog) => Promise<void>;
}

const random = createSeededRandom("full disks");

function fullDiskTest(title: string, scenario: FullDiskScenario): void {
  for (const model of ["strict", "ordered"] as const) {
    test(`${title} is told, and nothing is lost (${model})`, async (context: TestContext) => {
      let runCount = 0;
      for (let sectors = 0; ; sectors += isProving || sectors < 16 ? 1 : 7) {
        runCount += 1;
        const refusedCount = await runWithRoom(scenario, model, sectors * sectorBytes).catch((error: unknown) => {
          throw new Error(`with room for ${sectors} sectors: ${String(error)}`, { cause: error });
        });
        if (refusedCount === 0) break;
      }
      context.diagnostic(`${runCount} amounts of room`);
      assert.ok(runCount > 1, "the disk was full at some time");
    });
  }
}

/** Returns how many operations were refused. */
async function runWithRoom(scenario: FullDiskScenario, model: CrashModel, roomBytes: number): Promise<number> {
  const { log = {} } = scenario;
  const { disk, owed } = await beginning(scenario, model);
  disk.capacityBytes = disk.usedBytes + roomBytes;
  const owing = new OwingLog(disk, { log, owed });
  let refusedCount = 0;
  await scenario.run(async (work) => {
    const wasOpen = owing.isOpen;
    try {
      await work();
    } catch (error) {
      // Whatever comes after a refused opening has no log to work on.
      if (!wasOpen && !isProglogError(error)) return;
      assert.ok(isProglogError(error, "DISK_FULL"), `DISK_FULL, not ${String(error)}`);
      refusedCount += 1;
    }
    if (owing.isOpen) {
      assert.equal(owing.log.status().state, "open");
      await owing.check();
    }
    for (const image of imagesOf(disk, 3)) await OwingLog.open(image, { log, owed: owing.owed() });
  }, owing);

  disk.capacityBytes = Number.POSITIVE_INFINITY;
  if (!owing.isOpen) await owing.open();
  await owing.append("there is room again");
  await owing.check();
  for (const image of imagesOf(disk, 3)) await OwingLog.open(image, { log, owed: owing.owed() });
  await owing.reopen();
  await owing.append("and a clean opening");
  await OwingLog.open(disk.crash(loseAll), { log, owed: owing.owed() });
  return refusedCount;
}

/** Disks that a power cut now may leave, with room. */
function imagesOf(disk: SimDisk, count: number): SimDisk[] {
  const choices = [loseAll, ...Array.from({ length: count - 1 }, () => randomChoice(random))];
  return choices.map((choice) => {
    const image = disk.crash(choice, { isRecording: false });
    image.capacityBytes = Number.POSITIVE_INFINITY;
    return image;
  });
}

async function beginning(scenario: FullDiskScenario, model: CrashModel): Promise<{ disk: SimDisk; owed: OwedRecords }> {
  const disk = createSimDisk({ model, isRecording: false });
  const { log = {}, begin } = scenario;
  if (begin === undefined) return { disk, owed: nothingOwed };
  const owing = await OwingLog.open(disk, { log });
  await begin(owing);
  return { disk: disk.crash(keepAll, { isRecording: false }), owed: owing.owed() };
}

async function appendOneByOne(owing: OwingLog, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    owing.clock.advance(1);
    await owing.append(`a${i}`.repeat(100));
  }
}

async function produce(owing: OwingLog, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await owing.append(...owing.tagged(1 + (i % 2), `${i}`.repeat(300)));
}

async function leavePoisoned(owing: OwingLog): Promise<void> {
  await owing.appendGroup("a", "b");
  owing.disk.fail({ kind: "datasync", path: ".store", code: "EIO", effect: "none" });
  await assert.rejects(owing.appendGroup("c", "d"), { code: "DISK_FAILED" });
}
