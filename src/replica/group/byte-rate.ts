import type { Clock } from "../../base/clock.ts";
import { sleep } from "../../base/sleep.ts";

/** So many bytes a second, over all who ask: each waits for those before it. */
export class ByteRate {
  readonly #clock: Clock;
  readonly #bytesPerSecond: number;
  /** By the monotonic clock: when what was let through is done at that rate. */
  #doneMs = 0;

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
  }

  /** Resolves when `bytes` may go, or the signal aborts. */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    const waitMs = this.#doneMs - now;
    this.#doneMs = Math.max(this.#doneMs, now) + this.#msOf(bytes);
    // Timers don't go by less, and whoever comes next waits for it.
    if (waitMs > 1) await sleep(this.#clock, waitMs, signal);
  }

  /** It was less, or more, than what was taken. */
  correct(bytes: number): void {
    this.#doneMs += this.#msOf(bytes);
  }

  #msOf(bytes: number): number {
    return (bytes / this.#bytesPerSecond) * 1000;
  }
}
