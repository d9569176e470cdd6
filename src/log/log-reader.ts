import type { StoredRecord } from "../batch/record.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { readFirstPieceBytes, readPieceBytes } from "../base/limits.ts";
import { type CheckThere, findEntryOfOffset, readEntry } from "./entry-lookup.ts";
import type { BatchReadOptions, Portion, PortionReadOptions, ReadOptions, StartingPoint, StoredBatch } from "./log.ts";
import { type CursorOptions, LogCursor, type ReadLimit } from "./log-cursor.ts";
import type { LogState } from "./log-state.ts";
import { checkOffset, checkPlace, checkReadable } from "./offset-range.ts";
import { OffsetWaiters } from "./offset-waiters.ts";
import { PieceMemory } from "./piece-memory.ts";
import type { ReadsUnderWay } from "./reads-under-way.ts";
import { checkReadOptions } from "./read-options.ts";
import { RecordIterator } from "./record-iterator.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { checkSeam } from "./seam.ts";
import type { Segment } from "./segments.ts";
import { FrameBatch } from "./stored-batch.ts";
import { closedError } from "./write-failure.ts";

/** The log as its readers have it: by offset, in sequence, from a time on, and waiting for more. */
export class LogReader {
  readonly waiters = new OffsetWaiters();
  readonly #state: LogState;
  readonly #reads: ReadsUnderWay;
  readonly #limit: () => ReadLimit;
  readonly #findPoison: (attempt: string) => ProglogError | undefined;
  readonly #cursors = new Set<LogCursor>();
  readonly #ended = new AbortController();

  constructor(state: LogState, reads: ReadsUnderWay, parts: ReaderParts) {
    this.#state = state;
    this.#reads = reads;
    this.#limit = parts.limit;
    this.#findPoison = parts.findPoison;
  }

  get logStartOffset(): number {
    return this.#state.base.logStartOffset;
  }

  get highWatermark(): number {
    return this.#limit().nextOffset;
  }

  /** Aborted once the log is closed: whatever goes on reading then ends. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** The writer worked off what it had: readers that wait, and those that go on, are told. */
  end(): void {
    this.#ended.abort();
    this.waiters.endAll(closedError("wait any longer"));
  }

  /** To be told when entries behind `index` are being dropped. */
  noteTruncation(index: number, nextOffset: number): void {
    for (const cursor of this.#cursors) cursor.noteTruncation(index, nextOffset);
  }

  async read(offset: number): Promise<StoredRecord> {
    const { context } = this.#state;
    const { frame } = await this.#reads.lookUp(`read offset ${offset}`, (checkThere) => {
      checkReadable("read", offset, this);
      return findEntryOfOffset(context, this.#state.segments.findByOffset(offset), offset, checkThere);
    });
    context.observer.read?.({ bytes: frame.payload.length, batches: 1, appendTime: frame.appendTime });
    const record = new FrameBatch(frame).records().find((candidate) => candidate.offset === offset);
    if (record !== undefined) return record;
    throw new ProglogError(
      "OFFSET_OUT_OF_RANGE",
      `Cannot read offset ${offset}: its record was removed by compaction or repair`,
      {
        details: { offset, logStartOffset: this.logStartOffset, highWatermark: this.highWatermark },
      },
    );
  }

  records(options: ReadOptions): AsyncGenerator<StoredRecord, void, undefined> {
    const { limit = Number.POSITIVE_INFINITY, ...rest } = options;
    let from = 0;
    checkReadOptions(options);
    const batches = async function* (this: LogReader): AsyncGenerator<StoredBatch, void, undefined> {
      from = await this.findOffset(options.from ?? "start");
      yield* this.batches({ ...rest, from });
    };
    return new RecordIterator(batches.call(this), { from: () => from, limit });
  }

  batches(options: BatchReadOptions): AsyncGenerator<StoredBatch, void, undefined> {
    checkReadOptions(options);
    return this.#batches(options);
  }

  async *#batches(options: BatchReadOptions): AsyncGenerator<StoredBatch, void, undefined> {
    for await (const piece of this.#pieces(options)) {
      for (const batch of piece) {
        yield batch;
        // The rest of the piece isn't for who has said that it is enough.
        if (options.signal?.aborted === true || this.ended.aborted) break;
      }
    }
  }

  pieces(options: BatchReadOptions): AsyncGenerator<readonly StoredBatch[], void, undefined> {
    checkReadOptions(options);
    return this.#pieces(options);
  }

  async *#pieces(options: BatchReadOptions): AsyncGenerator<readonly StoredBatch[], void, undefined> {
    for await (const portion of this.#portions(options, undefined)) if (portion.kind === "batches") yield portion.batches;
  }

  portions(options: PortionReadOptions): AsyncGenerator<Portion, void, undefined> {
    checkReadOptions(options);
    return this.#portions(options, options.wholeMaxBytes);
  }

  async *#portions(options: BatchReadOptions, wholeMaxBytes: number | undefined): AsyncGenerator<Portion, void, undefined> {
    const { limit = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY, tail = false } = options;
    // Not both signals as one: that costs more than a short read does, and is held by the process for as long as somebody listens to it.
    const isOver = (): boolean => options.signal?.aborted === true || this.ended.aborted;
    const { observer } = this.#state.context;
    const from = await this.findOffset(options.from ?? "start");
    const memory = options.reusesMemory === true ? new PieceMemory() : undefined;
    const cursor = await this.#openCursor(from, { memory, wholeMaxBytes });
    try {
      let leftBatches = limit;
      let leftBytes = maxBytes;
      const maxPieceBytes = Math.min(options.maxPieceBytes ?? readPieceBytes, readPieceBytes);
      let pieceBytes = Math.min(readFirstPieceBytes, maxBytes, maxPieceBytes);
      while (leftBatches > 0 && leftBytes > 0 && !isOver()) {
        const wantedBytes = Math.max(4096, Math.min(pieceBytes, leftBytes));
        const frames = await this.#reads.run(`read offset ${cursor.nextOffset}`, () => cursor.next(wantedBytes));
        if (frames.length === 0) {
          if (!tail) return;
          await this.#waitToGoOn(cursor.nextOffset, options.signal);
          continue;
        }
        // Pieces grow while a reader goes on: one that wants little isn't made to read much.
        pieceBytes = Math.min(4 * pieceBytes, maxPieceBytes);
        const [first] = frames;
        const large = first && cursor.findLargeBatch(first, this.#runOpen);
        if (large !== undefined) {
          leftBatches -= 1;
          leftBytes -= large.byteLength;
          yield { kind: "large", batch: large };
          continue;
        }
        const piece: StoredBatch[] = [];
        let bytes = 0;
        for (const frame of frames) {
          if (frame.kind !== "data") continue;
          piece.push(new FrameBatch(frame));
          bytes += frame.payload.length;
          if (piece.length >= leftBatches || bytes >= leftBytes) break;
        }
        if (piece.length === 0) continue;
        leftBatches -= piece.length;
        leftBytes -= bytes;
        observer.read?.({ bytes, batches: piece.length, appendTime: piece.at(-1)?.appendTime ?? 0 });
        yield { kind: "batches", batches: piece };
      }
    } catch (error) {
      if (!(tail && isProglogError(error, "LOG_CLOSED"))) throw error;
    } finally {
      this.#cursors.delete(cursor);
    }
    // A tail ends with the log. Who only reads what is there must not take the close for the end.
    if (!tail && this.ended.aborted && options.signal?.aborted !== true) throw closedError("go on reading");
  }

  /** A read outside of a turn of `pieces`: the log may be closed by then. */
  readonly #runOpen = (attempt: string, read: () => Promise<Buffer>): Promise<Buffer> =>
    this.#reads.run(attempt, () => {
      this.#reads.checkOpen(attempt);
      return read();
    });

  async #openCursor(from: number, options: Pick<CursorOptions, "memory" | "wholeMaxBytes">): Promise<LogCursor> {
    let cursor: LogCursor | undefined;
    const drop = (): void => {
      if (cursor !== undefined) this.#cursors.delete(cursor);
    };
    try {
      return await this.#reads.lookUp(`read from offset ${from}`, async (checkThere) => {
        drop();
        checkPlace(from, this);
        cursor = await LogCursor.open(this.#state, this.#limit, from, { ...options, checkThere });
        // From here on it hears of truncations by itself.
        this.#cursors.add(cursor);
        return cursor;
      });
    } catch (error) {
      drop();
      throw error;
    }
  }

  /** Resolves when there is more to read, or when the wait or the log ended: the caller then looks which. */
  async #waitToGoOn(nextOffset: number, signal: AbortSignal | undefined): Promise<void> {
    // The end of the log ends all who wait then; who comes later would wait for ever.
    if (this.highWatermark > nextOffset || this.ended.aborted) return;
    const poison = this.#findPoison(`wait for offset ${nextOffset}`);
    if (poison !== undefined) throw poison;
    try {
      await this.waiters.wait(nextOffset, signal);
    } catch (error) {
      // A tail then simply ends.
      if (!isProglogError(error, "CANCELLED") && !isProglogError(error, "LOG_CLOSED")) throw error;
    }
  }

  async findOffset(from: StartingPoint): Promise<number> {
    this.#reads.checkOpen("find an offset");
    if (from === "start") return this.logStartOffset;
    if (from === "end") return this.highWatermark;
    if (typeof from === "object") {
      const { timestamp } = from;
      if (!Number.isSafeInteger(timestamp)) {
        throw new ProglogError(
          "INVALID_ARGUMENT",
          `Cannot start at timestamp ${timestamp}: it is no whole number of milliseconds`,
        );
      }
      return this.#reads.lookUp(`find the offset of time ${timestamp}`, (checkThere) =>
        this.#findOffsetOfTime(timestamp, checkThere),
      );
    }
    checkPlace(from, this);
    return from;
  }

  /** Segment by segment from the front: clients' clocks are their own, so times needn't rise with offsets. */
  async #findOffsetOfTime(timestamp: number, checkThere: CheckThere): Promise<number> {
    const { context } = this.#state;
    const limit = this.#limit();
    let segment: Segment | undefined = this.#state.segments.at(0);
    for (; segment !== undefined; segment = this.#state.segments.findByIndexAbove(segment.baseIndex)) {
      const range = await segment.findTimeRange(timestamp);
      if (range === undefined) {
        if (segment instanceof SealedSegment) await this.#checkSeam(segment);
        continue;
      }
      const firstIndex = Math.max(range.after + 1, segment.baseIndex);
      if (firstIndex > limit.index) break;
      // By way of its frame: the index is a hint, and one too far would pass over the record that is sought.
      const entry = await readEntry(context, this.#state.segments.findByIndex(firstIndex), firstIndex, checkThere);
      const startOffset = Math.max(entry.baseOffset, this.logStartOffset);
      for await (const batch of this.batches({ from: Math.min(startOffset, limit.nextOffset), reusesMemory: true })) {
        if (batch.maxTimestamp < timestamp) continue;
        const record = batch
          .records()
          .find((candidate) => candidate.timestamp >= timestamp && candidate.offset >= this.logStartOffset);
        if (record !== undefined) return record.offset;
      }
      break;
    }
    return this.highWatermark;
  }

  async #checkSeam(segment: SealedSegment): Promise<void> {
    const { entryCount, nextOffset, storeBytes } = await segment.summary();
    const end = { lastIndex: segment.baseIndex + entryCount - 1, nextOffset, storeBytes };
    checkSeam("find a time", segment, end, this.#state.segments.after(segment));
  }

  async waitForOffset(offset: number, signal: AbortSignal | undefined): Promise<void> {
    checkOffset("wait for", offset);
    const attempt = `wait for offset ${offset}`;
    for (;;) {
      this.#reads.checkOpen(attempt);
      if (this.highWatermark > offset) return;
      const poison = this.#findPoison(attempt);
      if (poison !== undefined) throw poison;
      await this.waiters.wait(offset, signal);
    }
  }
}

export interface ReaderParts {
  /** How far readers may go. */
  readonly limit: () => ReadLimit;
  /** LOG_POISONED for whoever wants to wait for what can't come any more. */
  readonly findPoison: (attempt: string) => ProglogError | undefined;
}
