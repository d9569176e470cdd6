import { clientRetryMaxMs, clientRetryMinMs } from "../base/limits.ts";
import type { Random } from "../base/random.ts";

/**
 * How long to wait before trying again: doubled from `clientRetryMinMs` on, up to `maxMs`, and of that a random part between half
 * and the whole, so that a thousand clients of a node that comes back don't all come at once.
 */
export function backoffMs(attempt: number, random: Random, maxMs: number = clientRetryMaxMs): number {
  const full = Math.min(maxMs, clientRetryMinMs * 2 ** Math.min(attempt, 20));
  return Math.round(full / 2 + (random.float() * full) / 2);
}
