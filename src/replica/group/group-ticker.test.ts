import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { stallTicks, stallTurnsMaxCount } from "../../base/cluster-limits.ts";
import { GroupTicker } from "./group-ticker.ts";

/** A loop that may stand still: timers that came due meanwhile run when it goes on. */
function stalling() {
  const clock = createVirtualClock();
  let aheadMs = 0;
  const story: string[] = [];
  const arrivals: (() => void)[] = [];
  let arrivedCount = 0;
  const ticker = new GroupTicker({
    clock: {
      ...clock,
      monotonic: () => clock.monotonic() + aheadMs,
      async turn() {
        story.push("turn");
        arrivals.shift()?.();
      },
    },
    tickMs: 50,
    stallTicks,
    madeUpMaxTicks: 10,
    arrivedCount: () => arrivedCount,
    tick: (ticks, isLate) => story.push(`${ticks}${isLate ? " late" : ""}`),
  });
  return {
    ticker,
    story,
    advance: (ms: number) => clock.advance(ms),
    /** The time goes on, and nothing runs. */
    stall: (ms: number) => (aheadMs += ms),
    arrives: (count: number) => arrivals.push(() => (arrivedCount += count)),
    timers: () => clock.timerCount,
    settle: async () => {
      for (let turn = 0; turn < 3 * stallTurnsMaxCount; turn += 1) await Promise.resolve();
    },
  };
}

describe("the tick of a node", () => {
  test("comes each 50 ms, and a late one doesn't move the next", () => {
    const { ticker, story, advance, stall } = stalling();
    ticker.start();
    advance(49);
    assert.deepEqual(story, []);
    advance(1);
    stall(30);
    advance(50);
    assert.deepEqual(story, ["1", "1"]);
    advance(20);
    assert.deepEqual(story, ["1", "1", "1"], "at 150 ms");
    ticker.stop();
    advance(1000);
    assert.equal(story.length, 3);
  });

  test("a short delay is made up at once", () => {
    const { ticker, story, advance, stall } = stalling();
    ticker.start();
    stall(50 * stallTicks - 1);
    advance(50);
    assert.deepEqual(story, [`${stallTicks}`]);
    assert.equal(ticker.stallCount, 0);
    ticker.stop();
  });

  test("after a stall what has arrived is taken in first, until a turn brings nothing", async () => {
    const { ticker, story, advance, stall, arrives, settle } = stalling();
    ticker.start();
    arrives(5);
    arrives(2);
    stall(50 * stallTicks);
    advance(50);
    await settle();
    assert.deepEqual(story, ["turn", "turn", "turn", `${stallTicks + 1} late`]);
    assert.equal(ticker.stallCount, 1);
    advance(50);
    assert.equal(story.at(-1), "1");
    ticker.stop();
  });

  test("of a long stall no more than an election timeout is made up, and messages without end aren't waited for", async () => {
    const { ticker, story, advance, stall, arrives, settle } = stalling();
    ticker.start();
    for (let count = 0; count < 2 * stallTurnsMaxCount; count += 1) arrives(1);
    stall(60_000);
    advance(50);
    await settle();
    assert.deepEqual([story.length, story.at(-1)], [stallTurnsMaxCount + 1, "10 late"]);
    advance(50);
    assert.equal(story.at(-1), "1", "and none of it later");
    ticker.stop();
  });

  test("stopped while it takes in messages it ticks no more", async () => {
    const { ticker, story, advance, stall, settle, timers } = stalling();
    ticker.start();
    stall(10_000);
    advance(50);
    ticker.stop();
    await settle();
    assert.deepEqual([story.filter((line) => line !== "turn"), timers()], [[], 0]);
  });
});
