import type { Clock } from "../base/clock.ts";
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
import type { Routes } from "./routes.ts";

export interface ConsumeOptions {
  /** Default "default". */
  readonly topic?: string;
  /** Default: all partitions, as records come; the order holds within each. */
  readonly partition?: number;
  /** Default "start". With several partitions an offset is that of each. */
  readonly from?: StartingPoint;
  /** Ends at the high watermark, instead of waiting for what comes. Default false. */
  readonly stopsAtEnd?: boolean;
  /** Of batches in one answer: what a reader that stands still costs is a few of these. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Ends the iteration. */
  readonly signal?: AbortSignal;
  /** Called when the connection was lost, before it is tried again. */
  readonly onRetry?: (event: { readonly partition: number; readonly delayMs: number; readonly error: ProglogError }) => void;
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
    const { partition } = this.#options;
    const partitions = partition === undefined ? await this.#allPartitions() : [partition];
    const [only] = partitions;
    if (only !== undefined && partitions.length === 1) yield* this.#partition(only);
    else yield* merge(partitions.map((each) => this.#partition(each)));
  }

  async #allPartitions(): Promise<readonly number[]> {
    const { partitions } = await this.#parts.routes.getTopic(this.#topic);
    return partitions.map(({ partition }) => partition);
  }

  async *#partition(partition: number): AsyncGenerator<ConsumedBatch, void, undefined> {
    const { maxBytes = 0, stopsAtEnd = false, signal } = this.#options;
    const { routes, signal: closed } = this.#parts;
    const ended = signal === undefined ? closed : AbortSignal.any([signal, closed]);
    let from = this.#options.from ?? "start";
    for (let attempt = 0; !ended.aborted; attempt += 1) {
      let failure: unknown;
      try {
        const node = await routes.getLeader(this.#topic, partition);
        const request = encodeConsumeRequest({ ...noBounds, topic: this.#topic, partition, from, maxBytes, stopsAtEnd });
        for await (const answer of node.openServerStream(method, request, { signal: ended })) {
          attempt = 0;
          const { batches, nextOffset } = decodeConsumeResponse(answer);
          for (const packed of batches) {
            for (const batch of this.#unpack(packed, partition, from)) {
              // Before it is handed out: what comes after a break in the connection lies behind what was handed out.
              from = batch.nextOffset;
              yield batch;
            }
          }
          from = nextOffset;
        }
        if (stopsAtEnd) return;
        failure = new ProglogError("UNAVAILABLE", `The node ${node.address} ended the stream`);
      } catch (error) {
        failure = error;
      }
      if (ended.aborted) break;
      const error = checkRetryable(failure);
      routes.forget(this.#topic);
      const delayMs = backoffMs(attempt, this.#parts.random);
      this.#options.onRetry?.({ partition, delayMs, error });
      await wait(delayMs, this.#parts.clock, ended);
    }
    if (closed.aborted && signal?.aborted !== true) {
      throw new ProglogError("LOG_CLOSED", `Cannot consume topic ${this.#topic}: the client is closed`);
    }
  }

  /** The batches that lie one behind the other in an answer. */
  *#unpack(packed: Buffer, partition: number, from: StartingPoint): Generator<ConsumedBatch> {
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
      yield { topic: this.#topic, partition, baseOffset, nextOffset, batch, records };
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
