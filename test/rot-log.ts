import assert from "node:assert/strict";
import { isProglogError } from "../src/base/error.ts";
import type { Log, LogOptions } from "../src/log/log.ts";
import { plain, type PlainRecord, readAll } from "./dumb-log.ts";
import { LogWorld } from "./log-world.ts";

/** A log at rest, for tests that damage it and see what comes of it. */
export interface RotLog {
  readonly world: LogWorld;
  readonly records: readonly PlainRecord[];
  readonly options: LogOptions;
}

/**
 * Segments of three entries: 1, 4, 7, 10, and 13 the active one with two. Each entry is a batch of one record, of a frame of 300
 * bytes; its timestamp is 1000 + its offset.
 */
export async function makeRotLog(end: "closed" | "killed", options: LogOptions = {}): Promise<RotLog> {
  const world = new LogWorld();
  const chosen: LogOptions = { indexMaxBytes: 3 * 16, ...options };
  const log = await world.open(chosen);
  for (let i = 0; i < 14; i += 1) await log.append({ value: `record ${i} `.padEnd(174, "."), timestamp: 1000 + i });
  const records = await readAll(log);
  // The sync mark is synced when the log is idle.
  world.clock.advance(1000);
  await world.settle();
  if (end === "closed") await log.close();
  else world.kill();
  return { world, records, options: chosen };
}

export const frameBytes = 300;
export const activeBase = 13;

/** Reads a log in every way, and fails when a record is wrong or an error has no code. Returns the offsets that can't be read. */
export async function readEverything(log: Log, records: readonly PlainRecord[]): Promise<number[]> {
  // By time first: a read that is led astray builds the index anew, and what comes after finds it sound.
  for (const { timestamp, offset } of records) {
    const found = await codeOf(log.findOffset({ timestamp }));
    if (typeof found === "string") assert.equal(found, "LOG_CORRUPT");
    else assert.equal(found, offset);
  }
  const lost: number[] = [];
  for (const record of records) {
    const read = await codeOf(log.read(record.offset));
    if (typeof read === "string") lost.push(record.offset);
    else assert.deepEqual(plain(read), record);
    if (typeof read === "string") assert.equal(read, "LOG_CORRUPT");
  }
  for (const from of [0, 1, 5, records.length - 1]) {
    const seen: PlainRecord[] = [];
    const end = await codeOf(
      (async () => {
        for await (const record of log.records({ from })) seen.push(plain(record));
        return "end" as const;
      })(),
    );
    // What comes out is what was put in, up to the damage, and never over it.
    assert.deepEqual(seen, records.slice(from, from + seen.length));
    if (end === "end") assert.equal(from + seen.length, records.length);
    else assert.equal(end, "LOG_CORRUPT");
    if (lost.every((offset) => offset < from)) assert.equal(end, "end");
    else assert.equal(end, "LOG_CORRUPT");
  }
  return lost;
}

async function codeOf<T>(promise: Promise<T>): Promise<T | string> {
  try {
    return await promise;
  } catch (error) {
    if (isProglogError(error)) return error.code;
    throw error;
  }
}

/** Opens a log that must refuse, and checks that nothing was touched. */
export async function assertRefused(world: LogWorld, options: LogOptions, code = "LOG_CORRUPT", note = ""): Promise<void> {
  const before = world.files();
  await assert.rejects(
    world.open(options),
    (error) => isProglogError(error) && (assert.equal(error.code, code, `${note}: ${error.message}`), true),
    note,
  );
  assert.deepEqual(world.files(), before, note);
}

/** Either it refuses to open and touches nothing, or it opens: then the offsets that can't be read are returned. */
export async function openOrRefuse({ world, records, options }: RotLog): Promise<"refused" | number[]> {
  const before = world.files();
  let log: Log;
  try {
    log = await world.open(options);
  } catch (error) {
    assert.ok(isProglogError(error, "LOG_CORRUPT"), String(error));
    assert.deepEqual(world.files(), before);
    return "refused";
  }
  assert.equal(log.recovery.cut, undefined);
  assert.deepEqual([log.logStartOffset, log.logEndOffset], [0, records.length]);
  const lost = await readEverything(log, records);
  for (const [name, bytes] of before) {
    // Zeros ahead of the end come and go.
    if (name.endsWith(".store"))
      assert.ok(withoutTail(world.disk.contentOf(world.file(name))).equals(withoutTail(bytes)), name);
  }
  await log.close();
  return lost;
}

function withoutTail(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return bytes.subarray(0, end);
}

/** The same log, to be damaged without harm to the first. */
export function copyOf({ world, records, options }: RotLog): RotLog {
  return { world: world.copy(), records, options };
}
