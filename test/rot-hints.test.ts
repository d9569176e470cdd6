import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { activeBase, copyOf, makeRotLog, openOrRefuse, type RotLog } from "./rot-log.ts";

const random = createSeededRandom("rot-hints");

/** What can become of a file that is only a hint. */
const damages: Readonly<Record<string, (bytes: Buffer, other: Buffer) => Buffer | undefined>> = {
  deleted: () => undefined,
  empty: () => Buffer.alloc(0),
  "cut in a slot": (bytes) => bytes.subarray(0, Math.min(bytes.length, 20)),
  "without its trailer": (bytes) => bytes.subarray(0, 48),
  "cut by a byte": (bytes) => bytes.subarray(0, -1),
  zeroed: (bytes) => Buffer.alloc(bytes.length),
  "full of ones": (bytes) => Buffer.alloc(bytes.length, 0xff),
  random: (bytes) => random.bytes(bytes.length),
  "random before its trailer": (bytes) => Buffer.concat([random.bytes(32), bytes.subarray(32)]),
  "zeroed before its trailer": (bytes) => Buffer.concat([Buffer.alloc(32), bytes.subarray(32)]),
  "of small numbers before its trailer": (bytes) => Buffer.concat([Buffer.alloc(32, 0x01), bytes.subarray(32)]),
  "with slots in the wrong order": (bytes) =>
    Buffer.concat([bytes.subarray(16, 32), bytes.subarray(0, 16), bytes.subarray(32)]),
  "with zeros behind it": (bytes) => Buffer.concat([bytes, Buffer.alloc(4096)]),
  "another segment's": (_bytes, other) => other,
};

function damage({ world }: RotLog, base: number, suffix: ".index" | ".timeindex", name: string): void {
  const path = world.path(base, suffix);
  const otherBase = base === 4 ? 7 : 4;
  const bytes = damages[name]?.(world.disk.contentOf(path), world.disk.contentOf(world.path(otherBase, suffix)));
  if (bytes === undefined) world.disk.remove(path);
  else world.replace(path, bytes);
}

/** Index files are hints: whatever they say, the same records come out. */
describe("an index file", () => {
  for (const suffix of [".index", ".timeindex"] as const) {
    for (const end of ["closed", "killed"] as const) {
      test(`${suffix} in any state, of any segment of a log that was ${end}, changes nothing that is read`, async () => {
        const rot = await makeRotLog(end);
        for (const base of [1, 4, 10, activeBase]) {
          // The index of an active segment is written when it is closed.
          const names =
            rot.world.disk.size(rot.world.path(base, suffix)) === undefined ? ["another segment's"] : Object.keys(damages);
          for (const name of names) {
            const damaged = copyOf(rot);
            if (names.length === 1) damaged.world.replace(damaged.world.path(base, suffix), Buffer.alloc(0));
            damage(damaged, base, suffix, name);
            assert.deepEqual(await openOrRefuse(damaged), [], `${name}, segment ${base}`);
          }
        }
      });
    }
  }

  test("with any bit flipped changes nothing that is read", async () => {
    const rot = await makeRotLog("closed");
    for (const suffix of [".index", ".timeindex"] as const) {
      for (const base of [4, activeBase]) {
        const size = rot.world.disk.size(rot.world.path(base, suffix)) ?? 0;
        for (let position = 0; position < size; position += 3) {
          const damaged = copyOf(rot);
          damaged.world.disk.flipBit(damaged.world.path(base, suffix), position, random.integer(8));
          assert.deepEqual(await openOrRefuse(damaged), [], `byte ${position} of ${base}${suffix}`);
        }
      }
    }
  });

  test("all of them gone, all are built anew, and are the same as before", async () => {
    const rot = await makeRotLog("closed");
    const { world } = rot;
    const before = world.files();
    for (const name of before.keys()) if (name.endsWith("index")) world.disk.remove(world.file(name));
    assert.deepEqual(await openOrRefuse(rot), []);
    for (const [name, bytes] of before)
      if (name.endsWith("index")) assert.deepEqual(world.disk.contentOf(world.file(name)), bytes, name);
  });

  test("damaged under an open log is built anew when a read is led astray", async () => {
    const { world, options, records } = await makeRotLog("closed");
    const log = await world.open(options);
    assert.equal((await log.read(3)).offset, 3);
    const path = world.path(4, ".index");
    const sound = world.disk.contentOf(path);
    world.disk.corrupt(path, 0, Buffer.alloc(48, 0x07));
    for (const { offset } of records) assert.equal((await log.read(offset)).offset, offset);
    assert.deepEqual(world.disk.contentOf(path), sound);
    assert.equal(log.status().damages, 0);
    await log.close();
  });

  test("that can't be written anew, for want of room, is kept in memory, and written when there is room again", async () => {
    const rot = await makeRotLog("closed");
    const { world, options, records } = rot;
    world.disk.remove(world.path(4, ".index"));
    let log = await world.open(options);
    world.disk.fail({ kind: "create", path: "0004.index", code: "ENOSPC", times: Infinity });
    for (const { offset } of records) assert.equal((await log.read(offset)).offset, offset);
    for (const { offset, timestamp } of records) assert.equal(await log.findOffset({ timestamp }), offset);
    assert.equal(world.disk.size(world.path(4, ".index")), undefined);
    await log.close();
    world.kill();
    log = await world.open(options);
    assert.equal((await log.read(4)).offset, 4);
    assert.equal(world.disk.size(world.path(4, ".index")), 3 * 16 + 80);
    await log.close();
  });
});
