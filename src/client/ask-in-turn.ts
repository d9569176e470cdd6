import type { Clock, Timer } from "../base/clock.ts";

/**
 * Asks one after the other until one answers. The next is asked when one fails, and also when it takes its time: a node that stands
 * still is neither heard nor refused, and whoever waits for it waits for nothing. The first answer counts; the questions that are
 * still out are taken back.
 */
export function askInTurn<Answer>(
  candidates: readonly string[],
  ask: (candidate: string, signal: AbortSignal) => Promise<Answer>,
  { clock, hedgeMs, isPassedOn }: AskOptions,
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const over = new AbortController();
  let timer: Timer | undefined;
  let next = 0;
  let underWay = 0;

  function finish(settle: () => void): void {
    if (over.signal.aborted) return;
    timer?.cancel();
    settle();
    over.abort();
  }

  function askNext(): void {
    timer?.cancel();
    const candidate = candidates[next];
    if (candidate === undefined) return;
    next += 1;
    underWay += 1;
    ask(candidate, over.signal).then(
      (answer) => finish(() => resolve(answer)),
      (error: unknown) => {
        underWay -= 1;
        if (over.signal.aborted) return;
        const isLast = underWay === 0 && next === candidates.length;
        if (isLast || !isPassedOn(error)) finish(() => reject(error));
        else askNext();
      },
    );
    if (next < candidates.length) timer = clock.setTimer(hedgeMs, askNext);
  }

  askNext();
  return promise;
}

export interface AskOptions {
  readonly clock: Clock;
  readonly hedgeMs: number;
  /** Whether another might say something else. */
  readonly isPassedOn: (error: unknown) => boolean;
}
