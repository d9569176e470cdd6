import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { isProglogError } from "../src/base/error.ts";
import { KiB } from "../src/base/units.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { appendEntries, openCompacted, stateOf } from "./compacted-log.ts";
import { type PlainRecord, plain, readAll } from "./dumb-log.ts";
import { startMs } from "./log-world.ts";

/**
 * Readers and a compaction at the same time: each asynchronous call to the disk takes a few turns, by chance, so that each seed is
 * another interleaving, and the same one each time. What a reader gets is what was appended; what it misses is superseded.
 */
describe("a reader during a compaction", () => {
  for (let seed = 0; seed < 25; seed += 1) {
    test(`is never told anything wrong, seed ${seed}`, async () => {
      // Segments are large enough for several pieces, or small enough to be merged.
      await run(
        createSeededRandom(`compaction readers/${seed}`),
        seed % 2 === 0 ? { indexMaxBytes: 16 * 16 } : { indexMaxBytes: 16 * 64, segmentMaxBytes: 24 * KiB },
      );
    });
  }
});

/** A reader begins with pieces of 64 KiB: it needs several for a segment, and may stand in the middle of one that is replaced. */
const padding = "x".repeat(3000);

async function run(random: SeededRandom, options: LogOptions): Promise<void> {
  let isSlow = false;
  const delay = async (): Promise<void> => {
    for (let turns = isSlow ? random.integer(12) : 0; turns > 0; turns -= 1) await Promise.resolve();
  };
  const disk = createSimDisk({ isRecording: false, delay });
  const clock = createVirtualClock(startMs);
  const log = await openCompacted(disk, clock, options);
  for (let i = 0; i < 50; i += 1) {
    const key = (): string => `k${random.integer(8)}`;
    const records = Array.from({ length: 1 + random.integer(3) }, () =>
      random.chance(0.2) ? key() : `${key()}=${i}${padding}`,
    );
    await appendEntries(log, records.join("+") + (random.chance(0.2) ? "!" : ""));
    clock.advance(1);
  }
  const before = await readAll(log);
  const appended = new Map(before.map((record) => [record.offset, record]));
  // What stays: the newest of each key, and the records of the active segment.
  const newest = new Map(before.map(({ key, offset }) => [key, offset]));

  isSlow = true;
  const compacted = log.compact();
  let isDone = false;
  void compacted.finally(() => (isDone = true));
  const readers = [
    ...Array.from({ length: 3 }, () =>
      until(
        () => isDone,
        () => readThrough(log, random, appended, newest),
      ),
    ),
    until(
      () => isDone,
      () => readEach(log, random, appended, newest),
    ),
    until(
      () => isDone,
      () => lookUpTimes(log, random, before),
    ),
    until(
      () => isDone,
      async () => void (await log.scrub()),
    ),
  ];
  await Promise.all(readers);
  const { isComplete, segmentsMerged } = await compacted;
  assert.deepEqual([isComplete, segmentsMerged > 0], [true, options.segmentMaxBytes !== undefined]);
  isSlow = false;
  assert.deepEqual(stateOf(await readAll(log)), stateOf(before));
  assert.deepEqual((await log.scrub()).damages, []);
  assert.equal(log.status().damages, 0);
  await log.close();
  assert.equal(disk.openFileCount, 0);
}

/** At least once, and again until it is over. */
async function until(isOver: () => boolean, work: () => Promise<void>): Promise<void> {
  do await work();
  while (!isOver());
}

type Records = ReadonlyMap<number, PlainRecord>;
type Newest = ReadonlyMap<string | null, number>;

/** From front to end, in pieces of one batch or several: in order, and nothing is missed that is the newest of its key. */
async function readThrough(log: Log, random: SeededRandom, appended: Records, newest: Newest): Promise<void> {
  const from = random.chance(0.5) ? 0 : random.integer(log.logEndOffset);
  const read: PlainRecord[] = [];
  let next: number | undefined;
  for await (const batch of log.batches({ from, maxBytes: random.pick([1e6, 4096]) })) {
    assert.ok(next === undefined || batch.baseOffset === next);
    next = batch.nextOffset;
    for (const record of batch.records()) if (record.offset >= from) read.push(plain(record));
    for (let turns = random.integer(10); turns > 0; turns -= 1) await Promise.resolve();
  }
  for (const record of read) assert.deepEqual(record, appended.get(record.offset));
  const seen = new Set(read.map(({ offset }) => offset));
  for (const [key, offset] of newest) {
    const record = appended.get(offset);
    const isRead = offset < from || offset >= (next ?? from) || seen.has(offset) || record?.value === null;
    assert.ok(isRead, `the newest record of ${key}, at ${offset}, was passed over`);
  }
  if (from === 0 && next === log.logEndOffset) assert.deepEqual(stateOf(read), stateOf([...appended.values()]));
}

async function readEach(log: Log, random: SeededRandom, appended: Records, newest: Newest): Promise<void> {
  for (let count = 0; count < 20; count += 1) {
    const offset = random.integer(log.logEndOffset);
    const expected = appended.get(offset);
    try {
      assert.deepEqual(plain(await log.read(offset)), expected);
    } catch (error) {
      if (!isProglogError(error, "OFFSET_OUT_OF_RANGE")) throw error;
      const isNewest = expected !== undefined && expected.value !== null && newest.get(expected.key) === offset;
      assert.ok(!isNewest, `offset ${offset} is gone, and was the newest of its key`);
    }
  }
}

/** A time finds its first record that stays, or one before it that is about to go. */
async function lookUpTimes(log: Log, random: SeededRandom, before: readonly PlainRecord[]): Promise<void> {
  for (let count = 0; count < 4; count += 1) {
    const { timestamp } = random.pick(before);
    const found = await log.findOffset({ timestamp });
    const candidates = before.filter((record) => record.timestamp >= timestamp);
    const left = new Set((await readAll(log)).map(({ offset }) => offset));
    const firstLeft = candidates.find(({ offset }) => left.has(offset))?.offset ?? log.logEndOffset;
    assert.ok(found === log.logEndOffset || candidates.some(({ offset }) => offset === found));
    assert.ok(found <= firstLeft, `time ${timestamp} leads to ${found}, and ${firstLeft} is left`);
  }
}
