import { encodeBatch } from "../src/batch/encode-batch.ts";
import type { NodeId } from "../src/raft/member.ts";
import type { AppendRecord, History } from "./history.ts";
import type { ProposeAnswer, ReadAnswer } from "./raft-node.ts";
import type { SeededRandom } from "./random.ts";

/** What clients need of the world. */
export interface ClientWorld {
  readonly nowMs: number;
  readonly nodeIds: readonly NodeId[];
  readonly history: History;
  readonly thinkMs: number;
  readonly valueMaxBytes: number;
  after(delayMs: number, run: () => void): void;
  /** Asks a node, and tells what it answered, or undefined when that didn't come. A question that doesn't arrive says so. */
  ask<Answer>(nodeId: NodeId, timeoutMs: number, question: (node: AskedNode) => Promise<Answer>): Promise<Asked<Answer>>;
  /** A check failed. */
  readonly failed: (error: unknown) => void;
  note(...numbers: readonly number[]): void;
  tell(words: () => string): void;
}

export interface AskedNode {
  propose(batch: Buffer): Promise<ProposeAnswer>;
  readShown(from: number, limit: number): Promise<ReadAnswer | undefined>;
  readLatest(from: number, limit: number): Promise<ReadAnswer | undefined>;
}

export type Asked<Answer> =
  | { readonly outcome: "answered"; readonly answer: Answer }
  /** The node is down: nothing happened. */
  | { readonly outcome: "unreached" }
  /** No answer in time, or the connection broke. */
  | { readonly outcome: "unanswered" };

/** How long a client waits. */
export const appendTimeoutMs = 4_000;
const readTimeoutMs = 500;

/** One client: asks, waits for the answer or gives up, thinks, and asks again. Its name is in all it appends. */
export class Client {
  readonly #world: ClientWorld;
  readonly #random: SeededRandom;
  readonly #id: number;
  readonly #isReader: boolean;
  #leader: NodeId | undefined;
  #sequence = 0;
  /** A batch that was refused, or of which nobody knows: it is asked for again as it is, and is to be there once. */
  #again: { readonly batch: Buffer; readonly sent: AppendRecord } | undefined;
  #isStopped = false;
  #isAsking = false;
  committedCount = 0;

  /** A reader appends nothing while it is by itself. */
  constructor(world: ClientWorld, random: SeededRandom, { id, isReader }: { readonly id: number; readonly isReader: boolean }) {
    this.#world = world;
    this.#random = random;
    this.#id = id;
    this.#isReader = isReader;
  }

  get isAsking(): boolean {
    return this.#isAsking;
  }

  start(): void {
    this.#isStopped = false;
    this.#think();
  }

  /** Asks for nothing more. */
  stop(): void {
    this.#isStopped = true;
  }

  #think(): void {
    this.#world.after(-Math.log(1 - this.#random.float()) * this.#world.thinkMs, () => {
      if (!this.#isStopped && !this.#isAsking) this.#askOnce().catch(this.#world.failed);
    });
  }

  async #askOnce(): Promise<void> {
    this.#isAsking = true;
    const luck = this.#random.float();
    if (luck < 0.7 && !this.#isReader) await this.append();
    else if (luck < 0.85) await this.#read(true);
    else await this.#read(false);
    this.#isAsking = false;
    this.#think();
  }

  /** True when it is acknowledged. */
  async append(): Promise<boolean> {
    const { history, nodeIds } = this.#world;
    const { batch, sent } = this.#again ?? this.#nextAppend();
    this.#again = undefined;
    const { baseSequence } = sent;
    const to = this.#leader !== undefined && this.#random.chance(0.95) ? this.#leader : this.#random.pick(nodeIds);
    const asked = await this.#world.ask(to, appendTimeoutMs, async (node) => {
      const answer = await node.propose(batch);
      if (answer.outcome === "committed") history.acknowledging(sent, answer.baseOffset);
      return answer;
    });
    const heard: ProposeAnswer =
      asked.outcome === "answered"
        ? asked.answer
        : asked.outcome === "unreached"
          ? { outcome: "refused", leader: undefined }
          : { outcome: "unknown" };
    // That this one didn't happen says nothing of the one before.
    const answer: ProposeAnswer = heard.outcome === "refused" && sent.outcome === "unknown" ? { outcome: "unknown" } : heard;
    history.answered(sent, answer.outcome, answer.outcome === "committed" ? answer.baseOffset : undefined);
    this.#world.note(20, this.#id, baseSequence, ["committed", "refused", "unknown"].indexOf(answer.outcome));
    this.#world.tell(() => `client ${this.#id} appended #${baseSequence} by ${to}: ${describeAnswer(answer)}`);
    if (answer.outcome === "committed") {
      this.#leader = to;
      this.committedCount += 1;
      return true;
    }
    this.#leader = heard.outcome === "refused" ? heard.leader : undefined;
    this.#again = { batch, sent };
    return false;
  }

  async #read(isLatest: boolean): Promise<void> {
    const { history, nodeIds } = this.#world;
    const to = this.#random.pick(nodeIds);
    const { knownEnd } = history;
    const from = this.#random.chance(0.2) ? 0 : Math.max(0, knownEnd - this.#random.integer(30));
    const limit = 40;
    const asked = await this.#world.ask(to, readTimeoutMs, (node) =>
      isLatest ? node.readLatest(from, limit) : node.readShown(from, limit),
    );
    const answer = asked.outcome === "answered" ? asked.answer : undefined;
    this.#world.note(21, this.#id, from, answer?.nextOffset ?? -1, answer?.batches.length ?? -1);
    if (answer === undefined) return;
    const isWhole = answer.batches.length < limit;
    this.#world.tell(
      () =>
        `client ${this.#id} read ${isLatest ? "the latest" : "what is shown"} by ${to} from ${from}: up to ${answer.nextOffset}`,
    );
    history.sawRead(to, from, answer, isLatest ? knownEnd : undefined, isWhole);
  }

  #nextAppend(): { readonly batch: Buffer; readonly sent: AppendRecord } {
    const count = this.#random.chance(0.8) ? 1 : 1 + this.#random.integer(5);
    const byteLength = 1 + this.#random.integer(this.#world.valueMaxBytes);
    const value = Buffer.alloc(byteLength, this.#sequence & 0xff);
    const batch = encodeBatch(
      Array.from({ length: count }, () => ({ value })),
      {
        now: Math.floor(this.#world.nowMs),
        producerId: this.#id,
        producerEpoch: 0,
        baseSequence: this.#sequence,
      },
    );
    const crc = batch.readUInt32BE(17);
    const { history, nowMs: invokedMs } = this.#world;
    const sent = history.asked({ producerId: this.#id, baseSequence: this.#sequence, count, crc, invokedMs });
    this.#sequence += count;
    return { batch, sent };
  }
}

function describeAnswer(answer: ProposeAnswer): string {
  if (answer.outcome === "committed") return `at ${answer.baseOffset}`;
  return answer.outcome === "refused" ? `refused, ${answer.leader ?? "nobody known"} leads` : "unknown";
}
