import type { Clock } from "../base/clock.ts";
import { givenUpError, unansweredError } from "../replica/peer-error.ts";
import type { PeerAddress } from "../replica/peer-network.ts";

/** How long somebody waits for a peer, and for what. */
export interface PeerWait {
  readonly clock: Clock;
  readonly to: PeerAddress;
  readonly kind: string;
  /** By the monotonic clock. */
  readonly deadlineMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** What `promise` comes to; TIMEOUT or CANCELLED when the wait ends before it does. */
export async function waitForPeer<T>(promise: Promise<T>, wait: PeerWait): Promise<T> {
  const { clock, to, kind, deadlineMs, timeoutMs, signal } = wait;
  if (signal?.aborted === true) throw givenUpError(to, kind);
  const ended = Promise.withResolvers<never>();
  const giveUp = (): void => ended.reject(givenUpError(to, kind));
  signal?.addEventListener("abort", giveUp, { once: true });
  const timer = clock.setTimer(deadlineMs - clock.monotonic(), () => ended.reject(unansweredError(to, kind, timeoutMs)));
  try {
    return await Promise.race([promise, ended.promise]);
  } finally {
    timer.cancel();
    signal?.removeEventListener("abort", giveUp);
  }
}
