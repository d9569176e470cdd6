import assert from "node:assert/strict";
import { before, describe, test, type TestContext } from "node:test";
import { keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { minuteMs } from "../src/base/units.ts";
import { verifyLog } from "../src/log/inspect.ts";
import type { Log } from "../src/log/log.ts";
import {
  appendEntries,
  checkCompacted,
  checkIndexes,
  longValues,
  mergedOptions,
  openCompacted,
  stateOf,
} from "./compacted-log.ts";
import { type Crash, forEachCrash, forEachKill, isProving, TriedImages, type Workload } from "./crash-explorer.ts";
import { type PlainRecord, readAll } from "./dumb-log.ts";
import { startMs } from "./log-world.ts";
import { logDirectory } from "./owing-log.ts";
import { nothingOwed } from "./owed-records.ts";

/**
 * The power is cut at every moment of two compactions, of which the second drops tombstones, and a truncation below what they
 * did. Whatever is left opens, says the same of every key as before, and no removed key comes back, also when it is compacted on.
 */
const plainEntries = ["a=1+b=1", "gone=1+a=2", "c=1", "gone", "d=1+e=1+a=3!", "b=2", "a=4", "gone too=1", "gone too"];
for (let i = 0; i < 7; i += 1) plainEntries.push(`k${i}=1+k${i + 1}=2+k${i + 2}=3+x${i}=4+y${i}=5`);
/** Hardly anything is left of all segments but the last. */
const longEntries = [
  "gone=1",
  "gone",
  ...["1", "2", "3"].flatMap((value) => ["a", "b", "c", "d", "e", "f"].map((key) => `${key}=${value}`)),
];

for (const [what, options, entries] of [
  ["a compaction", {}, plainEntries],
  ["a compaction that merges", mergedOptions, longValues(longEntries)],
] as const)
  describe(`a power cut at any moment of ${what}`, () => {
    const clockOf = (minutes: number): ReturnType<typeof createVirtualClock> =>
      createVirtualClock(startMs + minutes * minuteMs);
    let start: Crash;
    let appended: readonly PlainRecord[];

    before(async () => {
      const disk = createSimDisk({ isRecording: false });
      const clock = clockOf(0);
      const log = await openCompacted(disk, clock, options);
      for (const entry of entries) {
        await appendEntries(log, entry);
        // Times that differ: a search by time then shows whether index files fit to their store.
        clock.advance(1);
      }
      appended = await readAll(log);
      await log.close();
      start = { image: disk, owed: nothingOwed, moment: "" };
    });

    /** Twenty minutes lie between the two runs. */
    const compactTwice: Workload = async ({ disk }) => {
      const clock = clockOf(1);
      const log = await openCompacted(disk, clock, options);
      const { passes, segmentsMerged } = await log.compact();
      assert.deepEqual([passes > 1, segmentsMerged > 0], [options !== mergedOptions, options === mergedOptions]);
      clock.advance(20 * minuteMs);
      await appendEntries(log, "a=4");
      assert.ok((await log.compact()).tombstonesRemoved > 0);
      await log.close();
    };

    /** What a crash leaves is right, stays so over another one, and while it is compacted to the end. */
    async function recovers(disk: SimDisk, tried: TriedImages): Promise<void> {
      const report = await verifyLog(logDirectory, { disk: disk.crash(keepAll) });
      assert.deepEqual(report.damages, []);
      const clock = clockOf(60);
      await checkIndexes(disk, appended, { now: clock.now(), options });
      const log = await openCompacted(disk, clock, options);
      const all = [...appended, ...(await readAll(log, { from: appended.length }))];
      await checkCompacted(log, all);
      assert.deepEqual(
        disk.list(logDirectory).filter((name) => name.endsWith(".tmp")),
        [],
      );
      if (!isProving && !tried.random.chance(0.3)) return;
      await log.compact();
      clock.advance(20 * minuteMs);
      await appendEntries(log, "last=1", "last=2", "last=3", "last=4");
      await log.compact();
      const whole = [...all, ...(await readAll(log, { from: all.length }))];
      const again = await openCompacted(disk.crash(randomChoice(tried.random)), clock, options);
      await checkState(again, whole);
    }

    async function checkState(log: Log, all: readonly PlainRecord[]): Promise<void> {
      assert.deepEqual(stateOf(await readAll(log)), stateOf(all));
      await log.close();
    }

    for (const model of ["strict", "ordered"] as const) {
      test(`loses nothing and brings nothing back (${model})`, async (context: TestContext) => {
        const tried = new TriedImages(`${what} ${model}`);
        const image = createImage(model);
        await forEachCrash(
          compactTwice,
          (crash) => recovers(crash.image, tried),
          { ...start, image: await image },
          {
            imagesMax: isProving ? 128 : 3,
            tried,
          },
        );
        context.diagnostic(`${tried.momentCount} moments, ${tried.imageCount} images, ${tried.count} different ones`);
        assert.ok(tried.count > 80);
      });
    }

    test("by a kill loses nothing and brings nothing back", async (context: TestContext) => {
      const tried = new TriedImages("compaction killed");
      const count = await forEachKill(compactTwice, (crash) => recovers(crash.image, tried), start);
      context.diagnostic(`${count} kills`);
      assert.ok(count > 40);
    });

    test("and of a truncation below it lets no tombstone go for what was there before", async (context) => {
      const tried = new TriedImages("compaction truncated");
      const disk = start.image.crash(keepAll);
      const clock = clockOf(1);
      const compacted = await openCompacted(disk, clock, options);
      await compacted.compact();
      clock.advance(20 * minuteMs);
      await compacted.close();
      const workload: Workload = async (stage) => {
        const log = await openCompacted(stage.disk, clockOf(30), options);
        await log.truncate(2);
        await appendEntries(log, "x=1", "y=1", "z=1", "x", "y=2", "z=2", "u=1", "v=1");
        await log.compact();
        await log.close();
      };
      const crash: Crash = { image: disk, owed: nothingOwed, moment: "" };
      await forEachCrash(
        workload,
        async ({ image }) => {
          const log = await openCompacted(image, clockOf(60), options);
          const state = stateOf(await readAll(log));
          await log.compact();
          await appendEntries(log, "more=1", "more=2", "more=3", "more=4");
          await log.compact();
          const after = new Map(stateOf(await readAll(log)));
          after.delete("more");
          assert.deepEqual(after, state);
          await checkState(await openCompacted(image.crash(loseAll), clockOf(60), options), await readAll(log));
        },
        crash,
        { imagesMax: isProving ? 64 : 4, tried },
      );
      context.diagnostic(`${tried.momentCount} moments, ${tried.imageCount} images, ${tried.count} different ones`);
      assert.ok(tried.count > 30);
    });

    /** The same files on a disk of another model. */
    async function createImage(model: "strict" | "ordered"): Promise<SimDisk> {
      const disk = createSimDisk({ model, isRecording: false });
      await disk.makeDirectory(logDirectory);
      for (const name of start.image.list(logDirectory)) {
        const file = disk.open(`${logDirectory}/${name}`, "create");
        file.writeSync([start.image.contentOf(`${logDirectory}/${name}`)], 0);
        await file.datasync();
        file.close();
      }
      await disk.syncDirectory(logDirectory);
      return disk;
    }
  });
