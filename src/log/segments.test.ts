import assert from "node:assert/strict";
import { test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";

const options = { indexMaxBytes: 2 * 16 } as const;

/** A log of four segments, opened anew so that nothing of the sealed ones is known yet. */
async function reopened(): Promise<LogWorld> {
  const world = new LogWorld();
  const log = await world.open(options);
  for (let i = 0; i < 8; i += 1) await log.append({ value: `${i}` });
  await log.close();
  return world;
}

test("a segment that tells no offset since it is damaged is passed over, and one that can't be read just now is not", async () => {
  const world = await reopened();
  world.disk.corrupt(world.path(3), 60, Buffer.alloc(20));
  world.disk.remove(world.path(3, ".index"));
  const log = await world.open(options);
  assert.equal((await log.read(1)).value?.toString(), "1");
  assert.equal((await log.read(5)).value?.toString(), "5");
  await assert.rejects(log.read(3), { code: "LOG_CORRUPT" });
  await log.close();
});

test("a segment whose files went while the log was open is damaged", async () => {
  const world = await reopened();
  const log = await world.open(options);
  world.disk.remove(world.path(3));
  world.disk.remove(world.path(3, ".index"));
  assert.equal((await log.read(5)).value?.toString(), "5");
  await assert.rejects(log.read(3), { code: "LOG_CORRUPT" });
  await log.close();
});

test("what the disk doesn't give just now is an error, and never another segment's record", async () => {
  for (const [code, answer] of [
    ["EIO", "DISK_FAILED"],
    ["EMFILE", "OVERLOADED"],
  ] as const) {
    const world = await reopened();
    const log = await world.open(options);
    world.disk.fail({ kind: "open", path: "03.store", times: Number.POSITIVE_INFINITY, code });
    await assert.rejects(log.read(3), { code: answer });
    await assert.rejects(log.trim(3), { code: answer });
    await assert.rejects(log.truncate(3), { code: answer });
    assert.equal(log.status().state, "open", "nothing was changed, so nothing is poisoned");
    assert.equal((await log.append({ value: "goes on" })).baseOffset, 8);
    await log.close();
  }
});
