import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import type { Log } from "./log.ts";

const options = { indexMaxBytes: 3 * 16 } as const;

async function fill(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value: `${log.logEndOffset}`, timestamp: 1000 + log.logEndOffset });
}

/** Segments 1, 4 and 7, all closed, and the index of the first one gone. */
async function makeWorld(): Promise<LogWorld> {
  const world = new LogWorld();
  const log = await world.open(options);
  await fill(log, 8);
  await log.close();
  world.disk.remove(world.path(1, ".index"));
  return world;
}

describe("a sealed segment's index that is being built anew", () => {
  test("is built once for all who want it", async () => {
    const world = await makeWorld();
    const warnings: string[] = [];
    const nothing = (): void => {};
    const warn = (_fields: object, message: string): void => void warnings.push(message);
    const log = await world.open({ ...options, logger: { debug: nothing, info: nothing, warn, error: nothing } });
    const reads = await Promise.all([0, 1, 2, 0].map((offset) => log.read(offset)));
    assert.deepEqual(
      reads.map(({ offset }) => offset),
      [0, 1, 2, 0],
    );
    assert.deepEqual(warnings, ["built the index of a segment anew"]);
    await log.close();
  });

  test("leaves no file behind when the segment is trimmed meanwhile", async () => {
    const world = await makeWorld();
    const log = await world.open(options);
    const hold = world.hold({ kind: "read", path: "0001.store" });
    const read = log.read(0);
    await hold.arrived;
    await log.trim(3);
    hold.release();
    await assert.rejects(read, { code: "OFFSET_OUT_OF_RANGE" });
    assert.deepEqual(
      world.disk.list("/log").filter((name) => name.startsWith("00000000000000000001.")),
      [],
    );
    await log.close();
  });

  test("doesn't replace that of the active segment which it has become by a truncation", async () => {
    const world = new LogWorld();
    let log = await world.open(options);
    await fill(log, 8);
    // The slot of entry 3 leads astray; those that the truncation needs are sound. The second read is the rebuild's.
    world.disk.corrupt(world.path(1, ".index"), 32, Buffer.alloc(16, 1));
    let reads = 0;
    const hold = world.hold({ kind: "read", path: "0001.store", where: () => (reads += 1) === 2 });
    const read = log.read(2);
    await hold.arrived;
    await log.truncate(1);
    hold.release();
    await assert.rejects(read, { code: "OFFSET_OUT_OF_RANGE" });
    for (let i = 0; i < 5; i += 1) await log.append({ value: `new ${i}`, timestamp: 5000 + i });
    await log.close();
    log = await world.open(options);
    assert.equal(await log.findOffset({ timestamp: 5001 }), 2);
    assert.deepEqual(
      (await readAll(log)).map(({ value }) => value),
      ["0", "new 0", "new 1", "new 2", "new 3", "new 4"],
    );
    assert.deepEqual((await log.scrub()).damages, []);
    await log.close();
  });

  test("is given up where the store is bad, and its other records are read by the index that is there", async () => {
    const world = await makeWorld();
    world.disk.flipBit(world.path(4), 250, 0);
    const log = await world.open(options);
    const before = world.disk.contentOf(world.path(4, ".index"));
    await assert.rejects(log.read(3), {
      code: "LOG_CORRUPT",
      details: { firstOffset: 3, nextOffset: 4, position: 128, file: world.path(4), reason: "the batch's crc doesn't match" },
    });
    assert.equal((await log.read(4)).offset, 4);
    assert.deepEqual(world.disk.contentOf(world.path(4, ".index")), before);
    assert.equal(log.status().damages, 1);
    await log.close();
  });
});
