import { grpcBackoffFactor, grpcBackoffJitter, grpcBackoffMaxMs, grpcBackoffStartMs } from "../base/limits.ts";
import type { Random } from "../base/random.ts";

/** How long to wait before the next try: longer each time, and never the same for two clients of a server that went away. */
export class Backoff {
  readonly #random: Random;
  readonly #startMs: number;
  readonly #maxMs: number;
  #nextMs: number;

  constructor(random: Random, { startMs = grpcBackoffStartMs, maxMs = grpcBackoffMaxMs }: BackoffRange = {}) {
    this.#random = random;
    this.#startMs = startMs;
    this.#maxMs = maxMs;
    this.#nextMs = startMs;
  }

  next(): number {
    const delayMs = this.#nextMs * (1 + grpcBackoffJitter * (2 * this.#random.float() - 1));
    this.#nextMs = Math.min(this.#maxMs, this.#nextMs * grpcBackoffFactor);
    return delayMs;
  }

  /** It worked: the next failure begins anew. */
  reset(): void {
    this.#nextMs = this.#startMs;
  }
}

/** From the first wait to the longest. */
export interface BackoffRange {
  readonly startMs?: number;
  readonly maxMs?: number;
}
