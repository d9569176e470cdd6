import type { Clock, Timer } from "../base/clock.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import type { Random } from "../base/random.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import { readBatchHeader, verifyBatchCrc } from "../batch/batch-header.ts";
import type { StoredRecord } from "../batch/record.ts";
import { decodeConsumeResponse, encodeConsumeRequest } from "../wire/consume-message.ts";
import { errorTableEntry } from "../wire/error-table.ts";
import type { StartingPoint } from "../wire/starting-point.ts";
import { backoffMs } from "./backoff.ts";
import { merge } from "./merge.ts";
import { type Routes, topicMaxAgeMs } from "./routes.ts";

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
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Called when the connection was lost, before it is tried again. What it throws ends the iteration. */
  readonly onRetry?: (event: ConsumeRetryEvent) => void;
  /** Called each time when a node has said where it begins to read: at first, and when the connection was lost. */
  readonly onConnected?: (event: ConsumeConnectedEvent) => void;
}

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

  get #ended(): AbortSignal {
    const { signal } = this.#options;
    return signal === undefined ? this.#parts.signal : AbortSignal.any([signal, this.#parts.signal]);
  }

  /** None when it is ended before they are known. */
  async #askPartitions(): Promise<readonly number[]> {
    const ended = this.#ended;
    for (let attempt = 0; !ended.aborted; attempt += 1) {
      try {
        const { partitions } = await this.#parts.routes.getTopic(this.#topic);
        return partitions.map(({ partition }) => partition);
      } catch (error) {
        await this.#pause(undefined, error, { attempt, ended });
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
    const { maxBytes = 0, stopsAtEnd = false } = this.#options;
    const { routes } = this.#parts;
    const ended = left === undefined ? this.#ended : AbortSignal.any([this.#ended, left]);
    let from = start;
    /** Where it ended at first: not to run after a producer for ever. */
    let endOffset: number | undefined;
    for (let attempt = 0; !ended.aborted; attempt += 1) {
      let failure: unknown;
      try {
        const node = await routes.getLeader(this.#topic, partition);
        const request = encodeConsumeRequest({ ...noBounds, topic: this.#topic, partition, from, maxBytes, stopsAtEnd });
        let isConnected = false;
        for await (const answer of node.openServerStream(method, request, { signal: ended })) {
          attempt = 0;
          const { batches, nextOffset, highWatermark } = decodeConsumeResponse(answer);
          if (!isConnected) this.#options.onConnected?.({ partition, nextOffset, highWatermark });
          isConnected = true;
          if (stopsAtEnd) endOffset ??= highWatermark;
          for (const packed of batches) {
            for (const batch of this.#unpack(packed, { partition, from, highWatermark })) {
              // Before it is handed out: what comes after a break in the connection lies behind what was handed out.
              from = batch.nextOffset;
              yield batch;
              if (endOffset !== undefined && from >= endOffset) return;
            }
          }
          from = nextOffset;
          if (endOffset !== undefined && from >= endOffset) return;
        }
        if (stopsAtEnd) return;
        failure = new ProglogError("UNAVAILABLE", `The node ${node.address} ended the stream`);
      } catch (error) {
        failure = error;
      }
      if (ended.aborted) break;
      await this.#pause(partition, failure, { attempt, ended });
    }
    this.#checkOpen();
  }

  /** Before it is tried again. Throws the failure where that can't help, and what `onRetry` throws. */
  async #pause(
    partition: number | undefined,
    failure: unknown,
    { attempt, ended }: { readonly attempt: number; readonly ended: AbortSignal },
  ): Promise<void> {
    const error = checkRetryable(failure);
    this.#parts.routes.forget(this.#topic);
    const delayMs = backoffMs(attempt, this.#parts.random);
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
  /** Aborted when the client is closed. */
  readonly signal: AbortSignal;
}

type Batches = AsyncGenerator<ConsumedBatch, void, undefined>;

const method = "/log.v1.Log/ConsumeStream";
const noBounds = { maxRecords: 0, waitMs: 0, isPacked: true, atLeastOffset: 0, leaderOnly: false };

/** The error, when trying again can help; else it is thrown. */
function checkRetryable(error: unknown): ProglogError {
  if (isProglogError(error) && errorTableEntry(error.code).isRetryable) return error;
  throw error;
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
