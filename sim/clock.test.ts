import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "./clock.ts";

describe("virtual clock", () => {
  let clock: VirtualClock;
  let ran: string[];
  beforeEach(() => {
    clock = createVirtualClock(1_000_000);
    ran = [];
  });

  const note = (what: string) => (): void => void ran.push(`${what} at ${clock.monotonic()}`);

  test("time stands still unless it is advanced", () => {
    assert.equal(clock.now(), 1_000_000);
    clock.advance(25);
    assert.equal(clock.now(), 1_000_025);
    assert.equal(clock.monotonic(), 25);
  });

  test("timers run in the order of their times, each at its own, and those of one time as they were set", () => {
    clock.setTimer(30, note("c"));
    clock.setTimer(10, note("a"));
    clock.setTimer(20, note("b1"));
    clock.setTimer(20, note("b2"));
    clock.advance(29);
    assert.deepEqual(ran, ["a at 10", "b1 at 20", "b2 at 20"]);
    assert.equal(clock.monotonic(), 29);
    clock.advance(1);
    assert.equal(ran.at(-1), "c at 30");
    assert.equal(clock.timerCount, 0);
  });

  test("a timer that sets another one within the stretch has it run, too", () => {
    clock.setTimer(10, () => {
      note("first")();
      clock.setTimer(5, note("second"));
      clock.setTimer(50, note("later"));
    });
    clock.advance(20);
    assert.deepEqual(ran, ["first at 10", "second at 15"]);
    assert.equal(clock.nextTimerMs, 60);
  });

  test("a cancelled timer doesn't run, even when the one before it in the same instant cancels it", () => {
    const never = clock.setTimer(5, note("never"));
    never.cancel();
    never.cancel();
    clock.setTimer(10, () => second.cancel());
    const second = clock.setTimer(10, note("second"));
    clock.advance(10);
    assert.deepEqual(ran, []);
  });

  test("runNext goes to the next timer and no further", () => {
    clock.setTimer(10, note("a"));
    clock.setTimer(20, note("b"));
    assert.equal(clock.runNext(), true);
    assert.deepEqual(ran, ["a at 10"]);
    assert.equal(clock.monotonic(), 10);
    assert.equal(clock.runNext(), true);
    assert.equal(clock.runNext(), false);
    assert.equal(clock.monotonic(), 20);
  });

  test("a negative delay is none: the timer runs at the next turn, not while it is set", () => {
    clock.setTimer(-5, note("a"));
    assert.deepEqual(ran, []);
    clock.advance(0);
    assert.deepEqual(ran, ["a at 0"]);
  });

  test("the wall clock may jump, and neither timers nor monotonic time notice", () => {
    clock.setTimer(10, note("a"));
    clock.jumpWall(-3_600_000);
    assert.equal(clock.now(), 1_000_000 - 3_600_000);
    assert.equal(clock.monotonic(), 0);
    clock.advance(10);
    assert.deepEqual(ran, ["a at 10"]);
  });

  test("a timer that sets itself again for ever is found out", () => {
    const again = (): void => void clock.setTimer(0, again);
    again();
    assert.throws(() => clock.advance(1), { name: "AssertionError" });
  });
});
