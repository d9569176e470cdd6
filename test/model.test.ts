import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { loadMmap } from "../src/base/mmap.ts";
import { nodeDisk } from "../src/base/node-disk.ts";
import { hourMs, KiB, minuteMs } from "../src/base/units.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import type { RecordInput } from "../src/batch/record.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { openLog } from "../src/log/open-log.ts";
import { DumbLog, plain, plainOf, readAll } from "./dumb-log.ts";

/**
 * A log does the same as an array: random operations on both, and after each of them everything that can be asked is asked of
 * both. One seed is one run; a failed one is run again alone by its title.
 */
const stepsPerRun = 60;

describe("a log does the same as an array of batches", () => {
  for (let seed = 0; seed < 80; seed += 1) {
    test(`in memory, killed now and then, seed ${seed}`, async () => {
      await run(createSeededRandom(`model/${seed}`), new SimWorld());
    });
  }

  const skip = loadMmap() === undefined ? "koffi isn't installed, or this isn't Linux" : false;
  for (const index of ["heap", "mmap"] as const) {
    for (let seed = 0; seed < 3; seed += 1) {
      test(`on a real disk with index ${index}, seed ${seed}`, { skip: index === "mmap" && skip }, async () => {
        const world = new RealWorld(index);
        try {
          await run(createSeededRandom(`model/${index}/${seed}`), world);
        } finally {
          world.dispose();
        }
      });
    }
  }
});

/** Where a log lives, and how its process ends. */
interface World {
  readonly clock: VirtualClock;
  readonly canKill: boolean;
  open(options: LogOptions): Promise<Log>;
  /** Ends the process without closing anything. */
  kill(): void;
}

class SimWorld implements World {
  clock = createVirtualClock();
  readonly canKill = true;
  #disk: SimDisk = createSimDisk({ isRecording: false });

  open(options: LogOptions): Promise<Log> {
    return openLog("/log", { ...options, disk: this.#disk, clock: this.clock });
  }

  kill(): void {
    this.#disk = this.#disk.endProcess({ isRecording: false });
    // The dead process's timers die with it.
    this.clock = createVirtualClock(this.clock.now());
  }
}

class RealWorld implements World {
  readonly clock = createVirtualClock();
  readonly canKill = false;
  readonly #index: "heap" | "mmap";
  readonly #directory = mkdtempSync(join(tmpdir(), "proglog-model-"));

  constructor(index: "heap" | "mmap") {
    this.#index = index;
  }

  open(options: LogOptions): Promise<Log> {
    return openLog(this.#directory, { ...options, disk: nodeDisk, clock: this.clock, index: this.#index });
  }

  kill(): void {
    throw new Error("a real process can't be killed from inside");
  }

  dispose(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function run(random: SeededRandom, world: World): Promise<void> {
  const options: LogOptions = {
    segmentMaxBytes: random.pick([1 * KiB, 2 * KiB, 6 * KiB, 64 * KiB]),
    indexMaxBytes: random.pick([16, 100, 16 * KiB]),
    segmentMaxAgeMs: random.pick([5 * minuteMs, 24 * hourMs]),
    retentionMaxBytes: random.pick([8 * KiB, Number.POSITIVE_INFINITY]),
    retentionMaxAgeMs: random.pick([2 * hourMs, Number.POSITIVE_INFINITY]),
    retentionIntervalMs: 24 * hourMs,
    compression: random.pick(["none", "none", "gzip"] as const),
    sync: random.pick(["always", "always", "interval", "never"] as const),
  };
  const model = new DumbLog();
  let log = await world.open(options);
  const trace: string[] = [];
  try {
    for (let step = 0; step < stepsPerRun; step += 1) {
      const { name, reopened } = await takeStep(random, world, log, model, options);
      if (reopened !== undefined) log = reopened;
      trace.push(name);
      await compare(random, log, model);
    }
  } catch (error) {
    throw new Error(`seed ${random.seed}, ${JSON.stringify(options)}, after: ${trace.join(", ")}`, { cause: error });
  }
  await log.close();
}

async function takeStep(
  random: SeededRandom,
  world: World,
  log: Log,
  model: DumbLog,
  options: LogOptions,
): Promise<{ name: string; reopened?: Log }> {
  const { clock } = world;
  world.clock.advance(random.pick([0, 1, 50, 1000, 10 * minuteMs]));
  const choice = random.integer(100);
  if (choice < 50) {
    const appends = Array.from({ length: 1 + random.integer(4) }, () => randomRecords(random, clock.now()));
    await Promise.all(appends.map((records) => append(random, log, model, records, clock.now())));
    return { name: `append ${appends.map((records) => records.length).join("+")}` };
  }
  if (choice < 62) {
    const offset = random.pick(model.truncationPoints());
    await log.truncate(offset);
    model.truncate(offset);
    return { name: `truncate ${offset}` };
  }
  if (choice < 72) {
    const offset = model.logStartOffset + random.integer(model.logEndOffset - model.logStartOffset + 1);
    await log.trim(offset);
    model.trim(offset);
    return { name: `trim ${offset}` };
  }
  if (choice < 80) {
    await log.applyRetention();
    assert.ok(log.logStartOffset >= model.logStartOffset && log.logStartOffset <= model.logEndOffset);
    if (options.retentionMaxBytes === Number.POSITIVE_INFINITY && options.retentionMaxAgeMs === Number.POSITIVE_INFINITY) {
      assert.equal(log.logStartOffset, model.logStartOffset);
    }
    model.trim(log.logStartOffset);
    return { name: `retention to ${log.logStartOffset}` };
  }
  if (choice < 84) {
    const { damages, segments } = await log.scrub();
    assert.deepEqual(damages, []);
    assert.equal(segments, log.status().segments - 1);
    return { name: "scrub" };
  }
  if (choice < 92 || !world.canKill) {
    await log.close();
    const reopened = await world.open(options);
    assert.equal(reopened.recovery.kind, "clean");
    return { name: "reopen", reopened };
  }
  world.kill();
  const reopened = await world.open(options);
  assert.equal(reopened.recovery.cut, undefined);
  return { name: "kill", reopened };
}

async function append(random: SeededRandom, log: Log, model: DumbLog, records: RecordInput[], now: number): Promise<void> {
  const baseOffset = model.logEndOffset;
  model.append(records.map((record, i) => plainOf(record, baseOffset + i, now)));
  const [first, ...others] = records;
  const appended = await (random.chance(0.3)
    ? log.appendBatch(encodeBatch(records, { now, compression: random.pick(["none", "zstd"] as const) }))
    : others.length === 0 && first !== undefined
      ? log.append(first)
      : log.append(records));
  assert.equal(appended.baseOffset, baseOffset);
  assert.equal(appended.lastOffset, baseOffset + records.length - 1);
  assert.equal(appended.count, records.length);
}

function randomRecords(random: SeededRandom, now: number): RecordInput[] {
  return Array.from({ length: random.chance(0.6) ? 1 : 1 + random.integer(5) }, () => {
    const size = random.pick([0, 5, 30, 200, 1500]);
    return {
      value: random.chance(0.1) ? null : random.bytes(Math.ceil(size / 2)).toString("hex"),
      ...(random.chance(0.5) && { key: `k${random.integer(10)}` }),
      ...(random.chance(0.2) && { headers: [{ key: "h", value: random.chance(0.5) ? null : "v" }] }),
      // Clients' clocks are their own: some are late, some early.
      ...(random.chance(0.5) && { timestamp: Math.max(0, now + random.integer(20 * minuteMs) - 10 * minuteMs) }),
    };
  });
}

async function compare(random: SeededRandom, log: Log, model: DumbLog): Promise<void> {
  const { logStartOffset, logEndOffset } = model;
  assert.equal(log.logStartOffset, logStartOffset);
  assert.equal(log.logEndOffset, logEndOffset);
  assert.equal(log.highWatermark, logEndOffset);
  const all = model.records();
  assert.deepEqual(await readAll(log), all);
  assert.equal(log.status().damages, 0);

  const from = logStartOffset + random.integer(logEndOffset - logStartOffset + 1);
  const limit = random.integer(5);
  assert.deepEqual(await readAll(log, { from, limit }), model.records(from).slice(0, limit));
  if (from < logEndOffset) assert.deepEqual(plain(await log.read(from)), model.records(from)[0]);
  await assert.rejects(log.read(logEndOffset), { code: "OFFSET_OUT_OF_RANGE" });
  if (logStartOffset > 0) await assert.rejects(log.read(logStartOffset - 1), { code: "OFFSET_OUT_OF_RANGE" });

  const maxBytes = 1 + random.integer(4000);
  const batches: { baseOffset: number; nextOffset: number; bytes: number }[] = [];
  for await (const { baseOffset, nextOffset, batch } of log.batches({ from, maxBytes })) {
    batches.push({ baseOffset, nextOffset, bytes: batch.length });
  }
  checkBatches(batches, { from, end: logEndOffset, maxBytes });

  const times = all.map((record) => record.timestamp);
  const near = times.length === 0 ? 0 : random.pick(times) + random.integer(3) - 1;
  for (const timestamp of [near, 0, Math.max(0, ...times) + 1]) {
    assert.equal(await log.findOffset({ timestamp }), model.offsetOfTime(timestamp), `offset of time ${timestamp}`);
  }
}

/** They cover the offsets without a gap, and end as soon as the bytes are used up, never before one was returned. */
function checkBatches(
  batches: readonly { baseOffset: number; nextOffset: number; bytes: number }[],
  { from, end, maxBytes }: { readonly from: number; readonly end: number; readonly maxBytes: number },
): void {
  let next = from;
  let bytes = 0;
  for (const [i, batch] of batches.entries()) {
    assert.ok(i === 0 ? batch.baseOffset <= from && batch.nextOffset > from : batch.baseOffset === next);
    assert.ok(bytes < maxBytes);
    next = batch.nextOffset;
    bytes += batch.bytes;
  }
  assert.ok(next === end || bytes >= maxBytes);
}
