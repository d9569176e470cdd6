import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { LogWorld, startMs } from "../../test/log-world.ts";
import { silentLogger } from "../base/logger.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { type BaseRecord, readBaseRecord } from "./base-record.ts";
import { entryFlags, type EntryKind } from "./frame.ts";
import { restoreLog } from "./log-restore.ts";
import { openReplicaLog, type ReplicaLog } from "./replica-log.ts";
import { segmentPath, storeSuffix } from "./segment-name.ts";

const logId = Buffer.from("0123456789abcdef");

function openReplica(world: LogWorld, directory = world.directory): Promise<ReplicaLog> {
  const { disk, clock, openFiles } = world;
  return openReplicaLog(directory, { logId, disk, clock, openFiles, random: createSeededRandom("replica") });
}

/** A closed log of a group: terms 3 and 4, two memberships, and a segment that begins at entry 5. */
async function makeGroupsLog(world: LogWorld): Promise<{ readonly base: BaseRecord; readonly storePaths: readonly string[] }> {
  const log = await openReplica(world);
  const kinds: readonly EntryKind[] = ["membership", "no-op", "data", "data", "data", "membership", "data"];
  for (const [number, kind] of kinds.entries()) {
    const { index, nextOffset } = log.last;
    const payload =
      kind === "data"
        ? encodeBatch([{ value: `${index}` }], { now: 1 })
        : kind === "membership"
          ? Buffer.from("members")
          : Buffer.alloc(0);
    const span = kind === "data" ? 1 : 0;
    const flags = index + 1 === 5 ? entryFlags.beginsSegment : 0;
    await log.append([
      {
        kind,
        index: index + 1,
        term: number < 5 ? 3 : 4,
        span,
        baseOffset: nextOffset,
        appendTime: startMs + index,
        flags,
        payload,
      },
    ]);
  }
  await log.show(7);
  await log.close();
  const read = readBaseRecord(world.disk, world.directory);
  assert.ok(read.state === "valid");
  return { base: read.record, storePaths: [1, 5].map((base) => segmentPath(world.directory, base, storeSuffix)) };
}

async function entriesOf(log: ReplicaLog): Promise<readonly string[]> {
  const entries: string[] = [];
  await log.scan(1, ({ kind, index, term, baseOffset, appendTime }) => {
    entries.push(`${index} ${kind} ${term} ${baseOffset} ${appendTime}`);
  });
  return entries;
}

function restoreIn(world: LogWorld, parts: Parameters<typeof restoreLog>[1]) {
  const options = {
    disk: world.disk,
    clock: createVirtualClock(startMs),
    random: createSeededRandom("r"),
    logger: silentLogger,
  };
  return restoreLog("/restored", parts, options);
}

describe("a log that is restored", () => {
  test("has every entry at its index, and no word of who its replicas were", async () => {
    const world = new LogWorld();
    const parts = await makeGroupsLog(world);
    const original = await openReplica(world);
    const last = await restoreIn(world, parts);
    assert.deepEqual(last, { ...original.last });
    const log = await openReplica(world, "/restored");
    assert.deepEqual(
      await entriesOf(log),
      (await entriesOf(original)).map((entry) => entry.replace("membership", "no-op")),
    );
    assert.deepEqual(log.termHistory, original.termHistory);
    assert.deepEqual([log.membership.length, log.controls.entries], [0, []]);
    assert.ok(original.membership.length > 0);
    await Promise.all([log.close(), original.close()]);
  });

  test("misses an end that is lost afterwards", async () => {
    const world = new LogWorld();
    await restoreIn(world, await makeGroupsLog(world));
    const path = segmentPath("/restored", 5, storeSuffix);
    world.truncate(path, (world.disk.size(path) ?? 0) - 1);
    await assert.rejects(openReplica(world, "/restored"), { code: "LOG_CORRUPT" });
  });

  test("is refused of parts that are rotten, lack something, or don't belong together", async () => {
    const world = new LogWorld();
    const parts = await makeGroupsLog(world);
    const [first = "", second = ""] = parts.storePaths;
    const cases: readonly (readonly [string, Parameters<typeof restoreLog>[1], RegExp])[] = [
      ["no store", { ...parts, storePaths: [] }, /no store of it is there/],
      ["the first store gone", { ...parts, storePaths: [second] }, /it begins behind entry 4 where 0 was the last/],
      ["the order changed", { ...parts, storePaths: [second, first] }, /it begins behind entry 4/],
      ["one twice", { ...parts, storePaths: [first, first] }, /it begins behind entry 0 where 4 was the last/],
      ["a base record of more than there is", { ...parts, base: { ...parts.base, describedIndex: 8 } }, /describes entry 8/],
      [
        "a base record of another log",
        { ...parts, base: { ...parts.base, logId: Buffer.alloc(16) } },
        /belongs to another log/,
      ],
    ];
    for (const [what, given, message] of cases)
      await assert.rejects(restoreIn(world.copy(), given), { code: "LOG_CORRUPT", message }, what);
    for (const position of [70, 200, 300]) {
      const rotten = world.copy();
      rotten.disk.flipBit(first, position, 2);
      await assert.rejects(restoreIn(rotten, parts), { code: "LOG_CORRUPT" });
    }
  });
});
