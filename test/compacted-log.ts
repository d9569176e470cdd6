import assert from "node:assert/strict";
import { keepAll } from "../sim/crash.ts";
import { createSeededRandom } from "../sim/random.ts";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import type { SimDisk } from "../sim/disk.ts";
import { minuteMs } from "../src/base/units.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { OpenFiles } from "../src/log/open-files.ts";
import { openLog } from "../src/log/open-log.ts";
import { type PlainRecord, readAll } from "./dumb-log.ts";
import { logDirectory } from "./owing-log.ts";
import { startMs } from "./log-world.ts";

export const compactedOptions: LogOptions = {
  cleanup: "compact",
  indexMaxBytes: 3 * 16,
  tombstoneRetentionMs: 10 * minuteMs,
  // Several passes, so that a crash comes between two as well.
  compactionMapMaxBytes: 1024,
};

/** Segments of a few entries, several of which fit into one when little of them is left: for entries with `longValues`. */
export const mergedOptions: LogOptions = { indexMaxBytes: 1024, segmentMaxBytes: 2048 };

/** Entries with values that take much more room than what is left of a batch. */
export function longValues(entries: readonly string[]): string[] {
  return entries.map((entry) => entry.replaceAll(/=(\d)/g, `=$1${".".repeat(300)}`));
}

/** Opens the log on a disk. Every process has a clock of its own, and descriptors. */
export function openCompacted(
  disk: SimDisk,
  clock: VirtualClock = createVirtualClock(startMs),
  options: LogOptions = {},
): Promise<Log> {
  const common = { index: "heap", openFiles: new OpenFiles(), random: createSeededRandom("the log's id") } as const;
  return openLog(logDirectory, { ...compactedOptions, ...common, ...options, disk, clock });
}

/** "key=value", or "key" for a tombstone; those joined by "+" go into one batch, compressed where it ends with "!". */
export async function appendEntries(log: Log, ...entries: readonly string[]): Promise<void> {
  for (const entry of entries) {
    const records = entry.replace("!", "").split("+");
    await log.append(
      records.map((record) => {
        const [key = "", value = null] = record.split("=");
        return { key, value };
      }),
      { compression: entry.endsWith("!") ? "zstd" : "none" },
    );
  }
}

/** What follows from reading a log to its end: the newest value of each key that has one. */
export function stateOf(records: readonly PlainRecord[]): ReadonlyMap<string, string> {
  const state = new Map<string, string>();
  for (const { key, value } of records) {
    assert.ok(key !== null);
    if (value === null) state.delete(key);
    else state.set(key, value);
  }
  return state;
}

/**
 * Throws where a log that was compacted doesn't hold what it has to: what is read is what was appended, at its offset, and says
 * the same of every key; by offset and by time the same is found; nothing is damaged.
 */
export async function checkCompacted(log: Log, appended: readonly PlainRecord[]): Promise<void> {
  assert.equal(log.logEndOffset, appended.length, "the log ends where it ended");
  const records = await readAll(log);
  for (const record of records) assert.deepEqual(record, appended[record.offset]);
  assert.deepEqual(stateOf(records), stateOf(appended));
  const kept = new Set(records.map(({ offset }) => offset));
  for (let offset = 0; offset < appended.length; offset += 1) {
    const read = log.read(offset);
    if (kept.has(offset)) assert.equal((await read).offset, offset);
    else await assert.rejects(read, { code: "OFFSET_OUT_OF_RANGE", message: /removed by compaction/ });
  }
  for (const { timestamp } of appended) {
    const first = records.find((record) => record.timestamp >= timestamp);
    assert.equal(await log.findOffset({ timestamp }), first?.offset ?? log.logEndOffset, `the record of time ${timestamp}`);
  }
  assert.deepEqual((await log.scrub()).damages, []);
  assert.equal(log.status().damages, 0);
}

/**
 * Throws where what goes by the index files alone is led astray by them: search by time, and retention. Each on a copy of the disk
 * of its own, and before anything is read: a reader builds a wrong index anew, after which there is nothing to see.
 */
export async function checkIndexes(
  disk: SimDisk,
  appended: readonly PlainRecord[],
  { now, options }: { readonly now: number; readonly options: LogOptions },
): Promise<void> {
  const openCopy = (changed: LogOptions): Promise<Log> =>
    openCompacted(disk.crash(keepAll, { isRecording: false }), createVirtualClock(now), { ...options, ...changed });
  const searched = await openCopy({});
  const found = new Map<number, number>();
  // The latest first: what a wrong index hides lies behind what it tells.
  for (const { timestamp } of appended.toReversed()) found.set(timestamp, await searched.findOffset({ timestamp }));
  const records = await readAll(searched);
  for (const [timestamp, offset] of found) {
    const first = records.find((record) => record.timestamp >= timestamp);
    assert.equal(offset, first?.offset ?? searched.logEndOffset, `what a search for time ${timestamp} found`);
  }
  await searched.close();

  const trimmed = await openCopy({ cleanup: "both" });
  for (const { timestamp } of records) {
    trimmed.configure({ retentionMaxAgeMs: Math.max(1, now - timestamp) });
    await trimmed.applyRetention();
    const kept = records.filter((record) => record.offset >= trimmed.logStartOffset);
    const young = records.filter((record) => record.timestamp >= timestamp);
    for (const record of young) assert.ok(kept.includes(record), `offset ${record.offset} is too young to be removed`);
  }
  await trimmed.close();
}
