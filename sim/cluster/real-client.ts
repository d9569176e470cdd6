import { isProglogError } from "../../src/base/error.ts";
import { outcomeOf } from "../../src/client/append-error.ts";
import { Client } from "../../src/client/client.ts";
import type { Producer } from "../../src/client/producer.ts";
import type { EventQueue } from "../event-queue.ts";
import { NodeClock } from "../node-clock.ts";
import type { SeededRandom } from "../random.ts";
import { Violation } from "../violation.ts";
import { ClientWire, type ClientWireWorld } from "./client-wire.ts";
import { isOwnFault } from "./cluster-checks.ts";
import { contentOf, isCode } from "./cluster-client.ts";
import type { Machine } from "./machine.ts";
import type { PartitionHistory } from "./partition-history.ts";

export interface RealClientWorld extends ClientWireWorld {
  readonly nowMs: number;
  readonly queue: EventQueue;
  readonly machines: readonly Machine[];
  readonly partitions: readonly PartitionHistory[];
  readonly settings: { readonly thinkMs: number; readonly valueMaxBytes: number };
  after(delayMs: number, run: () => void): void;
  note(...numbers: readonly number[]): void;
  tell(words: () => string): void;
}

/** For so many sends it stays at a partition. */
const stayMeanCount = 40;

/** Long enough for most faults to pass, and short enough that some records are given up. */
const deliveryTimeoutMs = 20_000;

/**
 * A user of the client library: sends records to a partition without waiting for one before the next, and reads them back. The library
 * finds out who leads, and sees to it that nothing is there twice, or in another order, or left out.
 */
export class RealClient {
  readonly id: number;
  readonly #world: RealClientWorld;
  readonly #random: SeededRandom;
  readonly #client: Client;
  #stay: Stay | undefined;
  #stays = 0;
  #count = 0;
  #isStopped = false;
  #pendingCount = 0;
  acknowledgedCount = 0;
  unknownCount = 0;
  refusedCount = 0;
  readCount = 0;

  constructor(world: RealClientWorld, random: SeededRandom, id: number) {
    this.#world = world;
    this.#random = random;
    this.id = id;
    const addresses = world.machines.map(({ address }) => address);
    this.#client = new Client(addresses, {
      connect: (address) => new ClientWire(world, address),
      clock: new NodeClock(world.queue, { timersFollow: true }),
      random: random.fork("client"),
    });
  }

  /** Something that it sent isn't decided. */
  get isAsking(): boolean {
    return this.#pendingCount > 0;
  }

  start(): void {
    this.#think();
  }

  /** It sends nothing further by itself, and reads on. */
  stop(): void {
    this.#isStopped = true;
  }

  /** True when one more record is acknowledged. */
  async appendTo(at: PartitionHistory): Promise<boolean> {
    const stay = this.#stay?.at === at ? this.#stay : this.#move(at);
    return this.#send(stay);
  }

  /** What it reads and hasn't come to yet of what it was told is there; undefined when it is up to date. */
  findLag(): string | undefined {
    const stay = this.#stay;
    if (stay === undefined || stay.isReadingOver || stay.nextOffset > stay.lastOffset) return undefined;
    return `client ${this.id} reads ${nameOf(stay.at)} at ${stay.nextOffset}, and ${stay.lastOffset} is acknowledged`;
  }

  /** Everything it has open ends. */
  async close(): Promise<void> {
    this.#stay?.reading.abort();
    await this.#client.close();
  }

  #think(): void {
    const { settings } = this.#world;
    this.#world.after(-Math.log(1 - this.#random.float()) * settings.thinkMs, () => {
      if (this.#isStopped) return;
      this.#act();
      this.#think();
    });
  }

  #act(): void {
    const { partitions } = this.#world;
    const isGone = this.#stay === undefined || !partitions.includes(this.#stay.at);
    if (partitions.length === 0) return;
    const stay =
      this.#stay === undefined || isGone || this.#random.chance(1 / stayMeanCount)
        ? this.#move(this.#random.pick(partitions))
        : this.#stay;
    const count = this.#random.chance(0.8) ? 1 : 1 + this.#random.integer(5);
    for (let left = count; left > 0; left -= 1) this.#send(stay).catch(this.#world.failed);
  }

  #move(at: PartitionHistory): Stay {
    const before = this.#stay;
    before?.reading.abort();
    // What it holds goes out first.
    before?.producer.close().catch(this.#world.failed);
    this.#stays += 1;
    const producer = this.#client.producer({ topic: at.topic, partition: at.partition, deliveryTimeoutMs });
    const stay: Stay = {
      ...{ at, producer, name: `r${this.id}/${this.#stays}`, reading: new AbortController() },
      ...{ sentCount: 0, toldCount: 0, lastOffset: -1, nextOffset: 0, isReadingOver: false },
    };
    this.#stay = stay;
    this.#read(stay).catch(this.#world.failed);
    return stay;
  }

  async #send(stay: Stay): Promise<boolean> {
    const world = this.#world;
    this.#count += 1;
    stay.sentCount += 1;
    const number = stay.sentCount;
    const content = `r${this.id}-${this.#count}`;
    const value = `${content} ${"x".repeat(this.#random.integer(world.settings.valueMaxBytes))}`;
    const { at } = stay;
    const append = { kind: "append", client: `r${this.id}`, contents: [content], invokedMs: world.nowMs } as const;
    this.#pendingCount += 1;
    try {
      const { offset } = await stay.producer.send({ value });
      world.note(40, this.id, this.#count, offset);
      world.tell(() => `client r${this.id} has ${content} at ${offset} of ${nameOf(at)}`);
      at.appends.push({ ...append, returnedMs: world.nowMs, outcome: "ok", baseOffset: offset });
      // Told in the order in which they were sent, since they lie in that order.
      if (number < stay.toldCount || offset <= stay.lastOffset)
        throw new Violation("ORDER", `${content} is at ${offset} of ${nameOf(at)}, behind what was sent after it`);
      stay.toldCount = number;
      stay.lastOffset = offset;
      this.acknowledgedCount += 1;
      return true;
    } catch (error) {
      if (!isProglogError(error) || isOwnFault(error)) throw error;
      if (isCode(error, "OUT_OF_ORDER_SEQUENCE", "DUPLICATE_SEQUENCE", "PRODUCER_FENCED", "INVALID_BATCH"))
        throw new Violation("I12", `${content} is refused: ${error.message}`);
      const isUnknown = outcomeOf(error) === "unknown";
      world.note(41, this.id, this.#count, isUnknown ? 1 : 0);
      world.tell(() => `client r${this.id} doesn't get ${content} into ${nameOf(at)}: ${String(error)}`);
      at.appends.push({ ...append, returnedMs: world.nowMs, outcome: isUnknown ? "info" : "fail" });
      if (isUnknown) this.unknownCount += 1;
      else this.refusedCount += 1;
      return false;
    } finally {
      this.#pendingCount -= 1;
    }
  }

  /** From the first record on, or from where the partition ends, and then for as long as it stays there. */
  async #read(stay: Stay): Promise<void> {
    const world = this.#world;
    const { at, name: stream, reading } = stay;
    const { signal } = reading;
    const from = this.#random.pick(["start", "end"] as const);
    const readFrom = this.#random.pick(["leader", "follower"] as const);
    let invokedMs = world.nowMs;
    let isPlaced = false;
    try {
      for await (const { offset, value } of this.#client.consume({
        ...{ topic: at.topic, partition: at.partition, from, readFrom, signal },
        onConnected: ({ nextOffset }) => {
          if (!isPlaced) stay.nextOffset = nextOffset;
          isPlaced = true;
        },
      })) {
        world.note(42, this.id, offset);
        // Where it begins is where it was said to, and each goes on where the one before ended.
        const records = [{ offset, content: contentOf(value) }];
        at.reads.push({
          kind: "read",
          stream,
          from: stay.nextOffset,
          invokedMs,
          returnedMs: world.nowMs,
          records,
          isLatest: false,
        });
        this.readCount += 1;
        stay.nextOffset = offset + 1;
        invokedMs = world.nowMs;
      }
    } catch (error) {
      if (!isProglogError(error) || isOwnFault(error)) throw error;
      if (isCode(error, "UNDECODABLE_BATCH")) throw new Violation("I10", `${stream} can't read: ${error.message}`);
      world.tell(() => `client r${this.id} doesn't read ${nameOf(at)} any more: ${String(error)}`);
      // Retention has overtaken it, its topic is gone, or nobody could be reached for too long.
      const isAllowed = isCode(error, "OFFSET_OUT_OF_RANGE", "TOPIC_NOT_FOUND", "PARTITION_NOT_FOUND", "CANCELLED");
      if (!isAllowed && !signal.aborted) world.note(43, this.id);
    }
    stay.isReadingOver = true;
  }
}

/** A producer and a reader at one partition. */
interface Stay {
  readonly at: PartitionHistory;
  readonly producer: Producer;
  readonly name: string;
  readonly reading: AbortController;
  sentCount: number;
  /** Of the record that was acknowledged last: which it was, and where it is. */
  toldCount: number;
  lastOffset: number;
  /** Of the record that is read next. */
  nextOffset: number;
  isReadingOver: boolean;
}

function nameOf({ topic, partition }: PartitionHistory): string {
  return `${topic}/${partition}`;
}
