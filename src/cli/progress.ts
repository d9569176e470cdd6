import type { Clock } from "../base/clock.ts";
import { formatNumberOf } from "./figures.ts";
import type { Output } from "./output.ts";

/**
 * How far a long command is, on standard error: one line that is written over on a terminal, a line a second elsewhere.
 * Short work is over before it shows anything.
 */
export class Progress {
  readonly #output: Output;
  readonly #clock: Clock;
  readonly #isTerminal: boolean;
  readonly #startedAt: number;
  #shownAt: number;
  #isShown = false;

  constructor(options: { readonly output: Output; readonly clock: Clock; readonly isTerminal: boolean }) {
    this.#output = options.output;
    this.#clock = options.clock;
    this.#isTerminal = options.isTerminal;
    this.#startedAt = options.clock.monotonic();
    this.#shownAt = this.#startedAt;
  }

  /** Shows the text, when the last one has stood long enough. */
  async show(describe: () => string): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#shownAt < (this.#isTerminal ? 200 : 1000)) return;
    this.#shownAt = now;
    this.#isShown = true;
    await this.#output.write(this.#isTerminal ? `\r${describe()}${eraseToEnd}` : `${describe()}\n`);
  }

  /** "12,345 records/s", since the start. */
  rate(records: number): string {
    const elapsedMs = Math.max(1, this.#clock.monotonic() - this.#startedAt);
    return `${formatNumberOf(Math.round((records / elapsedMs) * 1000), "record")}/s`;
  }

  /** Takes the line away, so that what is said next stands alone. */
  async clear(): Promise<void> {
    if (this.#isShown && this.#isTerminal) await this.#output.write(`\r${eraseToEnd}`);
    this.#isShown = false;
  }
}

const eraseToEnd = "\u001b[K";
