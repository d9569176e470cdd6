import type { Clock } from "../base/clock.ts";

/** What was worked through since `start`, and how fast it may be. */
export interface Pace {
  /** By the clock's `monotonic`. */
  readonly start: number;
  readonly bytes: number;
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal | undefined;
}

/** Waits until working through `bytes` since `start` keeps within the rate, or until it is told to end. */
export async function keepPace(clock: Clock, { start, bytes, bytesPerSecond, signal }: Pace): Promise<void> {
  const aheadMs = (bytes / bytesPerSecond) * 1000 - (clock.monotonic() - start);
  if (aheadMs <= 1 || signal?.aborted === true) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = (): void => resolve();
  const timer = clock.setTimer(aheadMs, wake);
  signal?.addEventListener("abort", wake);
  await promise;
  timer.cancel();
  signal?.removeEventListener("abort", wake);
}
