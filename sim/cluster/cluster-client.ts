import { encodeBatch } from "../../src/batch/encode-batch.ts";
import { isProglogError, type ProglogError } from "../../src/base/error.ts";
import { MiB } from "../../src/base/units.ts";
import { outcomeOf } from "../../src/client/append-error.ts";
import type { ClusteredNode } from "../../src/replica/cluster/clustered-node.ts";
import type { SeenRecord } from "../../test/histories/history.ts";
import type { SeededRandom } from "../random.ts";
import { Violation } from "../violation.ts";
import type { Machine } from "./machine.ts";
import type { PartitionHistory } from "./partition-history.ts";

export interface ClusterClientWorld {
  readonly nowMs: number;
  readonly machines: readonly Machine[];
  /** Partitions of topics that are there. */
  readonly partitions: readonly PartitionHistory[];
  readonly settings: { readonly thinkMs: number; readonly valueMaxBytes: number };
  after(delayMs: number, run: () => void): void;
  /** Asks a node; `undefined` when no answer came. */
  ask<Answer>(machine: Machine, timeoutMs: number, question: (node: ClusteredNode) => Promise<Answer>): Promise<Heard<Answer>>;
  readonly failed: (error: unknown) => void;
  note(...numbers: readonly number[]): void;
  tell(words: () => string): void;
}

export type Heard<Answer> =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "refusal"; readonly error: ProglogError }
  /** Nobody serves there: nothing happened. */
  | { readonly kind: "unreached" }
  /** No answer in time, or the connection broke. */
  | { readonly kind: "silence" };

/** How long a client waits. */
const appendTimeoutMs = 4_000;
const readTimeoutMs = 2_000;

/** For so many questions a client stays at a partition. */
const stayMeanCount = 20;

interface Batch {
  readonly contents: readonly string[];
  readonly bytes: Buffer;
  readonly invokedMs: number;
  isInDoubt: boolean;
}

/**
 * One client: at one partition for a while, then at another. An idempotent one asks for a batch again and again until it hears that it is
 * there; a plain one sends nothing again of which it doesn't know. What it reads goes on where it was, at whatever node.
 */
export class ClusterClient {
  readonly id: number;
  readonly #world: ClusterClientWorld;
  readonly #random: SeededRandom;
  readonly #isIdempotent: boolean;
  #at: PartitionHistory | undefined;
  #leader: Machine | undefined;
  #sequence = 0;
  #visits = 0;
  #count = 0;
  #batch: Batch | undefined;
  #streamOffset: number | undefined;
  #streams = 0;
  #isStopped = false;
  #isAsking = false;
  acknowledgedCount = 0;
  unknownCount = 0;
  refusedCount = 0;
  readCount = 0;

  constructor(
    world: ClusterClientWorld,
    random: SeededRandom,
    options: { readonly id: number; readonly isIdempotent: boolean },
  ) {
    this.#world = world;
    this.#random = random;
    this.id = options.id;
    this.#isIdempotent = options.isIdempotent;
  }

  get isAsking(): boolean {
    return this.#isAsking;
  }

  start(): void {
    this.#isStopped = false;
    this.#think();
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** It has what it left in doubt decided, and moves to that partition. Not while it asks. */
  async appendTo(partition: PartitionHistory): Promise<boolean> {
    this.#moveTo(partition);
    return this.#append(partition);
  }

  #think(): void {
    const delayMs = -Math.log(1 - this.#random.float()) * this.#world.settings.thinkMs;
    this.#world.after(delayMs, () => {
      if (!this.#isStopped && !this.#isAsking) this.#askOnce().catch(this.#world.failed);
    });
  }

  async #askOnce(): Promise<void> {
    this.#isAsking = true;
    const { partitions } = this.#world;
    const isGone = this.#at === undefined || !partitions.includes(this.#at);
    if (partitions.length > 0 && (isGone || this.#random.chance(1 / stayMeanCount)))
      this.#moveTo(this.#random.pick(partitions));
    const at = this.#at;
    if (at !== undefined) {
      const luck = this.#random.float();
      if (luck < 0.65) await this.#append(at);
      else await this.#read(at, luck < 0.8 ? "latest" : luck < 0.9 ? "stream" : "shown");
    }
    this.#isAsking = false;
    this.#think();
  }

  #moveTo(partition: PartitionHistory): void {
    if (this.#at === partition) return;
    // What is in doubt stays so.
    this.#forgetBatch();
    this.#at = partition;
    this.#visits += 1;
    this.#sequence = 0;
    this.#leader = undefined;
    this.#streamOffset = undefined;
  }

  #forgetBatch(): void {
    const batch = this.#batch;
    this.#batch = undefined;
    if (batch !== undefined) this.#note(batch, batch.isInDoubt ? "info" : "fail");
  }

  #note({ contents, invokedMs }: Batch, outcome: "ok" | "fail" | "info", baseOffset?: number): void {
    this.#at?.appends.push({
      ...{ kind: "append", client: String(this.id), contents, invokedMs, returnedMs: this.#world.nowMs, outcome },
      ...(baseOffset === undefined ? {} : { baseOffset }),
    });
  }

  /** True when it is acknowledged. */
  async #append(at: PartitionHistory): Promise<boolean> {
    const world = this.#world;
    const batch = this.#batch ?? this.#nextBatch();
    this.#batch = batch;
    const to = this.#leader !== undefined && this.#random.chance(0.95) ? this.#leader : this.#random.pick(world.machines);
    const heard = await world.ask(to, appendTimeoutMs, async (node) => {
      const topic = node.getTopic(at.topic);
      // A topic deleted and made again is another one.
      if (topic.partitions[at.partition]?.uuid !== at.uuid) return undefined;
      const { baseOffset } = await node.getLeaderOf(topic, at.partition).appendBatch(batch.bytes);
      return { baseOffset };
    });
    const answer = heard.kind === "answer" ? heard.answer : undefined;
    world.note(20, this.id, batch.contents.length, answer?.baseOffset ?? -1, to.ordinal);
    world.tell(
      () =>
        `client ${this.id} appends ${batch.contents.join(" ")} to ${at.topic}/${at.partition} by ${to.name}: ${describe(heard)}`,
    );
    if (answer !== undefined) {
      this.#batch = undefined;
      this.#leader = to;
      this.acknowledgedCount += 1;
      this.#sequence += batch.contents.length;
      this.#note(batch, "ok", answer.baseOffset);
      return true;
    }
    this.#leader = heard.kind === "refusal" ? this.#leaderOf(heard.error) : undefined;
    if (heard.kind === "refusal") this.#checkRefusal(heard.error, batch);
    const isUnknown = heard.kind === "silence" || (heard.kind === "refusal" && outcomeOf(heard.error) === "unknown");
    if (isUnknown) {
      batch.isInDoubt = true;
      this.unknownCount += 1;
    } else this.refusedCount += 1;
    // A plain producer doesn't send again what may be there; it goes on with something else.
    if (!this.#isIdempotent) this.#forgetBatch();
    return false;
  }

  #leaderOf({ details }: ProglogError): Machine | undefined {
    const address = details["leaderRpcAddr"];
    return this.#world.machines.find((machine) => machine.address === address);
  }

  /** One batch at a time, each until it is there: no log may take it for one that is out of order. */
  #checkRefusal(error: ProglogError, batch: Batch): void {
    const { code } = error;
    const isWrong =
      code === "OUT_OF_ORDER_SEQUENCE" ||
      code === "DUPLICATE_SEQUENCE" ||
      code === "PRODUCER_FENCED" ||
      code === "INVALID_BATCH";
    if (isWrong) throw new Violation("I12", `${batch.contents.join(" ")} is refused: ${error.message}`);
  }

  async #read(at: PartitionHistory, kind: "latest" | "stream" | "shown"): Promise<void> {
    const world = this.#world;
    const to = this.#random.pick(world.machines);
    const isFromStart = this.#random.chance(0.3);
    const isBounded = kind !== "latest" && this.#random.chance(0.3);
    const backBy = this.#random.integer(30);
    const invokedMs = world.nowMs;
    const stream = this.#streamOffset;
    const heard = await world.ask(to, readTimeoutMs, async (node) => {
      const topic = node.getTopic(at.topic);
      if (topic.partitions[at.partition]?.uuid !== at.uuid) return undefined;
      const replica = node.getReplicaOf(topic, at.partition);
      if (kind === "latest") await replica.confirm();
      const { logStartOffset, highWatermark } = replica.range();
      const chosen = isFromStart ? logStartOffset : Math.max(logStartOffset, highWatermark - backBy);
      const from = kind === "stream" ? (stream ?? chosen) : chosen;
      const read = await replica.read(from, { limit: isBounded ? 5 : 100_000, maxBytes: 64 * MiB });
      const records = read.records.map(({ offset, value }) => ({ offset, content: contentOf(value) }));
      return { from, records, isWhole: !isBounded && read.nextOffset >= highWatermark };
    });
    const answer = heard.kind === "answer" ? heard.answer : undefined;
    world.note(21, this.id, to.ordinal, answer?.from ?? -1, answer?.records.length ?? -1);
    world.tell(
      () =>
        `client ${this.id} reads ${kind} of ${at.topic}/${at.partition} by ${to.name}: ${answer === undefined ? describe(heard) : `${answer.records.length} from ${answer.from}`}`,
    );
    // What it was to read next is trimmed: it begins another stream.
    const start =
      heard.kind === "refusal" && isCode(heard.error, "OFFSET_OUT_OF_RANGE") ? heard.error.details["logStartOffset"] : 0;
    if (stream !== undefined && typeof start === "number" && start > stream) {
      this.#streamOffset = undefined;
      this.#streams += 1;
    }
    if (answer === undefined) return;
    this.readCount += 1;
    const { from, records, isWhole } = answer;
    if (kind === "stream") this.#streamOffset = (records.at(-1)?.offset ?? from - 1) + 1;
    at.reads.push({
      kind: "read",
      stream:
        kind === "stream" ? `${this.id}/${this.#visits}/s${this.#streams}` : `${this.id}/${this.#visits}/${at.reads.length}`,
      ...{ from, invokedMs, returnedMs: world.nowMs, records, isLatest: kind === "latest" && isWhole },
    });
  }

  #nextBatch(): Batch {
    const count = this.#random.chance(0.8) ? 1 : 1 + this.#random.integer(5);
    const contents = Array.from({ length: count }, () => {
      this.#count += 1;
      return `c${this.id}-${this.#count}`;
    });
    const records = contents.map((content) => {
      return { value: `${content} ${"x".repeat(this.#random.integer(this.#world.settings.valueMaxBytes))}` };
    });
    const now = Math.floor(this.#world.nowMs) + 1_760_000_000_000;
    // A producer of its own for each stay: it never comes back to what it left in doubt.
    const producerId = this.id * 1_000_000 + this.#visits;
    const producer = this.#isIdempotent ? { producerId, producerEpoch: 0, baseSequence: this.#sequence } : {};
    const bytes = encodeBatch(records, { now, ...producer });
    return { contents, bytes, invokedMs: this.#world.nowMs, isInDoubt: false };
  }
}

export function contentOf(value: Buffer | null): string {
  const text = value?.toString("latin1") ?? "";
  return text.slice(0, text.indexOf(" "));
}

function describe<Answer>(heard: Heard<Answer>): string {
  if (heard.kind === "refusal") return `${heard.error.code}: ${heard.error.message}`;
  return heard.kind === "answer" ? JSON.stringify(heard.answer) : heard.kind;
}

export function isCode(error: unknown, ...codes: readonly string[]): boolean {
  return isProglogError(error) && codes.includes(error.code);
}

export type { SeenRecord };
