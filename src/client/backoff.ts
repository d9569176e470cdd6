import type { Random } from "../base/random.ts";

/**
 * How long to wait before trying again: doubled from `retryMinMs` on, up to `retryMaxMs`, and of that a random part between half
 * and the whole, so that a thousand clients of a node that comes back don't all come at once.
 */
export function backoffMs(attempt: number, random: Random): number {
  const full = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(attempt, 20));
  return Math.round(full / 2 + (random.float() * full) / 2);
}

export const retryMinMs = 20;
export const retryMaxMs = 2_000;
