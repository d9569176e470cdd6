import { ProglogError } from "../base/error.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import { readBatchHeader } from "../batch/batch-header.ts";
import type { StoredRecord } from "../batch/record.ts";
import { decodeConsumeRequest, encodeConsumeResponse } from "../wire/consume-message.ts";
import { decodeProduceRequest, encodeProduceResponse, type ProduceRequest } from "../wire/produce-message.ts";
import { toProtoError } from "../wire/proto-error.ts";
import { decodeTopicNameRequest, encodeTopicResponse, type PartitionDescription } from "../wire/topic-message.ts";
import type { CallOptions, RequestStream, StreamListener, Transport } from "./transport.ts";

/**
 * A node in a few lines, for tests of the client: partitions in memory, Kafka's rule for numbered batches, and a network that
 * does nothing until `step` has it deliver one message of one connection, or `breakOff` cuts them all.
 */
export class FakeNode {
  readonly topic: string;
  readonly partitions: FakePartition[];
  /** Errors that the next produce requests get instead of being appended. */
  readonly refusals: ProglogError[] = [];
  /** Batches as they arrived, in order, whether appended or not. */
  readonly arrived: { readonly partition: number; readonly values: readonly string[] }[] = [];
  isReachable = true;
  /** Stands still, as a process that was stopped: connections stay, and nothing is answered. */
  isStuck = false;
  /** Questions that came, by method. */
  readonly asked: string[] = [];
  /** Partitions that somebody began to read here. */
  readonly consumed: number[] = [];
  /** Errors that the next readers get. */
  readonly readRefusals: ProglogError[] = [];
  /** They are told where they are before they get them. */
  isRefusingLate = false;
  /** What a single produce is refused with; undefined: it is appended. */
  unary: (() => ProglogError | undefined) | undefined;
  readonly address: string;
  readonly #rules: NodeRules;
  /** Messages that nobody has delivered yet. */
  readonly #wires = new Set<Wire>();
  /** Delivers by itself, as soon as whoever sent has gone on. */
  isPrompt = true;

  readonly #later: (run: () => void) => void;

  /** `later` calls back in a turn of its own. */
  constructor(
    topic: string,
    partitionCount: number,
    later: (run: () => void) => void,
    { address, rules, partitions }: FakeNodeOptions = { address: "fake:1", rules: alone },
  ) {
    this.topic = topic;
    this.#later = later;
    this.address = address;
    this.#rules = rules;
    this.partitions = partitions ?? Array.from({ length: partitionCount }, () => new FakePartition());
  }

  get openConnections(): number {
    return this.#wires.size;
  }

  connect(): Transport {
    return {
      address: this.address,
      call: (method, request, options) => this.#call(method, request, options),
      openServerStream: (method, request, options) => this.#consume(request, options),
      openStream: (_method, listener) => this.#openStream(listener),
      close: () => Promise.resolve(),
    };
  }

  /** Delivers one message, of the connection that `pick` chooses. False when there is none. */
  step(pick: (count: number) => number = () => 0): boolean {
    const busy = this.isStuck ? [] : [...this.#wires].filter((wire) => wire.isBusy);
    const wire = busy[pick(busy.length)];
    if (wire === undefined) return false;
    wire.deliver();
    return true;
  }

  addPartition(): void {
    this.partitions.push(new FakePartition());
  }

  breakOff(): void {
    for (const wire of [...this.#wires]) wire.breakOff(unavailable());
  }

  /** Answers what was held back. */
  release(): void {
    for (const wire of this.#wires) wire.release();
  }

  async #call(method: string, request: Buffer, options: CallOptions = {}): Promise<Buffer> {
    this.asked.push(method);
    await Promise.resolve();
    while (this.isStuck) {
      await abortOf(options.signal);
      throw new ProglogError("CANCELLED", "The call was cancelled");
    }
    if (!this.isReachable) throw unavailable();
    if (method === "/log.v1.Log/Produce" && this.unary !== undefined) return this.#produceOne(request);
    if (method !== "/log.v1.Topics/DescribeTopic") throw new ProglogError("ROUTE_NOT_FOUND", `There is no ${method}`);
    const name = decodeTopicNameRequest(request);
    if (name !== this.topic) throw new ProglogError("TOPIC_NOT_FOUND", `There is no topic ${name}`);
    const partitions = this.partitions.map(({ endOffset }, partition) => ({
      partition,
      uuid: "",
      state: "open",
      logStartOffset: 0,
      highWatermark: endOffset,
      ...this.#rules.describe(partition),
    }));
    return encodeTopicResponse({
      name,
      uuid: "",
      createdAt: 0,
      replicationFactor: 1,
      settings: {},
      effectiveSettings: {},
      partitions,
    });
  }

  #produceOne(request: Buffer): Buffer {
    const refusal = this.unary?.();
    if (refusal !== undefined) throw refusal;
    const { partition = 0, records } = decodeProduceRequest(request);
    const appended = this.partitions[partition]?.append(encodeBatch(records, { now: 0 }));
    const none = { offset: 0, partition, count: 0, appendTime: 0, isDurable: true, isDuplicate: false };
    return encodeProduceResponse({ ...none, ...appended });
  }

  #openStream(listener: StreamListener): RequestStream {
    const wire = new Wire({
      toNode: (request) => {
        const { partition = 0, batch } = decodeProduceRequest(request);
        const isHeld = batch !== undefined && this.#rules.isHeld(partition, batch);
        if (isHeld) wire.hold(() => this.#answerOf(() => this.#loseProposal()));
        else wire.answer(() => this.#answerOf(() => this.#append(decodeProduceRequest(request))));
      },
      toClient: (answer) => listener.answered(answer),
      ended: (error) => {
        this.#wires.delete(wire);
        listener.ended(error);
      },
      hasMessage: () => {
        if (this.isPrompt) this.#later(() => (this.isStuck ? undefined : wire.deliver()));
      },
    });
    if (this.isReachable) this.#wires.add(wire);
    else this.#later(() => wire.breakOff(unavailable()));
    return {
      send: (request) => wire.send(request),
      end: () => wire.end(),
      cancel: () => wire.cancel(),
    };
  }

  #answerOf(produce: () => Appended & { readonly partition: number }): Buffer {
    const none = { offset: 0, partition: 0, count: 0, appendTime: 0, isDurable: false, isDuplicate: false };
    try {
      return encodeProduceResponse({ ...none, ...produce(), isDurable: true });
    } catch (error) {
      return encodeProduceResponse({ ...none, error: toProtoError(error) });
    }
  }

  #loseProposal(): never {
    throw new ProglogError("LEADERSHIP_LOST", "Another node leads now");
  }

  #append({ batch, partition = 0 }: ProduceRequest): Appended & { readonly partition: number } {
    const target = this.partitions[partition];
    if (batch === undefined || target === undefined) throw new ProglogError("INVALID_ARGUMENT", "Cannot produce that");
    this.arrived.push({ partition, values: decodeBatch(batch).map(({ value }) => String(value)) });
    const refusal = this.refusals.shift();
    if (refusal !== undefined) throw refusal;
    return { partition, ...this.#rules.append(partition, batch, () => target.append(batch)) };
  }

  async *#consume(bytes: Buffer, options: CallOptions = {}): AsyncGenerator<Buffer, void, undefined> {
    const { from, partition, stopsAtEnd, atLeastOffset, leaderOnly } = decodeConsumeRequest(bytes);
    const source = this.partitions[partition];
    if (!this.isReachable) throw unavailable();
    if (source === undefined) throw new ProglogError("PARTITION_NOT_FOUND", "There is no such partition");
    this.consumed.push(partition);
    const refusal = this.readRefusals.shift();
    if (refusal !== undefined) {
      const bounds = { records: [], logStartOffset: 0, record: undefined, highWatermark: source.endOffset };
      if (this.isRefusingLate) yield encodeConsumeResponse({ ...bounds, batches: [], nextOffset: Number(from) || 0 });
      throw refusal;
    }
    const cut = Promise.withResolvers<never>();
    cut.promise.catch(() => {});
    const wire = new Wire({
      toNode: () => {},
      toClient: () => {},
      hasMessage: () => {},
      ended: (error) => {
        this.#wires.delete(wire);
        cut.reject(error);
      },
    });
    this.#wires.add(wire);
    try {
      const endOf = (): number => Math.min(source.endOffset, this.#rules.visibleEnd(partition, source.endOffset));
      const bounds = { records: [], logStartOffset: 0, record: undefined };
      while (endOf() < atLeastOffset) {
        this.#rules.checkRead(partition, leaderOnly);
        await Promise.race([source.changed(), cut.promise, abortOf(options.signal)]);
        if (options.signal?.aborted === true) return;
      }
      let offset = from === "start" ? 0 : from === "end" ? endOf() : Number(from);
      if (offset > endOf())
        throw new ProglogError("OFFSET_OUT_OF_RANGE", `Cannot read offset ${offset}: the log ends at ${endOf()}`);
      for (let isFirst = true; options.signal?.aborted !== true; isFirst = false) {
        this.#rules.checkRead(partition, leaderOnly);
        const end = endOf();
        const batches = source.batches
          .filter((batch) => nextOffsetOf(batch) > offset && nextOffsetOf(batch) <= end)
          .slice(0, 2);
        offset = Math.max(offset, ...batches.map(nextOffsetOf));
        if (isFirst || batches.length > 0) {
          yield encodeConsumeResponse({ ...bounds, batches, nextOffset: offset, highWatermark: end });
        }
        if (stopsAtEnd && offset >= end) return;
        if (offset < endOf()) continue;
        await Promise.race([source.changed(), cut.promise, abortOf(options.signal)]);
      }
    } finally {
      this.#wires.delete(wire);
    }
  }
}

/** What a node is to its cluster; `alone` for one that is in none. */
export interface NodeRules {
  /** As this node has it. */
  describe(partition: number): Pick<PartitionDescription, "leaderId" | "leaderRpcAddr" | "replicas" | "term">;
  /** Whether a request is proposed and comes to nothing: it waits until `release`, and hears that leadership was lost. */
  isHeld(partition: number, batch: Buffer): boolean;
  append(partition: number, batch: Buffer, append: () => Appended): Appended;
  /** Throws where this node doesn't serve it. */
  checkRead(partition: number, leaderOnly: boolean): void;
  /** How far this node knows it to be committed. */
  visibleEnd(partition: number, endOffset: number): number;
}

export interface FakeNodeOptions {
  readonly address: string;
  readonly rules: NodeRules;
  readonly partitions?: FakePartition[];
}

export interface Appended {
  readonly offset: number;
  readonly count: number;
  readonly isDuplicate: boolean;
}

const alone: NodeRules = {
  describe: () => ({ leaderId: "", leaderRpcAddr: "", replicas: [], term: 0 }),
  isHeld: () => false,
  append: (_partition, _batch, append) => append(),
  checkRead: () => {},
  visibleEnd: (_partition, endOffset) => endOffset,
};

export class FakePartition {
  readonly batches: Buffer[] = [];
  endOffset = 0;
  readonly #producers = new Map<
    number,
    { epoch: number; next: number; last: { sequence: number; offset: number; count: number }[] }
  >();
  #more = Promise.withResolvers<void>();

  /** Appends a batch, or finds that it did before. */
  append(batch: Buffer): Appended {
    const { producerId: id, producerEpoch: epoch, baseSequence: sequence, recordCount: count } = readBatchHeader(batch);
    if (id >= 0) {
      let known = this.#producers.get(id);
      if (known === undefined || epoch > known.epoch) {
        if (known !== undefined && sequence !== 0) throw outOfOrder();
        this.#producers.set(id, (known = { epoch, next: sequence, last: [] }));
      }
      const before = known.last.find((entry) => entry.sequence === sequence);
      if (before !== undefined && before.count === count) return { offset: before.offset, count, isDuplicate: true };
      if (epoch < known.epoch) throw new ProglogError("PRODUCER_FENCED", "A newer epoch has written");
      if (sequence !== known.next) throw outOfOrder();
      known.next += count;
      known.last = [...known.last.slice(-4), { sequence, offset: this.endOffset, count }];
    }
    const offset = this.endOffset;
    const stored = Buffer.from(batch);
    stored.writeBigInt64BE(BigInt(offset), 0);
    this.batches.push(stored);
    this.endOffset += count;
    this.wake();
    return { offset, count, isDuplicate: false };
  }

  /** What a leader that is deposed now goes on believing of producers. */
  copyOfProducers(): FakePartition {
    const copy = new FakePartition();
    copy.endOffset = this.endOffset;
    for (const [id, { epoch, next, last }] of this.#producers) copy.#producers.set(id, { epoch, next, last: [...last] });
    return copy;
  }

  /** Has whoever waits look again. */
  wake(): void {
    this.#more.resolve();
    this.#more = Promise.withResolvers<void>();
  }

  changed(): Promise<void> {
    return this.#more.promise;
  }

  /** As another producer's. */
  appendValues(...values: readonly string[]): void {
    this.append(
      encodeBatch(
        values.map((value) => ({ value })),
        { now: 0 },
      ),
    );
  }

  values(): readonly string[] {
    return this.batches.flatMap((batch) => decodeBatch(batch).map(({ value }: StoredRecord) => String(value)));
  }
}

interface WireEnds {
  readonly toNode: (request: Buffer) => void;
  readonly toClient: (answer: Buffer) => void;
  readonly ended: (error: unknown) => void;
  readonly hasMessage: () => void;
}

/** Messages of one connection in both directions, each delivered when somebody says so, in order. */
class Wire {
  readonly #ends: WireEnds;
  readonly #requests: Buffer[] = [];
  readonly #answers: Buffer[] = [];
  /** In the order of the requests: what waits holds back what is behind it. */
  readonly #held: (() => Buffer)[] = [];
  #isEnding = false;
  #isOpen = true;

  constructor(ends: WireEnds) {
    this.#ends = ends;
  }

  get isBusy(): boolean {
    return this.#isOpen && (this.#requests.length > 0 || this.#answers.length > 0 || this.#isEnding);
  }

  send(request: Buffer | readonly Buffer[]): void {
    this.#requests.push(Buffer.concat(request instanceof Uint8Array ? [request] : request));
    this.#ends.hasMessage();
  }

  answer(answer: () => Buffer): void {
    if (this.#held.length > 0) return this.hold(answer);
    this.#answers.push(answer());
    this.#ends.hasMessage();
  }

  hold(answer: () => Buffer): void {
    this.#held.push(answer);
  }

  release(): void {
    for (const answer of this.#held.splice(0)) this.answer(answer);
  }

  end(): void {
    this.#isEnding = true;
    this.#ends.hasMessage();
  }

  deliver(): void {
    if (!this.#isOpen) return;
    const answer = this.#answers.shift();
    if (answer !== undefined) return this.#ends.toClient(answer);
    const request = this.#requests.shift();
    if (request !== undefined) return this.#ends.toNode(request);
    if (this.#isEnding) this.breakOff(undefined);
  }

  cancel(): void {
    this.breakOff(new ProglogError("CANCELLED", "The call was cancelled"));
  }

  breakOff(error: unknown): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#ends.ended(error);
  }
}

function nextOffsetOf(batch: Buffer): number {
  const { baseOffset, lastOffsetDelta } = readBatchHeader(batch);
  return baseOffset + lastOffsetDelta + 1;
}

function abortOf(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => signal?.addEventListener("abort", () => resolve(), { once: true }));
}

function unavailable(): ProglogError {
  return new ProglogError("UNAVAILABLE", "The connection broke");
}

function outOfOrder(): ProglogError {
  return new ProglogError("OUT_OF_ORDER_SEQUENCE", "The number doesn't follow");
}
