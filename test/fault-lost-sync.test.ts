import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { loseAll, randomChoice } from "../sim/crash.ts";
import { createSimDisk } from "../sim/disk.ts";
import type { Fault } from "../sim/fault-plan.ts";
import { createSeededRandom } from "../sim/random.ts";
import type { LogOptions } from "../src/log/log.ts";
import { storeSuffix } from "../src/log/segment-name.ts";
import { syncMarkName } from "../src/log/sync-mark.ts";
import { OwingLog } from "./owing-log.ts";

/**
 * A sync that fails on Linux leaves its pages clean in memory and absent on the disk, and the next sync reports success. So what
 * a log finds above its sync mark when it opens may be there for reading only, and a power cut would take it away again.
 */
describe("a sync that fails and loses what it was to write", () => {
  const random = createSeededRandom("lost syncs");

  const failures: Readonly<Record<string, Fault>> = {
    "all of it": { kind: "datasync", path: storeSuffix, code: "EIO", effect: "lost" },
    "half of it": { kind: "datasync", path: storeSuffix, code: "EIO", effect: "half" },
    "nothing of it, and is reported all the same": { kind: "datasync", path: storeSuffix, code: "EIO", effect: "all" },
  };

  for (const [lost, failure] of Object.entries(failures)) {
    test(`(${lost}) leaves a log that shows after opening only what stays`, async () => {
      const owing = await logWithFailedSync(failure);
      const opened = await OwingLog.open(owing.disk.endProcess(), { owed: owing.owedToKill() });
      // Visible now, whether or not it was acknowledged: so it has to survive.
      for (const choice of [loseAll, randomChoice(random)]) {
        await OwingLog.open(opened.disk.crash(choice), { owed: opened.owed() });
      }
      await opened.append("next");
      await OwingLog.open(opened.disk.crash(loseAll), { owed: opened.owed() });
    });

    test(`(${lost}) leaves a log that keeps what was acknowledged over a power cut`, async () => {
      const owing = await logWithFailedSync(failure);
      for (let i = 0; i < 50; i += 1) {
        const image = owing.disk.crash(i === 0 ? loseAll : randomChoice(random));
        const opened = await OwingLog.open(image, { owed: owing.owed() });
        await opened.append("next");
        await OwingLog.open(image.crash(loseAll), { owed: opened.owed() });
      }
    });

    test(`(${lost}) does no harm either when not even the failure could be noted`, async () => {
      const owing = await logWithFailedSync(failure, { kind: "write", path: syncMarkName, nth: 1, times: 5, code: "EIO" });
      const opened = await OwingLog.open(owing.disk.endProcess(), { owed: owing.owedToKill() });
      await OwingLog.open(opened.disk.crash(loseAll), { owed: opened.owed() });
    });
  }

  test("isn't tried again: the log takes no more, says so, and goes on showing what was synced", async () => {
    const owing = await logWithFailedSync({ kind: "datasync", path: storeSuffix, code: "EIO" });
    const { log } = owing;
    assert.equal(log.status().state, "poisoned");
    assert.equal(log.highWatermark, 3);
    const syncsBefore = owing.disk.operations.filter(
      ({ kind, path }) => kind === "datasync" && path.endsWith(storeSuffix),
    ).length;
    await assert.rejects(owing.append("refused"), { code: "LOG_POISONED" });
    await assert.rejects(log.sync(), { code: "LOG_POISONED" });
    await assert.rejects(log.trim(1), { code: "LOG_POISONED" });
    await assert.rejects(log.truncate(1), { code: "LOG_POISONED" });
    await owing.check();
    await owing.close();
    const syncsAfter = owing.disk.operations.filter(
      ({ kind, path }) => kind === "datasync" && path.endsWith(storeSuffix),
    ).length;
    assert.equal(syncsAfter, syncsBefore);
  });

  test("in the middle of a truncation brings nothing back that was cut", async () => {
    const disk = createSimDisk();
    const owing = await OwingLog.open(disk);
    await owing.appendGroup("a", "b", "c", "d");
    disk.fail({ kind: "datasync", path: storeSuffix, code: "EIO", effect: "lost" });
    await assert.rejects(owing.truncate(1), { code: "DISK_FAILED" });
    const opened = await OwingLog.open(disk.endProcess(), { owed: owing.owedToKill() });
    await opened.append("new");
    for (let i = 0; i < 50; i += 1) {
      await OwingLog.open(opened.disk.crash(i === 0 ? loseAll : randomChoice(random)), { owed: opened.owed() });
    }
  });

  test("while a log opens makes that opening fail, and the next one brings everything to the disk", async () => {
    for (let nth = 1; ; nth += 1) {
      const owing = await logWithFailedSync({ kind: "datasync", path: storeSuffix, code: "EIO", effect: "lost" });
      const disk = owing.disk.endProcess();
      const again = disk.fail({ kind: "datasync", nth, code: "EIO", effect: "lost" });
      const failed = new OwingLog(disk, { owed: owing.owedToKill() });
      if (again.struckCount === 0) {
        const isOpened = await failed.open().then(
          () => true,
          (error: unknown) => {
            assert.equal((error as { code?: string }).code, "DISK_FAILED");
            return false;
          },
        );
        if (isOpened && again.struckCount === 0) break;
      }
      if (failed.isOpen) await failed.close();
      const opened = await OwingLog.open(disk.endProcess(), { owed: owing.owedToKill() });
      await OwingLog.open(opened.disk.crash(loseAll), { owed: opened.owed() });
    }
  });

  async function logWithFailedSync(failure: Fault, second?: Fault, log: LogOptions = {}): Promise<OwingLog> {
    const disk = createSimDisk();
    const owing = await OwingLog.open(disk, { log });
    await owing.appendGroup("a", "b");
    await owing.append("c");
    disk.fail(failure);
    if (second !== undefined) disk.fail(second);
    const failing = ["d".repeat(300), "e".repeat(300), "f".repeat(600)].map((value) => owing.append(value));
    for (const append of failing) await assert.rejects(append, { code: "DISK_FAILED" });
    return owing;
  }
});
