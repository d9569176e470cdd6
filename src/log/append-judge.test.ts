import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { KiB } from "../base/units.ts";
import type { AppendResult, Log, LogOptions } from "./log.ts";

function send(log: Log, id: number, baseSequence: number, ...values: readonly string[]): Promise<AppendResult> {
  return log.append(
    (values.length === 0 ? [`${id}/${baseSequence}`] : values).map((value) => ({ value })),
    { producer: { id, epoch: 0, baseSequence } },
  );
}

/** What each of several appends came to, as one word. */
async function outcomesOf(appends: readonly Promise<AppendResult>[]): Promise<string[]> {
  const settled = await Promise.allSettled(appends);
  return settled.map((outcome) => {
    if (outcome.status === "rejected") return String((outcome.reason as { code?: string }).code);
    return `${outcome.value.isDuplicate ? "duplicate of " : ""}${outcome.value.baseOffset}`;
  });
}

describe("retries and conditions that rest on what was there before", () => {
  const large = "x".repeat(200 * KiB);
  /** Sent together with an append that fails: `full` is what those get that rest on it. */
  async function sendWithLarge(log: Log, failure: string): Promise<void> {
    const { logEndOffset } = log;
    const appends = [
      log.append({ value: "early" }, { expectedOffset: 0 }),
      send(log, 7, 1, large),
      send(log, 7, 0),
      send(log, 7, 1, large),
      send(log, 8, 5),
      log.append({ value: "behind it" }, { expectedOffset: logEndOffset }),
      log.append({ value: "z" }, { producer: { id: 9, epoch: 0, baseSequence: 0 } }),
    ];
    assert.deepEqual(await outcomesOf(appends), [
      "CONDITION_FAILED",
      failure,
      "duplicate of 0",
      failure,
      "OUT_OF_ORDER_SEQUENCE",
      failure,
      "PRODUCER_FENCED",
    ]);
  }

  /** What is known: 7 wrote its first, 8 its first two, 9 began anew. */
  async function begin(world: LogWorld, options: LogOptions = {}): Promise<Log> {
    const log = await world.open(options);
    await send(log, 7, 0);
    await send(log, 8, 0, "a", "b");
    await log.append({ value: "z" }, { producer: { id: 9, epoch: 1, baseSequence: 0 } });
    return log;
  }

  for (const sync of ["always", "never"] as const) {
    test(`are answered as if alone when the append beside them finds the disk full (${sync})`, async () => {
      const world = new LogWorld();
      const log = await begin(world, { sync });
      world.disk.capacityBytes = world.disk.usedBytes;
      await sendWithLarge(log, "DISK_FULL");
      world.disk.capacityBytes = Number.POSITIVE_INFINITY;
      assert.deepEqual(await outcomesOf([send(log, 7, 1, large)]), ["4"]);
      await log.close();
    });
  }

  test("are answered as if alone when the sync of the append beside them fails", async () => {
    const world = new LogWorld();
    const log = await begin(world);
    world.disk.fail({ kind: "datasync", path: ".store", code: "EIO" });
    await sendWithLarge(log, "DISK_FAILED");
    await log.close();
  });

  test("are answered while the segment that is due can't be begun", async () => {
    const world = new LogWorld();
    const log = await begin(world, { indexMaxBytes: 3 * 16 });
    world.disk.capacityBytes = world.disk.usedBytes;
    await sendWithLarge(log, "DISK_FULL");
    assert.deepEqual(await outcomesOf([send(log, 7, 0), send(log, 7, 1)]), ["duplicate of 0", "DISK_FULL"]);
    world.disk.capacityBytes = Number.POSITIVE_INFINITY;
    assert.deepEqual(await outcomesOf([send(log, 7, 1)]), ["4"]);
    await log.close();
  });
});
