import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { hourMs, KiB, minuteMs } from "../src/base/units.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import type { RecordInput } from "../src/batch/record.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { storeSuffix } from "../src/log/segment-name.ts";
import { type PlainRecord, plain, plainOf, readAll } from "./dumb-log.ts";
import { LogWorld } from "./log-world.ts";

/**
 * A compacted log does the same as an array from which records are struck out. The array knows no segments and no passes: it is
 * told how far the sealed ones go, and takes all of it at once.
 */
const stepsPerRun = 50;

describe("a compacted log does the same as an array with records struck out", () => {
  for (let seed = 0; seed < 120; seed += 1) {
    test(`seed ${seed}`, async () => {
      await run(createSeededRandom(`compaction/${seed}`));
    });
  }
});

class DumbCompactedLog {
  #records: PlainRecord[] = [];
  #batches: { readonly baseOffset: number; readonly appendTime: number }[] = [];
  /** Up to here there was no superseded record left from then on. */
  #points: { offset: number; time: number }[] = [];
  logStartOffset = 0;
  logEndOffset = 0;

  append(records: readonly PlainRecord[], appendTime: number): void {
    this.#batches.push({ baseOffset: this.logEndOffset, appendTime });
    this.#records.push(...records);
    this.logEndOffset += records.length;
  }

  get lastAppendTime(): number {
    return this.#batches.at(-1)?.appendTime ?? 0;
  }

  truncationPoints(): number[] {
    const starts = this.#batches.map(({ baseOffset }) => baseOffset).filter((offset) => offset >= this.logStartOffset);
    return [...starts, this.logEndOffset];
  }

  truncate(offset: number): void {
    this.#records = this.#records.filter((record) => record.offset < offset);
    this.#batches = this.#batches.filter(({ baseOffset }) => baseOffset < offset);
    for (const point of this.#points) point.offset = Math.min(point.offset, offset);
    this.logEndOffset = offset;
  }

  trim(offset: number): void {
    this.logStartOffset = Math.max(this.logStartOffset, offset);
  }

  compact(sealedEnd: number, now: number, tombstoneRetentionMs: number): void {
    const passed = this.#points.filter(({ time }) => this.lastAppendTime - time >= tombstoneRetentionMs);
    const tombstoneEnd = Math.max(0, ...passed.map(({ offset }) => offset));
    const newest = new Map<string, number>();
    for (const { key, offset } of this.#records) if (key !== null && offset < sealedEnd) newest.set(key, offset);
    this.#records = this.#records.filter(({ key, value, offset }) => {
      if (key === null || offset >= sealedEnd) return true;
      if ((newest.get(key) ?? 0) > offset) return false;
      return value !== null || offset >= tombstoneEnd;
    });
    const cleanOffset = Math.max(0, ...this.#points.map(({ offset }) => offset));
    if (sealedEnd > cleanOffset) this.#points.push({ offset: sealedEnd, time: Math.max(this.lastAppendTime, now) });
  }

  records(offset: number = this.logStartOffset): PlainRecord[] {
    return this.#records.filter((record) => record.offset >= Math.max(offset, this.logStartOffset));
  }

  offsetOfTime(timestamp: number): number {
    return this.records().find((record) => record.timestamp >= timestamp)?.offset ?? this.logEndOffset;
  }
}

async function run(random: SeededRandom): Promise<void> {
  const world = new LogWorld();
  const options: LogOptions = {
    segmentMaxBytes: random.pick([1 * KiB, 2 * KiB, 4 * KiB]),
    indexMaxBytes: random.pick([48, 16 * KiB]),
    cleanup: random.pick(["compact", "compact", "both"] as const),
    tombstoneRetentionMs: random.pick([0, 1, 10 * minuteMs, hourMs]),
    compactionMapMaxBytes: random.pick([1 * KiB, 64 * KiB]),
    compactionIntervalMs: 24 * hourMs,
    retentionIntervalMs: 24 * hourMs,
    retentionMaxAgeMs: random.pick([3 * hourMs, Number.POSITIVE_INFINITY]),
    sync: random.pick(["always", "never"] as const),
  };
  const model = new DumbCompactedLog();
  const trace: string[] = [];
  let log = await world.open({ ...options, cleanup: "delete" });
  try {
    for (let step = 0; step < stepsPerRun; step += 1) {
      world.clock.advance(random.pick([0, 1, 50, 10 * minuteMs]));
      const choice = random.integer(100);
      if (choice < 55) {
        const isKeyed = step > 10;
        for (let count = random.integer(6); count >= 0; count -= 1) await append(random, world, log, model, isKeyed);
        trace.push("append");
      } else if (choice < 75 && step > 10) {
        const sealedEnd = await findSealedEnd(world, log);
        model.compact(sealedEnd, world.clock.now(), options.tombstoneRetentionMs ?? 0);
        const { isComplete, undecodableBatches } = await log.compact();
        assert.deepEqual([isComplete, undecodableBatches], [true, 0]);
        trace.push(`compact to ${sealedEnd}`);
      } else if (choice < 80) {
        const offset = random.pick(model.truncationPoints());
        await log.truncate(offset);
        model.truncate(offset);
        trace.push(`truncate ${offset}`);
      } else if (choice < 85) {
        const offset = model.logStartOffset + random.integer(model.logEndOffset - model.logStartOffset + 1);
        await log.trim(offset);
        model.trim(offset);
        trace.push(`trim ${offset}`);
      } else if (choice < 87) {
        await log.applyRetention();
        if (options.cleanup === "compact" && step > 10) assert.equal(log.logStartOffset, model.logStartOffset);
        model.trim(log.logStartOffset);
        trace.push("retention");
      } else if (choice < 90) {
        assert.deepEqual((await log.scrub()).damages, []);
        trace.push("scrub");
      } else {
        if (random.chance(0.5)) await log.close();
        world.kill();
        log = await world.open(step < 10 ? { ...options, cleanup: "delete" } : options);
        trace.push("reopen");
      }
      if (step === 10) {
        await log.close();
        log = await world.open(options);
      }
      await compare(random, log, model);
    }
  } catch (error) {
    throw new Error(`seed ${random.seed}, ${JSON.stringify(options)}, after: ${trace.join(", ")}`, { cause: error });
  }
  await log.close();
}

/** Where the active segment begins. */
async function findSealedEnd(world: LogWorld, log: Log): Promise<number> {
  const names = world.disk.list(world.directory).filter((name) => name.endsWith(storeSuffix));
  const activeIndex = Number(names.at(-1)?.slice(0, -storeSuffix.length));
  for await (const { index, baseOffset } of log.batches()) if (index >= activeIndex) return baseOffset;
  return log.logEndOffset;
}

async function append(
  random: SeededRandom,
  world: LogWorld,
  log: Log,
  model: DumbCompactedLog,
  isKeyed: boolean,
): Promise<void> {
  const now = world.clock.now();
  const records: RecordInput[] = Array.from({ length: random.chance(0.4) ? 1 : 1 + random.integer(6) }, () => ({
    key: isKeyed || random.chance(0.8) ? `k${random.integer(random.pick([3, 60]))}` : null,
    value: random.chance(0.25) ? null : "v".repeat(random.pick([0, 5, 30, 200])),
    ...(random.chance(0.2) && { headers: [{ key: "h", value: random.chance(0.5) ? null : "v" }] }),
    ...(random.chance(0.5) && { timestamp: Math.max(0, now + random.integer(20 * minuteMs) - 10 * minuteMs) }),
  }));
  const baseOffset = model.logEndOffset;
  const compression = random.pick(["none", "none", "zstd", "gzip"] as const);
  const { appendTime } = await (random.chance(0.5)
    ? log.append(records, { compression })
    : log.appendBatch(
        encodeBatch(records, { now, compression, producerId: random.integer(2 ** 40), producerEpoch: 0, baseSequence: 5 }),
      ));
  model.append(
    records.map((record, i) => plainOf(record, baseOffset + i, now)),
    appendTime,
  );
}

async function compare(random: SeededRandom, log: Log, model: DumbCompactedLog): Promise<void> {
  const { logStartOffset, logEndOffset } = model;
  assert.deepEqual([log.logStartOffset, log.logEndOffset], [logStartOffset, logEndOffset]);
  const all = model.records();
  assert.deepEqual(await readAll(log), all);
  assert.equal(log.status().damages, 0);
  const from = logStartOffset + random.integer(logEndOffset - logStartOffset + 1);
  assert.deepEqual(await readAll(log, { from, limit: 3 }), model.records(from).slice(0, 3));
  if (from < logEndOffset) {
    const record = model.records(from).find(({ offset }) => offset === from);
    if (record !== undefined) assert.deepEqual(plain(await log.read(from)), record);
    else {
      const message = `Cannot read offset ${from}: its record was removed by compaction or repair`;
      await assert.rejects(log.read(from), { code: "OFFSET_OUT_OF_RANGE", message });
    }
  }
  let next: number | undefined;
  for await (const { baseOffset, nextOffset, batch } of log.batches({ from })) {
    assert.ok(next === undefined ? baseOffset <= from && from < nextOffset : baseOffset === next, "batches have no hole");
    assert.ok(batch.length >= 61);
    next = nextOffset;
  }
  assert.equal(next ?? from, logEndOffset);
  const times = all.map((record) => record.timestamp);
  const near = times.length === 0 ? 0 : random.pick(times) + random.integer(3) - 1;
  for (const timestamp of [near, 0, Math.max(0, ...times) + 1]) {
    assert.equal(await log.findOffset({ timestamp }), model.offsetOfTime(timestamp), `offset of time ${timestamp}`);
  }
}
