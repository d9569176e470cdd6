import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../../base/error.ts";
import { unsyncedMaxBytes, unsyncedWaitersMaxCount } from "../../base/cluster-limits.ts";
import { UnsyncedBytes } from "./unsynced-bytes.ts";

describe("what a node has taken and not synced", () => {
  test("is bounded over all groups, and into nothing anything goes", () => {
    const unsynced = new UnsyncedBytes();
    const [a, b] = [unsynced.account(), unsynced.account()];
    assert.equal(unsynced.hasRoom(2 * unsyncedMaxBytes), true);
    a.take(unsyncedMaxBytes - 10);
    unsynced.checkRoom("append", 10);
    assert.throws(
      () => unsynced.checkRoom("append", 11),
      (error) => isProglogError(error, "OVERLOADED"),
    );
    b.take(10);
    assert.equal(unsynced.hasRoom(1), false);
    a.give(11);
    assert.equal(unsynced.hasRoom(11), true);
    assert.deepEqual([unsynced.bytes, a.bytes, b.bytes], [unsyncedMaxBytes - 11, unsyncedMaxBytes - 21, 10]);
  });

  test("a group that ends holds nothing, and what comes late of it doesn't count", () => {
    const unsynced = new UnsyncedBytes(100);
    const [a, b] = [unsynced.account(), unsynced.account()];
    a.take(60);
    b.take(40);
    a.end();
    a.give(60);
    a.take(5);
    assert.deepEqual([unsynced.bytes, a.bytes], [40, 0]);
    b.give(1000);
    assert.equal(unsynced.bytes, 0, "nobody gives back more than it took");
  });

  test("who waits goes on in turn, as far as there is room, and too many are refused", async () => {
    const unsynced = new UnsyncedBytes(100);
    const account = unsynced.account();
    assert.equal(unsynced.whenRoom(1000), undefined, "into nothing anything goes");
    account.take(70);
    assert.equal(unsynced.whenRoom(5), undefined);
    const woken: number[] = [];
    const wait = (bytes: number): void => void unsynced.whenRoom(bytes)?.then(() => woken.push(bytes));
    wait(6);
    wait(1);
    assert.equal(unsynced.waitingCount, 2, "who comes later waits behind, whatever it wants");
    account.give(1);
    await Promise.resolve();
    assert.deepEqual(woken, [6]);
    account.give(1);
    await Promise.resolve();
    assert.deepEqual([woken, unsynced.waitingCount], [[6, 1], 0]);
    for (const bytes of [900, 901]) wait(bytes);
    account.give(68);
    await Promise.resolve();
    assert.deepEqual([woken, unsynced.waitingCount], [[6, 1, 900], 1], "one that is larger than all goes alone");
    for (let count = 1; count < unsyncedWaitersMaxCount; count += 1) wait(1);
    assert.throws(
      () => unsynced.whenRoom(1),
      (error) => isProglogError(error, "OVERLOADED"),
    );
  });
});
