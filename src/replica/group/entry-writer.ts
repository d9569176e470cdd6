import type { Clock } from "../../base/clock.ts";
import { isProglogError } from "../../base/error.ts";
import { diskFullRetryMs } from "../../base/cluster-limits.ts";
import { entryFlags } from "../../log/frame.ts";
import { type ReplicaLog, storeBytesOf } from "../../log/replica-log.ts";
import type { StampedEntry } from "../../log/stamped-entry.ts";
import type { Entry } from "../../raft/entry.ts";
import { encodeMembership } from "../../raft/membership-payload.ts";
import type { WriteOrder } from "../../raft/ready.ts";
import type { UnsyncedAccount } from "./unsynced-bytes.ts";

/**
 * Carries out write orders, one after the other: what gathers while one is synced goes together in the next. What is still to be
 * written can be read here, so that it is sent to peers while this disk is busy.
 *
 * A full disk is waited for, and so is the repair of what a truncation has to read. Any other failure ends the writing for good: what was handed over stays readable, since a leader that
 * goes has to bring its heir up to date, and nothing is reported durable any more.
 */
export class EntryWriter {
  readonly #log: ReplicaLog;
  readonly #clock: Clock;
  readonly #turn: WriteTurn;
  readonly #listener: EntryWriterListener;
  readonly #unsynced: UnsyncedAccount | undefined;
  #orders: PendingOrder[] = [];
  /** Truncations, and logs to be installed. */
  #pendingChanges = 0;
  readonly #unwritten = new Map<number, UnwrittenEntry>();
  /** Of what was stamped here and isn't written, in the segment that comes last. */
  #ahead = nothingAhead;
  /** The latest time that was given away, and the latest that is on an entry. */
  #lastAppendTime: number;
  #stampedTime: number;
  #isRunning = false;
  #state: "open" | "out" | "ended" = "open";

  constructor(
    log: ReplicaLog,
    clock: Clock,
    turn: WriteTurn,
    listener: EntryWriterListener,
    unsynced: UnsyncedAccount | undefined,
  ) {
    this.#unsynced = unsynced;
    this.#log = log;
    this.#clock = clock;
    this.#turn = turn;
    this.#listener = listener;
    this.#lastAppendTime = log.last.appendTime;
    this.#stampedTime = log.last.appendTime;
  }

  /** Nothing is written any more. */
  end(): void {
    this.#state = "ended";
    this.#unsynced?.end();
  }

  /** The writing has ended by a failure. */
  get isOut(): boolean {
    return this.#state === "out";
  }

  /** Whether the log, as it is written, is that of the core up to `index`, and has nothing of another. */
  hasWritten(index: number): boolean {
    return this.#pendingChanges === 0 && this.#log.last.index >= index;
  }

  /** The latest time that an entry got. */
  get lastAppendTime(): number {
    return this.#lastAppendTime;
  }

  /** The time that an entry gets which is proposed now: none before it in the log has a later one. */
  nextAppendTime(): number {
    this.#lastAppendTime = Math.max(this.#lastAppendTime, this.#clock.now());
    return this.#lastAppendTime;
  }

  /** Makes a frame of an entry that this replica proposed, right before it is handed over: where segments begin is the leader's. */
  stamp(entry: Entry, content: EntryContent | undefined): StampedEntry {
    const { index, term, kind, span, baseOffset, membership } = entry;
    const payload = membership === undefined ? (content?.payload ?? Buffer.alloc(0)) : encodeMembership(membership);
    const bytes = this.#ahead.bytes + storeBytesOf({ payload });
    const begins =
      content?.beginsSegment === true || this.#log.isSegmentFull({ ...this.#ahead, bytes, count: this.#ahead.count + 1 });
    // What was proposed earlier has an earlier time, and comes first.
    const appendTime = Math.max(this.#stampedTime, content?.appendTime ?? this.nextAppendTime());
    this.#stampedTime = appendTime;
    const stamped = { kind, index, term, span, baseOffset, appendTime, flags: begins ? entryFlags.beginsSegment : 0, payload };
    this.#noteAhead(stamped);
    return stamped;
  }

  /** `entries` are those of the order. */
  write(order: WriteOrder, entries: readonly StampedEntry[]): void {
    const { install, truncateTo } = order;
    // Of the log that goes nothing is written or sent any more.
    if (install !== undefined) this.#unwritten.clear();
    if (truncateTo !== undefined)
      for (const index of this.#unwritten.keys()) if (index > truncateTo) this.#unwritten.delete(index);
    for (const entry of entries) {
      this.#unwritten.set(entry.index, { entry, frame: undefined });
      this.#lastAppendTime = Math.max(this.#lastAppendTime, entry.appendTime);
      this.#stampedTime = Math.max(this.#stampedTime, entry.appendTime);
    }
    if (this.#state !== "open") return;
    this.#unsynced?.take(bytesOf(entries));
    if (install !== undefined) this.#pendingChanges += 1;
    if (truncateTo !== undefined) this.#pendingChanges += 1;
    this.#orders.push({ order, entries });
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  /** Frames from entry `index` on that are still to be written, one at least if there is one and then no more than `maxBytes`. */
  unwritten(index: number, maxBytes: number): { readonly entry: StampedEntry; readonly frame: Buffer }[] {
    const found: { entry: StampedEntry; frame: Buffer }[] = [];
    let bytes = 0;
    for (let next = index; ; next += 1) {
      const unwritten = this.#unwritten.get(next);
      if (unwritten === undefined) return found;
      const { entry } = unwritten;
      bytes += storeBytesOf(entry);
      if (found.length > 0 && bytes > maxBytes) return found;
      // The same for every peer.
      unwritten.frame ??= this.#log.encodeForPeer(entry);
      found.push({ entry, frame: unwritten.frame });
    }
  }

  /** What couldn't be written is needed by nobody any more. */
  forget(): void {
    this.#unwritten.clear();
  }

  /** Never rejects: the listener hears of failures. */
  async #run(): Promise<void> {
    try {
      while (this.#orders.length > 0 && this.#state === "open") await this.#runOrders(this.#orders.splice(0));
    } catch (error) {
      this.#orders = [];
      if (this.#state === "open") {
        this.#state = "out";
        this.#unsynced?.end();
        this.#listener.failed(error);
      }
    } finally {
      this.#isRunning = false;
    }
  }

  async #runOrders(orders: readonly PendingOrder[]): Promise<void> {
    let gathered: StampedEntry[] = [];
    let bytes = 0;
    let generation = 0;
    const write = async (): Promise<void> => {
      const entries = gathered;
      gathered = [];
      bytes = 0;
      await this.#append(entries, generation);
    };
    for (const { order, entries } of orders) {
      const { install, truncateTo } = order;
      if (install !== undefined) {
        await write();
        await this.#turn(() => this.#listener.install());
        this.#installed();
      }
      if (truncateTo !== undefined) {
        await write();
        this.#listener.truncating(truncateTo);
        await this.#retrying(() => this.#log.truncate(truncateTo), isRot);
        this.#pendingChanges -= 1;
      }
      for (const entry of entries) {
        if (gathered.length > 0 && bytes + storeBytesOf(entry) > this.#log.groupMaxBytes) await write();
        gathered.push(entry);
        bytes += storeBytesOf(entry);
      }
      // Of a group that ends inside of an order, the report is that of the last order wholly written: an earlier generation says nothing
      // wrong, only less.
      generation = order.generation;
    }
    await write();
  }

  #installed(): void {
    this.#pendingChanges -= 1;
    const { appendTime } = this.#log.last;
    this.#lastAppendTime = Math.max(this.#lastAppendTime, appendTime);
    this.#stampedTime = Math.max(this.#stampedTime, appendTime);
  }

  async #append(entries: readonly StampedEntry[], generation: number): Promise<void> {
    if (entries.length > 0) {
      await this.#retrying(() => this.#log.append(entries.filter(({ index }) => index > this.#log.last.index)));
      this.#unsynced?.give(bytesOf(entries));
      if (this.#hasEnded()) return;
      for (const entry of entries) if (this.#unwritten.get(entry.index)?.entry === entry) this.#unwritten.delete(entry.index);
      if (this.#unwritten.size === 0) this.#ahead = nothingAhead;
      this.#listener.wrote(entries);
    }
    if (generation > 0 && this.#state === "open") this.#listener.durable({ index: this.#log.durableIndex, generation });
  }

  /** A full disk is waited for, out of the write path, and what else is said to pass; any other failure is final. */
  async #retrying(operation: () => Promise<void>, passes: (error: unknown) => boolean = () => false): Promise<void> {
    for (let isStuck = false; ; isStuck = true) {
      try {
        await this.#turn(operation);
        if (isStuck && this.#state === "open") this.#listener.stuck(undefined);
        return;
      } catch (error) {
        if (this.#hasEnded() || !(isPassing(error) || passes(error))) throw error;
        if (!isStuck) this.#listener.stuck(error);
      }
      await new Promise<void>((resolve) => void this.#clock.setTimer(diskFullRetryMs, resolve));
      if (this.#hasEnded()) throw new Error("the replica has ended");
    }
  }

  #hasEnded(): boolean {
    return this.#state === "ended";
  }

  #noteAhead(entry: StampedEntry): void {
    const begins = (entry.flags & entryFlags.beginsSegment) !== 0;
    const { bytes, count, isOfNewSegment } = begins ? { bytes: 0, count: 0, isOfNewSegment: true } : this.#ahead;
    this.#ahead = { bytes: bytes + storeBytesOf(entry), count: count + 1, isOfNewSegment };
  }
}

/** What a proposal becomes, but for its place. */
export interface EntryContent {
  readonly payload: Buffer;
  readonly appendTime: number;
  /** Seals the segment before it, though there is room. */
  readonly beginsSegment?: boolean;
}

/** Lets a write and its sync happen when it is their turn among all groups of the node. */
export type WriteTurn = (write: () => Promise<void>) => Promise<void>;

export interface EntryWriterListener {
  /** What was received is to be put in the place of the log, durably. */
  install(): Promise<void>;
  truncating(index: number): void;
  /** They are in the log, and synced. */
  wrote(entries: readonly StampedEntry[]): void;
  durable(report: { readonly index: number; readonly generation: number }): void;
  /** There is no room on the disk for now, or what is to stay of the log is bad and wants repair (LOG_CORRUPT); or it goes on. */
  stuck(error: unknown): void;
  /** It is over. */
  failed(error: unknown): void;
}

/** Whether it may be tried again, since nothing was done. */
export function isPassing(error: unknown): boolean {
  return isProglogError(error, "DISK_FULL") || isProglogError(error, "OVERLOADED");
}

/** What is to stay of a truncated log is bad somewhere. Nothing has changed, and what is bad is repaired from peers. */
function isRot(error: unknown): boolean {
  return isProglogError(error, "LOG_CORRUPT");
}

function bytesOf(entries: readonly StampedEntry[]): number {
  return entries.reduce((sum, entry) => sum + storeBytesOf(entry), 0);
}

interface PendingOrder {
  readonly order: WriteOrder;
  readonly entries: readonly StampedEntry[];
}

interface UnwrittenEntry {
  readonly entry: StampedEntry;
  /** As it travels, once somebody was sent it. */
  frame: Buffer | undefined;
}

const nothingAhead = { bytes: 0, count: 0, isOfNewSegment: false };
