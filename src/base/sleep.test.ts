import assert from "node:assert/strict";
import { test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { sleep } from "./sleep.ts";

test("a sleep ends when its time is over, or when its signal aborts, and leaves no timer", async () => {
  const clock = createVirtualClock();
  const controller = new AbortController();
  const whole = sleep(clock, 10, controller.signal);
  clock.advance(10);
  await whole;
  const cut = sleep(clock, 10, controller.signal);
  controller.abort();
  await cut;
  await sleep(clock, 10, controller.signal);
  assert.equal(clock.timerCount, 0);
  assert.equal(clock.monotonic(), 10);
});
