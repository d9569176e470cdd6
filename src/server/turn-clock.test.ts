import assert from "node:assert/strict";
import { test } from "node:test";
import { TurnClock } from "./turn-clock.ts";

test("the time is asked for once in a turn of the loop", async () => {
  let asked = 0;
  const turn = Promise.withResolvers<void>();
  const clock = new TurnClock({
    now: () => 0,
    monotonic: () => (asked += 1),
    setTimer: () => ({ cancel: () => {} }),
    turn: () => turn.promise,
  });
  assert.deepEqual([clock.monotonic(), clock.monotonic(), asked], [1, 1, 1]);
  turn.resolve();
  await turn.promise;
  assert.deepEqual([clock.monotonic(), asked], [2, 2]);
});
