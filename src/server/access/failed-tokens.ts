import type { Clock } from "../../base/clock.ts";
import {
  failedSourceMs,
  failedSourcesMaxCount,
  failedTokenMaxMs,
  failedTokenMinMs,
  refusalsWaitingMaxCount,
} from "../../base/security-limits.ts";

/**
 * Holds up the refusal of wrong tokens, the longer the more of them came from one address. Nobody finds a secret by trying; this bounds what
 * trying costs the node, and a client that goes on with a revoked token doesn't spin. A right token never waits, whatever came before it
 * from its address: else one client could lock out all behind the same proxy.
 */
export class FailedTokens {
  readonly #clock: Clock;
  /** The one that failed last stands last. */
  readonly #sources = new Map<string, { count: number; lastMs: number }>();
  #waitingCount = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get sourceCount(): number {
    return this.#sources.size;
  }

  get waitingCount(): number {
    return this.#waitingCount;
  }

  /** Notes one, and resolves when it may be refused. */
  async hold(address: string): Promise<void> {
    const delayMs = this.#note(address);
    if (this.#waitingCount >= refusalsWaitingMaxCount) return;
    this.#waitingCount += 1;
    await new Promise<void>((resolve) => void this.#clock.setTimer(delayMs, resolve));
    this.#waitingCount -= 1;
  }

  #note(address: string): number {
    const nowMs = this.#clock.monotonic();
    const known = this.#sources.get(address);
    const count = known === undefined || nowMs - known.lastMs > failedSourceMs ? 1 : known.count + 1;
    this.#sources.delete(address);
    for (const [source, { lastMs }] of this.#sources) {
      if (this.#sources.size < failedSourcesMaxCount && nowMs - lastMs <= failedSourceMs) break;
      this.#sources.delete(source);
    }
    this.#sources.set(address, { count, lastMs: nowMs });
    return Math.min(failedTokenMaxMs, failedTokenMinMs * 2 ** Math.min(count - 1, 16));
  }
}
