import assert from "node:assert/strict";
import type { Log } from "../src/log/log.ts";

/** What a log owes to those who used it: what has to be found in it after a crash, and what may be. */
export interface OwedRecords {
  /** Values by their offsets from 0: everything that was acknowledged, and behind it what was under way, in order. */
  readonly values: readonly string[];
  /** Offsets at which the log may end, ascending: a batch is there whole or not at all. */
  readonly ends: readonly number[];
  /** The log start may lie from here … */
  readonly startMin: number;
  /** … to here, inclusive. */
  readonly startMax: number;
}

export const nothingOwed: OwedRecords = { values: [], ends: [0], startMin: 0, startMax: 0 };

/** What is owed by a log that was opened: it ends where it ends, and what it shows once has to stay. */
export function settle(log: Log, owed: OwedRecords): OwedRecords {
  const { logStartOffset: start, highWatermark: end } = log;
  assert.ok(
    owed.startMin <= start && start <= owed.startMax,
    `the log starts at ${start}, not ${owed.startMin}..${owed.startMax}`,
  );
  assert.ok(owed.ends.includes(end), `the log ends at ${end}, not at one of ${owed.ends.join(", ")}`);
  return { values: owed.values.slice(0, end), ends: [end], startMin: start, startMax: start };
}

/**
 * Reads a log by every way there is, and throws where it doesn't hold what it owes, holds what was never appended or was
 * truncated, or has a gap.
 */
export async function checkOwed(log: Log, owed: OwedRecords): Promise<void> {
  const { values, startMin: start } = settle(log, owed);
  const timestamps: number[] = [];
  let next = start;
  for await (const record of log.records()) {
    assert.equal(record.offset, next, "offsets have no hole");
    assert.equal(record.value?.toString(), values[next], `the record at offset ${next}`);
    timestamps.push(record.timestamp);
    next += 1;
  }
  assert.equal(next, values.length, "the log is read to its end");

  for (let offset = start; offset < values.length; offset += 1) {
    assert.equal((await log.read(offset)).value?.toString(), values[offset], `the record read at offset ${offset}`);
  }
  for (const timestamp of new Set(timestamps)) {
    const found = await log.findOffset({ timestamp });
    assert.equal(found, start + timestamps.findIndex((candidate) => candidate >= timestamp), `the record of time ${timestamp}`);
  }
}
