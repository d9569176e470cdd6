import type { Clock } from "./clock.ts";

/** Resolves after so many milliseconds, or as soon as the signal aborts; then no timer is left. */
export async function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted === true) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.setTimer(delayMs, resolve);
  const end = (): void => resolve();
  signal?.addEventListener("abort", end, { once: true });
  await promise;
  timer.cancel();
  signal?.removeEventListener("abort", end);
}
