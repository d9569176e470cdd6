import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../src/base/error.ts";
import { plain } from "./dumb-log.ts";
import { LogWorld } from "./log-world.ts";
import { activeBase, assertRefused, copyOf, frameBytes, makeRotLog, openOrRefuse } from "./rot-log.ts";

/**
 * Acknowledged data that rots is never cut and never served: opening refuses, or reading it does. Every bit of two batches,
 * with the frames around them and the segment header.
 */
describe("rot of a frame", () => {
  test("below the durable point of a log that wasn't closed: every bit keeps it from opening, and nothing is touched", async () => {
    // As small as batches get, so that every bit can be tried.
    const world = new LogWorld();
    const log = await world.open();
    for (let i = 0; i < 3; i += 1) await log.append({ value: `${i}` });
    world.clock.advance(1000);
    await world.settle();
    world.kill();
    const path = world.path(1);
    const frames = 128 + 3 * (56 + 61 + 8);
    const before = world.disk.contentOf(path);
    assert.ok(before.subarray(frames).every((byte) => byte === 0) && before[frames - 1] === 0);

    // The segment header, and the first two of three frames.
    for (let position = 0; position < 128 + 2 * 125; position += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        world.disk.flipBit(path, position, bit);
        const damaged = world.disk.contentOf(path);
        await assert.rejects(world.open(), (error) => isProglogError(error, "LOG_CORRUPT"), `bit ${bit} of byte ${position}`);
        assert.ok(world.disk.contentOf(path).equals(damaged));
        world.disk.flipBit(path, position, bit);
      }
    }
    const reopened = await world.open();
    assert.equal(reopened.logEndOffset, 3);
    await reopened.close();
  });

  test("in the last acknowledged group, once the mark was synced: it doesn't open", async () => {
    const { world, options } = await makeRotLog("killed");
    const path = world.path(activeBase);
    for (let position = 128 + frameBytes; position < 128 + 2 * frameBytes; position += 1) {
      const bit = position % 8;
      world.disk.flipBit(path, position, bit);
      await assert.rejects(world.open(options), { code: "LOG_CORRUPT" }, `byte ${position}`);
      world.disk.flipBit(path, position, bit);
    }
  });

  for (const place of ["active", "sealed"] as const) {
    test(`in the ${place} segment of a log that was closed: every bit of two batches is found by the read, and by no other`, async () => {
      const rot = await makeRotLog("closed");
      const { world, options, records } = rot;
      const [base, first] = place === "active" ? [activeBase, 12] : [4, 3];
      const path = world.path(base);
      const log = await world.open(options);
      const before = world.disk.contentOf(path).subarray(0, 128 + 2 * frameBytes);
      for (let position = 128; position < 128 + 2 * frameBytes; position += 1) {
        const hit = first + Math.floor((position - 128) / frameBytes);
        const other = hit === first ? first + 1 : first;
        for (let bit = 0; bit < 8; bit += 1) {
          world.disk.flipBit(path, position, bit);
          await assert.rejects(log.read(hit), { code: "LOG_CORRUPT" }, `bit ${bit} of byte ${position}`);
          world.disk.flipBit(path, position, bit);
        }
        world.disk.flipBit(path, position, position % 8);
        assert.deepEqual(plain(await log.read(other)), records[other]);
        world.disk.flipBit(path, position, position % 8);
      }
      assert.deepEqual(world.disk.contentOf(path).subarray(0, 128 + 2 * frameBytes), before);
      await log.close();
    });

    test(`in the ${place} segment of a log that was closed: the others are read, in any way, also after a reopening`, async () => {
      const rot = await makeRotLog("closed");
      const [base, first] = place === "active" ? [activeBase, 12] : [4, 3];
      for (let position = 128; position < 128 + 2 * frameBytes; position += 7) {
        const damaged = copyOf(rot);
        damaged.world.disk.flipBit(damaged.world.path(base), position, position % 8);
        assert.deepEqual(await openOrRefuse(damaged), [first + Math.floor((position - 128) / frameBytes)], `byte ${position}`);
      }
    });
  }

  test("in the active segment of a log that was closed, then appended to and killed: it doesn't open, and nothing is cut", async () => {
    const rot = await makeRotLog("closed");
    for (let position = 128; position < 128 + 2 * frameBytes; position += 13) {
      const { world, options } = copyOf(rot);
      world.disk.flipBit(world.path(activeBase), position, position % 8);
      const log = await world.open(options);
      await log.append({ value: "goes on" });
      world.kill();
      await assertRefused(world, options, "LOG_CORRUPT", `byte ${position}`);
    }
  });

  test("in a segment header: every bit is found, or the records behind it are read all the same", async () => {
    const closed = await makeRotLog("closed");
    const killed = await makeRotLog("killed");
    for (let position = 0; position < 128; position += 1) {
      const active = copyOf(killed);
      active.world.disk.flipBit(active.world.path(activeBase), position, position % 8);
      assert.equal(await openOrRefuse(active), "refused", `byte ${position} of the active header`);
      const whole = copyOf(closed);
      whole.world.disk.flipBit(whole.world.path(activeBase), position, position % 8);
      assert.equal(await openOrRefuse(whole), "refused", `byte ${position} of the active header, closed`);
    }
    for (let position = 0; position < 128; position += 5) {
      const sealed = copyOf(closed);
      sealed.world.disk.flipBit(sealed.world.path(7), position, position % 8);
      assert.deepEqual(await openOrRefuse(sealed), [], `byte ${position} of a sealed header`);
    }
  });

  test("of a length: whatever it says, the log is never taken to end there", async () => {
    const closed = await makeRotLog("closed");
    const killed = await makeRotLog("killed");
    for (const length of [0n, 1n, 47n, 48n, 200n, 5000n, 2n ** 25n, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n]) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(length);
      for (const entry of [0, 1]) {
        const active = copyOf(killed);
        active.world.disk.corrupt(active.world.path(activeBase), 128 + entry * frameBytes, bytes);
        assert.equal(await openOrRefuse(active), "refused", `length ${length}`);
        const sealed = copyOf(closed);
        sealed.world.disk.corrupt(sealed.world.path(4), 128 + entry * frameBytes, bytes);
        assert.deepEqual(await openOrRefuse(sealed), [3 + entry], `length ${length}`);
      }
    }
  });
});
