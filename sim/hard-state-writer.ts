import type { HardStateOrder } from "../src/raft/ready.ts";
import type { HardStateFile } from "./hard-state-file.ts";

/** Writes hard states in order, one at a time. A newer one stands for all before it, so what gathers during a write goes together. */
export class HardStateWriter {
  readonly #file: HardStateFile;
  readonly #listener: HardStateListener;
  #waiting: HardStateOrder | undefined;
  #isWriting = false;
  #isEnded = false;

  constructor(file: HardStateFile, listener: HardStateListener) {
    this.#file = file;
    this.#listener = listener;
  }

  write(order: HardStateOrder): void {
    this.#waiting = order;
    if (!this.#isWriting) void this.#run();
  }

  end(): void {
    this.#isEnded = true;
  }

  close(): void {
    this.#file.close();
  }

  async #run(): Promise<void> {
    this.#isWriting = true;
    try {
      for (let order = this.#waiting; order !== undefined && !this.#isEnded; order = this.#waiting) {
        this.#waiting = undefined;
        await this.#file.write(order);
        if (this.#isEnded) return;
        this.#listener.durable(order);
      }
    } catch (error) {
      this.#listener.failed(error);
    } finally {
      this.#isWriting = false;
    }
  }
}

export interface HardStateListener {
  /** It is synced. */
  durable(order: HardStateOrder): void;
  failed(error: unknown): void;
}
