import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { EventQueue } from "./event-queue.ts";
import { NodeClock } from "./node-clock.ts";
import { createSeededRandom } from "./random.ts";

describe("an event queue", () => {
  test("runs events by their times, and those of one time in the order in which they were planned", () => {
    const random = createSeededRandom("events");
    const queue = new EventQueue();
    const planned = Array.from({ length: 500 }, (_, order) => ({ atMs: random.integer(50), order }));
    const run: typeof planned = [];
    for (const event of planned) queue.after(event.atMs, () => run.push(event));
    while (queue.runNext(Number.POSITIVE_INFINITY));
    assert.deepEqual(
      run,
      planned.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order),
    );
    assert.equal(queue.nowMs, 49);
  });

  test("runs nothing that comes later than it is told, and nothing that was cancelled", () => {
    const queue = new EventQueue();
    const run: string[] = [];
    queue.after(1, () => run.push("cancelled")).cancel();
    queue.after(2, () => run.push("early"));
    queue.after(3, () => run.push("late"));
    assert.deepEqual([queue.runNext(2), queue.runNext(2), queue.runNext(3), queue.runNext(9)], [true, false, true, false]);
    assert.deepEqual(run, ["early", "late"]);
  });
});

describe("a node's clock", () => {
  test("runs fast or slow against the world's", () => {
    const queue = new EventQueue();
    const clock = new NodeClock(queue, { rate: 2 });
    let dueAtMs = 0;
    clock.setTimer(100, () => (dueAtMs = queue.nowMs));
    queue.runNext(1_000);
    assert.deepEqual([dueAtMs, clock.monotonic()], [50, 100]);
    clock.setRate(0.5);
    assert.equal(clock.monotonic(), 100);
    clock.setTimer(10, () => (dueAtMs = queue.nowMs));
    queue.runNext(1_000);
    assert.deepEqual([dueAtMs, clock.monotonic()], [70, 110]);
    clock.setDeviceTimer(10, () => (dueAtMs = queue.nowMs));
    queue.runNext(1_000);
    assert.equal(dueAtMs, 80, "a disk goes by the world's time");
  });

  test("while the process is stopped nothing comes due, and then all of it at once", () => {
    const queue = new EventQueue();
    const clock = new NodeClock(queue);
    const run: number[] = [];
    for (const delayMs of [1, 2, 30]) clock.setTimer(delayMs, () => run.push(delayMs));
    clock.stop();
    while (queue.runNext(10));
    assert.deepEqual(run, []);
    clock.goOn();
    assert.deepEqual(run, [1, 2]);
    clock.end();
    while (queue.runNext(100));
    assert.deepEqual(run, [1, 2], "of a process that has ended, no timer runs");
  });

  test("jumps on the wall alone", () => {
    const queue = new EventQueue();
    const clock = new NodeClock(queue);
    const before = clock.now();
    clock.jumpWall(-3_600_000);
    assert.deepEqual([clock.now() - before, clock.monotonic()], [-3_600_000, 0]);
  });
});
