import assert from "node:assert/strict";
import { test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { KiB, MiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { frameHeadBytes } from "./frame.ts";

const batch = encodeBatch([{ value: Buffer.alloc(64 * KiB) }], { now: 1 });
const frameBytes = frameHeadBytes + batch.length;

test("who waits for a group is answered once the next one is being synced, not after it", async () => {
  const world = new LogWorld({});
  const log = await world.open();
  const hold = world.disk.holdSync({ path: ".store" });
  const answered: string[] = [];
  const first = log.append({ value: "first" }).then(() => answered.push("first"));
  await hold.waiting(1);
  const second = log.append({ value: "second" }).then(() => answered.push("second"));
  hold.releaseOne();
  await hold.waiting(1);
  await world.settle();
  assert.deepEqual(answered, ["first"]);
  hold.release();
  await Promise.all([first, second]);
  await log.close();
});

test("when much is under way, half of it is synced while the other half comes in", async () => {
  const groups: number[] = [];
  const world = new LogWorld({});
  const log = await world.open({ observer: { appended: ({ bytes }) => void groups.push(bytes) } });
  let left = 640;
  const caller = async (): Promise<void> => {
    for (; left > 0; left -= 1) await log.appendBatch(batch);
  };
  await Promise.all(Array.from({ length: 64 }, caller));
  await log.close();
  const inTheMiddle = groups.slice(2, -2);
  assert.ok(inTheMiddle.length >= 14, `${groups.length} groups`);
  for (const bytes of inTheMiddle) assert.ok(bytes > 28 * frameBytes && bytes <= 33 * frameBytes, `a group of ${bytes} bytes`);
});

test("what goes together stays together up to a mebibyte", async () => {
  const groups: number[] = [];
  const world = new LogWorld({});
  const log = await world.open({ observer: { appended: ({ bytes }) => void groups.push(bytes) } });
  const count = Math.floor(MiB / frameBytes);
  await Promise.all(Array.from({ length: count }, () => log.appendBatch(batch)));
  assert.deepEqual(groups, [count * frameBytes]);
  await log.close();
});

test("of a group that is written in several pieces nothing is shown between them, nor before all is synced", async () => {
  const world = new LogWorld({});
  let isLooking = false;
  const seen: string[] = [];
  const clock = new Proxy(world.clock, {
    get: (target, name) => (name === "turn" && isLooking ? look : (Reflect.get(target, name) as unknown)),
  });
  const log = await world.open({ clock });
  const look = async (): Promise<void> => {
    let batches = 0;
    for await (const _ of log.batches()) batches += 1;
    seen.push(`${batches} of ${log.highWatermark}`);
  };
  await log.append({ value: "before" });
  isLooking = true;
  const hold = world.disk.holdSync({ path: ".store" });
  const append = log.appendBatch(
    encodeBatch(
      Array.from({ length: 3 }, () => ({ value: Buffer.alloc(1 * MiB - 100) })),
      { now: 1 },
    ),
  );
  await hold.waiting(1);
  await look();
  hold.release();
  await append;
  await look();
  assert.deepEqual(seen, ["1 of 1", "1 of 1", "1 of 1", "2 of 4"]);
  await log.close();
});
