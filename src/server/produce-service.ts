import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { lineBatchBytes, recordMaxBytes } from "../base/limits.ts";
import { checkRecord, packedRecordOverheadBytes, type RecordInput } from "../batch/record.ts";
import type { Topic } from "../replica/catalog.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import type { Acks, Replica, ReplicaAppend, ReplicaAppendOptions } from "../replica/replica.ts";
import { checkTopicName } from "../replica/topic-name.ts";
import type { Access } from "./access/access-control.ts";
import type { ByteQuota } from "./access/byte-quota.ts";
import type { Caller } from "./access/caller.ts";
import type { NodeSpans } from "./otlp/node-spans.ts";
import type { TraceContext } from "./otlp/trace-context.ts";
import { partitionOfKey } from "../wire/partitioner.ts";

/** Appends what clients produce, whichever way they came in. */
export class ProduceService {
  readonly #storage: NodeStorage;
  readonly #isAutoCreating: boolean;
  readonly #access: Access;
  readonly #clock: Pick<Clock, "monotonic"> | undefined;
  readonly #onProduced: ProduceOptions["onProduced"];
  readonly #quota: ByteQuota;
  readonly #spans: ProduceOptions["spans"];
  /** Counts appends with records that have no key: each takes the next partition, and all its records go there. */
  #turn = 0;
  /** Topics that are being made here: they are there before anybody leads them. */
  readonly #creating = new Map<string, Promise<Topic>>();

  constructor(storage: NodeStorage, { isAutoCreating, access, quota, clock, onProduced, spans }: ProduceOptions) {
    this.#quota = quota;
    this.#storage = storage;
    this.#isAutoCreating = isAutoCreating;
    this.#access = access;
    this.#clock = clock;
    this.#onProduced = onProduced;
    this.#spans = spans;
  }

  /** As `findTarget` and one `append` to it. */
  async produce({ topic, partition, caller, ...append }: ProduceRequest): Promise<readonly ProducedRange[]> {
    return this.findTarget({ topic, partition, caller }).append(append);
  }

  /** The topic, as it is now; one that isn't there is made. Throws as `findTarget` does. */
  getTopic({ topic: name, partition, caller }: ProducePlace): Topic | Promise<Topic> {
    this.#access.check(caller, "produce", name);
    checkTopicName(name);
    const topic = this.#creating.get(name) ?? this.#storage.catalog.findTopic(name);
    if (topic !== undefined) return topic;
    this.#checkCreatable(name, partition);
    return this.#createTopic(name);
  }

  /**
   * While a stream or an upload of somebody is open: see `Access.hold`. `topics` are those that it has appended to. It may go on as long as one of
   * them is allowed: what it sends for others is refused one by one, and what many producers share isn't ended for one of them.
   */
  hold(caller: Caller, topics: () => Iterable<string>, end: (error: ProglogError) => void): () => void {
    const check = (): void => {
      this.#access.checkKnown(caller, "produce");
      const names = [...topics()];
      const [first] = names;
      if (first === undefined || names.some((name) => this.#access.permits(caller, "produce", name))) return;
      this.#access.check(caller, "produce", first);
    };
    return this.#access.hold(caller, check, end);
  }

  /** How much each principal may produce. */
  get quota(): ByteQuota {
    return this.#quota;
  }

  /** See `NodeStorage.whenRoom`. */
  whenRoom(bytes: number): Promise<void> | undefined {
    return this.#storage.whenRoom(bytes);
  }

  /** Appends to a topic that is there: plain records as one batch of one partition, or a packed one as it is. */
  appendTo(topic: Topic, { partition, records, batch, options, onReleased }: SingleAppend): Promise<ProducedRange> {
    const number = partition ?? this.#onlyPartition(records, topic);
    const replica = this.#storage.getLeaderOf(topic, number);
    // Before it is handed over: its memory may be given back when it is appended.
    const trace = this.#spans?.findContext(records, batch);
    const appended = batch === undefined ? replica.append(records, options) : replica.appendBatch(batch, options, onReleased);
    const startMs = this.#clock?.monotonic();
    const ranged = appended.then((range) => {
      this.#tellProduced(options?.acks, startMs);
      return { partition: number, ...range };
    });
    if (trace !== undefined) this.#trace(trace, ranged, { topic: topic.name, partition: number, acks: options?.acks, startMs });
    return ranged;
  }

  /** Has a span for it, once it is settled. */
  #trace(
    context: TraceContext,
    appended: Promise<ProducedRange | undefined>,
    { topic, partition, acks, startMs }: Traced,
  ): void {
    const tell = (outcome: Partial<ProducedRange> & { readonly error?: unknown }): void => {
      const durationMs = (this.#clock?.monotonic() ?? 0) - (startMs ?? 0);
      this.#spans?.appended(context, { topic, partition, acks: acks ?? "quorum", durationMs, ...outcome });
    };
    appended.then(
      (range) => tell(range ?? {}),
      (error: unknown) => tell({ error }),
    );
  }

  #tellProduced(acks: Acks | undefined, startMs: number | undefined): void {
    if (this.#clock !== undefined && startMs !== undefined)
      this.#onProduced?.(acks ?? "quorum", this.#clock.monotonic() - startMs);
  }

  /** Where records go that nobody named a partition for, and that are to stay together. */
  #onlyPartition(records: readonly RecordInput[], topic: Topic): number {
    const [partition, ...others] = this.#share(records, topic, undefined).keys();
    if (partition !== undefined && others.length === 0) return partition;
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot append to topic ${topic.name}: it has ${topic.partitions.length} partitions, and none is named`,
      { hint: "Name one, or send records that go to one partition: all those of a request stay together." },
    );
  }

  /** Where records are to go. Throws what is wrong with it before any of them is read. A topic that isn't there is made by the first append. */
  findTarget({ topic: name, partition, caller }: ProducePlace): ProduceTarget {
    this.#access.check(caller, "produce", name);
    this.#quota.check(caller);
    checkTopicName(name);
    let topic = this.#creating.has(name) ? undefined : this.#storage.catalog.findTopic(name);
    if (topic === undefined) this.#checkCreatable(name, partition);
    else if (partition !== undefined) this.#storage.getLeaderOf(topic, partition);
    return {
      append: async (append) => {
        this.#access.check(caller, "produce", name);
        if (this.#quota.isOn) this.#quota.charge(caller, bytesOf(append.records));
        topic ??= await this.#createTopic(name);
        // An upload may last for days: partitions and settings are those of now. A topic that is deleted meanwhile isn't made again, nor
        // is another of its name taken for it: its replica says what became of it.
        const current = this.#storage.catalog.findTopic(name);
        if (current?.uuid === topic.uuid) topic = current;
        const startMs = this.#clock?.monotonic();
        const trace = this.#spans?.findContext(append.records, undefined);
        const appended = this.#append(topic, partition, append);
        const traced = { topic: name, partition, acks: append.acks, startMs };
        if (trace !== undefined)
          this.#trace(
            trace,
            appended.then(([first]) => first),
            traced,
          );
        const ranges = await appended;
        this.#tellProduced(append.acks, startMs);
        return ranges;
      },
    };
  }

  async #append(
    topic: Topic,
    partition: number | undefined,
    { records, packing, options, acks }: ProduceAppend,
  ): Promise<readonly ProducedRange[]> {
    if (options !== undefined) return [await this.#appendToOne(topic, partition, { records, options, acks })];
    const shares = this.#share(records, topic, partition);
    const { maxRecordBytes } = this.#storage.effectiveSettings(topic);
    // All replicas are found before anything is appended.
    const appends = [...shares].map(([number, share]) => ({
      partition: number,
      replica: this.#storage.getLeaderOf(topic, number),
      batches: packing === "one" && shares.size === 1 ? [share] : splitRecords(share, maxRecordBytes),
    }));
    // Handed over in one turn, so that no other request comes between a partition's batches.
    const outcomes = await Promise.allSettled(
      appends.map(({ partition: number, replica, batches }) => appendAll(number, replica, { batches, acks })),
    );
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed !== undefined) throw outcomes.length === 1 ? failed.reason : maybeAppended(failed.reason);
    return outcomes
      .flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []))
      .sort((a, b) => a.partition - b.partition);
  }

  /** As one batch, to one partition: numbers and ends are a partition's own. */
  async #appendToOne(
    topic: Topic,
    partition: number | undefined,
    { records, options, acks }: Pick<ProduceAppend, "records" | "options" | "acks">,
  ): Promise<ProducedRange> {
    const number = partition ?? 0;
    if (partition === undefined && topic.partitions.length > 1) {
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot append on a condition or with a sequence: topic ${topic.name} has ${topic.partitions.length} partitions, and none is named`,
        { hint: "Name one: ends and sequences are a partition's own." },
      );
    }
    const replica = this.#storage.getLeaderOf(topic, number);
    const { baseOffset, count, appendTime, isDurable, isDuplicate } = await replica.append(records, {
      ...options,
      ...acksOf(acks),
    });
    return { partition: number, baseOffset, count, appendTime, isDurable, isDuplicate };
  }

  #checkCreatable(name: string, partition: number | undefined): void {
    if (!this.#isAutoCreating) {
      throw new ProglogError("TOPIC_NOT_FOUND", `Cannot produce to topic ${name}: there is none of that name`, {
        hint: "Create it first: this node is told not to make topics that are produced to.",
      });
    }
    if (partition !== undefined && partition > 0) {
      throw new ProglogError(
        "PARTITION_NOT_FOUND",
        `Cannot produce to partition ${partition} of topic ${name}: a new topic has one`,
        {
          hint: "Create the topic first, with as many partitions as it needs.",
        },
      );
    }
  }

  #createTopic(name: string): Promise<Topic> {
    const known = this.#creating.get(name);
    if (known !== undefined) return known;
    const creating = this.#createOnce(name).finally(() => this.#creating.delete(name));
    this.#creating.set(name, creating);
    return creating;
  }

  async #createOnce(name: string): Promise<Topic> {
    try {
      return await this.#storage.catalog.createTopic({ name });
    } catch (error) {
      // Another request was faster: its topic is as good.
      const topic = isProglogError(error, "TOPIC_ALREADY_EXISTS") ? this.#storage.catalog.findTopic(name) : undefined;
      if (topic === undefined) throw error;
      return topic;
    }
  }

  /** Which records go to which partition: the one named; else by key, and those without one together. */
  #share(records: readonly RecordInput[], topic: Topic, partition: number | undefined): Map<number, RecordInput[]> {
    const { length: count } = topic.partitions;
    const named = partition ?? (count === 1 ? 0 : undefined);
    if (named !== undefined) return new Map([[named, [...records]]]);
    const keyless = this.#turn % count;
    if (records.some(({ key }) => key === null || key === undefined)) this.#turn += 1;
    return Map.groupBy(records, ({ key }) => {
      if (key === null || key === undefined) return keyless;
      return partitionOfKey(typeof key === "string" ? Buffer.from(key) : key, count);
    });
  }
}

interface Traced {
  readonly topic: string;
  readonly partition: number | undefined;
  readonly acks: Acks | undefined;
  readonly startMs: number | undefined;
}

export interface ProduceOptions {
  /** A topic that isn't there is made. */
  readonly isAutoCreating: boolean;
  readonly access: Access;
  readonly quota: ByteQuota;
  /** For the durations that `onProduced` is told. */
  readonly clock?: Pick<Clock, "monotonic">;
  /** Records were appended: so long after they had been handed to their partitions. Called with each append. */
  readonly onProduced?: (acks: Acks, durationMs: number) => void;
  /** Of appends whose records' headers say that their trace is kept. With `clock` only. */
  readonly spans?: Pick<NodeSpans, "findContext" | "appended"> | undefined;
}

export interface ProduceTarget {
  /**
   * Appends the records, at least one, and resolves when they are committed: the ranges they got, one for each partition that took
   * some, in order of the partitions. When one of several batches fails, the error's `details.outcome` is "unknown".
   */
  append(append: ProduceAppend): Promise<readonly ProducedRange[]>;
}

export interface ProducePlace {
  readonly topic: string;
  /** Default: by key, else in turn. */
  readonly partition?: number | undefined;
  readonly caller: Caller;
}

export interface ProduceAppend {
  readonly records: readonly RecordInput[];
  /** `one`: records that all go to one partition are one batch, appended whole or not at all. `many`: they are as many as is good. */
  readonly packing: "one" | "many";
  /** What it is appended on. The records are then one batch of one partition, which must be named where the topic has several. */
  readonly options?: Omit<ReplicaAppendOptions, "acks"> | undefined;
  /** When it is answered. Default "quorum". */
  readonly acks?: Acks | undefined;
}

export interface SingleAppend {
  /** Default: by key, else in turn; a packed batch has no key. */
  readonly partition?: number | undefined;
  readonly records: readonly RecordInput[];
  /** Instead of `records`. Not changed, and not to be until it is settled. */
  readonly batch?: Buffer | undefined;
  readonly options?: ReplicaAppendOptions | undefined;
  /** See `Replica.appendBatch`. */
  readonly onReleased?: (() => void) | undefined;
}

export interface ProduceRequest extends ProducePlace, ProduceAppend {}

/** Offsets `[baseOffset, baseOffset + count)` of a partition. */
export interface ProducedRange extends ReplicaAppend {
  readonly partition: number;
}

async function appendAll(
  partition: number,
  replica: Replica,
  { batches, acks }: { readonly batches: readonly (readonly RecordInput[])[]; readonly acks: Acks | undefined },
): Promise<ProducedRange> {
  const outcomes = await Promise.allSettled(batches.map((batch) => replica.append(batch, acksOf(acks))));
  let range: ReplicaAppend | undefined;
  for (const outcome of outcomes) {
    if (outcome.status === "rejected") throw outcomes.length === 1 ? outcome.reason : maybeAppended(outcome.reason);
    const { baseOffset, count, isDurable } = outcome.value;
    assert(
      range === undefined || baseOffset === range.baseOffset + range.count,
      "a request's batches lie one behind the other",
    );
    range =
      range === undefined ? outcome.value : { ...range, count: range.count + count, isDurable: range.isDurable && isDurable };
  }
  assert(range !== undefined, "a share of a request has a batch");
  return { ...range, partition, isDuplicate: false };
}

function acksOf(acks: Acks | undefined): { readonly acks: Acks } | undefined {
  return acks && { acks };
}

/**
 * Batches of `lineBatchBytes`, or of one record that is larger. With what a record and a header take at least, that bounds their
 * numbers far below a batch's limits: so none is refused while those beside it are appended.
 */
export function splitRecords(
  records: readonly RecordInput[],
  maxRecordBytes: number = recordMaxBytes,
): readonly (readonly RecordInput[])[] {
  const batches: RecordInput[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const record of records) {
    const recordBytes = measuredBytes(record, maxRecordBytes);
    if (bytes + recordBytes > lineBatchBytes) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(record);
    bytes += recordBytes;
  }
  return batches;
}

function bytesOf(records: readonly RecordInput[]): number {
  return records.reduce((sum, record) => sum + measuredBytes(record), 0);
}

/** What a record takes in a batch, about. */
export function measuredBytes(record: RecordInput, maxRecordBytes?: number): number {
  return checkRecord(record, maxRecordBytes) + packedRecordOverheadBytes + (record.headers?.length ?? 0) * headerOverheadBytes;
}

const headerOverheadBytes = 2;

/** The error of one batch among several: the others may have been appended, whatever this one says of itself. */
function maybeAppended(error: unknown): unknown {
  if (!isProglogError(error)) return error;
  return new ProglogError(error.code, error.message, {
    hint: "Part of the request may have been appended: read the end of the partition before sending it again.",
    details: { ...error.details, outcome: "unknown" },
    cause: error,
  });
}
