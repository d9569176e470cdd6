import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ProduceRoom } from "./produce-room.ts";

const { signal } = new AbortController();

function room(): ProduceRoom {
  return new ProduceRoom({ maxBytes: 10, waitingMaxBytes: 8 });
}

describe("the room of produce requests", () => {
  test("takes up to the limit, and one that is larger only when it is empty", () => {
    const full = room();
    assert.ok(full.tryTake(7));
    assert.ok(full.tryTake(3));
    assert.ok(!full.tryTake(1));
    full.giveBack(10);
    assert.ok(full.tryTake(11));
    assert.equal(full.bytes, 11);
  });

  test("who finds none waits in line: a small one doesn't pass a large one", async () => {
    const shared = room();
    const order: string[] = [];
    assert.ok(shared.tryTake(8));
    const large = shared.take(5, { signal }).then(() => order.push("large"));
    const small = shared.take(1, { signal }).then(() => order.push("small"));
    assert.ok(!shared.tryTake(1));
    assert.equal(shared.waitingCount, 2);
    shared.giveBack(2);
    assert.equal(shared.waitingCount, 2);
    shared.giveBack(2);
    await Promise.all([large, small]);
    assert.deepEqual(order, ["large", "small"]);
    assert.deepEqual([shared.bytes, shared.waitingCount], [10, 0]);
  });

  test("who goes away leaves the line, and those behind move up", async () => {
    const shared = room();
    const gone = new AbortController();
    assert.ok(shared.tryTake(8));
    const first = shared.take(5, { signal: gone.signal });
    const second = shared.take(2, { signal });
    gone.abort();
    assert.deepEqual([await first, await second], [false, true]);
    assert.deepEqual([shared.bytes, shared.waitingCount], [10, 0]);
    assert.equal(await shared.take(1, { signal: gone.signal }), false);
  });

  test("an abort after the room was given takes nothing back", async () => {
    const shared = room();
    const late = new AbortController();
    assert.ok(shared.tryTake(10));
    const taken = shared.take(5, { signal: late.signal });
    shared.giveBack(10);
    late.abort();
    assert.equal(await taken, true);
    assert.equal(shared.bytes, 5);
  });

  test("of those that wait with what they hold, only so many bytes may", async () => {
    const shared = room();
    assert.ok(shared.tryTake(10));
    const waiting = shared.take(8, { signal, heldBytes: 8 });
    await assert.rejects(shared.take(1, { signal, heldBytes: 1 }), { code: "OVERLOADED" });
    const stream = shared.take(1, { signal });
    shared.giveBack(10);
    assert.deepEqual([await waiting, await stream], [true, true]);
    assert.ok(!shared.tryTake(2));
    const again = shared.take(2, { signal, heldBytes: 8 });
    shared.giveBack(9);
    assert.equal(await again, true);
  });
});
