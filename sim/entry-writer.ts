import type { Clock } from "../src/base/clock.ts";
import { isProglogError } from "../src/base/error.ts";
import { entryFlags } from "../src/log/frame.ts";
import { type ReplicaLog, storeBytesOf } from "../src/log/replica-log.ts";
import type { StampedEntry } from "../src/log/stamped-entry.ts";
import type { Entry } from "../src/raft/entry.ts";
import { encodeMembership } from "../src/raft/membership-payload.ts";
import type { WriteOrder } from "../src/raft/ready.ts";

/** How long a replica waits that found no room on its disk. */
const retryMs = 500;

/**
 * Carries out write orders, one after the other: what gathers while one is synced goes together in the next. What is still to be
 * written can be read here, so that it is sent to peers while this disk is busy.
 */
export class EntryWriter {
  readonly #log: ReplicaLog;
  readonly #clock: Clock;
  readonly #listener: EntryWriterListener;
  #orders: { readonly order: WriteOrder; readonly entries: readonly StampedEntry[] }[] = [];
  readonly #unwritten = new Map<number, StampedEntry>();
  /** Of what was stamped here and isn't written, in the segment that comes last. */
  #ahead = nothingAhead;
  #lastAppendTime: number;
  #isRunning = false;
  #isEnded = false;

  constructor(log: ReplicaLog, clock: Clock, listener: EntryWriterListener) {
    this.#log = log;
    this.#clock = clock;
    this.#listener = listener;
    this.#lastAppendTime = log.last.appendTime;
  }

  end(): void {
    this.#isEnded = true;
  }

  /** Makes a frame of an entry that this replica proposed, right before it is written: its time and where segments begin are the leader's. */
  stamp(entry: Entry, batch: Buffer | undefined): StampedEntry {
    const { index, term, kind, span, baseOffset, membership } = entry;
    const payload = membership === undefined ? (batch ?? Buffer.alloc(0)) : encodeMembership(membership);
    const bytes = this.#ahead.bytes + storeBytesOf({ payload });
    const isFull = this.#log.isSegmentFull({ ...this.#ahead, bytes, count: this.#ahead.count + 1 });
    const appendTime = Math.max(this.#lastAppendTime, this.#clock.now());
    const stamped = { kind, index, term, span, baseOffset, appendTime, flags: isFull ? entryFlags.beginsSegment : 0, payload };
    this.#noteAhead(stamped);
    return stamped;
  }

  /** `entries` are those of the order. */
  write(order: WriteOrder, entries: readonly StampedEntry[]): void {
    const { truncateTo } = order;
    if (truncateTo !== undefined)
      for (const index of this.#unwritten.keys()) if (index > truncateTo) this.#unwritten.delete(index);
    for (const entry of entries) {
      this.#unwritten.set(entry.index, entry);
      this.#lastAppendTime = Math.max(this.#lastAppendTime, entry.appendTime);
    }
    this.#orders.push({ order, entries });
    if (!this.#isRunning) void this.#run();
  }

  /** Entries from `index` on that are still to be written, one at least if there is one and then no more than `maxBytes`. */
  unwritten(index: number, maxBytes: number): StampedEntry[] {
    const found: StampedEntry[] = [];
    let bytes = 0;
    for (let next = index; ; next += 1) {
      const entry = this.#unwritten.get(next);
      if (entry === undefined) return found;
      bytes += storeBytesOf(entry);
      if (found.length > 0 && bytes > maxBytes) return found;
      found.push(entry);
    }
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      while (this.#orders.length > 0 && !this.#isEnded) await this.#runOrders(this.#orders.splice(0));
    } catch (error) {
      if (!this.#isEnded) this.#listener.failed(error);
    } finally {
      this.#isRunning = false;
    }
  }

  async #runOrders(
    orders: readonly { readonly order: WriteOrder; readonly entries: readonly StampedEntry[] }[],
  ): Promise<void> {
    let gathered: StampedEntry[] = [];
    let generation = 0;
    for (const { order, entries } of orders) {
      const { install, truncateTo } = order;
      if (install !== undefined) throw new Error("a base can't be installed here");
      if (truncateTo !== undefined) {
        await this.#append(gathered, generation);
        gathered = [];
        this.#listener.truncating(truncateTo);
        await this.#retrying(() => this.#log.truncate(truncateTo));
      }
      gathered.push(...entries);
      generation = order.generation;
    }
    await this.#append(gathered, generation);
  }

  async #append(entries: readonly StampedEntry[], generation: number): Promise<void> {
    const last = entries.at(-1);
    if (last !== undefined) {
      await this.#retrying(() => this.#log.append(entries.filter(({ index }) => index > this.#log.last.index)));
      if (this.#isEnded) return;
      for (const entry of entries) if (this.#unwritten.get(entry.index) === entry) this.#unwritten.delete(entry.index);
      if (this.#unwritten.size === 0) this.#ahead = nothingAhead;
      this.#listener.wrote(entries);
    }
    if (generation > 0 && !this.#isEnded) this.#listener.durable({ index: this.#log.durableIndex, generation });
  }

  /** A full disk is waited for, out of the write path; any other failure is final. */
  async #retrying(operation: () => Promise<void>): Promise<void> {
    for (let isStuck = false; ; isStuck = true) {
      try {
        await operation();
        if (isStuck && !this.#isEnded) this.#listener.stuck(false);
        return;
      } catch (error) {
        if (this.#isEnded || !(isProglogError(error, "DISK_FULL") || isProglogError(error, "OVERLOADED"))) throw error;
        if (!isStuck) this.#listener.stuck(true);
      }
      await new Promise<void>((resolve) => void this.#clock.setTimer(retryMs, resolve));
      if (this.#isEnded) throw new Error("the replica has ended");
    }
  }

  #noteAhead(entry: StampedEntry): void {
    const begins = (entry.flags & entryFlags.beginsSegment) !== 0;
    const { bytes, count, isOfNewSegment } = begins ? { bytes: 0, count: 0, isOfNewSegment: true } : this.#ahead;
    this.#ahead = { bytes: bytes + storeBytesOf(entry), count: count + 1, isOfNewSegment };
  }
}

const nothingAhead = { bytes: 0, count: 0, isOfNewSegment: false };

export interface EntryWriterListener {
  truncating(index: number): void;
  wrote(entries: readonly StampedEntry[]): void;
  durable(report: { readonly index: number; readonly generation: number }): void;
  /** There is no room on the disk, or there is again. */
  stuck(isStuck: boolean): void;
  failed(error: unknown): void;
}
