import type { Clock, Timer } from "../src/base/clock.ts";
import type { EventQueue } from "./event-queue.ts";

/** A wall clock starts here: it must not matter. */
const epochMs = Date.UTC(2026, 0, 1);

/** No real timer is quicker. Who waits for a moment that a rounding left ahead would otherwise wait in it for ever. */
const timerMinMs = 0.01;

/**
 * The clock of one process in a simulated world. It runs fast or slow against the world's, its wall time jumps, and it stands
 * still while the process is stopped: what came due meanwhile runs at once when it goes on.
 */
export class NodeClock implements Clock {
  readonly #queue: EventQueue;
  /** Milliseconds of this clock to one of the world's. */
  #rate: number;
  /** When it was last set, by the world's clock and by this one. */
  #setAtMs = 0;
  #setToMs = 0;
  #wallAheadMs: number;
  #isEnded = false;
  #isStopped = false;
  #due: (() => void)[] = [];
  /** What is set, by this clock, where timers go by its rate also when that changes. */
  readonly #set: Set<SetTimer> | undefined;

  constructor(
    queue: EventQueue,
    {
      rate = 1,
      wallAheadMs = 0,
      timersFollow = false,
    }: {
      readonly rate?: number;
      readonly wallAheadMs?: number;
      /** Whether timers that are set come due by a rate that is changed later. Else as they would have before. */
      readonly timersFollow?: boolean;
    } = {},
  ) {
    this.#set = timersFollow ? new Set() : undefined;
    this.#queue = queue;
    this.#rate = rate;
    this.#wallAheadMs = wallAheadMs;
  }

  now(): number {
    return Math.floor(epochMs + this.#wallAheadMs + this.monotonic());
  }

  monotonic(): number {
    return this.#setToMs + (this.#queue.nowMs - this.#setAtMs) * this.#rate;
  }

  setTimer(delayMs: number, run: () => void): Timer {
    const set = this.#set;
    if (set === undefined) return this.setDeviceTimer(Math.max(0, delayMs) / this.#rate, run);
    const timer: SetTimer = {
      dueMs: this.monotonic() + Math.max(0, delayMs),
      run: () => {
        set.delete(timer);
        run();
      },
      planned: undefined,
    };
    set.add(timer);
    this.#plan(timer);
    return {
      cancel: () => {
        set.delete(timer);
        timer.planned?.cancel();
      },
    };
  }

  #plan(timer: SetTimer): void {
    timer.planned?.cancel();
    const delayMs = (timer.dueMs - this.monotonic()) / this.#rate;
    timer.planned = this.setDeviceTimer(Math.max(timerMinMs, delayMs), timer.run);
  }

  /** Of a device: it goes by the world's time, and the process hears of it when it runs. */
  setDeviceTimer(delayMs: number, run: () => void): Timer {
    let isCancelled = false;
    const runUnlessCancelled = (): void => {
      if (isCancelled || this.#isEnded) return;
      if (this.#isStopped) this.#due.push(runUnlessCancelled);
      else run();
    };
    const planned = this.#queue.after(delayMs, runUnlessCancelled);
    return {
      cancel: () => {
        isCancelled = true;
        planned.cancel();
      },
    };
  }

  turn(): Promise<void> {
    return Promise.resolve();
  }

  jumpWall(byMs: number): void {
    this.#wallAheadMs += byMs;
  }

  /** Runs at another rate from now on. */
  setRate(rate: number): void {
    this.#setToMs = this.monotonic();
    this.#setAtMs = this.#queue.nowMs;
    this.#rate = rate;
    for (const timer of this.#set ?? []) this.#plan(timer);
  }

  /** The process is stopped, as by SIGSTOP. */
  stop(): void {
    this.#isStopped = true;
  }

  goOn(): void {
    this.#isStopped = false;
    for (const run of this.#due.splice(0)) run();
  }

  /** The process has ended, and its timers with it. */
  end(): void {
    this.#isEnded = true;
  }
}

interface SetTimer {
  readonly dueMs: number;
  readonly run: () => void;
  planned: Timer | undefined;
}
