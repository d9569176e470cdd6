import type { Clock, Timer } from "../base/clock.ts";

/**
 * Runs something once nothing was done for a while. Setting a timer anew with each thing done would cost more than the thing: so there
 * is one at a time, and when it comes too early it goes on for what is left.
 */
export class MarkTimer {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #run: () => void;
  #timer: Timer | undefined;
  #idleSince = 0;

  constructor(clock: Clock, idleMs: number, run: () => void) {
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#run = run;
  }

  /** Something was done just now. */
  arm(): void {
    this.#idleSince = this.#clock.monotonic();
    this.#wait(this.#idleMs);
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #wait(delayMs: number): void {
    this.#timer ??= this.#clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      const leftMs = this.#idleSince + this.#idleMs - this.#clock.monotonic();
      if (leftMs > 0) this.#wait(Math.ceil(leftMs));
      else this.#run();
    });
  }
}
