import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { keepAll, loseAll } from "../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { encodeDataFrame, type EntryHeader, logSeed } from "../src/log/frame.ts";
import { readSegmentHeader, segmentHeaderBytes } from "../src/log/segment-header.ts";
import { segmentPath, storeSuffix } from "../src/log/segment-name.ts";
import { logDirectory, OwingLog } from "./owing-log.ts";
import type { OwedRecords } from "./owed-records.ts";

/**
 * Frames of another life of the log, put right behind its end: each has a right crc, and what it says would fit but for one
 * thing. None may ever be read. That truncations leave none behind is proved in crash-workloads.test.ts.
 */
describe("a stale frame behind the end", () => {
  const store = segmentPath(logDirectory, 1, storeSuffix);
  const time = 1_760_000_000_000;
  let image: SimDisk;
  let owed: OwedRecords;
  let end: number;
  let seed: number;

  beforeEach(async () => {
    const disk = createSimDisk();
    const owing = await OwingLog.open(disk);
    await owing.appendGroup("a", "b");
    await owing.append("c");
    await owing.idle();
    end = owing.log.status().storeBytes;
    owed = owing.owed();
    image = disk.crash(keepAll);
    const head = readSegmentHeader(image.contentOf(store).subarray(0, segmentHeaderBytes));
    assert.ok("header" in head);
    seed = logSeed(head.header.logId);
  });

  /** What would follow the last record of the log, so that only a change to it makes it stale. */
  const next: EntryHeader = {
    kind: "data",
    index: 4,
    term: 1,
    span: 1,
    baseOffset: 3,
    appendTime: time,
    syncedBack: 1,
    flags: 0,
  };

  const stale: Readonly<Record<string, Partial<EntryHeader>>> = {
    "of a lower term": { term: 0 },
    "of an index that was had already": { index: 3 },
    "of an index that leaves one out": { index: 5, syncedBack: 2 },
    "of another offset": { baseOffset: 2 },
    "of an earlier append time": { appendTime: time - 1 },
  };

  for (const [what, change] of Object.entries(stale)) {
    test(`${what} isn't read, now or later`, async () => {
      await staysUnread(frameOf({ ...next, ...change }, seed), 0);
    });
  }

  test("of another log isn't read, now or later", async () => {
    await staysUnread(frameOf(next, seed + 1), 0);
  });

  test("that fits in all isn't read when any number of zeros lies before it", async () => {
    for (let gap = 1; gap < 200; gap += 1) await staysUnread(frameOf(next, seed), gap);
    for (const gap of [512, 4096, 60_000]) await staysUnread(frameOf(next, seed), gap);
  });

  test("that fits in all is read: only so is it known that the others aren't for their one fault", async () => {
    const disk = planted(frameOf(next, seed), 0);
    const { log } = await OwingLog.open(disk, { owed: { ...owed, values: [...owed.values, "old"], ends: [3, 4] } });
    assert.equal(log.logEndOffset, 4);
  });

  test("isn't read either when what is appended later ends right before it", async () => {
    // The new frame takes the place of the first old one to the byte, so that the second old one would follow it.
    const first = frameOf(next, seed);
    const second = frameOf({ ...next, index: 5, baseOffset: 4, syncedBack: 2 }, seed);
    const disk = planted(Buffer.concat([first.fill(0, 100), second]), 0);
    const owing = await OwingLog.open(disk, { owed });
    await owing.append("new");
    assert.equal(owing.log.status().storeBytes, end + first.length);
    for (const choice of [keepAll, loseAll]) {
      const again = await OwingLog.open(disk.crash(choice), { owed: owing.owed() });
      assert.equal(again.log.logEndOffset, 4);
    }
  });

  function planted(frame: Buffer, gapBytes: number): SimDisk {
    const disk = image.crash(keepAll);
    disk.corrupt(store, end + gapBytes, frame);
    return disk;
  }

  async function staysUnread(frame: Buffer, gapBytes: number): Promise<void> {
    const disk = planted(frame, gapBytes);
    const owing = await OwingLog.open(disk, { owed });
    assert.equal(owing.log.recovery.cut?.position, end);
    // Two records, so that the second lies where the stale frame was, or would follow what does.
    await owing.append("new");
    await owing.append("newer");
    await OwingLog.open(disk.crash(loseAll), { owed: owing.owed() });
  }

  function frameOf(header: EntryHeader, frameSeed: number): Buffer {
    return encodeDataFrame(header, encodeBatch([{ value: "old" }], { now: time, compression: "none" }), frameSeed);
  }
});
