import { type Call, type CallMatch, matches } from "./fault-plan.ts";

/**
 * Keeps datasyncs from completing until a test says so: what gathers meanwhile is then no matter of luck.
 *
 *     const hold = disk.holdSync();
 *     const appended = log.append(record);
 *     await hold.waiting(1);
 *     … nothing may be acknowledged yet …
 *     hold.release();
 *     await appended;
 */
export class SyncHold {
  readonly #match: CallMatch;
  #isReleased = false;
  readonly #held: (() => void)[] = [];
  #waiters: { readonly count: number; readonly resolve: () => void }[] = [];

  constructor(match: CallMatch) {
    this.#match = match;
  }

  /** How many wait now. */
  get waitingCount(): number {
    return this.#held.length;
  }

  /** Resolves once at least `count` wait. */
  waiting(count: number): Promise<void> {
    if (this.#held.length >= count) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ count, resolve }));
  }

  /** Lets the one through that has waited longest. */
  releaseOne(): void {
    this.#held.shift()?.();
  }

  /** Lets all through, and keeps none from now on. */
  release(): void {
    this.#isReleased = true;
    for (const pass of this.#held.splice(0)) pass();
  }

  holds(call: Call): boolean {
    return !this.#isReleased && matches(this.#match, call);
  }

  /** Waits to be let through. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#held.push(resolve);
      const ready = this.#waiters.filter(({ count }) => count <= this.#held.length);
      this.#waiters = this.#waiters.filter(({ count }) => count > this.#held.length);
      for (const waiter of ready) waiter.resolve();
    });
  }
}
