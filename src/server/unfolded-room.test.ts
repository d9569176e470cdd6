import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { type Unfolded, UnfoldedRoom } from "./unfolded-room.ts";

const { signal } = new AbortController();

function makeRoom() {
  const clock = createVirtualClock(0);
  const room = new UnfoldedRoom({ clock, maxBytes: 10, pressedStallMs: 100, stallMs: 1000 });
  const enter = async (bytes: number): Promise<Unfolded> => (await room.enter(bytes, signal)) ?? assert.fail();
  return { clock, room, enter };
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 5; turns += 1) await Promise.resolve();
}

const never = new Promise<void>(() => {});

describe("the room for what is unfolded", () => {
  test("takes up to the limit, one that is larger only when it is empty, and the rest waits in line", async () => {
    const { room, enter } = makeRoom();
    const large = await enter(11);
    const order: string[] = [];
    const first = enter(9).then((unfolded) => (order.push("first"), unfolded));
    const second = enter(2).then((unfolded) => (order.push("second"), unfolded));
    await settle();
    assert.deepEqual([order, room.waitingCount], [[], 2]);
    large.release();
    await settle();
    assert.deepEqual([order, room.waitingCount, room.bytes], [["first"], 1, 9]);
    (await first).resize(8);
    await settle();
    assert.deepEqual([order, room.waitingCount, room.bytes], [["first", "second"], 0, 10]);
    (await second).release();
    (await first).release();
    (await first).release();
    assert.equal(room.bytes, 0);
  });

  test("who goes away leaves the line, and those behind move up", async () => {
    const { room, enter } = makeRoom();
    const held = await enter(8);
    const gone = new AbortController();
    const first = room.enter(5, gone.signal);
    const second = room.enter(2, signal);
    gone.abort();
    assert.equal(await first, undefined);
    assert.ok(await second);
    assert.equal(await room.enter(1, gone.signal), undefined);
    held.release();
    assert.equal(room.bytes, 2);
  });

  test("is kept while the client takes what it is sent in time", async () => {
    const { clock, room, enter } = makeRoom();
    const unfolded = await enter(4);
    const { promise, resolve } = Promise.withResolvers<void>();
    const outlasts = unfolded.outlasts(promise);
    clock.advance(999);
    resolve();
    assert.equal(await outlasts, true);
    clock.advance(10_000);
    assert.equal(room.bytes, 4);
  });

  test("is given up by who stands still for long", async () => {
    const { clock, room, enter } = makeRoom();
    const outlasts = (await enter(4)).outlasts(never);
    clock.advance(1000);
    assert.equal(await outlasts, false);
    assert.equal(room.bytes, 0);
  });

  test("is given up sooner where others wait, by who has stood still the longest, and by no more than it takes", async () => {
    const { clock, room, enter } = makeRoom();
    const outcomes: string[] = [];
    for (const name of ["a", "b"]) {
      const unfolded = await enter(5);
      void unfolded.outlasts(never).then((outcome) => outcomes.push(`${name} ${outcome}`));
      clock.advance(1);
    }
    const waiting = enter(3);
    await settle();
    assert.deepEqual([outcomes, room.waitingCount], [[], 1]);
    clock.advance(97);
    await settle();
    assert.equal(room.waitingCount, 1);
    clock.advance(1);
    await waiting;
    assert.deepEqual([outcomes, room.bytes], [["a false"], 8]);
  });

  test("is gone with the client's call", async () => {
    const { clock, room, enter } = makeRoom();
    const unfolded = await enter(4);
    await assert.rejects(unfolded.outlasts(Promise.reject(new Error("gone"))), /gone/);
    unfolded.release();
    clock.advance(10_000);
    assert.equal(room.bytes, 0);
  });
});
