import type { Clock } from "./clock.ts";

/**
 * Lets a few syncs run at a time, and has the others wait their turn: urgent ones first, then one of each file in turn, those of one
 * file in order. With a sync for each of a thousand groups under way, each would wait for all, and reads, which share Node's four
 * threads with them, too.
 */
export class SyncGate {
  readonly #clock: Clock;
  readonly #maxCount: number;
  /** By file or directory: a map keeps the order in which keys came in, and one that was served goes to the end. */
  readonly #urgent: Lane = new Map();
  readonly #others: Lane = new Map();
  /** Since when each runs. One of a file at a time. */
  readonly #running = new Map<string, number>();

  constructor(clock: Clock, maxCount: number) {
    this.#clock = clock;
    this.#maxCount = maxCount;
  }

  get runningCount(): number {
    return this.#running.size;
  }

  get waitingCount(): number {
    let count = 0;
    for (const lane of [this.#urgent, this.#others]) for (const queue of lane.values()) count += queue.length;
    return count;
  }

  /** For how long the oldest one that is under way has been running; 0 when none is. */
  get oldestMs(): number {
    // They are in the order in which they began.
    for (const startedAt of this.#running.values()) return this.#clock.monotonic() - startedAt;
    return 0;
  }

  /** Runs `sync` when it is its turn, at once where there is room, and settles as it does. */
  run(key: string, isUrgent: boolean, sync: () => Promise<void>): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const lane = isUrgent ? this.#urgent : this.#others;
    const waiting: Waiting = { sync, resolve, reject };
    const queue = lane.get(key);
    if (queue === undefined) lane.set(key, [waiting]);
    else queue.push(waiting);
    this.#startNext();
    return promise;
  }

  #startNext(): void {
    while (this.#running.size < this.#maxCount) {
      const next = this.#take(this.#urgent) ?? this.#take(this.#others);
      if (next === undefined) return;
      this.#running.set(next.key, this.#clock.monotonic());
      void this.#carryOut(next.key, next.waiting);
    }
  }

  async #carryOut(key: string, { sync, resolve, reject }: Waiting): Promise<void> {
    try {
      await sync();
      resolve();
    } catch (error) {
      reject(error);
    } finally {
      this.#running.delete(key);
      this.#startNext();
    }
  }

  #take(lane: Lane): { readonly key: string; readonly waiting: Waiting } | undefined {
    for (const [key, queue] of lane) {
      if (this.#running.has(key)) continue;
      const waiting = queue.shift();
      lane.delete(key);
      if (queue.length > 0) lane.set(key, queue);
      if (waiting !== undefined) return { key, waiting };
    }
    return undefined;
  }
}

type Lane = Map<string, Waiting[]>;

interface Waiting {
  readonly sync: () => Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}
