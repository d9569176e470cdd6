import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import type { CallKind, FaultEffect } from "../sim/fault-plan.ts";
import { createSeededRandom } from "../sim/random.ts";
import { isProglogError, type ProglogError } from "../src/base/error.ts";
import type { LogOptions } from "../src/log/log.ts";
import { segmentPath, storeSuffix } from "../src/log/segment-name.ts";
import { isProving } from "./crash-explorer.ts";
import { logDirectory, OwingLog } from "./owing-log.ts";
import { nothingOwed, type OwedRecords } from "./owed-records.ts";

/**
 * The first call of a kind fails, then the second, and so on until the scenario passes without meeting the fault. Each time every
 * operation ends with a right result or an error that has a code, and the log opens afterwards with what it owes.
 */
describe("a disk call that fails", () => {
  faultTests("while a log is made and appended to", {
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.appendGroup("a", "b", "c"));
      await attempt(() => owing.append("d", "e"));
    },
  });

  faultTests("while groups are appended", {
    begin: (owing) => owing.appendGroup("a", "b"),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      for (const letter of ["c", "d", "e"]) await attempt(() => owing.appendGroup(`${letter}0`, `${letter}1`.repeat(300)));
      await attempt(() => owing.idle());
      await attempt(() => owing.append("f"));
    },
  });

  faultTests("while segments are rolled", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => owing.append("a"),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      for (const letter of ["b", "c", "d", "e"]) await attempt(() => owing.append(letter));
    },
  });

  faultTests("while a log is truncated over several segments", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, 7),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.truncate(5));
      await attempt(() => owing.append("b"));
      await attempt(() => owing.truncate(1));
      await attempt(() => owing.append("c"));
    },
  });

  faultTests("while a log is trimmed", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, 7),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.trim(3));
      await attempt(() => owing.append("b"));
      await attempt(() => owing.trim(8));
      await attempt(() => owing.append("c"));
    },
  });

  faultTests("while retention runs", {
    log: { indexMaxBytes: 32, retentionMaxAgeMs: 1_000 },
    begin: (owing) => appendOneByOne(owing, 5),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      owing.clock.advance(1_500);
      await attempt(() => owing.applyRetention());
      await attempt(() => owing.append("b"));
    },
  });

  faultTests("while a log is closed and opened", {
    begin: (owing) => owing.appendGroup("a", "b"),
    async run(attempt, owing) {
      for (const letter of ["c", "d"]) {
        await attempt(() => owing.open());
        await attempt(() => owing.append(letter));
        await attempt(() => owing.close());
      }
    },
  });

  faultTests("while a log recovers from a torn group", {
    begin: (owing) => leaveTornGroup(owing),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("b"));
    },
  });

  faultTests("while a log recovers from a failed sync", {
    begin: (owing) => leavePoisoned(owing),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("b"));
    },
  });

  faultTests("while a log recovers in the middle of a truncation", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => leaveHalfTruncated(owing),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.append("b"));
    },
  });

  faultTests("while producers write, and what they wrote is truncated and trimmed", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => produce(owing, 6),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => produce(owing, 2));
      await attempt(() => owing.truncate(3));
      await attempt(() => produce(owing, 1));
      await attempt(() => owing.trim(2));
      await attempt(() => owing.close());
      await attempt(() => owing.open());
      await attempt(() => produce(owing, 1));
    },
  });

  faultTests("while a log is read and scrubbed", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, 4),
    async run(attempt, owing) {
      await attempt(() => owing.open());
      await attempt(() => owing.log.scrub());
    },
  });
});

type Attempt = (work: () => Promise<unknown>) => Promise<void>;

interface FaultScenario {
  readonly log?: LogOptions;
  /** Leaves a disk for the scenario to start from; nothing fails in it. */
  readonly begin?: (owing: OwingLog) => Promise<unknown>;
  /** Attempts operations; what follows one that failed is attempted all the same, as long as the log is open. */
  readonly run: (attempt: Attempt, owing: OwingLog) => Promise<void>;
}

interface FaultKind {
  readonly kind: CallKind;
  readonly effect: FaultEffect;
  /** 1: it passes; Infinity: the disk is gone from then on. */
  readonly times: number;
}

const random = createSeededRandom("failing calls");

/** Names change or don't, data is written or not, or half of it: the caller is told EIO in each case. */
const faultKinds: readonly FaultKind[] = [
  ...(["open", "create", "list", "size", "is-directory", "make-directory", "lock", "read"] as const).map((kind) => ({
    kind,
    effect: "none" as const,
    times: 1,
  })),
  ...(["rename", "remove", "truncate"] as const).flatMap((kind) =>
    (["none", "all"] as const).map((effect) => ({ kind, effect, times: 1 })),
  ),
  ...(["none", "half", "all"] as const).map((effect) => ({ kind: "write" as const, effect, times: 1 })),
  ...(["none", "half", "all", "lost"] as const).map((effect) => ({ kind: "datasync" as const, effect, times: 1 })),
  ...(["none", "all"] as const).map((effect) => ({ kind: "sync-directory" as const, effect, times: 1 })),
  { kind: "write", effect: "none", times: Number.POSITIVE_INFINITY },
  { kind: "read", effect: "none", times: Number.POSITIVE_INFINITY },
  { kind: "datasync", effect: "lost", times: Number.POSITIVE_INFINITY },
];

function faultTests(title: string, scenario: FaultScenario): void {
  test(`${title} ends in an error with a code, and nothing is lost`, async (context) => {
    let runCount = 0;
    for (const fault of faultKinds) {
      for (let nth = 1; ; nth += 1) {
        runCount += 1;
        const isStruck = await runWithFault(scenario, fault, nth).catch((error: unknown) => {
          const times = fault.times === 1 ? "" : " and all after it";
          throw new Error(`${fault.kind} ${nth}${times}, effect ${fault.effect}: ${String(error)}`, { cause: error });
        });
        if (!isStruck) break;
      }
    }
    context.diagnostic(`${runCount} runs`);
  });
}

async function runWithFault(scenario: FaultScenario, fault: FaultKind, nth: number): Promise<boolean> {
  const { log = {} } = scenario;
  const { disk, owed } = await beginning(scenario);
  const planned = disk.fail({ ...fault, nth, code: "EIO" });
  const owing = new OwingLog(disk, { log, owed });
  const errors: ProglogError[] = [];
  const attempt: Attempt = async (work) => {
    try {
      await work();
    } catch (error) {
      // After a failed opening there is no log to go on with.
      if (!owing.isOpen && !isProglogError(error)) return;
      assert.ok(isProglogError(error), `an error with a code, not ${String(error)}`);
      errors.push(error);
    }
  };
  await scenario.run(attempt, owing);
  planned.cancel();

  if (owing.isOpen) await checkAfterwards(owing, errors);
  const owedToCut = owing.owed();
  const afterCut = [loseAll, randomChoice(random)].map((choice) => disk.crash(choice));
  if (owing.isOpen) await attempt(() => owing.close());
  assert.equal(disk.openFileCount, 0, "every file was closed");

  const healed = await OwingLog.open(disk, { log, owed: owing.owedToKill() });
  await healed.append("after all");
  await OwingLog.open(disk.crash(loseAll), { log, owed: healed.owed() });
  for (const image of isProving ? afterCut : afterCut.slice(0, 1)) await OwingLog.open(image, { log, owed: owedToCut });
  return planned.struckCount > 0;
}

/** The disk is well again; the log is still open. */
async function checkAfterwards(owing: OwingLog, errors: readonly ProglogError[]): Promise<void> {
  const { state } = owing.log.status();
  await owing.check();
  if (state === "poisoned") {
    assert.ok(errors.some(({ code }) => code === "DISK_FAILED" || code === "LOG_POISONED") || errors.length === 0);
    await assert.rejects(owing.append("refused"), { code: "LOG_POISONED" });
    await assert.rejects(owing.truncate(0), { code: "LOG_POISONED" });
  } else {
    assert.equal(state, "open");
    await owing.append("goes on");
    await owing.check();
  }
}

async function beginning({ log = {}, begin }: FaultScenario): Promise<{ disk: SimDisk; owed: OwedRecords }> {
  const disk = createSimDisk({ isRecording: false });
  if (begin === undefined) return { disk, owed: nothingOwed };
  const owing = await OwingLog.open(disk, { log });
  await begin(owing);
  return { disk: disk.crash(keepAll, { isRecording: false }), owed: owing.owed() };
}

async function appendOneByOne(owing: OwingLog, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    owing.clock.advance(1);
    await owing.append(`a${i}`);
  }
}

async function produce(owing: OwingLog, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await owing.append(...owing.tagged(1 + (i % 2), `${i}`));
}

async function leaveTornGroup(owing: OwingLog): Promise<void> {
  await owing.appendGroup("a", "b");
  const start = owing.log.status().storeBytes;
  const hold = owing.disk.holdSync({ path: storeSuffix });
  void owing.appendGroup("torn", "gone", "gone too");
  await hold.waiting(1);
  owing.disk.corrupt(segmentPath(logDirectory, 1, storeSuffix), start + 150, Buffer.alloc(100));
}

async function leavePoisoned(owing: OwingLog): Promise<void> {
  await owing.appendGroup("a", "b");
  owing.disk.fail({ kind: "datasync", path: storeSuffix, code: "EIO", effect: "none" });
  await assert.rejects(owing.appendGroup("c", "d"), { code: "DISK_FAILED" });
}

async function leaveHalfTruncated(owing: OwingLog): Promise<void> {
  await appendOneByOne(owing, 7);
  owing.disk.fail({ kind: "sync-directory", nth: 2, code: "EIO", effect: "none" });
  await assert.rejects(owing.truncate(1), { code: "DISK_FAILED" });
}
