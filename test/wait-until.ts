import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks again and again until the answer is no longer undefined or false. What rejects counts as "not yet": a cluster that changes refuses
 * in passing. The limit is there so that a test that hangs says on what; nothing is measured by it.
 * With the signal it ends at once: what it waits for won't come.
 */
export async function waitUntil<Found>(
  what: string,
  find: () => Promise<Found> | Found,
  signal?: AbortSignal,
): Promise<Exclude<Found, undefined | false>> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    signal?.throwIfAborted();
    let last: unknown;
    try {
      last = await find();
      if (last !== undefined && last !== false) return last as Exclude<Found, undefined | false>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`It didn't come about that ${what}: ${String(last)}`, { cause: last });
    await pause(pollMs);
  }
}

const limitMs = 60_000;
const pollMs = 20;
