import { grpcBackoffFactor, grpcBackoffJitter, grpcBackoffMaxMs, grpcBackoffStartMs } from "../base/limits.ts";
import type { Random } from "../base/random.ts";

/** How long to wait before the next try: longer each time, and never the same for two clients of a server that went away. */
export class Backoff {
  readonly #random: Random;
  #nextMs = grpcBackoffStartMs;

  constructor(random: Random) {
    this.#random = random;
  }

  next(): number {
    const delayMs = this.#nextMs * (1 + grpcBackoffJitter * (2 * this.#random.float() - 1));
    this.#nextMs = Math.min(grpcBackoffMaxMs, this.#nextMs * grpcBackoffFactor);
    return delayMs;
  }

  /** It worked: the next failure begins anew. */
  reset(): void {
    this.#nextMs = grpcBackoffStartMs;
  }
}
