import { systemErrorCode } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import type { CheckThere } from "./entry-lookup.ts";
import type { LogState } from "./log-state.ts";
import { closedError, diskFailedError, refusalOf } from "./write-failure.ts";

/** The reads of a log that are under way: `close` waits for them, so that none opens a file after it. */
export class ReadsUnderWay {
  readonly #state: LogState;
  #count = 0;
  #isEnding = false;
  #onLast: (() => void) | undefined;

  constructor(state: LogState) {
    this.#state = state;
  }

  /** Throws LOG_CLOSED once the log is being closed. */
  checkOpen(attempt: string): void {
    if (this.#isEnding) throw closedError(attempt);
  }

  /** Counts a read, and makes what the disk throws an error with a code. */
  async run<T>(attempt: string, read: () => Promise<T>): Promise<T> {
    this.#count += 1;
    try {
      return await read();
    } catch (error) {
      if (isProglogError(error)) throw error;
      if (this.#isEnding) throw closedError(attempt);
      // An index that is built anew needs room.
      const answer = refusalOf(attempt, error);
      throw isProglogError(answer) || systemErrorCode(error) === undefined ? answer : diskFailedError(attempt, error);
    } finally {
      this.#count -= 1;
      if (this.#count === 0) this.#onLast?.();
    }
  }

  /** Looks something up, and anew when the log was trimmed, truncated or compacted under it: what was sought may lie elsewhere, or nowhere. */
  lookUp<T>(attempt: string, find: (checkThere: CheckThere) => Promise<T>): Promise<T> {
    return this.run(attempt, async () => {
      for (;;) {
        this.checkOpen(attempt);
        const { truncations, replacements, base } = this.#state;
        const isChanged = (): boolean =>
          truncations !== this.#state.truncations || replacements !== this.#state.replacements || base !== this.#state.base;
        try {
          const found = await find(() => {
            if (isChanged()) throw new Error("what was looked up is to be looked up anew");
          });
          if (!isChanged()) return found;
        } catch (error) {
          if (!isChanged()) throw error;
        }
      }
    });
  }

  /** Refuses lookups from now on. */
  beginEnd(): void {
    this.#isEnding = true;
  }

  /** Resolves when none is under way any more. */
  async wait(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => (this.#onLast = resolve));
  }
}
