import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { openLog } from "../../src/log/index.ts";
import { createVirtualClock } from "../clock.ts";
import { createSimDisk } from "../disk.ts";
import { createSeededRandom } from "../random.ts";
import { dataPath } from "./machine.ts";
import { Rot } from "./rot.ts";

describe("what rots in a world of whole nodes", () => {
  test("is a sealed segment, and a scrub finds it", async () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const { machine, log } = await fill(40);
      const rot = new Rot();
      const spot = rot.strike(machine, ["g"], createSeededRandom(seed));
      assert.ok(spot !== undefined);
      const { damages } = await log.scrub();
      assert.equal(damages.length, 1);
      rot.look();
      assert.deepEqual([rot.spots.length, rot.struckCount, rot.mendedCount], [1, 1, 0]);
      await log.close();
    }
  });

  test("is there until something else is in its place", async () => {
    const { machine, log } = await fill(40);
    const rot = new Rot();
    const [random, disk] = [createSeededRandom("mended"), machine.disk];
    const first = rot.strike(machine, ["g"], random);
    const second = rot.strike(machine, ["g"], random);
    assert.ok(first !== undefined && second !== undefined);
    await log.close();
    rot.look();
    assert.equal(rot.spots.length, 2);
    disk.corrupt(first.path, first.position, Buffer.from([(first.bytes[0] ?? 0) ^ 0xff]));
    rot.look();
    assert.deepEqual(rot.spots, [second]);
    disk.remove(second.path);
    rot.look();
    assert.deepEqual([rot.spots.length, rot.mendedCount], [0, 2]);
  });

  test("is nothing where a log has one segment with entries", async () => {
    const { machine, log } = await fill(1);
    const rot = new Rot();
    assert.equal(rot.strike(machine, ["g", "none"], createSeededRandom("one")), undefined);
    assert.equal(rot.struckCount, 0);
    await log.close();
  });
});

async function fill(count: number) {
  const disk = createSimDisk();
  await disk.makeDirectory(`${dataPath}/logs`);
  const [clock, random] = [createVirtualClock(), createSeededRandom("log")];
  const log = await openLog(`${dataPath}/logs/g`, { disk, clock, random, segmentMaxBytes: 1_024 });
  for (let number = 0; number < count; number += 1) await log.append({ value: `${number}`.padEnd(100, "x") });
  return { log, machine: { name: "n1", disk, diskNumber: 1 } };
}
