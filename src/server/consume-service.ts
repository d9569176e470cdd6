import type { Clock } from "../base/clock.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { ReadBounds, ReplicaRead } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { StartingPoint } from "../wire/starting-point.ts";

/** Reads for clients, and lets them wait for what isn't there yet: woken by the append, never by looking again. */
export class ConsumeService {
  readonly #storage: NodeStorage;
  readonly #clock: Clock;
  readonly #waits = new Set<AbortController>();
  #isStopping = false;

  constructor(storage: NodeStorage, clock: Clock) {
    this.#storage = storage;
    this.#clock = clock;
  }

  /** Requests that wait at the moment. */
  get waitCount(): number {
    return this.#waits.size;
  }

  /**
   * Reads from `from` on. With nothing there yet it waits up to `waitMs`, until `signal` is aborted or the node stops, and then
   * returns no records.
   */
  async consume({ topic, partition, from, waitMs, signal, ...bounds }: ConsumeRequest): Promise<ReplicaRead> {
    checkTopicName(topic);
    const replica = this.#storage.getReplica(topic, partition);
    let offset = await replica.findOffset(from);
    const wait = new AbortController();
    const end = (): void => wait.abort();
    if (waitMs === 0 || this.#isStopping || signal.aborted) end();
    const timer = this.#clock.setTimer(waitMs, end);
    signal.addEventListener("abort", end, { once: true });
    this.#waits.add(wait);
    try {
      while (true) {
        const read = await replica.read(offset, { ...bounds, signal });
        if (read.records.length > 0 || signal.aborted || this.#isStopping) return read;
        const hasAdvanced = read.nextOffset > offset;
        offset = read.nextOffset;
        // Batches without records lay here (compacted or lost ones), and then came more, or one that can't be read.
        if (hasAdvanced && offset < read.highWatermark) continue;
        if (wait.signal.aborted) return read;
        await replica.waitForOffset(offset, wait.signal);
      }
    } finally {
      this.#waits.delete(wait);
      signal.removeEventListener("abort", end);
      timer.cancel();
    }
  }

  /** Ends all waits; from now on nobody waits. */
  stop(): void {
    this.#isStopping = true;
    for (const wait of this.#waits) wait.abort();
  }
}

export interface ConsumeRequest extends ReadBounds {
  readonly topic: string;
  readonly partition: number;
  readonly from: StartingPoint;
  readonly waitMs: number;
  /** Aborted when the client goes away: then nothing is read any more. */
  readonly signal: AbortSignal;
}
