import type { Clock, Timer } from "../base/clock.ts";
import { grpcDeadlineTickMs } from "../base/limits.ts";

/**
 * The deadlines of all calls, on one timer. A timer a call costs more than all else that a small call does, and nearly every one
 * is cancelled unused. So time is cut into ticks, the calls of a tick share a set, and the timer waits for the earliest tick that
 * has calls. A deadline fires up to a tick late, and never early.
 */
export class DeadlineWheel {
  readonly #clock: Clock;
  /** By number of tick. An empty set is dropped at once, so a wheel without calls holds nothing. */
  readonly #ticks = new Map<number, Set<Expirable>>();
  /** The keys of `#ticks`, ascending. New deadlines mostly come last, and short calls leave where they came. */
  #order: number[] = [];
  #timer: Timer | undefined;
  #timerTick = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds by the clock that deadlines are measured by. */
  now(): number {
    return this.#clock.monotonic();
  }

  /** Calls `expire` when `deadlineMs` has passed. Returns what `remove` needs. */
  add(expirable: Expirable, deadlineMs: number): number {
    const tick = Math.ceil(deadlineMs / grpcDeadlineTickMs);
    let there = this.#ticks.get(tick);
    if (there === undefined) {
      there = new Set();
      this.#ticks.set(tick, there);
      this.#order.splice(this.#positionOf(tick), 0, tick);
      this.#arm();
    }
    there.add(expirable);
    return tick;
  }

  /** Forgets a deadline. Doing so after it fired is fine. */
  remove(expirable: Expirable, tick: number): void {
    const there = this.#ticks.get(tick);
    if (there === undefined || !there.delete(expirable) || there.size > 0) return;
    this.#ticks.delete(tick);
    this.#order.splice(this.#positionOf(tick), 1);
    // The timer stays: it finds nothing, and waits for the next.
  }

  /** Forgets all of them and stops the timer. */
  clear(): void {
    this.#ticks.clear();
    this.#order = [];
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#timerTick = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const [first] = this.#order;
    if (first === undefined || first >= this.#timerTick) return;
    this.#timer?.cancel();
    this.#timerTick = first;
    this.#timer = this.#clock.setTimer(first * grpcDeadlineTickMs - this.now(), () => this.#fire());
  }

  #fire(): void {
    this.#timer = undefined;
    this.#timerTick = Number.POSITIVE_INFINITY;
    const now = this.now();
    for (let [first] = this.#order; first !== undefined && first * grpcDeadlineTickMs <= now; [first] = this.#order) {
      const due = this.#ticks.get(first);
      this.#ticks.delete(first);
      this.#order.shift();
      for (const expirable of due ?? []) expirable.expire();
    }
    this.#arm();
  }

  /** Where a tick stands in the order, or would. */
  #positionOf(tick: number): number {
    let low = 0;
    let high = this.#order.length;
    if ((this.#order[high - 1] ?? Number.NEGATIVE_INFINITY) < tick) return high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#order[middle] ?? tick) < tick) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export interface Expirable {
  expire(): void;
}
