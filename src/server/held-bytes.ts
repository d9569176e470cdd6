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

/** What one request holds of them. Once it is over, nothing is counted for it any more, whatever still goes on for it. */
export class HeldShare {
  readonly #held: HeldBytes;
  readonly #attempt: string;
  #bytes = 0;
  #isOver = false;

  constructor(held: HeldBytes, attempt: string) {
    this.#held = held;
    this.#attempt = attempt;
  }

  /** As `HeldBytes.take`. */
  readonly take = (bytes: number): void => {
    if (this.#isOver) return;
    this.#held.take(bytes, this.#attempt);
    this.#bytes += bytes;
  };

  /** What it holds became so many bytes. Throws OVERLOADED when they are more and there is no room for these. */
  become(bytes: number): void {
    if (bytes >= this.#bytes) return this.take(bytes - this.#bytes);
    if (this.#isOver) return;
    this.#held.giveBack(this.#bytes - bytes);
    this.#bytes = bytes;
  }

  end(): void {
    this.become(0);
    this.#isOver = true;
  }
}
