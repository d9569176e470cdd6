import type { Clock, Timer } from "../../base/clock.ts";
import { stallTurnsMaxCount } from "../../base/cluster-limits.ts";

export interface GroupTickerOptions {
  readonly clock: Clock;
  readonly tickMs: number;
  /** Ticks late from which on the loop counts as stalled. */
  readonly stallTicks: number;
  /** The most that are made up after a stall: those of one election timeout. */
  readonly madeUpMaxTicks: number;
  /** How many messages have arrived so far. */
  readonly arrivedCount: () => number;
  /** So many ticks have passed. `isLate` after a stall. */
  readonly tick: (ticks: number, isLate: boolean) => void;
}

/**
 * One timer for all groups of a node, so that what they have to say at a tick leaves together.
 *
 * When the loop stood still (a long collection of garbage, a process that was stopped), timers are the first to be looked after, and
 * the messages that came meanwhile lie in the sockets. Ticking then would start elections against leaders who had spoken all the
 * while. So what has arrived is taken in first, turn after turn until one brings nothing. And of a long stall no more is made up
 * than one election timeout: within that a leader checks for its quorum once, by what it has just heard.
 */
export class GroupTicker {
  readonly #options: GroupTickerOptions;
  #timer: Timer | undefined;
  /** When the next tick is due, by the monotonic clock. */
  #dueMs = 0;
  #isStopped = false;
  #stallCount = 0;

  constructor(options: GroupTickerOptions) {
    this.#options = options;
  }

  /** Stalls so far. */
  get stallCount(): number {
    return this.#stallCount;
  }

  start(): void {
    this.#dueMs = this.#options.clock.monotonic() + this.#options.tickMs;
    this.#wait();
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }

  #wait(): void {
    if (this.#isStopped) return;
    const { clock } = this.#options;
    this.#timer = clock.setTimer(this.#dueMs - clock.monotonic(), () => this.#due());
  }

  #due(): void {
    const { clock, tickMs, stallTicks } = this.#options;
    if (clock.monotonic() - this.#dueMs < stallTicks * tickMs) {
      this.#tick(Number.POSITIVE_INFINITY, false);
      return;
    }
    this.#stallCount += 1;
    void this.#catchUp();
  }

  async #catchUp(): Promise<void> {
    const { clock, madeUpMaxTicks, arrivedCount } = this.#options;
    let arrived = -1;
    for (let turn = 0; turn < stallTurnsMaxCount && arrivedCount() !== arrived && !this.#isStopped; turn += 1) {
      arrived = arrivedCount();
      await clock.turn();
    }
    if (!this.#isStopped) this.#tick(madeUpMaxTicks, true);
  }

  #tick(maxTicks: number, isLate: boolean): void {
    const { clock, tickMs, tick } = this.#options;
    const due = 1 + Math.max(0, Math.floor((clock.monotonic() - this.#dueMs) / tickMs));
    // From one due time to the next, so that ticks don't come later and later.
    this.#dueMs += due * tickMs;
    try {
      tick(Math.min(due, maxTicks), isLate);
    } finally {
      this.#wait();
    }
  }
}
