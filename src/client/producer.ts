import { assert } from "../base/assert.ts";
import type { Clock, Timer } from "../base/clock.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import {
  batchMaxBytes as batchLimitBytes,
  producerAskersMaxCount,
  producerWaitersMaxCount,
  recordMaxBytes,
} from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import { KiB, MiB } from "../base/units.ts";
import type { Compression } from "../batch/compression.ts";
import { checkRecord, packedRecordOverheadBytes, type RecordInput } from "../batch/record.ts";
import { partitionOfKey } from "../wire/partitioner.ts";
import type { Acks } from "../wire/produce-message.ts";
import { BufferSpace } from "./buffer-space.ts";
import { errorTableEntry } from "../wire/error-table.ts";
import { notAppended, outcomeOf, withOutcome } from "./append-error.ts";
import { backoffMs } from "./backoff.ts";
import { type Parcel, PartitionProducer, type ProducerContext, type RetryEvent, type SentRange } from "./partition-producer.ts";
import { ProduceChannel } from "./produce-channel.ts";
import { type Routes, topicMaxAgeMs } from "./routes.ts";
import type { Tracing } from "./tracing.ts";
import type { Transport } from "./transport.ts";

export interface ProducerOptions {
  /** Default "default". */
  readonly topic?: string;
  /** All records go there. Default: by key, as Kafka's clients do; records without one a batch at a time, in turn. */
  readonly partition?: number;
  /** When `send` resolves: once a quorum has the record on disk (default), once the leader has, or at once and without an offset. */
  readonly acks?: Acks;
  /** Default "none". */
  readonly compression?: Compression;
  /**
   * How long a batch that isn't full waits for more. Default 0: it goes at once unless two are under way, so that batches grow
   * with the load by themselves.
   */
  readonly lingerMs?: number;
  /** A batch's records, before compression. Default 256 KiB; at most 4 MiB. */
  readonly batchMaxBytes?: number;
  /** Records that aren't acknowledged yet, in bytes. Past it `send` waits for room. Default 32 MiB. */
  readonly bufferMaxBytes?: number;
  /** Whether batches are numbered, so that one that is sent again is not appended twice. Default true. */
  readonly isIdempotent?: boolean;
  /** Until then a record is sent again and again; past it `send` rejects with TIMEOUT. Default 120,000. */
  readonly deliveryTimeoutMs?: number;
  /** Whether what fails in passing is sent again at all, or which of it. Default true. */
  readonly isRetrying?: boolean | ((error: ProglogError) => boolean);
  /**
   * Whether the first record that fails for good is the end: nothing is sent behind it, what is under way has its answer, and every
   * further `send` rejects. For who has to know where to go on. Default false: the others go their way.
   */
  readonly stopsAtFailure?: boolean;
  /** Called before a batch is sent again. */
  readonly onRetry?: (event: RetryEvent) => void;
}

/** Where a record was appended. */
export interface SentRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  /** Milliseconds since 1970, by the leader's clock. */
  readonly appendTime: number;
  /** Whether it is on disk: false where the topic's sync policy doesn't wait for it. */
  readonly isDurable: boolean;
}

/** Records of a batch that went together, and either where they were appended or why they weren't. */
export interface SentPart {
  readonly records: readonly RecordInput[];
  readonly range?: SentRange;
  readonly error?: unknown;
}

/**
 * Sends records to a topic, in batches, in order within a partition, and again when something fails on the way.
 *
 * ```ts
 * await using producer = client.producer({ topic: "orders" });
 * const { partition, offset } = await producer.send({ key: "order-1", value: "placed" });
 * ```
 */
export class Producer implements AsyncDisposable {
  readonly topic: string;
  readonly #options: Required<Pick<ProducerOptions, "deliveryTimeoutMs">> & ProducerOptions;
  readonly #parts: ProducerParts;
  readonly #context: ProducerContext;
  readonly #space: BufferSpace;
  readonly #bufferMaxBytes: number;
  readonly #partitions = new Map<number, PartitionProducer>();
  readonly #channels = new Map<Transport, ProduceChannel>();
  #partitionCount: number | undefined;
  #countKnownAtMs = 0;
  /** Who waits to hear how many partitions there are, in the order in which they came. */
  readonly #askers: Asker[] = [];
  #askersBytes = 0;
  #askTimer: Timer | undefined;
  #sticky: number | undefined;
  /** What was sent and isn't settled. */
  #pendingCount = 0;
  #onIdle: PromiseWithResolvers<void> | undefined;
  #closing: Promise<void> | undefined;
  /** What it stopped at. */
  #failure: ProglogError | undefined;

  /** Throws INVALID_ARGUMENT for options that can't be. */
  constructor(options: ProducerOptions, parts: ProducerParts) {
    this.topic = options.topic ?? "default";
    this.#options = { ...options, deliveryTimeoutMs: atLeast("deliveryTimeoutMs", options.deliveryTimeoutMs ?? 120_000, 1) };
    this.#parts = parts;
    this.#bufferMaxBytes = atLeast("bufferMaxBytes", options.bufferMaxBytes ?? 32 * MiB, 1);
    this.#space = new BufferSpace({ maxBytes: this.#bufferMaxBytes, waitersMaxCount: producerWaitersMaxCount });
    const isIdempotent = options.isIdempotent ?? true;
    this.#context = {
      topic: this.topic,
      acks: options.acks ?? "quorum",
      compression: options.compression ?? "none",
      lingerMs: atLeast("lingerMs", options.lingerMs ?? 0, 0),
      // Below the limit by what a batch's own head and its records' lengths take.
      batchMaxBytes: Math.min(atLeast("batchMaxBytes", options.batchMaxBytes ?? 256 * KiB, 1), batchLimitBytes - 64 * KiB),
      recordMaxBytes,
      deliveryTimeoutMs: this.#options.deliveryTimeoutMs,
      isIdempotent,
      isRetrying: predicateOf(options.isRetrying ?? true),
      stopsAtFailure: options.stopsAtFailure ?? false,
      producerId: parts.random.bytes(6).readUIntBE(0, 6),
      underWayMaxCount: isIdempotent ? numberedMaxCount : 1,
      clock: parts.clock,
      random: parts.random,
      openChannel: (partition) => this.#openChannel(partition),
      isHurried: () => this.#onIdle !== undefined,
      release: (bytes, sends) => this.#release(bytes, sends),
      onRouteFailure: (failure) => parts.routes.noteFailure({ topic: this.topic, ...failure }),
      isReplicated: (partition) => parts.routes.isReplicated(this.topic, partition),
      onRetry: options.onRetry,
      onFailure: (error) => this.#failed(error),
    };
  }

  /**
   * Resolves when the record is acknowledged. Records sent one after the other to one partition lie there in that order, also
   * when the promises aren't awaited in between. Errors: INVALID_RECORD, RECORD_TOO_LARGE, OVERLOADED (too many callers wait
   * for room), TIMEOUT, LOG_CLOSED (the producer is), and what the node answers; `details.outcome` says whether it may have been
   * appended.
   */
  send(record: RecordInput): Promise<SentRecord> {
    const span = this.#parts.tracing?.startSending(this.topic, [record]);
    if (span === undefined) return this.#send(record);
    const sent = this.#send(span.records[0] ?? record);
    sent.then(
      ({ partition, offset }) => span.sent({ partition, baseOffset: offset }),
      (error: unknown) => span.failed(error),
    );
    return sent;
  }

  #send(record: RecordInput): Promise<SentRecord> {
    const { promise, resolve, reject } = Promise.withResolvers<SentRecord>();
    try {
      this.#checkOpen();
      const byteLength = checkRecord(record) + packedRecordOverheadBytes;
      const parcel: Parcel = {
        records: [record],
        byteLength,
        resolve: ({ partition, baseOffset, appendTime, isDurable }) =>
          resolve({ topic: this.topic, partition, offset: baseOffset, appendTime, isDurable }),
        reject,
      };
      this.#whenCountIsKnown(
        byteLength,
        (count) => this.#hand(this.#partitionOf(record.key, count) ?? this.#pickSticky(count), parcel),
        reject,
      );
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /**
   * Sends the records, which cost one promise instead of one each. Those that go to one partition are one batch, appended whole
   * or not at all, up to `batchMaxBytes`; beyond it, several. Resolves with the ranges they got; when one fails, rejects with that
   * once the others are settled; `details.outcome` is "not-appended" only if none of the records was.
   */
  async sendBatch(records: readonly RecordInput[]): Promise<readonly SentRange[]> {
    const parts = await this.sendParts(records);
    const failed = parts.find(({ error }) => error !== undefined);
    if (failed === undefined) return parts.flatMap(({ range }) => (range === undefined ? [] : [range]));
    const { error } = failed;
    if (!isProglogError(error) || parts.every((part) => isProglogError(part.error) && outcomeOf(part.error) === "not-appended"))
      throw error;
    throw withOutcome(error, "unknown");
  }

  /**
   * As `sendBatch`, for who has to know what became of each record when some fail: resolves with the parts that the records were
   * dealt out to, each appended whole or not at all. Rejects only when nothing could be sent.
   */
  async sendParts(records: readonly RecordInput[]): Promise<readonly SentPart[]> {
    const span = this.#parts.tracing?.startSending(this.topic, records);
    if (span === undefined) return this.#sendParts(records);
    const given = new Map(span.records.map((record, i) => [record, records[i] ?? record]));
    try {
      const parts = await this.#sendParts(span.records);
      const [first] = parts;
      const failed = parts.find(({ error }) => error !== undefined);
      if (failed !== undefined) span.failed(failed.error);
      else if (first?.range !== undefined) span.sent(first.range);
      // Who sent them knows them as they were.
      return parts.map((part) => ({ ...part, records: part.records.map((record) => given.get(record) ?? record) }));
    } catch (error) {
      span.failed(error);
      throw error;
    }
  }

  async #sendParts(records: readonly RecordInput[]): Promise<readonly SentPart[]> {
    this.#checkOpen();
    let byteLength = 0;
    const sizes = records.map((record) => {
      const size = checkRecord(record) + packedRecordOverheadBytes;
      byteLength += size;
      return size;
    });
    const parts: Promise<SentPart>[] = [];
    await new Promise<void>((resolve, reject) => {
      const run = (count: number): void => {
        for (const [i, [partition, piece]] of this.#split(records, sizes, count).entries()) {
          const part = Promise.withResolvers<SentPart>();
          parts.push(part.promise);
          const parcel: Parcel = {
            ...piece,
            resolve: (range) => part.resolve({ records: piece.records, range }),
            reject: (error) => part.resolve({ records: piece.records, error }),
          };
          this.#hand(partition, parcel, { isMore: i > 0 });
        }
        resolve();
      };
      this.#whenCountIsKnown(byteLength, run, reject);
    });
    return Promise.all(parts);
  }

  /** Resolves when everything sent before is settled, whether acknowledged or failed: each `send` tells of its own. */
  async flush(): Promise<void> {
    if (this.#pendingCount === 0) return;
    this.#onIdle ??= Promise.withResolvers<void>();
    const { promise } = this.#onIdle;
    for (const partition of this.#partitions.values()) partition.hurry();
    await promise;
  }

  /** Flushes, and takes no more. Twice is fine. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Rejects everything that isn't settled, without waiting. */
  abort(reason: ProglogError): void {
    this.#closing ??= Promise.resolve();
    this.#refuseAskers(reason);
    this.#askTimer?.cancel();
    this.#space.close(reason);
    for (const partition of this.#partitions.values()) partition.close(reason);
    for (const channel of this.#channels.values()) channel.cancel(reason);
    this.#parts.onClosed(this);
  }

  async #close(): Promise<void> {
    await this.flush();
    // So that no timer of theirs is left.
    for (const partition of this.#partitions.values()) partition.close(closedError(this.topic));
    for (const channel of this.#channels.values()) channel.end();
    this.#parts.onClosed(this);
  }

  /**
   * The records by partition, and of each no more together than a batch holds. What needs several batches is divided evenly: a full one
   * and one with little in it would be as many, and the little one would wait as long.
   */
  #split(records: readonly RecordInput[], sizes: readonly number[], count: number): (readonly [number, Piece])[] {
    const keyless = this.#pickSticky(count);
    const shares = new Map<number, { readonly indexes: number[]; byteLength: number }>();
    records.forEach((record, i) => {
      const partition = this.#partitionOf(record.key, count) ?? keyless;
      let share = shares.get(partition);
      if (share === undefined) shares.set(partition, (share = { indexes: [], byteLength: 0 }));
      share.indexes.push(i);
      share.byteLength += sizes[i] ?? 0;
    });
    const { batchMaxBytes } = this.#context;
    return [...shares].flatMap(([partition, { indexes, byteLength }]) => {
      const evenBytes = Math.ceil(byteLength / Math.ceil(byteLength / batchMaxBytes));
      const pieces: Piece[] = [];
      for (const i of indexes) {
        const size = sizes[i] ?? 0;
        const last = pieces.at(-1);
        const isFull = last === undefined || last.byteLength >= evenBytes || last.byteLength + size > batchMaxBytes;
        const piece = isFull ? { records: [], byteLength: 0 } : last;
        if (isFull) pieces.push(piece);
        const record = records[i];
        if (record !== undefined) piece.records.push(record);
        piece.byteLength += size;
      }
      return pieces.map((piece) => [partition, piece] as const);
    });
  }

  #hand(partition: number, parcel: Parcel, { isMore = false }: { readonly isMore?: boolean } = {}): void {
    this.#pendingCount += 1;
    const refuse = (error: unknown): void => {
      this.#settled(1);
      parcel.reject(error);
    };
    const enter = (): void => {
      let producer = this.#partitions.get(partition);
      if (producer === undefined) this.#partitions.set(partition, (producer = new PartitionProducer(partition, this.#context)));
      producer.send(parcel);
    };
    try {
      this.#space.take(parcel.byteLength, enter, refuse, { isMore });
    } catch (error) {
      refuse(error);
    }
  }

  #partitionOf(key: RecordInput["key"], count: number): number | undefined {
    if (this.#options.partition !== undefined) return this.#options.partition;
    if (count === 1) return 0;
    if (key === null || key === undefined) return undefined;
    return partitionOfKey(typeof key === "string" ? Buffer.from(key) : key, count);
  }

  /** The partition for records without a key: the same until its batch is on its way, then the next. */
  #pickSticky(count: number): number {
    const current = this.#sticky;
    if (current !== undefined && current < count && this.#partitions.get(current)?.isBetweenBatches === false) return current;
    this.#sticky = current === undefined ? Math.floor(this.#parts.random.float() * count) : (current + 1) % count;
    return this.#sticky;
  }

  /**
   * Calls `run` with the number of partitions: at once when it is known, else in the order in which they came, in the turn in
   * which it is. Called back and not promised, for the same reason as in `BufferSpace`.
   */
  #whenCountIsKnown(byteLength: number, run: (count: number) => void, refuse: (error: unknown) => void): void {
    const count = this.#options.partition === undefined ? this.#partitionCount : 1;
    if (count !== undefined) {
      if (this.#options.partition === undefined) this.#refreshCount();
      return run(count);
    }
    const isTooMuch = this.#askers.length > 0 && this.#askersBytes + byteLength > this.#bufferMaxBytes;
    if (isTooMuch || this.#askers.length >= producerAskersMaxCount) {
      const waiting = `${this.#askers.length} callers with ${this.#askersBytes} bytes wait to hear of topic ${this.topic}`;
      throw new ProglogError("OVERLOADED", `Cannot take another record: ${waiting}`);
    }
    this.#pendingCount += 1;
    this.#askersBytes += byteLength;
    this.#askers.push({ run, refuse, since: this.#parts.clock.monotonic(), byteLength });
    if (this.#askers.length === 1) this.#ask(0);
  }

  /** Partitions may be added, and nobody is told. Never fewer: when it can't be heard, what was known goes on. */
  #refreshCount(): void {
    const now = this.#parts.clock.monotonic();
    if (now - this.#countKnownAtMs < topicMaxAgeMs) return;
    this.#countKnownAtMs = now;
    this.#parts.routes.refreshTopic(this.topic).then(
      ({ partitions }) => {
        this.#partitionCount = partitions.length;
      },
      () => {},
    );
  }

  /** Until it is known, or nobody waits for it any more. */
  #ask(attempt: number): void {
    this.#parts.routes.getTopic(this.topic).then(
      ({ partitions }) => this.#countIsKnown(partitions.length),
      (error: unknown) => {
        // It is made by the first record, with one partition, where the node does that; else the node says so then.
        if (isProglogError(error, "TOPIC_NOT_FOUND")) return this.#countIsKnown(1);
        const isRetryable = isProglogError(error) && errorTableEntry(error.code).isRetryable && this.#context.isRetrying(error);
        const since = this.#parts.clock.monotonic() - this.#options.deliveryTimeoutMs;
        this.#refuseAskers(error, (asker) => !isRetryable || asker.since <= since);
        if (!isRetryable && isProglogError(error)) this.#failed(error);
        if (!isRetryable || this.#askers.length === 0) return;
        const delayMs = backoffMs(attempt, this.#parts.random);
        this.#options.onRetry?.({ partition: undefined, delayMs, error });
        this.#askTimer = this.#parts.clock.setTimer(delayMs, () => {
          if (this.#askers.length > 0) this.#ask(attempt + 1);
        });
      },
    );
  }

  #refuseAskers(reason: unknown, isMeant: (asker: Asker) => boolean = () => true): void {
    const failure = isProglogError(reason) ? notAppended(reason) : reason;
    for (const asker of this.#askers.splice(0)) {
      if (!isMeant(asker)) {
        this.#askers.push(asker);
        continue;
      }
      this.#askersBytes -= asker.byteLength;
      asker.refuse(failure);
      this.#settled(1);
    }
  }

  #countIsKnown(count: number): void {
    this.#partitionCount = count;
    this.#countKnownAtMs = this.#parts.clock.monotonic();
    this.#askersBytes = 0;
    for (const asker of this.#askers.splice(0)) {
      asker.run(count);
      this.#settled(1);
    }
  }

  async #openChannel(partition: number): Promise<ProduceChannel> {
    const transport = await this.#parts.routes.getLeader(this.topic, partition);
    const known = this.#channels.get(transport);
    if (known?.isOpen === true) return known;
    for (const [gone, { isOpen }] of this.#channels) if (!isOpen) this.#channels.delete(gone);
    const onSilent = (): void => void this.#askAbout(channel);
    const channel: ProduceChannel = new ProduceChannel(transport, { clock: this.#parts.clock, onSilent });
    this.#channels.set(transport, channel);
    return channel;
  }

  /**
   * A node says nothing: it may have much to do, or be cut off, in which case another leads what it led. Where the others say so
   * nothing is waited for any more; what was sent there goes to them. It isn't believed to be gone without that: it would get everything twice.
   */
  async #askAbout(channel: ProduceChannel): Promise<void> {
    const { routes } = this.#parts;
    const led = [...this.#partitions].filter(([, producer]) => producer.isWaitingFor(channel)).map(([partition]) => partition);
    if (!led.some((partition) => routes.isReplicated(this.topic, partition))) return;
    routes.avoid(channel.address);
    try {
      await routes.refreshTopic(this.topic);
    } catch {
      // It is asked again, as long as the node is silent.
      return;
    }
    const isDeposed = led.some((partition) => {
      const leader = routes.leaderAddress(this.topic, partition);
      return leader !== "" && leader !== channel.address;
    });
    if (!isDeposed || !channel.isOpen) return;
    const reason = `${channel.address} is silent, and another node leads`;
    const details = { reason, outcome: "unknown" };
    channel.cancel(new ProglogError("UNAVAILABLE", `Cannot hear the answer: ${reason}`, { details }));
  }

  #failed(error: ProglogError): void {
    if (!this.#context.stopsAtFailure || this.#failure !== undefined) return;
    this.#failure = notAppended(error);
    this.#refuseAskers(this.#failure);
    this.#space.close(this.#failure);
    for (const partition of this.#partitions.values()) partition.halt(this.#failure);
  }

  #release(bytes: number, sends: number): void {
    this.#space.give(bytes);
    this.#settled(sends);
  }

  #settled(sends: number): void {
    this.#pendingCount -= sends;
    assert(this.#pendingCount >= 0, "a send settles once");
    if (this.#pendingCount > 0) return;
    this.#onIdle?.resolve();
    this.#onIdle = undefined;
  }

  #checkOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#closing !== undefined) throw closedError(this.topic);
  }
}

/** What a client hands to its producers. */
export interface ProducerParts {
  readonly routes: Routes;
  readonly clock: Clock;
  readonly random: Random;
  readonly onClosed: (producer: Producer) => void;
  readonly tracing: Tracing | undefined;
}

interface Asker {
  readonly run: (count: number) => void;
  readonly refuse: (error: unknown) => void;
  readonly since: number;
  readonly byteLength: number;
}

interface Piece {
  readonly records: RecordInput[];
  byteLength: number;
}

/** As many of a producer's batches as a node remembers: with more under way, one sent again might not be recognised. */
const numberedMaxCount = 5;

function predicateOf(isRetrying: boolean | ((error: ProglogError) => boolean)): (error: ProglogError) => boolean {
  return typeof isRetrying === "boolean" ? () => isRetrying : isRetrying;
}

function closedError(topic: string): ProglogError {
  return new ProglogError("LOG_CLOSED", `Cannot send to topic ${topic}: the producer is closed`, {
    details: { outcome: "not-appended" },
  });
}

function atLeast(option: string, value: number, min: number): number {
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot make a producer with ${option} ${value}: it must be a whole number from ${min}`,
    {
      details: { option },
    },
  );
}
