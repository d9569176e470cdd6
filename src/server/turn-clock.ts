import type { Clock } from "../base/clock.ts";

/**
 * The monotonic time, asked for once in a turn of the event loop. What comes in one turn came together as far as anybody outside can
 * tell, and asking for each of ten thousand appends a second would cost more than counting them does.
 */
export class TurnClock {
  readonly #clock: Clock;
  #now: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  monotonic(): number {
    if (this.#now !== undefined) return this.#now;
    const now = this.#clock.monotonic();
    this.#now = now;
    void this.#clock.turn().then(() => {
      this.#now = undefined;
    });
    return now;
  }
}
