import { assert } from "../src/base/assert.ts";
import type { Clock, Timer } from "../src/base/clock.ts";

/** A clock that goes only when it is told to. */
export interface VirtualClock extends Clock {
  /** When the next timer is due, by `monotonic`; undefined when there is none. */
  readonly nextTimerMs: number | undefined;
  readonly timerCount: number;
  /**
   * Lets time pass. Timers that come due run in the order of their times, and those of one time in the order in which they were
   * set; each sees the clock at its own time, and may set others, which run too if they come due in the same stretch.
   */
  advance(byMs: number): void;
  /** Goes to the next timer's time and runs it, and no other. False when there is none. What it sets going can be awaited before the next. */
  runNext(): boolean;
  /** Sets the wall clock forward or back, as an operator or NTP does. Timers and `monotonic` don't notice. */
  jumpWall(byMs: number): void;
}

/** A timer that sets itself again with no delay would keep `advance` busy for ever. */
const timersPerAdvanceMax = 1_000_000;

export function createVirtualClock(startMs: number = Date.UTC(2026, 0, 1)): VirtualClock {
  let elapsedMs = 0;
  let wallAheadMs = startMs;
  const timers = new Set<PendingTimer>();

  function next(): PendingTimer | undefined {
    let first: PendingTimer | undefined;
    // The set is in the order of setting, so the first of those with the same time wins.
    for (const timer of timers) if (first === undefined || timer.dueMs < first.dueMs) first = timer;
    return first;
  }

  function run(timer: PendingTimer): void {
    timers.delete(timer);
    elapsedMs = timer.dueMs;
    timer.run();
  }

  return {
    now: () => wallAheadMs + elapsedMs,
    monotonic: () => elapsedMs,
    setTimer(delayMs, onDue): Timer {
      assert(!Number.isNaN(delayMs), "a delay is a number");
      const timer: PendingTimer = { dueMs: elapsedMs + Math.max(0, delayMs), run: onDue };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    // There is no I/O to let through here: everything else happens at the virtual clock's word.
    turn: () => Promise.resolve(),
    get nextTimerMs() {
      return next()?.dueMs;
    },
    get timerCount() {
      return timers.size;
    },
    advance(byMs) {
      assert(byMs >= 0, "time doesn't go back");
      const endMs = elapsedMs + byMs;
      for (let count = 0; ; count += 1) {
        const timer = next();
        if (timer === undefined || timer.dueMs > endMs) break;
        assert(count < timersPerAdvanceMax, "timers come to an end");
        run(timer);
      }
      elapsedMs = endMs;
    },
    runNext() {
      const timer = next();
      if (timer === undefined) return false;
      run(timer);
      return true;
    },
    jumpWall(byMs) {
      wallAheadMs += byMs;
    },
  };
}

interface PendingTimer {
  readonly dueMs: number;
  readonly run: () => void;
}
