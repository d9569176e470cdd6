import type { Network } from "../network.ts";
import type { EventQueue } from "../event-queue.ts";

/** How soon what was lost on a connection is sent again, and how long after a cut is mended what waits comes through, at most. */
const resendMs = 200;

/**
 * One way of a connection: everything arrives, once and in order, or the rest of it never does. What a network loses costs time, and
 * what is sent into a cut waits until that is mended.
 */
export class Wire {
  readonly #from: string;
  readonly #to: string;
  readonly #network: Network;
  readonly #queue: EventQueue;
  readonly #arrive: (run: () => void) => void;
  #lastMs = 0;
  #held: (() => void)[] = [];
  #isBroken = false;

  constructor(options: {
    readonly from: string;
    readonly to: string;
    readonly network: Network;
    readonly queue: EventQueue;
    /** Hands over what has arrived to the machine at the end. */
    readonly arrive: (run: () => void) => void;
  }) {
    this.#from = options.from;
    this.#to = options.to;
    this.#network = options.network;
    this.#queue = options.queue;
    this.#arrive = options.arrive;
  }

  send(deliver: () => void): void {
    if (this.#isBroken) return;
    this.#network.sentCount += 1;
    const { nowMs } = this.#queue;
    const atMs = nowMs + this.#network.drawDelayMs() + this.#network.drawLossCount() * resendMs;
    this.#lastMs = Math.max(this.#lastMs, atMs);
    this.#queue.after(this.#lastMs - nowMs, () => {
      if (this.#isBroken) return;
      const wasHeld = this.#held.length > 0;
      this.#held.push(deliver);
      if (!wasHeld) this.#flush();
    });
  }

  /** What is on its way is lost. */
  break(): void {
    if (this.#held.length > 0) this.#network.lostCount += this.#held.length;
    this.#isBroken = true;
    this.#held = [];
  }

  #flush(): void {
    if (this.#isBroken) return;
    if (this.#network.isCut(this.#from, this.#to)) {
      this.#queue.after(resendMs, () => this.#flush());
      return;
    }
    for (const deliver of this.#held.splice(0))
      this.#arrive(() => {
        if (!this.#isBroken) deliver();
      });
  }
}
