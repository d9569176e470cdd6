import type { Clock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import {
  consumeBytesDefault,
  consumeCallMaxBytes,
  consumePackedMaxBytes,
  consumePieceBytes,
  consumeRecordsMaxCount,
  consumeStreamMaxBytes,
  consumeWaitMaxMs,
  unfoldedMaxBytes,
  unfoldedPressedStallMs,
  unfoldedRecordBytes,
  unfoldedStallMs,
} from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { readBatchHeader } from "../batch/batch-header.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import type { StoredRecord } from "../batch/record.ts";
import type { CallContext, MessageInPieces, StreamedResponses } from "../grpc/index.ts";
import { naming } from "../replica/group/group-errors.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { fit, unpackedBytes } from "../replica/read-records.ts";
import type { LargeBatch, Portion, Replica } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import { type ConsumeRequest, type ConsumeResponse, encodeConsumeResponseHead } from "../wire/consume-message.ts";
import type { Access } from "./access/access-control.ts";
import type { ByteQuota } from "./access/byte-quota.ts";
import { type Caller, callerOf } from "./access/caller.ts";
import type { ConsumeService } from "./consume-service.ts";
import { reachOffset, waitForOffset } from "./reach-offset.ts";
import { type Unfolded, UnfoldedRoom } from "./unfolded-room.ts";

/** `Consume` and `ConsumeStream` of `log.v1.Log`. */
export class GrpcConsume {
  readonly #parts: GrpcConsumeParts;
  readonly #unfolded: UnfoldedRoom;
  #streamCount = 0;
  /** Of the log, read for streams and not sent. */
  #pieceBytes = 0;

  constructor(parts: GrpcConsumeParts) {
    this.#parts = parts;
    this.#unfolded = new UnfoldedRoom({
      clock: parts.clock,
      maxBytes: unfoldedMaxBytes,
      pressedStallMs: unfoldedPressedStallMs,
      stallMs: unfoldedStallMs,
    });
  }

  /** Bytes that open ConsumeStreams hold, beside what waits to be sent. */
  get streamBytes(): number {
    return this.#pieceBytes + this.#unfolded.bytes;
  }

  /** Open ConsumeStreams. */
  get streamCount(): number {
    return this.#streamCount;
  }

  async consume(request: ConsumeRequest, call: CallContext): Promise<ConsumeResponse> {
    const { partition, from, maxRecords, maxBytes, isPacked, leaderOnly } = request;
    const topic = nameOf(request);
    const caller = callerOf(call);
    const { quota } = this.#parts;
    quota.check(caller);
    const replica = this.#findReplica(topic, partition, caller);
    if (leaderOnly) replica.leadership("read from the leader");
    const waitMs = Math.min(request.waitMs, consumeWaitMaxMs);
    await this.#reach(replica, request, call);
    if (isPacked) {
      const response = await this.#consumePacked(replica, request, call);
      quota.charge(
        caller,
        response.batches.reduce((sum, batch) => sum + batch.length, 0),
      );
      return response;
    }
    const isSingle = maxRecords === 0;
    const read = await this.#parts.consume.consume({
      topic,
      partition,
      caller,
      from,
      limit: isSingle ? 1 : Math.min(maxRecords, consumeRecordsMaxCount),
      maxBytes: isSingle ? 1 : boundOf(maxBytes, consumeBytesDefault, consumeCallMaxBytes),
      waitMs,
      signal: call.signal,
      leaderOnly,
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
   * that stands still costs a piece of the log and what its connection holds, whatever the size of the batches.
   */
  async consumeStream(
    request: ConsumeRequest,
    responses: StreamedResponses<ConsumeResponse>,
    call: CallContext,
  ): Promise<void> {
    const { stopping } = this.#parts;
    this.#streamCount += 1;
    const piece = { bytes: 0 };
    try {
      const replica = this.#findReplica(nameOf(request), request.partition, callerOf(call));
      if (request.leaderOnly) replica.leadership("read from the leader");
      await this.#reach(replica, request, call);
      const offset = await replica.findOffset(request.from);
      // That it stops says that there was no more when it was asked.
      if (request.stopsAtEnd) await replica.confirm();
      const signal = AbortSignal.any([call.signal, stopping]);
      // Said before anything comes: whoever follows the end knows where to go on when the connection breaks first.
      if (request.isPacked || request.maxRecords > 0)
        await responses.send({ ...nothing, ...replica.range(), nextOffset: offset });
      else call.sendHeaders();
      const maxBytes = boundOf(request.maxBytes, consumeStreamMaxBytes, consumeStreamMaxBytes);
      const out: StreamOut = { request, caller: callerOf(call), replica, responses, signal, maxBytes, piece };
      if (request.isPacked) await this.#sendBatches(offset, out);
      else
        for (let next: number | undefined = offset; next !== undefined; ) {
          // What a client that stands still isn't to cost goes with the call that read it.
          const stopped: Stopped | undefined = await this.#sendRecordsFrom(next, out);
          await stopped?.taken;
          next = stopped?.offset;
        }
      if (stopping.aborted)
        throw naming(stopping.reason, this.#parts.storage.findSuccessor(nameOf(request), request.partition));
    } finally {
      this.#streamCount -= 1;
      this.#pieceBytes -= piece.bytes;
    }
  }

  async #sendBatches(offset: number, out: StreamOut): Promise<void> {
    const { replica, responses, signal } = out;
    for await (const portion of this.#portions(offset, out)) {
      if (portion.kind === "large") {
        await responses.sendInPieces(messageOf(portion.batch, replica));
      } else {
        const batches = portion.batches.map(({ batch }) => batch);
        const nextOffset = portion.batches.at(-1)?.nextOffset ?? offset;
        await responses.send({ ...nothing, ...replica.range(), batches, nextOffset });
      }
      if (signal.aborted) break;
    }
  }

  /** Sends records from `offset` on until the end, or until the client stands still for so long that what was unfolded is given up. */
  async #sendRecordsFrom(offset: number, out: StreamOut): Promise<Stopped | undefined> {
    const { signal, piece } = out;
    for await (const portion of this.#portions(offset, out)) {
      const isLarge = portion.kind === "large";
      const unfolded = await this.#unfolded.enter(isLarge ? portion.batch.byteLength : 0, signal);
      if (unfolded === undefined) break;
      try {
        for (const batch of isLarge ? [portion.batch] : portion.batches) {
          const stored = "batch" in batch ? batch.batch : await readWhole(batch);
          const all = decodeBatch(stored, batch);
          unfolded.resize(unfoldedBytes(stored, all));
          const records = batch.baseOffset >= offset ? all : all.filter((record) => record.offset >= offset);
          const stopped = await this.#sendRecords(records, batch.nextOffset, unfolded, out);
          if (stopped !== undefined) {
            this.#pieceBytes -= piece.bytes;
            piece.bytes = 0;
            return stopped;
          }
          if (signal.aborted) break;
        }
      } finally {
        unfolded.release();
      }
      if (signal.aborted) break;
    }
    return undefined;
  }

  /** Undefined when all are sent; else where the client stood still for so long that the room was given up. */
  async #sendRecords(
    records: readonly StoredRecord[],
    nextOffset: number,
    unfolded: Unfolded,
    { request, maxBytes, replica, responses }: StreamOut,
  ): Promise<Stopped | undefined> {
    const limit = Math.min(request.maxRecords, consumeRecordsMaxCount);
    for (let start = 0; start < records.length; ) {
      // A batch may unfold to more than a client takes as one message.
      const end = limit === 0 ? start + 1 : start + fit(records, { start, limit, maxBytes, isFirst: true }).count;
      const offset = records[end]?.offset ?? nextOffset;
      const taken = responses.send(
        limit === 0
          ? { ...nothing, record: records[start] }
          : { ...nothing, ...replica.range(), records: records.slice(start, end), nextOffset: offset },
      );
      start = end;
      if (!responses.isFull) await taken;
      else if (!(await unfolded.outlasts(taken))) return { offset, taken };
    }
    return undefined;
  }

  async *#portions(offset: number, out: StreamOut): AsyncGenerator<Portion> {
    const { replica, request, signal, maxBytes, piece, caller } = out;
    const { quota } = this.#parts;
    const { stopsAtEnd, leaderOnly } = request;
    for await (const portion of replica.tailPortions(offset, { signal, maxBytes, stopsAtEnd, leaderOnly })) {
      const bytes = portion.kind === "large" ? portion.batch.byteLength : bytesOf(portion.batches);
      if (portion.kind === "batches") {
        // Each is read over the one before, so what counts is the largest.
        this.#pieceBytes += Math.max(0, bytes - piece.bytes);
        piece.bytes = Math.max(piece.bytes, bytes);
      }
      yield portion;
      quota.charge(caller, bytes);
      const wait = quota.whenAllowed(caller, signal);
      if (wait !== undefined) await wait;
      if (signal.aborted) return;
    }
  }

  async #consumePacked(replica: Replica, request: ConsumeRequest, call: CallContext): Promise<ConsumeResponse> {
    const maxBytes = boundOf(request.maxBytes, consumeBytesDefault, consumePackedMaxBytes);
    const { leaderOnly } = request;
    const leadership = leaderOnly ? replica.leadership("read from the leader") : undefined;
    const signal = AbortSignal.any([call.signal, this.#parts.stopping, ...(leadership === undefined ? [] : [leadership])]);
    const offset = await replica.findOffset(request.from);
    let isWaiting = request.waitMs > 0;
    for (let isConfirmed = !replica.mayLag; ; ) {
      for await (const piece of replica.tail(offset, { signal: call.signal, maxBytes, stopsAtEnd: true, leaderOnly })) {
        const batches = piece.map(({ batch }) => Buffer.from(batch));
        return { ...nothing, ...replica.range(), batches, nextOffset: piece.at(-1)?.nextOffset ?? offset };
      }
      if (isWaiting) await waitForOffset(replica, offset, { waitMs: request.waitMs, signal, clock: this.#parts.clock });
      else if (isConfirmed) return { ...nothing, ...replica.range(), nextOffset: offset };
      else {
        await replica.confirm();
        isConfirmed = true;
      }
      isWaiting = false;
    }
  }

  /** Read your writes: waits until this node has what was asked for. */
  async #reach(replica: Replica, { atLeastOffset, waitMs }: ConsumeRequest, call: CallContext): Promise<void> {
    if (atLeastOffset === 0) return;
    const { clock, stopping } = this.#parts;
    await reachOffset(replica, { atLeastOffset, waitMs, signal: AbortSignal.any([call.signal, stopping]), clock });
  }

  #findReplica(topic: string, partition: number, caller: Caller): Replica {
    this.#parts.access.check(caller, "consume", topic);
    checkTopicName(topic);
    return this.#parts.storage.getReplica(topic, partition);
  }
}

function bytesOf(batches: Extract<Portion, { readonly kind: "batches" }>["batches"]): number {
  return batches.reduce((sum, { batch }) => sum + batch.length, 0);
}

interface StreamOut {
  readonly request: ConsumeRequest;
  readonly caller: Caller;
  readonly replica: Replica;
  readonly responses: StreamedResponses<ConsumeResponse>;
  readonly signal: AbortSignal;
  /** Of one answer. */
  readonly maxBytes: number;
  /** What is held of the log. */
  readonly piece: { bytes: number };
}

interface Stopped {
  /** Of the first record that isn't sent. */
  readonly offset: number;
  /** Resolves when there is room to send again. */
  readonly taken: Promise<void>;
}

function messageOf(batch: LargeBatch, replica: Replica): MessageInPieces {
  const head = encodeConsumeResponseHead({ ...replica.range(), nextOffset: batch.nextOffset }, batch.byteLength);
  const pieces = async function* (): AsyncGenerator<Buffer> {
    yield head;
    yield* batch.read(consumePieceBytes);
  };
  return { byteLength: head.length + batch.byteLength, pieces: pieces() };
}

async function readWhole(batch: LargeBatch): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(batch.byteLength);
  let at = 0;
  for await (const piece of batch.read(consumePieceBytes)) at += piece.copy(whole, at);
  return whole;
}

/** What a batch takes in memory with its records, which are views of it unless it is compressed. */
function unfoldedBytes(batch: Buffer, records: readonly StoredRecord[]): number {
  const bytes = batch.length + records.length * unfoldedRecordBytes;
  if (readBatchHeader(batch).compression === "none") return bytes;
  return records.reduce((sum, record) => sum + unpackedBytes(record), bytes);
}

export interface GrpcConsumeParts {
  readonly access: Access;
  /** How much each principal may consume. */
  readonly quota: ByteQuota;
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
