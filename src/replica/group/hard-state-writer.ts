import type { Clock } from "../../base/clock.ts";
import { diskFullRetryMs } from "../../base/cluster-limits.ts";
import type { HardStateOrder } from "../../raft/ready.ts";
import { isPassing } from "./entry-writer.ts";
import type { HardStateSlot } from "./hard-state-slot.ts";

/** Writes hard states in order, one at a time. A newer one stands for all before it, so what gathers during a write goes together. */
export class HardStateWriter {
  readonly #slot: HardStateSlot;
  readonly #clock: Clock;
  readonly #listener: HardStateListener;
  #waiting: HardStateOrder | undefined;
  #isWriting = false;
  #isEnded = false;

  constructor(slot: HardStateSlot, clock: Clock, listener: HardStateListener) {
    this.#slot = slot;
    this.#clock = clock;
    this.#listener = listener;
  }

  write(order: HardStateOrder): void {
    this.#waiting = order;
    if (!this.#isWriting) void this.#run();
  }

  end(): void {
    this.#isEnded = true;
  }

  /** Never rejects: the listener hears of failures. */
  async #run(): Promise<void> {
    this.#isWriting = true;
    try {
      for (let order = this.#waiting; order !== undefined && !this.#isEnded; order = this.#waiting) {
        this.#waiting = undefined;
        const { term, vote, sequence } = order;
        const isWritten = await this.#write({ term, vote });
        if (this.#isEnded) return;
        if (isWritten) this.#listener.durable(order);
        // What came meanwhile stands for it.
        else this.#waiting ??= { term, vote, sequence };
      }
    } catch (error) {
      if (!this.#isEnded) this.#listener.failed(error);
    } finally {
      this.#isWriting = false;
    }
  }

  /** False when there was no room, and some time has passed. */
  async #write(state: Pick<HardStateOrder, "term" | "vote">): Promise<boolean> {
    try {
      await this.#slot.write(state);
      return true;
    } catch (error) {
      if (!isPassing(error)) throw error;
    }
    await new Promise<void>((resolve) => void this.#clock.setTimer(diskFullRetryMs, resolve));
    return false;
  }
}

export interface HardStateListener {
  /** It is synced. */
  durable(order: HardStateOrder): void;
  failed(error: unknown): void;
}
