import { ProglogError } from "../base/error.ts";

/** Counts what requests hold in memory together, and refuses what would be too much. A bound on each alone bounds nothing. */
export class HeldBytes {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Throws OVERLOADED when there is no room; then nothing is taken. `attempt` is what couldn't be done: "read the body". */
  take(bytes: number, attempt: string): void {
    if (this.#bytes + bytes > this.#maxBytes) {
      throw new ProglogError("OVERLOADED", `Cannot ${attempt}: the node holds as many bytes of requests as it may`, {
        hint: "Try again.",
      });
    }
    this.#bytes += bytes;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}
