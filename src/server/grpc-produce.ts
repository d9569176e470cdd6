import { type ErrorCode, isProglogError, ProglogError } from "../base/error.ts";
import { producesMaxBytes, producesWaitingMaxBytes } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import { type CallContext, GrpcStatusError, type Requests, type Responses } from "../grpc/index.ts";
import type { Topic } from "../replica/catalog.ts";
import { naming } from "../replica/group/group-errors.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { ReplicaAppendOptions } from "../replica/replica.ts";
import type { ProduceRequest, ProduceResponse } from "../wire/produce-message.ts";
import { toProtoError } from "../wire/proto-error.ts";
import { type Caller, callerOf } from "./access/caller.ts";
import { WatchedTopics } from "./access/watched-topics.ts";
import type { ReceivedProduce } from "./grpc-codecs.ts";
import { ProduceRoom, roomOf } from "./produce-room.ts";
import type { ProducedRange, ProducePlace, ProduceService } from "./produce-service.ts";
import { ProduceStream, type StreamAppend } from "./produce-stream.ts";

/** `Produce` and `ProduceStream` of `log.v1.Log`. */
export class GrpcProduce {
  readonly #produce: ProduceService;
  readonly #logger: Logger;
  readonly #stopping: AbortSignal;
  readonly #onUnheardFailure: () => void;
  readonly #onError: (code: ErrorCode) => void;
  readonly #findSuccessor: NodeStorage["findSuccessor"];
  #nextTurn: Promise<void> | undefined;
  readonly #room = new ProduceRoom({ maxBytes: producesMaxBytes, waitingMaxBytes: producesWaitingMaxBytes });

  constructor(parts: GrpcProduceParts) {
    this.#produce = parts.produce;
    this.#logger = parts.logger;
    this.#stopping = parts.stopping;
    this.#onUnheardFailure = parts.onUnheardFailure;
    this.#onError = parts.onError;
    this.#findSuccessor = (...place) => parts.storage.findSuccessor(...place);
  }

  /** What all requests under way share. */
  get room(): Pick<ProduceRoom, "bytes" | "waitingCount"> {
    return this.#room;
  }

  async produce(request: ReceivedProduce, call: CallContext): Promise<ProduceResponse> {
    const bytes = roomOf(request);
    const caller = callerOf(call);
    this.#produce.quota.check(caller);
    this.#produce.quota.charge(caller, bytes);
    if (!this.#room.tryTake(bytes) && !(await this.#room.take(bytes, { signal: call.signal, heldBytes: bytes })))
      throw new GrpcStatusError("CANCELLED", "Cannot produce: the call is over");
    let settled: Promise<unknown> | undefined;
    try {
      const topic = this.#produce.getTopic(placeOf(request, caller));
      const appended = this.#append(topic instanceof Promise ? await topic : topic, request);
      ({ settled } = appended);
      return await appended.answer;
    } finally {
      const giveBack = (): void => this.#room.giveBack(bytes);
      if (settled === undefined) giveBack();
      else settled.then(giveBack, giveBack);
    }
  }

  async produceStream(
    requests: Requests<ReceivedProduce>,
    responses: Responses<ProduceResponse>,
    call: CallContext,
  ): Promise<void> {
    const caller = callerOf(call);
    const topics = new WatchedTopics();
    const places = new StreamPlaces();
    const revoked = new AbortController();
    const release = this.#produce.hold(
      caller,
      () => topics.names,
      (error) => revoked.abort(error),
    );
    const { quota } = this.#produce;
    const getTopic = (request: ReceivedProduce): Topic | ProglogError | Promise<Topic | ProglogError> => {
      if (quota.isOn) quota.charge(caller, roomOf(request));
      places.add(placeOf(request, caller));
      const topic = this.#getTopic(request, caller);
      if (!(topic instanceof ProglogError)) topics.add(placeOf(request, caller).topic);
      return topic;
    };
    try {
      await new ProduceStream({
        requests,
        responses,
        call,
        room: this.#room,
        stopping: AbortSignal.any([this.#stopping, revoked.signal]),
        whenAllowed: () => quota.whenAllowed(caller, call.signal),
        getTopic,
        whenRoom: (bytes) => this.#produce.whenRoom(bytes),
        append: (topic, request) => this.#appendOrExplain(topic, request),
      }).run();
    } catch (error) {
      const { only } = places;
      if (error !== this.#stopping.reason || only === undefined) throw error;
      throw naming(this.#stopping.reason, this.#findSuccessor(only.topic, only.partition));
    } finally {
      release();
    }
  }

  #getTopic(request: ProduceRequest, caller: Caller): Topic | ProglogError | Promise<Topic | ProglogError> {
    try {
      const topic = this.#produce.getTopic(placeOf(request, caller));
      return topic instanceof Promise ? topic.catch(toProglogError) : topic;
    } catch (error) {
      return toProglogError(error);
    }
  }

  /** As `#append`; the answer is the error's where the request wants that. */
  #appendOrExplain(topic: Topic | ProglogError, request: ReceivedProduce): StreamAppend {
    let append: StreamAppend;
    try {
      if (topic instanceof ProglogError) throw topic;
      append = this.#append(topic, request);
    } catch (error) {
      const refused = refuse(error);
      append = { answer: refused, settled: refused };
    }
    if (!request.answersErrors) return append;
    const answer = append.answer.catch((error: unknown) => {
      if (isProglogError(error)) this.#onError(error.code);
      return { ...nothing, error: toProtoError(error) };
    });
    return { answer, settled: append.settled };
  }

  /** Throws what is wrong with the request, as far as that can be told at once. */
  #append(topic: Topic, request: ReceivedProduce): StreamAppend {
    const { partition, records, batch, record, acks, memory } = request;
    checkContent(request);
    const all = record === undefined ? records : [record];
    // V8 would come round to it when some 100 MB of such memory have gathered.
    const onReleased = memory && ((): void => void memory.transfer(0));
    const options = optionsOf(request);
    const appended = this.#produce.appendTo(topic, { partition, records: all, batch, options, onReleased });
    if (acks !== "none") return { answer: appended.then(toResponse), settled: appended };
    let isAnswered = false;
    const told = appended.then(
      () => nothing,
      (error: unknown) => {
        // Who isn't told who leads by now would send to a follower for good.
        if (!isAnswered && isProglogError(error, "NOT_LEADER")) throw error;
        this.#onUnheardFailure();
        this.#logger.warn({ topic: topic.name, reason: String(error) }, "an append that nobody waits for failed");
        return nothing;
      },
    );
    const atOnce = this.#turn().then(() => {
      isAnswered = true;
      return nothing;
    });
    return { answer: Promise.race([told, atOnce]), settled: appended };
  }

  /** Until the loop has come round: one wait for all who ask in a turn. */
  #turn(): Promise<void> {
    this.#nextTurn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#nextTurn = undefined;
        resolve();
      });
    });
    return this.#nextTurn;
  }
}

export interface GrpcProduceParts {
  readonly storage: Pick<NodeStorage, "findSuccessor">;
  readonly produce: ProduceService;
  readonly logger: Logger;
  /** Aborted with the error that streams are to end with. */
  readonly stopping: AbortSignal;
  /** An append failed whose client had its answer before (`acks` "none"). */
  readonly onUnheardFailure: () => void;
  /** A request was answered with an error. */
  readonly onError: (code: ErrorCode) => void;
}

const nothing: ProduceResponse = { offset: 0, partition: 0, count: 0, appendTime: 0, isDurable: false, isDuplicate: false };

/** Where a stream's requests go: with several places there are several who go on. */
class StreamPlaces {
  #first: ProducePlace | undefined;
  #isOne = true;

  add(place: ProducePlace): void {
    this.#first ??= place;
    if (place.topic !== this.#first.topic || place.partition !== this.#first.partition) this.#isOne = false;
  }

  get only(): ProducePlace | undefined {
    return this.#isOne ? this.#first : undefined;
  }
}

function placeOf({ topic, partition }: ProduceRequest, caller: Caller): ProducePlace {
  return { topic: topic === "" ? "default" : topic, partition, caller };
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

/** Who asked for no answer has had it: until the records are on a quorum they take room, and their failure is counted. */
function optionsOf({ producer, expectedOffset, acks: asked }: ProduceRequest): ReplicaAppendOptions | undefined {
  const acks = asked === "leader" ? asked : undefined;
  if (producer === undefined && expectedOffset === undefined && acks === undefined) return undefined;
  return {
    ...(producer === undefined ? {} : { producer }),
    ...(expectedOffset === undefined ? {} : { expectedOffset }),
    ...(acks === undefined ? {} : { acks }),
  };
}

function toResponse({ partition, baseOffset, count, appendTime, isDurable, isDuplicate }: ProducedRange): ProduceResponse {
  return { offset: baseOffset, partition, count, appendTime, isDurable, isDuplicate };
}

async function refuse(error: unknown): Promise<never> {
  throw error;
}

function toProglogError(error: unknown): ProglogError {
  return error instanceof ProglogError
    ? error
    : new ProglogError("INTERNAL", "The request failed inside the server", { cause: error });
}
