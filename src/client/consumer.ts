import type { Clock, Timer } from "../base/clock.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import {
  clientDamageMaxMs,
  clientHintsMaxCount,
  clientRerouteMaxMs,
  clientRetryMaxMs,
  clientTransportsMaxCount,
  replicaReachMaxMs,
} from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import { readBatchHeader, verifyBatchCrc } from "../batch/batch-header.ts";
import type { StoredRecord } from "../batch/record.ts";
import { decodeConsumeResponse, encodeConsumeRequest } from "../wire/consume-message.ts";
import { errorTableEntry } from "../wire/error-table.ts";
import type { StartingPoint } from "../wire/starting-point.ts";
import { replicaCodes } from "./append-error.ts";
import { backoffMs } from "./backoff.ts";
import { merge } from "./merge.ts";
import { type Routes, topicMaxAgeMs } from "./routes.ts";
import type { Tracing } from "./tracing.ts";
import type { Transport } from "./transport.ts";

export interface ConsumeOptions {
  /** Default "default". */
  readonly topic?: string;
  /** Default: all partitions, as records come, those that are added later too; the order holds within each. */
  readonly partition?: number;
  /** Default "start". With several partitions an offset is that of each. */
  readonly from?: StartingPoint;
  /** Ends where the partition ended when it was first asked, instead of waiting for what comes. Default false. */
  readonly stopsAtEnd?: boolean;
  /** Of batches in one answer: what a reader that stands still costs is a few of these. Default, and at most, 256 KiB. */
  readonly maxBytes?: number;
  /**
   * Who is asked in a cluster: the leader, or the replicas that follow it, each in turn (the leader, where none does). Default: as the
   * client was told, else the leader. A follower may be a moment behind: see `atLeastOffset`.
   */
  readonly readFrom?: ReadFrom;
  /**
   * Begins only where the node has what lies before this offset: `offset + 1` of what was just produced, and it will be read, whoever is
   * asked. Of each partition, or by partition. Throws TIMEOUT when no replica gets there.
   */
  readonly atLeastOffset?: number | Readonly<Record<number, number>>;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Called when the connection was lost, before it is tried again. What it throws ends the iteration. */
  readonly onRetry?: (event: ConsumeRetryEvent) => void;
  /** Called each time when a node has said where it begins to read: at first, and when the connection was lost. */
  readonly onConnected?: (event: ConsumeConnectedEvent) => void;
}

export type ReadFrom = "leader" | "follower";

export interface ConsumeRetryEvent {
  /** Undefined when it was asked how many there are. */
  readonly partition: number | undefined;
  readonly delayMs: number;
  readonly error: ProglogError;
}

export interface ConsumeConnectedEvent {
  readonly partition: number;
  readonly nextOffset: number;
  readonly highWatermark: number;
}

/** A record and where it came from. */
export interface ConsumedRecord extends StoredRecord {
  readonly topic: string;
  readonly partition: number;
}

export interface ConsumedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly baseOffset: number;
  /** Where to go on behind it. */
  readonly nextOffset: number;
  /** Of the partition, when the batch was sent: what lies between is how far the reader is behind. */
  readonly highWatermark: number;
  /** The record batch v2 as it lies on disk. */
  readonly batch: Buffer;
  /** Its records, from the offset on that was asked for. Throws UNDECODABLE_BATCH with details {baseOffset, nextOffset}. */
  records(): StoredRecord[];
}

/**
 * Records of a topic, as they come. A connection that is lost is made again, and the reading goes on at the next offset:
 * nothing is left out and nothing comes twice. Leaving the loop, or the signal, ends it and leaves nothing behind.
 *
 * ```ts
 * for await (const record of client.consume({ topic: "orders", from: "start" })) console.log(record.offset, record.value?.toString());
 * ```
 *
 * Errors: TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, OFFSET_OUT_OF_RANGE (also when retention overtakes a reader), LOG_CORRUPT,
 * UNDECODABLE_BATCH; what can't be read is never passed over in silence.
 */
export class Consumer implements AsyncIterable<ConsumedRecord> {
  readonly #options: ConsumeOptions;
  readonly #topic: string;
  readonly #parts: ConsumerParts;

  constructor(options: ConsumeOptions, parts: ConsumerParts) {
    this.#options = options;
    this.#topic = options.topic ?? "default";
    this.#parts = parts;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ConsumedRecord, void, undefined> {
    for await (const batch of this.batches()) {
      const { topic, partition } = batch;
      for (const record of batch.records()) yield { ...record, topic, partition };
    }
  }

  /** Batches as they were packed: for who takes many records at once. */
  async *batches(): AsyncGenerator<ConsumedBatch, void, undefined> {
    const { partition, from = "start", stopsAtEnd = false } = this.#options;
    if (partition === undefined) {
      // Who leaves takes leave of those, too, that wait for what may never come.
      const left = new AbortController();
      const partitions = await this.#askPartitions();
      const open = (each: number, start: StartingPoint): Batches => this.#partition(each, start, left.signal);
      const sources = partitions.map((each) => open(each, from));
      yield* merge(sources, (add) => {
        const addPartition = (added: number): void => add(open(added, "start"));
        const unwatch = stopsAtEnd ? undefined : this.#watchPartitions(new Set(partitions), addPartition);
        return () => {
          unwatch?.();
          left.abort();
        };
      });
    } else {
      yield* this.#partition(partition, from);
    }
  }

  /**
   * Runs `run`, which works on the record, and returns what it returns: where the client traces, in a span that goes on in the trace in which
   * the record was sent.
   */
  process<Result>(record: ConsumedRecord, run: () => Result): Result {
    const { tracing } = this.#parts;
    return tracing === undefined ? run() : tracing.process(record, run);
  }

  get #ended(): AbortSignal {
    const { signal } = this.#options;
    return signal === undefined ? this.#parts.signal : AbortSignal.any([signal, this.#parts.signal]);
  }

  /** None when it is ended before they are known. */
  async #askPartitions(): Promise<readonly number[]> {
    const ended = this.#ended;
    for (let attempt = 0; !ended.aborted; attempt += 1) {
      try {
        const topic = await untilAborted(this.#parts.routes.getTopic(this.#topic), ended);
        if (topic === undefined) break;
        const { partitions } = topic;
        return partitions.map(({ partition }) => partition);
      } catch (error) {
        await this.#pause(undefined, checkRetryable(error), { attempt, ended });
      }
    }
    this.#checkOpen();
    return [];
  }

  /** Asks from time to time whether there are more. Returns what ends it. */
  #watchPartitions(known: Set<number>, add: (partition: number) => void): () => void {
    const { clock, routes } = this.#parts;
    let isOver = false;
    let timer: Timer;
    const watch = (): void => {
      timer = clock.setTimer(topicMaxAgeMs, () => {
        routes.refreshTopic(this.#topic).then(
          ({ partitions }) => {
            if (isOver) return;
            for (const { partition } of partitions) {
              if (known.has(partition)) continue;
              known.add(partition);
              add(partition);
            }
            watch();
          },
          // Those that read the partitions hear of it, too, and say so.
          () => (isOver ? undefined : watch()),
        );
      });
    };
    watch();
    return () => {
      isOver = true;
      timer.cancel();
    };
  }

  async *#partition(partition: number, start: StartingPoint, left?: AbortSignal): Batches {
    const { stopsAtEnd = false } = this.#options;
    const ended = left === undefined ? this.#ended : AbortSignal.any([this.#ended, left]);
    const reading: Reading = {
      ...{ partition, from: start, endOffset: undefined, avoided: new Set() },
      ...{ hints: 0, attempt: 0, failedMs: Number.NEGATIVE_INFINITY, damagedMs: undefined },
    };
    while (!ended.aborted) {
      let failure: unknown;
      let address = "";
      try {
        // Who leaves doesn't wait for an answer about who leads.
        const node = await untilAborted(this.#pick(reading), ended);
        if (node === undefined) break;
        address = node.address;
        yield* this.#readFrom(node, reading, ended);
        if (isAtEnd(reading)) return;
        // A replica's end may lie before that of the one that was asked first.
        if (stopsAtEnd && reading.endOffset === undefined) return;
        failure = new ProglogError("UNAVAILABLE", `The node ${node.address} ended the stream`);
      } catch (error) {
        failure = error;
      }
      if (ended.aborted) break;
      await this.#goOn(reading, { failure, address, ended });
    }
    this.#checkOpen();
  }

  #pick({ partition, avoided }: Reading): Promise<Transport> {
    const { routes, readFrom } = this.#parts;
    const from = this.#options.readFrom ?? readFrom;
    return from === "follower" ? routes.getFollower(this.#topic, partition, avoided) : routes.getLeader(this.#topic, partition);
  }

  /** What one node has, until it ends the stream or the end is reached. */
  async *#readFrom(node: Transport, reading: Reading, ended: AbortSignal): Batches {
    const { stopsAtEnd = false } = this.#options;
    const { partition } = reading;
    let isConnected = false;
    for await (const answer of node.openServerStream(method, this.#requestOf(reading), { signal: ended })) {
      const { batches, nextOffset, highWatermark } = decodeConsumeResponse(answer);
      // Who answers where its reader is may still have nothing for it.
      if (nextOffset !== reading.from) forgetFailures(reading);
      if (!isConnected) this.#options.onConnected?.({ partition, nextOffset, highWatermark });
      isConnected = true;
      if (stopsAtEnd) reading.endOffset ??= highWatermark;
      for (const packed of batches) {
        for (const batch of this.#unpack(packed, { partition, from: reading.from, highWatermark })) {
          // Before it is handed out: what comes after a break in the connection lies behind what was handed out.
          reading.from = batch.nextOffset;
          reading.seenOffset = batch.nextOffset;
          yield batch;
          if (isAtEnd(reading)) return;
        }
      }
      reading.from = nextOffset;
      reading.seenOffset = nextOffset;
      if (isAtEnd(reading)) return;
    }
  }

  #requestOf({ partition, from, seenOffset = 0, endOffset = 0 }: Reading): Buffer {
    const { maxBytes = 0, stopsAtEnd = false, atLeastOffset = 0 } = this.#options;
    const { readFrom } = this.#parts;
    const wished = typeof atLeastOffset === "number" ? atLeastOffset : (atLeastOffset[partition] ?? 0);
    // Another replica may be behind the one that was read from: it waits until it has got there, and doesn't say that there is no such offset.
    const reach = Math.max(wished, seenOffset, endOffset);
    const leaderOnly = (this.#options.readFrom ?? readFrom) === "leader";
    const waitMs = reach === 0 ? 0 : replicaReachMaxMs;
    const bounds = { maxRecords: 0, waitMs, isPacked: true, atLeastOffset: reach, leaderOnly };
    return encodeConsumeRequest({ ...bounds, topic: this.#topic, partition, from, maxBytes, stopsAtEnd });
  }

  /** To another node, at once where there is one that wasn't asked yet; else after a while. Throws the failure where no other can help. */
  async #goOn(reading: Reading, { failure, address, ended }: ReadFailure): Promise<void> {
    const { clock, routes } = this.#parts;
    const { partition, avoided } = reading;
    const isReplicated = routes.isReplicated(this.#topic, partition);
    const nowMs = clock.monotonic();
    if (nowMs - reading.failedMs >= clientDamageMaxMs) forgetFailures(reading);
    reading.failedMs = nowMs;
    const isReplicas = isReplicated && isProglogError(failure) && replicaCodes.includes(failure.code);
    if (isReplicas) {
      // What is damaged on one replica is sound on another, who leads with such a log is followed by another soon, and what can be is repaired.
      reading.damagedMs ??= nowMs;
      if (nowMs - reading.damagedMs >= clientDamageMaxMs) throw failure;
    }
    const error = isReplicas ? failure : checkRetryable(failure);
    const isNamed = address !== "" && routes.noteFailure({ topic: this.#topic, partition, address, error });
    const isFirst = address !== "" && !avoided.has(address);
    avoided.add(address);
    if (isNamed && reading.hints < clientHintsMaxCount) {
      reading.hints += 1;
      return;
    }
    const isFollowing = (this.#options.readFrom ?? this.#parts.readFrom) === "follower";
    if (isFollowing && isReplicated && isFirst && avoided.size <= clientTransportsMaxCount) {
      this.#options.onRetry?.({ partition, delayMs: 0, error });
      return;
    }
    avoided.clear();
    await this.#pause(partition, error, { attempt: reading.attempt, ended });
    reading.attempt += 1;
  }

  /** Before it is tried again. Throws what `onRetry` throws. */
  async #pause(
    partition: number | undefined,
    error: ProglogError,
    { attempt, ended }: { readonly attempt: number; readonly ended: AbortSignal },
  ): Promise<void> {
    const delayMs = backoffMs(attempt, this.#parts.random, partition === undefined ? clientRetryMaxMs : clientRerouteMaxMs);
    this.#options.onRetry?.({ partition, delayMs, error });
    await wait(delayMs, this.#parts.clock, ended);
  }

  /** Whoever closes the client under a reader leaves it without its end. */
  #checkOpen(): void {
    if (!this.#parts.signal.aborted || this.#options.signal?.aborted === true) return;
    throw new ProglogError("LOG_CLOSED", `Cannot consume topic ${this.#topic}: the client is closed`);
  }

  /** The batches that lie one behind the other in an answer. */
  *#unpack(
    packed: Buffer,
    { partition, from, highWatermark }: { partition: number; from: StartingPoint; highWatermark: number },
  ): Generator<ConsumedBatch> {
    const firstOffset = typeof from === "number" ? from : 0;
    for (let at = 0; at < packed.length; ) {
      const { byteLength, baseOffset, lastOffsetDelta } = readBatchHeader(packed, at);
      const nextOffset = baseOffset + lastOffsetDelta + 1;
      const end = at + byteLength;
      if (end > packed.length || !verifyBatchCrc(packed, at, end)) {
        throw new ProglogError("UNDECODABLE_BATCH", `Cannot read the batch at offset ${baseOffset}: it arrived broken`, {
          details: { baseOffset, nextOffset },
        });
      }
      const batch = packed.subarray(at, end);
      at = end;
      if (nextOffset <= firstOffset) continue;
      const records = (): StoredRecord[] => {
        const all = decodeBatch(batch);
        return baseOffset >= firstOffset ? all : all.filter(({ offset }) => offset >= firstOffset);
      };
      yield { topic: this.#topic, partition, baseOffset, nextOffset, highWatermark, batch, records };
    }
  }
}

/** What a client hands to its consumers. */
export interface ConsumerParts {
  readonly routes: Routes;
  readonly clock: Clock;
  readonly random: Random;
  /** Where it isn't said of the consumer. */
  readonly readFrom: ReadFrom;
  /** Aborted when the client is closed. */
  readonly signal: AbortSignal;
  readonly tracing: Tracing | undefined;
}

type Batches = AsyncGenerator<ConsumedBatch, void, undefined>;

const method = "/log.v1.Log/ConsumeStream";

/** How far a partition is read, and who was asked in vain since something came. */
interface Reading {
  readonly partition: number;
  from: StartingPoint;
  /** Up to there it was seen to be; undefined before anything was heard. */
  seenOffset?: number;
  /** Where it ended at first: not to run after a producer for ever. Undefined when it isn't to stop, or before that is known. */
  endOffset: number | undefined;
  readonly avoided: Set<string>;
  /** Other nodes that were named and gone to at once, in a row. */
  hints: number;
  attempt: number;
  /** When the last failure was. */
  failedMs: number;
  /** When a replica first said that it is damaged. */
  damagedMs: number | undefined;
}

interface ReadFailure {
  readonly failure: unknown;
  readonly address: string;
  readonly ended: AbortSignal;
}

function isAtEnd({ from, endOffset }: Reading): boolean {
  return endOffset !== undefined && typeof from === "number" && from >= endOffset;
}

/** Something came, or they are long ago. */
function forgetFailures(reading: Reading): void {
  reading.attempt = 0;
  reading.hints = 0;
  reading.damagedMs = undefined;
  reading.avoided.clear();
}

/** The error, when trying again can help; else it is thrown. */
function checkRetryable(error: unknown): ProglogError {
  if (isProglogError(error) && errorTableEntry(error.code).isRetryable) return error;
  throw error;
}

/** What the promise resolves with; undefined when the signal aborts first. */
async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  const aborted = Promise.withResolvers<undefined>();
  const abandon = (): void => aborted.resolve(undefined);
  signal.addEventListener("abort", abandon, { once: true });
  if (signal.aborted) abandon();
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abandon);
  }
}

function wait(delayMs: number, clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      timer.cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = clock.setTimer(delayMs, end);
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
  });
}
