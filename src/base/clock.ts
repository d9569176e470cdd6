/**
 * Time, handed in. Below the server nobody asks Node for the time or sets a timer, so that the simulator can run the real
 * code under a clock of its own.
 */
export interface Clock {
  /** Wall-clock milliseconds since 1970. May jump, either way. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. For measuring and for deadlines. */
  monotonic(): number;
  /** Calls `run` once after `delayMs`. A timer doesn't keep the process alive. */
  setTimer(delayMs: number, run: () => void): Timer;
  /** Resolves in a later turn of the event loop, when I/O had its turn. */
  turn(): Promise<void>;
}

export interface Timer {
  /** Stops it. Doing so after it ran, or twice, is fine. */
  cancel(): void;
}

/** A Node timer of more than 2^31-1 ms fires at once: clamp, and let the caller ask again. */
const timerMaxMs = 2 ** 31 - 1;

/** The clock of the system whose timers keep the process until they have run: for who has promised something to somebody. */
export const holdingClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(delayMs, run) {
    const timeout = setTimeout(run, Math.min(Math.max(0, delayMs), timerMaxMs));
    return { cancel: () => clearTimeout(timeout) };
  },
  turn: () => new Promise((resolve) => void setImmediate(resolve)),
};

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(delayMs, run) {
    const timeout = setTimeout(run, Math.min(Math.max(0, delayMs), timerMaxMs));
    timeout.unref();
    return { cancel: () => clearTimeout(timeout) };
  },
  turn: () => new Promise((resolve) => void setImmediate(resolve)),
};
