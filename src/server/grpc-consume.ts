import type { Clock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import {
  consumeBytesDefault,
  consumeCallMaxBytes,
  consumeRecordsMaxCount,
  consumeStreamBytesDefault,
  consumeStreamMaxBytes,
  consumeWaitMaxMs,
} from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import type { CallContext, Responses } from "../grpc/index.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { fit } from "../replica/read-records.ts";
import type { Replica } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { ConsumeRequest, ConsumeResponse } from "../wire/consume-message.ts";
import type { ConsumeService } from "./consume-service.ts";

/** `Consume` and `ConsumeStream` of `log.v1.Log`. */
export class GrpcConsume {
  readonly #parts: GrpcConsumeParts;
  #streamCount = 0;

  constructor(parts: GrpcConsumeParts) {
    this.#parts = parts;
  }

  /** Open ConsumeStreams. */
  get streamCount(): number {
    return this.#streamCount;
  }

  async consume(request: ConsumeRequest, call: CallContext): Promise<ConsumeResponse> {
    const { partition, from, maxRecords, maxBytes, isPacked } = request;
    const topic = nameOf(request);
    const replica = this.#findReplica(topic, partition);
    const waitMs = Math.min(request.waitMs, consumeWaitMaxMs);
    await this.#reach(replica, request, call);
    if (isPacked) return this.#consumePacked(replica, request, call);
    const isSingle = maxRecords === 0;
    const read = await this.#parts.consume.consume({
      topic,
      partition,
      from,
      limit: isSingle ? 1 : Math.min(maxRecords, consumeRecordsMaxCount),
      maxBytes: isSingle ? 1 : boundOf(maxBytes, consumeBytesDefault, consumeCallMaxBytes),
      waitMs,
      signal: call.signal,
    });
    const { records, nextOffset, logStartOffset, highWatermark } = read;
    if (!isSingle) return { ...nothing, records, nextOffset, logStartOffset, highWatermark };
    const [record] = records;
    if (record !== undefined) return { ...nothing, record };
    // The book's clients know no empty answer.
    throw new ProglogError("OFFSET_OUT_OF_RANGE", `Cannot read offset ${nextOffset}: the log ends at ${highWatermark}`, {
      details: { offset: nextOffset, logStartOffset, highWatermark },
    });
  }

  /**
   * Reads on, and waits for what comes: woken by the append, never by looking again. Nothing is read ahead of what the client takes, so one
   * that stands still costs a piece of the log and what its connection holds.
   */
  async consumeStream(request: ConsumeRequest, responses: Responses<ConsumeResponse>, call: CallContext): Promise<void> {
    const { stopping } = this.#parts;
    this.#streamCount += 1;
    try {
      const replica = this.#findReplica(nameOf(request), request.partition);
      await this.#reach(replica, request, call);
      const offset = await replica.findOffset(request.from);
      const signal = AbortSignal.any([call.signal, stopping]);
      // Said before anything comes: whoever follows the end knows where to go on when the connection breaks first.
      if (request.isPacked || request.maxRecords > 0)
        await responses.send({ ...nothing, ...replica.range(), nextOffset: offset });
      else call.sendHeaders();
      const maxBytes = boundOf(request.maxBytes, consumeStreamBytesDefault, consumeStreamMaxBytes);
      for await (const piece of replica.tail(offset, { signal, maxBytes, stopsAtEnd: request.stopsAtEnd })) {
        if (request.isPacked) {
          const batches = piece.map(({ batch }) => batch);
          await responses.send({ ...nothing, ...replica.range(), batches, nextOffset: piece.at(-1)?.nextOffset ?? offset });
        } else {
          for (const batch of piece) {
            const records = batch.records().filter((record) => record.offset >= offset);
            await this.#sendRecords(records, batch.nextOffset, { request, maxBytes, replica, responses });
            if (signal.aborted) break;
          }
        }
        if (signal.aborted) break;
      }
      if (stopping.aborted) throw stopping.reason;
    } finally {
      this.#streamCount -= 1;
    }
  }

  async #sendRecords(
    records: ConsumeResponse["records"],
    nextOffset: number,
    { request, maxBytes, replica, responses }: RecordsOut,
  ): Promise<void> {
    if (request.maxRecords === 0) {
      for (const record of records) await responses.send({ ...nothing, record });
      return;
    }
    const limit = Math.min(request.maxRecords, consumeRecordsMaxCount);
    for (let start = 0; start < records.length; ) {
      // A batch may unfold to more than a client takes as one message.
      const end = start + fit(records, { start, limit, maxBytes, isFirst: true }).count;
      const some = records.slice(start, end);
      start = end;
      await responses.send({ ...nothing, ...replica.range(), records: some, nextOffset: records[end]?.offset ?? nextOffset });
    }
  }

  async #consumePacked(replica: Replica, request: ConsumeRequest, call: CallContext): Promise<ConsumeResponse> {
    const maxBytes = boundOf(request.maxBytes, consumeBytesDefault, consumeStreamMaxBytes);
    const offset = await replica.findOffset(request.from);
    for (let isWaiting = request.waitMs > 0; ; isWaiting = false) {
      for await (const piece of replica.tail(offset, { signal: call.signal, maxBytes, stopsAtEnd: true })) {
        const batches = piece.map(({ batch }) => Buffer.from(batch));
        return { ...nothing, ...replica.range(), batches, nextOffset: piece.at(-1)?.nextOffset ?? offset };
      }
      if (!isWaiting) return { ...nothing, ...replica.range(), nextOffset: offset };
      await this.#wait(replica, offset, { waitMs: request.waitMs, signal: call.signal });
    }
  }

  /** Read your writes: waits until this node has what was asked for. */
  async #reach(replica: Replica, { atLeastOffset, waitMs }: ConsumeRequest, call: CallContext): Promise<void> {
    if (atLeastOffset === 0 || replica.range().highWatermark >= atLeastOffset) return;
    await this.#wait(replica, atLeastOffset - 1, { waitMs: waitMs === 0 ? consumeWaitMaxMs : waitMs, signal: call.signal });
    const { highWatermark } = replica.range();
    if (highWatermark >= atLeastOffset) return;
    throw new ProglogError(
      "TIMEOUT",
      `Cannot read what lies before offset ${atLeastOffset}: this node has got to ${highWatermark}`,
      { hint: "Ask again, with a longer wait_ms, or check that the offset is one that was acknowledged." },
    );
  }

  /** Until there is something at `offset`, `waitMs` have passed, the call is over or the node stops. */
  async #wait(replica: Replica, offset: number, { waitMs, signal }: { waitMs: number; signal: AbortSignal }): Promise<void> {
    const { clock, stopping } = this.#parts;
    const timeout = new AbortController();
    const timer = clock.setTimer(Math.min(waitMs, consumeWaitMaxMs), () => timeout.abort());
    try {
      await replica.waitForOffset(offset, AbortSignal.any([signal, stopping, timeout.signal]));
    } finally {
      timer.cancel();
    }
  }

  #findReplica(topic: string, partition: number): Replica {
    checkTopicName(topic);
    return this.#parts.storage.getReplica(topic, partition);
  }
}

interface RecordsOut {
  readonly request: ConsumeRequest;
  /** Of one answer. */
  readonly maxBytes: number;
  readonly replica: Replica;
  readonly responses: Responses<ConsumeResponse>;
}

export interface GrpcConsumeParts {
  readonly storage: NodeStorage;
  readonly consume: ConsumeService;
  readonly clock: Clock;
  /** Aborted with the error that streams are to end with. */
  readonly stopping: AbortSignal;
}

const nothing: ConsumeResponse = { records: [], batches: [], nextOffset: 0, logStartOffset: 0, highWatermark: 0 };

function nameOf({ topic }: ConsumeRequest): string {
  return topic === "" ? "default" : topic;
}

/** What was asked for, within what is given; 0 is what is given without asking. */
function boundOf(asked: number, byDefault: number, max: number): number {
  return asked === 0 ? byDefault : Math.min(Math.max(asked, minBytes), max);
}

/** A read asks for so much at least. */
const minBytes = 4 * KiB;
