import assert from "node:assert/strict";
import { test } from "node:test";
import { createSeededRandom } from "../../sim/random.ts";
import { ProglogError } from "../base/error.ts";
import { offsetWaitsMaxCount } from "../base/limits.ts";
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

/** An offset that counts how often it is compared: what a wake costs. */
function countedOffset(offset: number, count: { compared: number }): number {
  const counted = { valueOf: () => ((count.compared += 1), offset) };
  return counted as unknown as number;
}

test("a thousand who wait for other offsets cost a wake nothing", async () => {
  const waiters = new OffsetWaiters();
  const count = { compared: 0 };
  const idle = Array.from({ length: 1000 }, (_, i) => outcomeOf(waiters.wait(countedOffset(1000 + i, count), undefined)));
  count.compared = 0;
  for (let mark = 1; mark <= 100; mark += 1) {
    const wait = waiters.wait(mark - 1, undefined);
    const comparedByWait = count.compared;
    waiters.wake(mark);
    await wait;
    assert.ok(count.compared - comparedByWait <= 1, "only the next of the idle ones is looked at");
  }
  assert.ok(count.compared <= 100 * 11, "and a wait finds its place by halving");
  assert.equal(waiters.count, 1000);
  waiters.wakeAll();
  await Promise.all(idle);
});

test("those woken, cancelled and left are the right ones whatever the order in which they came", async () => {
  const random = createSeededRandom("offset-waiters");
  const waiters = new OffsetWaiters();
  const model: { readonly offset: number; readonly abort: AbortController; state: string }[] = [];
  let mark = 0;
  for (let step = 0; step < 2000; step += 1) {
    const choice = random.integer(10);
    if (choice < 6) {
      const entry = { offset: mark + random.integer(20), abort: new AbortController(), state: "waiting" };
      model.push(entry);
      void outcomeOf(waiters.wait(entry.offset, entry.abort.signal)).then((outcome) => (entry.state = outcome));
    } else if (choice < 8) {
      model
        .filter(({ state }) => state === "waiting")
        .at(random.integer(5))
        ?.abort.abort();
    } else {
      mark += random.integer(3);
      waiters.wake(mark);
    }
    await new Promise((resolve) => setImmediate(resolve));
    const expected = ({ offset, abort }: (typeof model)[number]): string =>
      abort.signal.aborted ? "CANCELLED" : offset < mark ? "woken" : "waiting";
    assert.deepEqual(
      model.map(({ state }) => state),
      model.map(expected),
    );
    assert.equal(waiters.count, model.filter(({ state }) => state === "waiting").length);
    if (model.length > 200) model.splice(0, model.length, ...model.filter(({ state }) => state === "waiting"));
  }
});

test("so many may wait, and not one more", async () => {
  const waiters = new OffsetWaiters();
  const abort = new AbortController();
  const waits = Array.from({ length: offsetWaitsMaxCount }, (_, i) =>
    outcomeOf(waiters.wait(i % 7, i === 0 ? abort.signal : undefined)),
  );
  await assert.rejects(waiters.wait(3, undefined), {
    code: "OVERLOADED",
    message: "Cannot wait for offset 3: 10000 wait for this log already",
  });
  abort.abort();
  waits.push(outcomeOf(waiters.wait(3, undefined)));
  assert.equal(await outcomeOf(waiters.wait(3, undefined)), "OVERLOADED");
  waiters.wakeAll();
  assert.equal((await Promise.all(waits)).filter((outcome) => outcome === "woken").length, offsetWaitsMaxCount);
});
