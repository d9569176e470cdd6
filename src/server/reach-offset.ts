import type { Clock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { consumeWaitMaxMs } from "../base/limits.ts";
import type { Replica } from "../replica/replica.ts";

/**
 * Read your writes: resolves when the replica shows all that lies before `atLeastOffset`, which may be on its way to it. Throws TIMEOUT when
 * `waitMs` have passed, or `signal` is aborted; 0 for as long as a read may wait.
 */
export async function reachOffset(replica: Replica, { atLeastOffset, waitMs, signal, clock }: Reach): Promise<void> {
  if (atLeastOffset === 0 || replica.range().highWatermark >= atLeastOffset) return;
  await waitForOffset(replica, atLeastOffset - 1, { waitMs: waitMs === 0 ? consumeWaitMaxMs : waitMs, signal, clock });
  const { highWatermark } = replica.range();
  if (highWatermark >= atLeastOffset) return;
  throw new ProglogError(
    "TIMEOUT",
    `Cannot read what lies before offset ${atLeastOffset}: this node has got to ${highWatermark}`,
    { hint: "Ask again, and let it wait longer, or check that the offset is one that was acknowledged." },
  );
}

/** Until there is something at `offset`, `waitMs` have passed or `signal` is aborted. */
export async function waitForOffset(replica: Replica, offset: number, { waitMs, signal, clock }: Wait): Promise<void> {
  const timeout = new AbortController();
  const timer = clock.setTimer(Math.min(waitMs, consumeWaitMaxMs), () => timeout.abort());
  try {
    await replica.waitForOffset(offset, AbortSignal.any([signal, timeout.signal]));
  } finally {
    timer.cancel();
  }
}

interface Wait {
  readonly waitMs: number;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

export interface Reach extends Wait {
  /** 0: nothing is waited for. */
  readonly atLeastOffset: number;
}
