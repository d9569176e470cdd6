import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openLog } from "../../src/log/index.ts";
import { createVirtualClock } from "../clock.ts";
import { createSimDisk, type SimDisk } from "../disk.ts";
import type { Call } from "../fault-plan.ts";
import { createSeededRandom } from "../random.ts";
import { Violation } from "../violation.ts";
import { type CommittedTermOf, type LogBase, TrimmedRecords } from "./trimmed-records.ts";

const directory = "/data/logs/g";

describe("records that were trimmed", () => {
  test("are known from the files that went, and below the start of a log from those that stay", async () => {
    const trimmed = new TrimmedRecords();
    const { disk, bases } = await trim(trimmed, "c", 40, 23);
    assert.ok(bases.length > 1);
    assert.ok(bases.every(({ index, logStartOffset }) => index > 0 && index <= 23 && logStartOffset === 23));
    const gone = trimmed.before("g", 23);
    assert.ok(gone.length > 0 && gone.length < 23);
    trimmed.lookInto(disk, directory, "g", () => 1);
    const all = Array.from({ length: 23 }, (_, offset) => ({ offset, content: `c${offset}` }));
    assert.deepEqual(trimmed.before("g", 23), all);
    assert.deepEqual(trimmed.before("g", 40).length, 40);
    assert.deepEqual(trimmed.before("another", 40), []);
  });

  test("count where they are of the term that was committed", async () => {
    for (const committedTermOf of [() => undefined, () => 2]) {
      const trimmed = new TrimmedRecords();
      const { bases } = await trim(trimmed, "c", 40, 23, committedTermOf);
      assert.ok(bases.length > 1);
      assert.deepEqual(trimmed.before("g", 40), []);
    }
  });

  test("may not be others to another replica", async () => {
    const trimmed = new TrimmedRecords();
    await trim(trimmed, "c", 40, 23);
    await trim(trimmed, "c", 40, 33);
    await assert.rejects(trim(trimmed, "d", 40, 23), (error) => error instanceof Violation && error.check === "I9");
  });
});

/** A log of so many records that is trimmed to an offset, and where it said that it begins as each of its stores went. */
async function trim(
  trimmed: TrimmedRecords,
  prefix: string,
  count: number,
  offset: number,
  committedTermOf: CommittedTermOf = () => 1,
): Promise<{ disk: SimDisk; bases: readonly LogBase[] }> {
  const bases: LogBase[] = [];
  let found: Error | undefined;
  const onCall = ({ kind, path }: Call): void => {
    if (kind !== "remove") return;
    try {
      const base = trimmed.removing(disk, path, "g", committedTermOf);
      if (base !== undefined) bases.push(base);
    } catch (error) {
      found ??= error instanceof Error ? error : new Error(String(error));
    }
  };
  const disk = createSimDisk({ onCall });
  await disk.makeDirectory("/data/logs");
  const log = await openLog(directory, {
    disk,
    ...{ clock: createVirtualClock(), random: createSeededRandom(prefix), segmentMaxBytes: 1_024 },
  });
  for (let number = 0; number < count; number += 1) await log.append({ value: `${prefix}${number} ${"x".repeat(100)}` });
  await log.trim(offset);
  await log.close();
  if (found !== undefined) throw found;
  return { disk, bases };
}
