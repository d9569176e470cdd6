import assert from "node:assert/strict";
import { test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { OffsetWaiters } from "./offset-waiters.ts";

async function outcomeOf(promise: Promise<void>): Promise<string> {
  try {
    await promise;
    return "woken";
  } catch (error) {
    return error instanceof ProglogError ? error.code : String(error);
  }
}

test("a waiter is woken when the high watermark passes its offset, and not before", async () => {
  const waiters = new OffsetWaiters();
  const waits = [3, 4, 5].map((offset) => outcomeOf(waiters.wait(offset, undefined)));
  waiters.wake(3);
  assert.equal(waiters.count, 3);
  waiters.wake(5);
  assert.equal(waiters.count, 1);
  waiters.wake(6);
  assert.deepEqual(await Promise.all(waits), ["woken", "woken", "woken"]);
  assert.equal(waiters.count, 0);
});

test("a wait ends with its signal, before it begins too", async () => {
  const waiters = new OffsetWaiters();
  const abort = new AbortController();
  const wait = outcomeOf(waiters.wait(3, abort.signal));
  const other = waiters.wait(3, undefined);
  abort.abort();
  assert.equal(await wait, "CANCELLED");
  assert.equal(waiters.count, 1);
  assert.equal(await outcomeOf(waiters.wait(3, abort.signal)), "CANCELLED");
  waiters.wake(4);
  await other;
});

test("a signal that comes after the wake does nothing", async () => {
  const waiters = new OffsetWaiters();
  const abort = new AbortController();
  const wait = outcomeOf(waiters.wait(3, abort.signal));
  waiters.wake(4);
  abort.abort();
  assert.equal(await wait, "woken");
});

test("all end with an error when the log does", async () => {
  const waiters = new OffsetWaiters();
  const waits = [1, 2].map((offset) => outcomeOf(waiters.wait(offset, undefined)));
  waiters.endAll(new ProglogError("LOG_CLOSED", "Cannot wait: the log is closed"));
  assert.deepEqual(await Promise.all(waits), ["LOG_CLOSED", "LOG_CLOSED"]);
  assert.equal(waiters.count, 0);
});

test("all can be told to look again", async () => {
  const waiters = new OffsetWaiters();
  const wait = outcomeOf(waiters.wait(100, undefined));
  waiters.wakeAll();
  assert.equal(await wait, "woken");
  assert.equal(waiters.count, 0);
});

test("a waiter may wait again from where it was woken", async () => {
  const waiters = new OffsetWaiters();
  let wakes = 0;
  const loop = (async () => {
    for (let offset = 0; offset < 3; offset += 1) {
      await waiters.wait(offset, undefined);
      wakes += 1;
    }
  })();
  for (let mark = 1; mark <= 3; mark += 1) {
    waiters.wake(mark);
    // Its next wait begins a turn later.
    await Promise.resolve();
    await Promise.resolve();
  }
  await loop;
  assert.equal(wakes, 3);
});
