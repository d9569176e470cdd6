import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { activeBase, assertRefused, copyOf, frameBytes, makeRotLog, openOrRefuse, type RotLog } from "./rot-log.ts";
import { LogWorld } from "./log-world.ts";
import { readAll } from "./dumb-log.ts";

const otherRandom = { bytes: (count: number) => Buffer.alloc(count, 9), float: () => 0 };

function garble({ world }: RotLog, name: string, position: number, byteLength: number): void {
  world.disk.corrupt(world.file(name), position, Buffer.alloc(byteLength, 0xa5));
}

describe("the sync mark", () => {
  const ways: Readonly<Record<string, (rot: RotLog, other: RotLog) => void>> = {
    "garbled in its first slot": (rot) => garble(rot, "sync-mark", 0, 96),
    "garbled in its second slot": (rot) => garble(rot, "sync-mark", 4096, 96),
    "garbled in both slots": (rot) => garble(rot, "sync-mark", 0, 8192),
    deleted: ({ world }) => world.disk.remove(world.file("sync-mark")),
    empty: ({ world }) => world.truncate(world.file("sync-mark"), 0),
    "cut to its first slot": ({ world }) => world.truncate(world.file("sync-mark"), 96),
    zeroed: ({ world }) => world.replace(world.file("sync-mark"), Buffer.alloc(8192)),
    "of another log": ({ world }, other) =>
      world.replace(world.file("sync-mark"), other.world.disk.contentOf(world.file("sync-mark"))),
  };

  for (const [name, damage] of Object.entries(ways)) {
    test(`${name}: a sound log is read in full, and the mark is written anew`, async () => {
      const other = await makeRotLog("closed", { random: otherRandom });
      for (const end of ["closed", "killed"] as const) {
        const rot = await makeRotLog(end);
        damage(rot, other);
        assert.deepEqual(await openOrRefuse(rot), []);
        const log = await rot.world.open(rot.options);
        assert.equal(log.recovery.kind, "clean");
        await log.close();
      }
    });
  }

  test("that can't be read, and a bad frame: what was acknowledged can't be known, so it doesn't open", async () => {
    for (const end of ["closed", "killed"] as const) {
      for (const position of [20, 200, 128 + frameBytes + 200]) {
        const rot = await makeRotLog(end);
        garble(rot, "sync-mark", 0, 8192);
        rot.world.disk.flipBit(rot.world.path(activeBase), position, 0);
        await assertRefused(rot.world, rot.options, "LOG_CORRUPT", `byte ${position}`);
      }
    }
  });

  test("an old copy of it, also one that says the log was closed, loses nothing", async () => {
    const world = new LogWorld();
    const old: Buffer[] = [];
    let log = await world.open({ indexMaxBytes: 3 * 16 });
    for (let i = 0; i < 14; i += 1) {
      await log.append({ value: `${i}` });
      old.push(world.disk.contentOf(world.file("sync-mark")));
      if (i % 4 === 3) {
        await log.close();
        old.push(world.disk.contentOf(world.file("sync-mark")));
        log = await world.open({ indexMaxBytes: 3 * 16 });
      }
    }
    const records = await readAll(log);
    world.kill();
    for (const [i, bytes] of old.entries()) {
      const rot = copyOf({ world, records, options: { indexMaxBytes: 3 * 16 } });
      rot.world.replace(rot.world.file("sync-mark"), bytes);
      const reopened = await rot.world.open(rot.options);
      assert.deepEqual(await readAll(reopened), records, `mark ${i}`);
      await reopened.close();
    }
  });

  test("an old copy of it doesn't make acknowledged data a tear, as long as a frame behind vouches for it", async () => {
    const { world, options } = await makeRotLog("killed");
    const copies = new LogWorld();
    const early = await copies.open(options);
    await early.append({ value: "x" });
    copies.kill();
    world.replace(world.file("sync-mark"), copies.disk.contentOf("/log/sync-mark"));
    // The first frame of the active segment, with one behind it that was written after it was synced.
    world.disk.flipBit(world.path(activeBase), 200, 0);
    await assertRefused(world, options);
  });
});

describe("the base record", () => {
  test("garbled, deleted or empty in one slot: the other one tells all", async () => {
    for (const end of ["closed", "killed"] as const) {
      for (const slot of ["base-0", "base-1"]) {
        const ways: ((rot: RotLog) => void)[] = [
          (rot) => garble(rot, slot, 0, 88),
          (rot) => rot.world.disk.flipBit(rot.world.file(slot), 60, 0),
          (rot) => rot.world.disk.remove(rot.world.file(slot)),
          (rot) => rot.world.truncate(rot.world.file(slot), 0),
          (rot) => rot.world.truncate(rot.world.file(slot), 87),
        ];
        for (const damage of ways) {
          const rot = await makeTrimmed(end);
          damage(rot);
          const log = await rot.world.open(rot.options);
          assert.equal(log.logStartOffset, 5);
          assert.deepEqual(await readAll(log), rot.records);
          // The next trim writes both anew.
          await log.trim(8);
          await log.close();
          for (const lost of ["base-0", "base-1"]) {
            const copy = copyOf(rot);
            copy.world.disk.remove(copy.world.file(lost));
            const reopened = await copy.world.open(rot.options);
            assert.equal(reopened.logStartOffset, 8);
            await reopened.close();
          }
        }
      }
    }
  });

  test("garbled or gone in both slots: the log is damaged, never new, and nothing is touched", async () => {
    for (const end of ["closed", "killed"] as const) {
      for (const isTrimmed of [false, true]) {
        const gone = isTrimmed ? await makeTrimmed(end) : await makeRotLog(end);
        for (const slot of ["base-0", "base-1"]) gone.world.disk.remove(gone.world.file(slot));
        await assertRefused(gone.world, gone.options);
        const garbled = isTrimmed ? await makeTrimmed(end) : await makeRotLog(end);
        for (const slot of ["base-0", "base-1"]) garble(garbled, slot, 0, 88);
        await assertRefused(garbled.world, garbled.options);
        const mixed = isTrimmed ? await makeTrimmed(end) : await makeRotLog(end);
        mixed.world.disk.remove(mixed.world.file("base-0"));
        garble(mixed, "base-1", 20, 4);
        await assertRefused(mixed.world, mixed.options);
      }
    }
  });

  test("gone in both slots of a log that holds one record, or none but a history: damaged, not new", async () => {
    const one = new LogWorld();
    let log = await one.open();
    await log.append({ value: "only" });
    await log.close();
    for (const slot of ["base-0", "base-1"]) one.disk.remove(one.file(slot));
    await assertRefused(one, {});

    const trimmed = new LogWorld();
    log = await trimmed.open();
    await log.append({ value: "gone" });
    await log.trim(1);
    await log.close();
    for (const slot of ["base-0", "base-1"]) trimmed.disk.remove(trimmed.file(slot));
    await assertRefused(trimmed, {});
  });

  test("of another log, in one slot or both: it doesn't open, and no segment goes by its numbers", async () => {
    for (const isFarAhead of [false, true]) {
      const other = new LogWorld();
      const log = await other.open({ random: otherRandom, indexMaxBytes: 3 * 16 });
      for (let i = 0; i < 40; i += 1) await log.append({ value: `${i}` });
      if (isFarAhead) for (const offset of [6, 9, 11]) await log.trim(offset);
      await log.close();
      for (const end of ["closed", "killed"] as const) {
        for (const slots of [["base-0", "base-1"], ["base-0"], ["base-1"]]) {
          const rot = await makeRotLog(end);
          for (const slot of slots) rot.world.replace(rot.world.file(slot), other.disk.contentOf(other.file(slot)));
          const found = await openOrRefuse(rot);
          // Where it is no newer than ours, ours counts.
          assert.ok(found === "refused" || (slots.length === 1 && !isFarAhead && found.length === 0));
          if (slots.length === 2) assert.equal(found, "refused");
        }
      }
    }
  });

  test("an older one than the files: what it would need is gone, and it doesn't open as if nothing were missing", async () => {
    for (const end of ["closed", "killed"] as const) {
      const rot = await makeRotLog("closed");
      const old = ["base-0", "base-1"].map((slot) => rot.world.disk.contentOf(rot.world.file(slot)));
      const log = await rot.world.open(rot.options);
      await log.trim(8);
      if (end === "closed") await log.close();
      else rot.world.kill();
      for (const [i, bytes] of old.entries()) rot.world.replace(rot.world.file(`base-${i}`), bytes);
      await assertRefused(rot.world, rot.options);
    }
  });

  test("an older generation in one slot changes nothing", async () => {
    const rot = await makeRotLog("closed");
    const old = rot.world.disk.contentOf(rot.world.file("base-0"));
    const log = await rot.world.open(rot.options);
    await log.trim(8);
    await log.close();
    for (const slot of ["base-0", "base-1"]) {
      const copy = copyOf(rot);
      copy.world.replace(copy.world.file(slot), old);
      const reopened = await copy.world.open(rot.options);
      assert.deepEqual([reopened.logStartOffset, (await readAll(reopened)).length], [8, 6]);
      await reopened.close();
    }
  });
});

/** Trimmed to offset 5, which lies in segment 4. */
async function makeTrimmed(end: "closed" | "killed"): Promise<RotLog> {
  const rot = await makeRotLog("closed");
  const log = await rot.world.open(rot.options);
  await log.trim(5);
  if (end === "closed") await log.close();
  else rot.world.kill();
  return { ...rot, records: rot.records.slice(5) };
}

test("lock files that are gone, or left behind, keep nobody from opening", async () => {
  const rot = await makeRotLog("closed");
  for (const name of ["lock", "lock.pid"]) rot.world.replace(rot.world.file(name), Buffer.alloc(0));
  assert.deepEqual(await openOrRefuse(rot), []);
  for (const name of ["lock", "lock.pid"]) rot.world.disk.remove(rot.world.file(name));
  assert.deepEqual(await openOrRefuse(rot), []);
});
