import type { ServerResponse } from "node:http";
import type { Clock, Timer } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { tailHeartbeatMs, tailPartitionsMaxCount, tailsMaxCount } from "../base/limits.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { Replica } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { StartingPoint } from "../wire/starting-point.ts";
import type { TailPosition } from "../wire/tail-position.ts";
import type { Access } from "./access/access-control.ts";
import type { ByteQuota } from "./access/byte-quota.ts";
import type { Caller } from "./access/caller.ts";
import type { ConsumeServiceOptions } from "./consume-service.ts";
import { reachOffset } from "./reach-offset.ts";
import { findTrimmedTo, Tail, type TailStart } from "./tail.ts";
import type { TailFormat } from "./tail-format.ts";
import { TailReads } from "./tail-reads.ts";

/** The live tails of a node. One timer beats for all of them, and only while there is one. */
export class TailService {
  readonly #storage: NodeStorage;
  readonly #clock: Clock;
  readonly #access: Access;
  readonly #quota: ByteQuota;
  readonly #reads = new TailReads();
  readonly #tails = new Set<Tail>();
  /** Of those that wait for this node to have what they asked for. */
  readonly #reaching = new Set<AbortController>();
  /** Tails there are, and those that are about to be. */
  #count = 0;
  #openedCount = 0;
  #sentBytes = 0;
  #beating: Timer | undefined;
  #stopError: ProglogError | undefined;

  constructor(storage: NodeStorage, { clock, access, quota }: ConsumeServiceOptions) {
    this.#storage = storage;
    this.#quota = quota;
    this.#access = access;
    this.#clock = clock;
  }

  get count(): number {
    return this.#count;
  }

  /** Handed to all tails' connections since the start. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Of that, what lies in connections whose clients don't take it. */
  get unsentBytes(): number {
    return [...this.#tails].reduce((sum, tail) => sum + tail.unsentBytes, 0);
  }

  /**
   * Makes `answer` a live tail, once it is known that it can begin: else throws what a read would, OVERLOADED when there are as many as may be,
   * and INVALID_ARGUMENT for a position that isn't one of this tail. `takeAnswer` is called right before the first byte.
   */
  async open({ answer, takeAnswer, format, caller, ...place }: TailRequest): Promise<void> {
    const check = (): void => this.#access.check(caller, "consume", place.topic);
    check();
    this.#checkRoom();
    this.#count += 1;
    answer.once("close", () => {
      this.#count -= 1;
    });
    const { starts, isAlone, leadership } = await this.#findStarts(place);
    // The first read's errors have a status of their own; behind the head they would be an event, and a browser would come back for ever.
    for (const { replica, nextOffset } of starts)
      await this.#reads.read(replica, nextOffset).catch((error: unknown) => {
        if (findTrimmedTo(error, nextOffset) === undefined) throw error;
      });
    if (this.#stopError !== undefined) throw this.#stopError;
    check();
    leadership?.throwIfAborted();
    takeAnswer();
    const tail = new Tail({
      answer,
      format,
      starts,
      isAlone,
      reads: this.#reads,
      onSent: (bytes) => {
        this.#sentBytes += bytes;
        this.#quota.charge(caller, bytes);
      },
      whenAllowed: (signal) => this.#quota.whenAllowed(caller, signal),
    });
    this.#tails.add(tail);
    const depose = (): void => tail.end(leadership?.reason);
    leadership?.addEventListener("abort", depose, { once: true });
    const release = this.#access.hold(caller, check, (error) => tail.end(error));
    answer.once("close", () => {
      leadership?.removeEventListener("abort", depose);
      release();
      this.#forget(tail);
    });
    this.#beat();
    this.#openedCount += 1;
    tail.start(retryMinMs + (this.#openedCount % retrySpread) * (retryMinMs / retrySpread));
  }

  /** Ends all tails, with the reason as their last words; from now on there are none. */
  stop(reason: ProglogError): void {
    this.#stopError = reason;
    for (const tail of this.#tails) tail.end(reason);
    for (const stop of this.#reaching) stop.abort(reason);
  }

  #checkRoom(): void {
    if (this.#count < tailsMaxCount) return;
    throw new ProglogError("OVERLOADED", `Cannot open a tail: the node has ${tailsMaxCount} open`, {
      hint: "Try again later, or read with waitMs.",
    });
  }

  async #findStarts(place: TailPlace): Promise<TailStarts> {
    const { topic: name, partition, from, behind, leaderOnly, atLeastOffset } = place;
    checkTopicName(name);
    const topic = this.#storage.getTopic(name);
    const numbers = partition === undefined ? topic.partitions.map((one) => one.partition) : [partition];
    if (numbers.length > tailPartitionsMaxCount) {
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot tail topic ${name} as a whole: it has ${numbers.length} partitions, and one tail merges ${tailPartitionsMaxCount}`,
        { hint: "Name a partition." },
      );
    }
    // Each may be led elsewhere, and has offsets of its own.
    if (numbers.length > 1 && (leaderOnly || atLeastOffset > 0)) {
      const reason = `it has ${numbers.length} partitions, and ${leaderOnly ? "leaderOnly" : "atLeastOffset"} is about one`;
      throw new ProglogError("INVALID_ARGUMENT", `Cannot tail topic ${name} as a whole: ${reason}`, {
        hint: "Name a partition.",
      });
    }
    const replicas = numbers.map((number) => this.#storage.getReplicaOf(topic, number));
    for (const number of behind?.keys() ?? []) if (!numbers.includes(number)) throw strangerError(number);
    const [first] = replicas;
    const leadership = leaderOnly ? first?.leadership("read from the leader") : undefined;
    if (first !== undefined) await this.#reach(first, place);
    const starts = await Promise.all(
      replicas.map(async (replica) => ({ replica, nextOffset: await findStart(replica, { from, behind }) })),
    );
    return { starts, isAlone: topic.partitions.length === 1, leadership };
  }

  async #reach(replica: Replica, { atLeastOffset, signal }: TailPlace): Promise<void> {
    if (this.#stopError !== undefined) throw this.#stopError;
    const stop = new AbortController();
    this.#reaching.add(stop);
    try {
      const until = AbortSignal.any([signal, stop.signal]);
      await reachOffset(replica, { atLeastOffset, waitMs: 0, signal: until, clock: this.#clock });
    } finally {
      this.#reaching.delete(stop);
      stop.signal.throwIfAborted();
    }
  }

  #forget(tail: Tail): void {
    this.#tails.delete(tail);
    if (this.#tails.size > 0) return;
    this.#beating?.cancel();
    this.#beating = undefined;
  }

  #beat(): void {
    this.#beating ??= this.#clock.setTimer(tailHeartbeatMs, () => {
      this.#beating = undefined;
      for (const tail of this.#tails) tail.beat();
      this.#beat();
    });
  }
}

export interface TailPlace {
  readonly topic: string;
  /** Default: all of the topic, merged. */
  readonly partition: number | undefined;
  readonly from: StartingPoint;
  /** The last event that the client has: goes before `from`. */
  readonly behind: TailPosition | undefined;
  /** Ends with NOT_LEADER when another leads, or may. Of one partition only. */
  readonly leaderOnly: boolean;
  /** Begins when this node shows what lies before it; 0 at once. Of one partition only. */
  readonly atLeastOffset: number;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

interface TailStarts {
  readonly starts: TailStart[];
  readonly isAlone: boolean;
  readonly leadership: AbortSignal | undefined;
}

export interface TailRequest extends TailPlace {
  readonly caller: Caller;
  readonly answer: ServerResponse;
  readonly takeAnswer: () => void;
  readonly format: TailFormat;
}

/** When a browser comes back after its connection was lost: spread, so that a restart isn't followed by all of them at once. */
const retryMinMs = 1_000;
const retrySpread = 50;

/** Where to begin in one partition. Behind an event that was trimmed away since, it is there all the same: the tail tells of the gap. */
async function findStart(replica: Replica, { from, behind }: Pick<TailPlace, "from" | "behind">): Promise<number> {
  if (behind === undefined) return replica.findOffset(from);
  // One that the position doesn't name was made later than it.
  const last = behind.get(replica.identity.partition);
  if (last === undefined) return replica.findOffset("start");
  const offset = last + 1;
  try {
    return await replica.findOffset(offset);
  } catch (error) {
    if (findTrimmedTo(error, offset) === undefined) throw error;
    return offset;
  }
}

function strangerError(partition: number): ProglogError {
  return new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot resume the tail: its last event is of partition ${partition}, which isn't part of it`,
    { hint: "Resume with the address that the event came from." },
  );
}
