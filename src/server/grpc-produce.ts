import { ProglogError } from "../base/error.ts";
import { produceStreamMaxBytes, produceStreamMaxCount } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import type { CallContext, Requests, Responses } from "../grpc/index.ts";
import type { Topic } from "../replica/catalog.ts";
import type { AppendOptions } from "../replica/replica.ts";
import type { ProduceRequest, ProduceResponse } from "../wire/produce-message.ts";
import { toProtoError } from "../wire/proto-error.ts";
import type { ProducedRange, ProduceService } from "./produce-service.ts";

/** `Produce` and `ProduceStream` of `log.v1.Log`. */
export class GrpcProduce {
  readonly #produce: ProduceService;
  readonly #logger: Logger;
  readonly #stopping: AbortSignal;

  /** `stopping` is aborted with the error that streams are to end with. */
  constructor(parts: { readonly produce: ProduceService; readonly logger: Logger; readonly stopping: AbortSignal }) {
    this.#produce = parts.produce;
    this.#logger = parts.logger;
    this.#stopping = parts.stopping;
  }

  async produce(request: ProduceRequest): Promise<ProduceResponse> {
    const topic = this.#produce.getTopic(placeOf(request));
    return this.#append(topic instanceof Promise ? await topic : topic, request);
  }

  /**
   * Appends as the requests come, without waiting for one before the next, and answers in their order. What is under way is
   * bounded: then no more is read, the stream's window fills, and the client is held back.
   */
  async produceStream(
    requests: Requests<ProduceRequest>,
    responses: Responses<ProduceResponse>,
    call: CallContext,
  ): Promise<void> {
    const answers = new AnswersInOrder(responses, call.signal);
    const stopped = abortOf(this.#stopping);
    try {
      for (;;) {
        const came = await Promise.race([requests.readAvailable(), stopped, answers.failed]);
        if (came.length === 0) break;
        for (const request of came) {
          // One topic made after the other: what is sent behind the request that makes it stays behind.
          const topic = this.#getTopic(request);
          answers.add(request, this.#appendLater(topic instanceof Promise ? await topic : topic, request));
        }
        if (answers.isFull) await Promise.race([answers.room(), answers.failed]);
      }
      await answers.drain();
    } catch (error) {
      // What was appended before is answered before the stream ends.
      await answers.drain().catch(() => {});
      throw error;
    }
  }

  #getTopic(request: ProduceRequest): Topic | ProglogError | Promise<Topic | ProglogError> {
    try {
      const topic = this.#produce.getTopic(placeOf(request));
      return topic instanceof Promise ? topic.catch(toProglogError) : topic;
    } catch (error) {
      return toProglogError(error);
    }
  }

  async #appendLater(topic: Topic | ProglogError, request: ProduceRequest): Promise<ProduceResponse> {
    try {
      if (topic instanceof ProglogError) throw topic;
      return await this.#append(topic, request);
    } catch (error) {
      if (!request.answersErrors) throw error;
      return { ...nothing, error: toProtoError(error) };
    }
  }

  async #append(topic: Topic, request: ProduceRequest): Promise<ProduceResponse> {
    const { partition, records, batch, record, acks } = request;
    checkContent(request);
    const all = record === undefined ? records : [record];
    const appended = this.#produce.appendTo(topic, { partition, records: all, batch, options: optionsOf(request) });
    if (acks !== "none") return toResponse(await appended);
    appended.catch((error: unknown) => {
      this.#logger.warn({ topic: topic.name, reason: String(error) }, "an append that nobody waits for failed");
    });
    return nothing;
  }
}

/** Sends answers in the order of their requests, each when it is known. */
class AnswersInOrder {
  readonly #responses: Responses<ProduceResponse>;
  readonly #signal: AbortSignal;
  readonly #pending: PendingAnswer[] = [];
  #bytes = 0;
  #sending: Promise<void> | undefined;
  #failure: Error | undefined;
  readonly #failed = Promise.withResolvers<never>();
  #onRoom: (() => void) | undefined;

  constructor(responses: Responses<ProduceResponse>, signal: AbortSignal) {
    this.#responses = responses;
    this.#signal = signal;
    this.#failed.promise.catch(() => {});
  }

  /** Rejects when a request failed whose failure ends the stream. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  get isFull(): boolean {
    return this.#bytes >= produceStreamMaxBytes || this.#pending.length >= produceStreamMaxCount;
  }

  add(request: ProduceRequest, answer: Promise<ProduceResponse>): void {
    // Heard of when its turn comes.
    answer.catch(() => {});
    const bytes = bytesOf(request);
    this.#pending.push({ answer, bytes });
    this.#bytes += bytes;
    this.#sending ??= this.#send();
  }

  /** Resolves when there is room for more requests. */
  room(): Promise<void> {
    return new Promise((resolve) => (this.#onRoom = resolve));
  }

  /** Resolves when all are sent. */
  async drain(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
    if (this.#failure !== undefined) throw this.#failure;
  }

  async #send(): Promise<void> {
    try {
      for (let next = this.#pending[0]; next !== undefined; next = this.#pending[0]) {
        const answer = await next.answer;
        this.#pending.shift();
        this.#bytes -= next.bytes;
        if (!this.#signal.aborted) await this.#responses.send(answer);
        if (this.#onRoom !== undefined && !this.isFull) {
          this.#onRoom();
          this.#onRoom = undefined;
        }
      }
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      this.#failed.reject(error);
      this.#pending.length = 0;
    } finally {
      this.#sending = undefined;
    }
  }
}

interface PendingAnswer {
  readonly answer: Promise<ProduceResponse>;
  readonly bytes: number;
}

const nothing: ProduceResponse = { offset: 0, partition: 0, count: 0, appendTime: 0, isDurable: false, isDuplicate: false };

function placeOf({ topic, partition }: ProduceRequest): { readonly topic: string; readonly partition: number | undefined } {
  return { topic: topic === "" ? "default" : topic, partition };
}

/** Throws INVALID_ARGUMENT unless there is exactly one of a record, records and a batch. */
function checkContent({ record, records, batch, producer }: ProduceRequest): void {
  const kinds = Number(record !== undefined) + Number(records.length > 0) + Number(batch !== undefined);
  if (kinds !== 1) {
    const what =
      kinds === 0
        ? "the request has none of record, records and batch"
        : "the request has more than one of record, records and batch";
    throw new ProglogError("INVALID_ARGUMENT", `Cannot produce: ${what}`);
  }
  if (batch !== undefined && producer !== undefined) {
    throw new ProglogError("INVALID_ARGUMENT", "Cannot produce: a batch says by itself who its producer is", {
      hint: "Leave out producer.",
    });
  }
}

function optionsOf({ producer, expectedOffset }: ProduceRequest): AppendOptions | undefined {
  if (producer === undefined && expectedOffset === undefined) return undefined;
  return { ...(producer === undefined ? {} : { producer }), ...(expectedOffset === undefined ? {} : { expectedOffset }) };
}

function toResponse({ partition, baseOffset, count, appendTime, isDurable, isDuplicate }: ProducedRange): ProduceResponse {
  return { offset: baseOffset, partition, count, appendTime, isDurable, isDuplicate };
}

/** What a request holds while it is under way, about. */
function bytesOf({ record, records, batch }: ProduceRequest): number {
  let bytes = requestOverheadBytes + (batch?.length ?? 0);
  if (record !== undefined) bytes += lengthOf(record.value);
  for (const each of records) bytes += recordOverheadBytes + lengthOf(each.value);
  return bytes;
}

function lengthOf(value: Uint8Array | string | null): number {
  return value?.length ?? 0;
}

const requestOverheadBytes = 512;
const recordOverheadBytes = 128;

function toProglogError(error: unknown): ProglogError {
  return error instanceof ProglogError
    ? error
    : new ProglogError("INTERNAL", "The request failed inside the server", { cause: error });
}

/** Rejects with the reason when `signal` aborts. */
export function abortOf(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => {});
  if (signal.aborted) reject(signal.reason);
  else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}
