import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { type CrashModel, keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import { createSimDisk } from "../sim/disk.ts";
import type { LogOptions } from "../src/log/log.ts";
import { segmentPath, storeSuffix } from "../src/log/segment-name.ts";
import {
  type Crash,
  crashOnce,
  forEachCrash,
  forEachKill,
  isProving,
  reporting,
  TriedImages,
  type Workload,
} from "./crash-explorer.ts";
import { logDirectory, OwingLog } from "./owing-log.ts";
import { nothingOwed } from "./owed-records.ts";

/**
 * The power is cut at every moment of small workloads, and everything is tried that the cut may lose. Whatever is left opens,
 * holds what was acknowledged and nothing else, and can be appended to. Nothing rotted here, so LOG_CORRUPT is never an answer.
 */
describe("a power cut at any moment", () => {
  crashTest("of making a log leaves a log or nothing", {
    async run(owing) {
      await owing.appendGroup(...letters("a", 2));
    },
  });

  crashTest("of appending groups keeps what was acknowledged", {
    begin: (owing) => owing.appendGroup(...letters("a", 2)),
    async run(owing) {
      await owing.appendGroup(...letters("b", 4));
      await owing.appendGroup("c");
      await owing.idle();
      await owing.append(...letters("d", 3));
    },
  });

  crashTest("of rolling, by size, keeps what was acknowledged", {
    log: { segmentMaxBytes: 1024 },
    begin: (owing) => owing.appendGroup(...letters("a", 3)),
    async run(owing) {
      await owing.appendGroup(...letters("b", 2));
      await owing.appendGroup(...letters("c", 4));
    },
  });

  crashTest("of rolling, by a full index, keeps what was acknowledged", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => owing.append("a"),
    async run(owing) {
      for (const letter of letters("b", 4)) await owing.append(letter);
    },
  });

  crashTest("of truncating inside a segment brings nothing back", {
    begin: (owing) => owing.appendGroup(...letters("a", 6)),
    async run(owing) {
      await owing.truncate(2);
      await owing.appendGroup(...letters("b", 3));
    },
  });

  // Each new batch ends where an old one began, and has the index and the term of the old one's predecessor.
  crashTest("of truncating and appending batches that end where others did brings nothing back", {
    begin: (owing) => owing.appendGroup("x".repeat(10), "y".repeat(300), "z".repeat(500), "z".repeat(20)),
    async run(owing) {
      await owing.truncate(0);
      await owing.append("Y".repeat(300));
      await owing.append("X".repeat(10));
      await owing.truncate(1);
      await owing.appendGroup("Z".repeat(10));
    },
  });

  crashTest("of truncating over several segments brings nothing back", {
    log: { segmentMaxBytes: 1024 },
    begin: (owing) => appendOneByOne(owing, "a", 10),
    async run(owing) {
      await owing.truncate(2);
      await owing.append("b");
      await owing.truncate(0);
      await owing.append("c");
    },
  });

  crashTest("of truncating to where a segment begins brings nothing back", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, "a", 6),
    async run(owing) {
      await owing.truncate(4);
      await appendOneByOne(owing, "b", 2);
      await owing.truncate(2);
      await owing.append("c");
    },
  });

  crashTest("of trimming loses nothing above", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, "a", 7),
    async run(owing) {
      await owing.trim(1);
      await owing.trim(5);
      await owing.append("b");
    },
  });

  crashTest("of trimming everything keeps the next offset", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, "a", 5),
    async run(owing) {
      await owing.trim(5);
      await owing.append("b");
      await owing.trim(6);
    },
  });

  crashTest("of trimming and then truncating to the log start keeps the next offset", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => appendOneByOne(owing, "a", 7),
    async run(owing) {
      await owing.trim(4);
      await owing.truncate(4);
      await owing.append("b");
    },
  });

  crashTest("of retention by size loses nothing above the log start", {
    log: { segmentMaxBytes: 1024, retentionMaxBytes: 2048 },
    begin: (owing) => appendOneByOne(owing, "a", 14),
    async run(owing) {
      await owing.applyRetention();
      await owing.append("b");
    },
  });

  crashTest("of retention by age loses nothing above the log start", {
    log: { indexMaxBytes: 32, retentionMaxAgeMs: 1_000 },
    begin: (owing) => appendOneByOne(owing, "a", 5),
    async run(owing) {
      owing.clock.advance(1_001);
      await owing.applyRetention();
      await owing.append("b");
    },
  });

  crashTest("of closing, opening and appending keeps what was acknowledged", {
    begin: (owing) => owing.appendGroup(...letters("a", 3)),
    async run(owing) {
      await owing.reopen();
      await owing.append("b");
      await owing.reopen();
      await owing.reopen();
      await owing.append("c");
    },
  });

  // What is appended then ends where the old did, after as many batches: nothing but the places of the frames tells the two
  // index files apart.
  crashTest("of truncating and closing brings back no index of what was there before", {
    async run(owing) {
      await owing.append("short");
      owing.clock.advance(5);
      await owing.append("long".repeat(20));
      await owing.reopen();
      await owing.truncate(0);
      await owing.append("LONG".repeat(20));
      await owing.append("SHORT");
      await owing.close();
    },
  });

  crashTest("of truncating and rolling brings back no index of what was there before", {
    log: { indexMaxBytes: 48 },
    async run(owing) {
      await owing.append("a");
      owing.clock.advance(50);
      await owing.append("b");
      owing.clock.advance(50);
      await owing.append("c");
      await owing.reopen();
      await owing.truncate(1);
      for (const value of ["B", "C", "D"]) {
        owing.clock.advance(10);
        await owing.append(value);
      }
    },
  });

  crashTest("of opening after a torn group keeps what was acknowledged", {
    async begin(owing) {
      await owing.appendGroup(...letters("a", 2));
      const start = owing.log.status().storeBytes;
      const hold = owing.disk.holdSync({ path: storeSuffix });
      void owing.appendGroup(...letters("torn", 4));
      await hold.waiting(1);
      owing.disk.corrupt(segmentPath(logDirectory, 1, storeSuffix), start + 300, Buffer.alloc(300));
    },
    run: (owing) => owing.appendGroup(...letters("b", 2)),
  });

  crashTest("of opening after a failed sync keeps what was acknowledged", {
    async begin(owing) {
      await owing.appendGroup(...letters("a", 2));
      owing.disk.fail({ kind: "datasync", path: storeSuffix, code: "EIO", effect: "none" });
      await assert.rejects(owing.appendGroup(...letters("unsure", 4)), { code: "DISK_FAILED" });
    },
    run: (owing) => owing.appendGroup(...letters("b", 2)),
  });

  crashTest("of producers' appends leaves each retry what it is", {
    log: { indexMaxBytes: 48 },
    begin: (owing) => produce(owing, 3),
    async run(owing) {
      await owing.append(...owing.tagged(1, "a", "b"));
      await owing.appendGroup("nobody's", ...owing.tagged(4, "c"));
      await owing.append(...owing.tagged(1, "d"));
    },
  });

  crashTest("of closing and opening a log of producers leaves each retry what it is", {
    async run(owing) {
      await produce(owing, 2);
      await owing.reopen();
      await owing.append("nobody's");
      await owing.reopen();
      await produce(owing, 1);
    },
  });

  crashTest("of truncating what producers wrote makes it as if it had never been", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => produce(owing, 7),
    async run(owing) {
      await owing.truncate(6);
      await produce(owing, 1);
      await owing.truncate(3);
      await produce(owing, 1);
    },
  });

  // The base record of the closed log says more than what is left, until as much was appended again, and more.
  crashTest("of truncating what producers wrote to a log that was closed makes it as if it had never been", {
    begin: (owing) => produce(owing, 5).then(() => owing.close()),
    async run(owing) {
      await owing.truncate(3);
      await owing.append(...owing.tagged(3, "another"));
      await produce(owing, 4);
    },
  });

  crashTest("of trimming what producers wrote leaves their retries what they are", {
    log: { indexMaxBytes: 32 },
    begin: (owing) => produce(owing, 7),
    async run(owing) {
      await owing.trim(5);
      await produce(owing, 1);
      await owing.truncate(6);
      await produce(owing, 1);
    },
  });

  crashTest("of opening in the middle of a truncation brings nothing back", {
    log: { indexMaxBytes: 32 },
    async begin(owing) {
      await appendOneByOne(owing, "a", 8);
      owing.disk.fail({ kind: "sync-directory", nth: 2, code: "EIO", effect: "none" });
      await assert.rejects(owing.truncate(1), { code: "DISK_FAILED" });
    },
    run: (owing) => appendOneByOne(owing, "b", 2),
  });
});

interface CrashProof {
  readonly log?: LogOptions;
  /** What lies on the disk, durable, when the workload begins. */
  readonly begin?: (owing: OwingLog) => Promise<unknown>;
  readonly run: (owing: OwingLog) => Promise<void>;
}

const bounds = isProving
  ? { imagesMax: { strict: 4096, ordered: 1024 }, chainShare: 1, exploreShare: 0.1, exploreImagesMax: 64 }
  : { imagesMax: { strict: 64, ordered: 16 }, chainShare: 0.25, exploreShare: 0, exploreImagesMax: 0 };

function crashTest(title: string, proof: CrashProof): void {
  for (const model of ["strict", "ordered"] as const) {
    test(`${title} (${model})`, (context) => prove(context, title, model, proof));
  }
  test(`${title}, and so does one after a kill`, (context) => proveKilled(context, title, proof));
}

/**
 * A killed process leaves things written and not synced, and the next one sees them as if they were there for good. Whatever that
 * one then shows and acknowledges has to survive a power cut.
 */
async function proveKilled(context: TestContext, title: string, proof: CrashProof): Promise<void> {
  const { log = {} } = proof;
  const { random } = new TriedImages(title);
  const killCount = await forEachKill(
    async (stage) => proof.run(await stage.openLog({ log, owes: "kill" })),
    async ({ image: disk, owed }) => {
      const owing = await OwingLog.open(disk, { log, owed });
      await OwingLog.open(disk.crash(loseAll), { log, owed: owing.owed() });
      await owing.retryLost();
      await owing.append("next");
      await OwingLog.open(disk.crash(randomChoice(random)), { log, owed: owing.owed() });
    },
    await beginning("strict", proof),
  );
  context.diagnostic(`${killCount} kills`);
  assert.ok(killCount > 10, "the process was killed");
}

async function prove(context: TestContext, title: string, model: CrashModel, proof: CrashProof): Promise<void> {
  const tried = new TriedImages(`${title} ${model}`);
  const { log = {} } = proof;
  const workload: Workload = async (stage) => {
    const owing = await stage.openLog({ log });
    await proof.run(owing);
  };
  const start = await beginning(model, proof);
  await forEachCrash(workload, (crash) => recovers(crash, log, tried), start, { imagesMax: bounds.imagesMax[model], tried });
  context.diagnostic(`${tried.momentCount} moments, ${tried.imageCount} images, ${tried.count} different ones`);
  assert.ok(tried.count > 10, "the workload was crashed");
}

async function beginning(model: CrashModel, { log = {}, begin }: CrashProof): Promise<Crash> {
  const disk = createSimDisk({ model });
  if (begin === undefined) return { image: disk, owed: nothingOwed, moment: "" };
  const owing = await OwingLog.open(disk, { log });
  await begin(owing);
  return { image: disk.crash(keepAll), owed: owing.owed(), moment: "" };
}

/** The image opens with what it owes, takes more, and does so again after another cut, in whichever moment that one comes. */
async function recovers(crash: Crash, log: LogOptions, tried: TriedImages): Promise<void> {
  const { random } = tried;
  const openAndAppend: Workload = async (stage) => {
    const owing = await stage.openLog({ log });
    await owing.appendGroup("more", "and more");
  };
  const disk = crash.image.crash(keepAll, { isRecording: false });
  const owing = await OwingLog.open(disk, { log, owed: crash.owed });
  await owing.retryLost();
  await owing.appendGroup("more", "and more");
  await OwingLog.open(disk.crash(randomChoice(random)), { log, owed: owing.owed() });

  if (random.chance(bounds.chainShare)) {
    const second = await crashOnce(openAndAppend, crash, openingCallsMax, random);
    await reporting(second, async () => {
      const third = await crashOnce(openAndAppend, second, openingCallsMax, random);
      await reporting(third, async () => {
        await OwingLog.open(third.image, { log, owed: third.owed });
      });
    });
  }
  if (random.chance(bounds.exploreShare)) {
    const opens = async ({ image, owed }: Crash): Promise<void> => {
      await OwingLog.open(image, { log, owed });
    };
    await forEachCrash(openAndAppend, opens, crash, { imagesMax: bounds.exploreImagesMax, tried });
  }
}

/** Calls that an opening takes here, and an append behind it. */
const openingCallsMax = 70;

/** Values that differ, and fill a few sectors together. */
function letters(letter: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${letter}${i}`.repeat(40));
}

async function appendOneByOne(owing: OwingLog, letter: string, count: number): Promise<void> {
  for (const value of letters(letter, count)) {
    owing.clock.advance(1);
    await owing.append(value);
  }
}

/** Batches of three producers in turn, of one value or two. */
async function produce(owing: OwingLog, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    owing.clock.advance(1);
    const values = i % 2 === 0 ? [`${i}`.repeat(60)] : [`${i}a`, `${i}b`];
    await owing.append(...owing.tagged(1 + (i % 3), ...values));
  }
}
