import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import { createSimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { type Crash, forEachCrash, isProving, TriedImages } from "./crash-explorer.ts";
import { OwingLog } from "./owing-log.ts";
import { nothingOwed } from "./owed-records.ts";

/** Where an append is done when it is written: a killed process loses nothing, and a power cut the end, but never a middle. */
for (const sync of ["interval", "never"] as const) {
  describe(`a log with sync "${sync}"`, () => {
    const log = { sync, syncIntervalMs: 1_000, indexMaxBytes: 64 };
    const start: Crash = { image: createSimDisk(), owed: nothingOwed, moment: "" };

    async function run(owing: OwingLog): Promise<void> {
      await owing.appendGroup("a".repeat(300), "b".repeat(300), "c".repeat(300));
      await owing.append("d", "e");
      await owing.append("f".repeat(700));
      await owing.sync();
      await owing.append("g".repeat(700));
      await owing.trim(7);
      await owing.append("h".repeat(300));
      await owing.truncate(7);
      await owing.append("i");
      await owing.close();
    }

    test("loses nothing when its process is killed, at any moment", async (context) => {
      const tried = new TriedImages(`kill ${sync}`);
      await forEachCrash(
        async (stage) => run(await stage.openLog({ log, owes: "kill" })),
        async ({ image, owed }) => {
          const opened = await OwingLog.open(image, { log, owed });
          await opened.append("next");
        },
        start,
        { imagesMax: 0, choices: [keepAll], tried },
      );
      context.diagnostic(`${tried.count} different images`);
      assert.ok(tried.count > 20);
    });

    test("keeps what was synced and a prefix of the rest over a power cut, at any moment", async (context) => {
      const tried = new TriedImages(`power cut ${sync}`);
      await forEachCrash(
        async (stage) => run(await stage.openLog({ log })),
        async ({ image, owed }) => {
          const disk = image.crash(keepAll);
          const opened = await OwingLog.open(disk, { log, owed });
          // What an opening shows is durable under every policy.
          await OwingLog.open(disk.crash(loseAll), { log, owed: opened.owed() });
          await opened.append("next");
          await OwingLog.open(disk.crash(randomChoice(tried.random)), { log, owed: opened.owed() });
        },
        start,
        { imagesMax: isProving ? 2048 : 32, tried },
      );
      context.diagnostic(`${tried.count} different images`);
      assert.ok(tried.count > 100);
    });

    test("says with each append that it isn't durable yet", async () => {
      const owing = await OwingLog.open(createSimDisk(), { log });
      assert.equal((await owing.append("a")).isDurable, false);
      assert.equal(owing.log.highWatermark, 1);
      assert.equal(owing.log.status().durableIndex, 0);
      await owing.sync();
      assert.equal(owing.log.status().durableIndex, 1);
    });

    test("may lose what it acknowledged: what the word says isn't more than what is done", async () => {
      const disk = createSimDisk();
      const owing = await OwingLog.open(disk, { log });
      await owing.append("a");
      const { log: left } = await OwingLog.open(disk.crash(loseAll), { log, owed: owing.owed() });
      assert.equal(left.logEndOffset, 0);
    });
  });
}

describe("a log that syncs", () => {
  test('at intervals has synced by itself when "syncIntervalMs" have passed', async () => {
    const disk = createSimDisk();
    const { promise: isSynced, resolve } = Promise.withResolvers<void>();
    const observer = { synced: () => resolve() };
    const owing = await OwingLog.open(disk, { log: { sync: "interval", syncIntervalMs: 250, observer } });
    await owing.append("a");
    owing.clock.advance(249);
    assert.equal(owing.log.status().durableIndex, 0);
    owing.clock.advance(1);
    await isSynced;
    const owed = { values: ["a"], ends: [1], startMin: 0, startMax: 0 };
    for (let i = 0; i < 20; i += 1) {
      await OwingLog.open(disk.crash(i === 0 ? loseAll : randomChoice(createSeededRandom(i))), { owed });
    }
  });

  test("always says with each append that it is durable", async () => {
    const owing = await OwingLog.open(createSimDisk());
    assert.equal((await owing.append("a")).isDurable, true);
    assert.equal(owing.log.status().durableIndex, 1);
  });
});
