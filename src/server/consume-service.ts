import type { Clock } from "../base/clock.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { ReadBounds, Replica, ReplicaRead } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { Access } from "./access/access-control.ts";
import type { ByteQuota } from "./access/byte-quota.ts";
import type { Caller } from "./access/caller.ts";
import type { StartingPoint } from "../wire/starting-point.ts";
import { type Reach, reachOffset } from "./reach-offset.ts";

/** Reads for clients, and lets them wait for what isn't there yet: woken by the append, never by looking again. */
export class ConsumeService {
  readonly #storage: NodeStorage;
  readonly #clock: Clock;
  readonly #access: Access;
  readonly #quota: ByteQuota;
  readonly #waits = new Set<AbortController>();
  #isStopping = false;

  constructor(storage: NodeStorage, { clock, access, quota }: ConsumeServiceOptions) {
    this.#storage = storage;
    this.#quota = quota;
    this.#access = access;
    this.#clock = clock;
  }

  /** Requests that wait at the moment. */
  get waitCount(): number {
    return this.#waits.size;
  }

  /**
   * Reads from `from` on. With nothing there yet it waits up to `waitMs`, until `signal` is aborted or the node stops, and then
   * returns no records: in a cluster only once it is certain that there were none. With `leaderOnly` NOT_LEADER as soon as another leads,
   * or may.
   */
  async consume(request: ConsumeRequest): Promise<ReplicaRead> {
    const { topic, partition, from, waitMs, signal, leaderOnly, atLeastOffset = 0, caller, ...bounds } = request;
    const check = (): void => this.#access.check(caller, "consume", topic);
    check();
    this.#quota.check(caller);
    checkTopicName(topic);
    const replica = this.#storage.getReplica(topic, partition);
    const leadership = leaderOnly === true ? replica.leadership("read from the leader") : undefined;
    await this.#reach(replica, { atLeastOffset, waitMs, signal });
    leadership?.throwIfAborted();
    let offset = await replica.findOffset(from);
    const wait = new AbortController();
    const end = (): void => wait.abort();
    if (waitMs === 0 || this.#isStopping || signal.aborted) end();
    const timer = this.#clock.setTimer(waitMs, end);
    signal.addEventListener("abort", end, { once: true });
    leadership?.addEventListener("abort", end, { once: true });
    if (leadership?.aborted === true) end();
    this.#waits.add(wait);
    const release = this.#access.hold(caller, check, end);
    try {
      while (true) {
        check();
        const read = await replica.read(offset, { ...bounds, signal });
        if (this.#quota.isOn) this.#quota.charge(caller, bytesOf(read.records));
        if (leadership?.aborted === true) throw leadership.reason;
        if (read.records.length > 0 || signal.aborted) return read;
        // Batches without records lay here (compacted or lost ones), and then came more, or one that can't be read.
        const isMore = read.nextOffset > offset && read.nextOffset < read.highWatermark;
        if (isMore && this.#isStopping) return read;
        offset = read.nextOffset;
        if (isMore) continue;
        if (!wait.signal.aborted) await replica.waitForOffset(offset, wait.signal);
        else if (!(await showsMore(replica, read))) return read;
      }
    } finally {
      release();
      this.#waits.delete(wait);
      signal.removeEventListener("abort", end);
      leadership?.removeEventListener("abort", end);
      timer.cancel();
    }
  }

  async #reach(replica: Replica, reach: Omit<Reach, "clock">): Promise<void> {
    if (reach.atLeastOffset === 0) return;
    const stop = new AbortController();
    if (this.#isStopping) stop.abort();
    this.#waits.add(stop);
    try {
      const signal = AbortSignal.any([reach.signal, stop.signal]);
      await reachOffset(replica, { ...reach, signal, clock: this.#clock });
    } finally {
      this.#waits.delete(stop);
    }
  }

  /** Ends all waits; from now on nobody waits. */
  stop(): void {
    this.#isStopping = true;
    for (const wait of this.#waits) wait.abort();
  }
}

function bytesOf(records: ReplicaRead["records"]): number {
  return records.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0);
}

/** Whether there is more than was read, once everything is there that had been acknowledged. */
async function showsMore(replica: Replica, { highWatermark }: ReplicaRead): Promise<boolean> {
  if (!replica.mayLag) return false;
  await replica.confirm();
  return replica.range().highWatermark > highWatermark;
}

export interface ConsumeServiceOptions {
  readonly clock: Clock;
  readonly access: Access;
  readonly quota: ByteQuota;
}

export interface ConsumeRequest extends ReadBounds {
  readonly topic: string;
  readonly partition: number;
  readonly from: StartingPoint;
  readonly waitMs: number;
  readonly caller: Caller;
  /** Aborted when the client goes away: then nothing is read any more. */
  readonly signal: AbortSignal;
  /** Only while this node leads the partition. Default false. */
  readonly leaderOnly?: boolean;
  /** Waited for first, up to `waitMs` (0: 55 s), or TIMEOUT: that this node shows what lies before it. Default 0. */
  readonly atLeastOffset?: number;
}
