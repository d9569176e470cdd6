import type { ServerResponse } from "node:http";
import { setImmediate } from "node:timers/promises";
import { isProglogError } from "../base/error.ts";
import { tailUnsentMaxBytes } from "../base/limits.ts";
import type { Replica } from "../replica/replica.ts";
import { toProblem } from "../wire/problem.ts";
import { formatTailPosition } from "../wire/tail-position.ts";
import type { TailFormat } from "./tail-format.ts";
import type { TailReads } from "./tail-reads.ts";

/**
 * A live tail: what lies in its partitions, and then what comes, until its client goes away or the tail is ended.
 *
 * It holds no records. What its client hasn't taken lies in the connection, up to a bound; then the rest of what was read is forgotten,
 * and read again when there is room. While nothing comes it is a promise in each partition's log: no timer, nothing that looks again.
 */
export class Tail {
  readonly #options: TailOptions;
  readonly #answer: ServerResponse;
  /** In each partition, where to go on. */
  readonly #nextOffsets: Map<number, number>;
  readonly #gone = new AbortController();
  #room: PromiseWithResolvers<void> | undefined;
  /** Nothing was sent since the last heartbeat. */
  #isQuiet = false;

  constructor(options: TailOptions) {
    this.#options = options;
    this.#answer = options.answer;
    this.#nextOffsets = new Map(options.starts.map(({ replica, nextOffset }) => [replica.identity.partition, nextOffset]));
    this.#answer.on("drain", () => this.#wake());
    this.#answer.once("close", () => {
      this.#gone.abort();
      this.#wake();
    });
  }

  /** Handed to the connection and not sent yet. */
  get unsentBytes(): number {
    return this.#answer.writableLength;
  }

  /** Begins. The answer's head must be set, but for its media type. */
  start(retryMs: number): void {
    const { format, starts } = this.#options;
    this.#answer.setHeader("content-type", format.mediaType);
    this.#answer.flushHeaders();
    this.#send(format.hello(this.#id(), retryMs));
    for (const { replica } of starts) void this.#follow(replica);
  }

  /** Says that it is there, unless it said something lately or its client doesn't listen. */
  beat(): void {
    if (this.#isQuiet && this.unsentBytes === 0 && !this.#isOver) this.#send(this.#options.format.heartbeat);
    this.#isQuiet = true;
  }

  /** Ends it, with the reason as its last words. A client that hasn't taken what it has is cut off: it would keep us waiting. */
  end(reason: unknown): void {
    if (this.#isOver) return;
    this.#gone.abort();
    if (this.unsentBytes > 0) this.#answer.destroy();
    else this.#answer.end(this.#options.format.problem(toProblem(reason)));
  }

  get #isOver(): boolean {
    return this.#gone.signal.aborted;
  }

  /** Never rejects. */
  async #follow(replica: Replica): Promise<void> {
    const { signal } = this.#gone;
    try {
      while (!signal.aborted) {
        const quota = this.#options.whenAllowed(signal);
        if (quota !== undefined) await quota;
        const isMore = await this.#sendNext(replica);
        if (signal.aborted) return;
        if (this.unsentBytes >= tailUnsentMaxBytes) await this.#roomMade();
        else if (isMore) await setImmediate();
        else await replica.waitForOffset(this.#nextOffsetOf(replica), signal);
      }
    } catch (error) {
      this.end(error);
    }
  }

  /** Sends what one read gives, as far as there is room. Whether there is more to be read. */
  async #sendNext(replica: Replica): Promise<boolean> {
    const { reads, format } = this.#options;
    const { partition } = replica.identity;
    const offset = this.#nextOffsetOf(replica);
    let read;
    try {
      read = await reads.read(replica, offset);
    } catch (error) {
      const toOffset = findTrimmedTo(error, offset);
      if (toOffset === undefined) throw error;
      this.#nextOffsets.set(partition, toOffset);
      this.#send(format.gap({ partition, fromOffset: offset, toOffset }, this.#id()));
      return true;
    }
    let text = "";
    for (const { offset: lineOffset, json } of read.lines) {
      if (this.#isOver) return false;
      this.#nextOffsets.set(partition, lineOffset + 1);
      text += format.record(json, this.#id());
      if (text.length < pieceLength) continue;
      this.#send(text);
      text = "";
      if (this.unsentBytes >= tailUnsentMaxBytes) return true;
    }
    if (text !== "") this.#send(text);
    this.#nextOffsets.set(partition, read.nextOffset);
    return read.nextOffset < read.highWatermark;
  }

  #send(text: string): void {
    if (text === "" || this.#isOver) return;
    const bytes = Buffer.from(text);
    this.#isQuiet = false;
    this.#options.onSent(bytes.length);
    this.#answer.write(bytes);
  }

  #id(): string {
    const position = new Map([...this.#nextOffsets].map(([partition, nextOffset]) => [partition, nextOffset - 1]));
    return formatTailPosition(position, { isAlone: this.#options.isAlone });
  }

  #nextOffsetOf(replica: Replica): number {
    return this.#nextOffsets.get(replica.identity.partition) ?? 0;
  }

  /** Resolves when the connection has sent all that it was handed, or is gone. */
  #roomMade(): Promise<void> {
    this.#room ??= Promise.withResolvers<void>();
    return this.#room.promise;
  }

  #wake(): void {
    this.#room?.resolve();
    this.#room = undefined;
  }
}

export interface TailOptions {
  readonly answer: ServerResponse;
  readonly format: TailFormat;
  readonly reads: TailReads;
  readonly starts: readonly TailStart[];
  /** Its topic has one partition, which needn't be named. */
  readonly isAlone: boolean;
  readonly onSent: (bytes: number) => void;
  /** Resolves when its client may have more of the node, or `signal` aborts; undefined when that is now. */
  readonly whenAllowed: (signal: AbortSignal) => Promise<void> | undefined;
}

export interface TailStart {
  readonly replica: Replica;
  readonly nextOffset: number;
}

/** Where a log starts that was trimmed beyond `offset`; undefined for any other error. */
export function findTrimmedTo(error: unknown, offset: number): number | undefined {
  if (!isProglogError(error, "OFFSET_OUT_OF_RANGE")) return undefined;
  const { logStartOffset } = error.details;
  return typeof logStartOffset === "number" && logStartOffset > offset ? logStartOffset : undefined;
}

/** Characters that are written at once: one write a record would cost more than the record. */
const pieceLength = 16_384;
