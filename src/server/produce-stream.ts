import { grpcMessageMaxBytes, grpcReceiveQueueBytes, produceStreamMaxBytes, produceStreamMaxCount } from "../base/limits.ts";
import type { CallContext, Requests, Responses } from "../grpc/index.ts";
import type { ProglogError } from "../base/error.ts";
import type { Topic } from "../replica/catalog.ts";
import type { ProduceRequest, ProduceResponse } from "../wire/produce-message.ts";
import { type ProduceRoom, roomOf } from "./produce-room.ts";

/**
 * One ProduceStream: appends as the requests come, without waiting for one before the next, and answers in their order.
 *
 *     read → append (in the order sent) → settled: its bytes are given back → answered, behind those before it
 *
 * Nothing is read without room for it: of this stream's own, which bounds what is under way and what waits to be answered, and of
 * the node's. Then the stream's window fills, and the client is held back. The node's is given back when an append is settled, not
 * when its answer is taken: so a client that doesn't read keeps nobody else from appending.
 *
 * The stream is over when the client has sent all, when a request fails whose failure isn't to be answered, or when the node
 * stops. What was appended before is then still answered, and nothing more is.
 */
export class ProduceStream {
  readonly #parts: ProduceStreamParts;
  /** Of the requests under way, in their order. */
  #answers: Promise<ProduceResponse>[] = [];
  /** Of the first that isn't sent: shifting an array of thousands for each would be quadratic. */
  #head = 0;
  /** Of requests whose appends aren't settled. */
  #bytes = 0;
  #isOver = false;
  readonly #over = Promise.withResolvers<void>();
  #sending: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;
  #onRoom: (() => void) | undefined;

  constructor(parts: ProduceStreamParts) {
    this.#parts = parts;
  }

  /** Resolves when all that the client sent is answered; rejects with what the stream is to end with. To be called once. */
  async run(): Promise<void> {
    const { stopping } = this.#parts;
    // One listener, which goes with the stream: a race against a promise that outlives it would keep all that ever came first.
    const stop = (): void => this.#end({ error: stopping.reason });
    stopping.addEventListener("abort", stop);
    if (stopping.aborted) stop();
    this.#read().then(
      () => this.#end(undefined),
      (error: unknown) => this.#end({ error }),
    );
    try {
      await this.#over.promise;
      await this.#drain();
    } catch (error) {
      await this.#drain().catch(() => {});
      throw error;
    } finally {
      stopping.removeEventListener("abort", stop);
    }
  }

  #end(failure: { readonly error: unknown } | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (failure === undefined) this.#over.resolve();
    else this.#over.reject(failure.error);
  }

  async #read(): Promise<void> {
    const { requests, room, call } = this.#parts;
    for (;;) {
      await requests.ready();
      if (this.#isFull) await this.#roomed();
      // Before anything is taken of what all share.
      const quota = this.#parts.whenAllowed();
      if (quota !== undefined) await quota;
      if (this.#isOver) return;
      if (!room.tryTake(readMaxBytes) && !(await room.take(readMaxBytes, { signal: call.signal }))) return;
      let taken = readMaxBytes;
      try {
        if (this.#isOver) return;
        const came = await requests.readAvailable();
        if (came.length === 0 || this.#isOver) return;
        const sizes = came.map(roomOf);
        // Now it is known how much it was.
        const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
        room.giveBack(taken - total);
        taken = total;
        for (const [position, request] of came.entries()) {
          // One topic made after the other: what is sent behind the request that makes it stays behind.
          const topic = this.#parts.getTopic(request);
          const found = topic instanceof Promise ? await topic : topic;
          const bytes = sizes[position] ?? 0;
          const wait = this.#parts.whenRoom(bytes);
          if (wait !== undefined) await wait;
          if (this.#isOver) return;
          taken -= bytes;
          this.#add(this.#parts.append(found, request), bytes);
        }
      } finally {
        room.giveBack(taken);
      }
    }
  }

  get #isFull(): boolean {
    return this.#bytes >= produceStreamMaxBytes || this.#answers.length - this.#head >= produceStreamMaxCount;
  }

  /** Resolves when this stream may have more under way. */
  #roomed(): Promise<void> {
    return new Promise((resolve) => (this.#onRoom = resolve));
  }

  #wakeWhenRoomed(): void {
    if (this.#onRoom === undefined || this.#isFull) return;
    this.#onRoom();
    this.#onRoom = undefined;
  }

  #add({ answer, settled }: StreamAppend, bytes: number): void {
    this.#bytes += bytes;
    const giveBack = (): void => {
      this.#bytes -= bytes;
      this.#parts.room.giveBack(bytes);
      this.#wakeWhenRoomed();
    };
    settled.then(giveBack, giveBack);
    // Heard of when its turn comes.
    answer.catch(() => {});
    this.#answers.push(answer);
    this.#sending ??= this.#send();
  }

  /** Resolves when all are sent. */
  async #drain(): Promise<void> {
    while (this.#sending !== undefined) await this.#sending;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #send(): Promise<void> {
    const { responses, call } = this.#parts;
    try {
      for (let next = this.#answers[this.#head]; next !== undefined; next = this.#answers[this.#head]) {
        const response = await next;
        this.#forgetFirst();
        this.#wakeWhenRoomed();
        if (!call.isOver) await responses.send(response);
      }
    } catch (error) {
      this.#failure = { error };
      this.#answers = [];
      this.#head = 0;
      this.#end(this.#failure);
    } finally {
      this.#sending = undefined;
    }
  }

  #forgetFirst(): void {
    this.#head += 1;
    if (this.#head < this.#answers.length && this.#head < forgottenAtOnce) return;
    this.#answers = this.#answers.slice(this.#head);
    this.#head = 0;
  }
}

export interface ProduceStreamParts {
  readonly requests: Requests<ProduceRequest>;
  readonly responses: Responses<ProduceResponse>;
  readonly call: CallContext;
  readonly room: ProduceRoom;
  /** Aborted with the error that streams are to end with. */
  readonly stopping: AbortSignal;
  /** Resolves when its client may have more of the node, or is gone; undefined when that is now. */
  readonly whenAllowed: () => Promise<void> | undefined;
  /** The topic of a request, which may have to be made first, or why there is none. Doesn't throw. */
  readonly getTopic: (request: ProduceRequest) => Topic | ProglogError | Promise<Topic | ProglogError>;
  /** See `NodeStorage.whenRoom`: the stream isn't read on while it waits. */
  readonly whenRoom: (bytes: number) => Promise<void> | undefined;
  /** Appends at once, so that the next comes behind it. Doesn't throw. */
  readonly append: (topic: Topic | ProglogError, request: ProduceRequest) => StreamAppend;
}

export interface StreamAppend {
  /** Rejects with what the stream is to end with. */
  readonly answer: Promise<ProduceResponse>;
  /** Settles when the append does: before the answer, or, where nobody waits for it, behind. */
  readonly settled: Promise<unknown>;
}

/** What one `readAvailable` takes at most: its queue, and a message that went beyond it. */
const readMaxBytes = grpcReceiveQueueBytes + grpcMessageMaxBytes;

const forgottenAtOnce = 1024;
