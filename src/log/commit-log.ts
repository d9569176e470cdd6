import { readBatchHeader } from "../batch/batch-header.ts";
import { checkBatch } from "../batch/check-batch.ts";
import type { Compression } from "../batch/compression.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import type { RecordInput, StoredRecord } from "../batch/record.ts";
import type { Timer } from "../base/clock.ts";
import { type DiskLock, systemErrorCode } from "../base/disk.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { MiB } from "../base/units.ts";
import { type CheckThere, findEntryOfOffset, readEntry } from "./entry-lookup.ts";
import { nextOffsetOf } from "./frame.ts";
import { LogCursor, type ReadLimit } from "./log-cursor.ts";
import type {
  AppendResult,
  Log,
  LogStatus,
  ReadOptions,
  RecoveryReport,
  ScrubReport,
  StartingPoint,
  StoredBatch,
} from "./log.ts";
import type { ResolvedOptions } from "./log-options.ts";
import type { LogState } from "./log-state.ts";
import { LogWriter } from "./log-writer.ts";
import { OffsetWaiters } from "./offset-waiters.ts";
import { RecordIterator } from "./record-iterator.ts";
import { countExpired } from "./retention.ts";
import { scrubSegments } from "./scrub.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { checkSeam } from "./seam.ts";
import type { Segment } from "./segments.ts";
import { FrameBatch } from "./stored-batch.ts";
import { checkBatchStart, planTruncation, truncateBehind } from "./truncation.ts";
import { planTrim, trim } from "./trimming.ts";
import { closedError, diskFailedError, refusalOf } from "./write-failure.ts";

/** A read that begins asks for so much at first; what goes on reads larger pieces. */
const firstPieceBytes = 64 * 1024;

/** The log as its users see it: the writer, the readers and what runs in the background, over one state. */
export class CommitLog implements Log {
  readonly directory: string;
  readonly recovery: RecoveryReport;
  readonly #state: LogState;
  readonly #options: ResolvedOptions;
  readonly #lock: DiskLock | undefined;
  readonly #writer: LogWriter;
  readonly #waiters = new OffsetWaiters();
  readonly #cursors = new Set<LogCursor>();
  readonly #timers = new Set<Timer>();
  readonly #ended = new AbortController();
  readonly #limit = (): ReadLimit => {
    const { durable, last, ceiling } = this.#state;
    return ceiling ?? (this.#options.sync === "always" ? durable : last);
  };
  #sealedBytes: number | undefined;
  #sealedCount = -1;
  #closing: Promise<void> | undefined;
  /** Reads under way: `close` waits for them, so that none opens a file after it. */
  #readCount = 0;
  #onLastRead: (() => void) | undefined;

  constructor(
    state: LogState,
    options: ResolvedOptions,
    parts: { readonly lock: DiskLock | undefined; readonly recovery: RecoveryReport },
  ) {
    this.directory = state.context.directory;
    this.recovery = parts.recovery;
    this.#state = state;
    this.#options = options;
    this.#lock = parts.lock;
    this.#writer = new LogWriter(state, options, {
      progressed: () => this.#waiters.wake(this.highWatermark),
      poisoned: () => this.#waiters.wakeAll(),
    });
    this.#every(options.retentionIntervalMs, "apply retention", () => this.applyRetention());
    if (options.scrubIntervalMs !== undefined) {
      const { scrubBytesPerSecond } = options;
      this.#every(options.scrubIntervalMs, "scrub", async () => {
        await this.scrub({ bytesPerSecond: scrubBytesPerSecond });
      });
    }
  }

  get logStartOffset(): number {
    return this.#state.base.logStartOffset;
  }

  get logEndOffset(): number {
    return this.#state.last.nextOffset;
  }

  get highWatermark(): number {
    return this.#limit().nextOffset;
  }

  async append(
    records: RecordInput | readonly RecordInput[],
    options: { readonly compression?: Compression } = {},
  ): Promise<AppendResult> {
    this.#writer.checkOpen("append");
    const batch = encodeBatch(isList(records) ? records : [records], {
      now: Math.max(0, this.#state.context.clock.now()),
      compression: options.compression ?? this.#options.compression,
      recordMaxBytes: this.#options.recordMaxBytes,
      isShortLived: true,
    });
    // What was packed here need not be walked again; only its size may be more than this log takes.
    if (batch.length > this.#options.batchMaxBytes) throw batchTooLargeError(batch.length, this.#options.batchMaxBytes);
    return this.#writer.append(batch, readBatchHeader(batch));
  }

  async appendBatch(batch: Buffer): Promise<AppendResult> {
    this.#writer.checkOpen("append");
    const { batchMaxBytes, recordMaxBytes } = this.#options;
    const header = checkBatch(batch, { maxBytes: batchMaxBytes, recordMaxBytes });
    return this.#writer.append(batch, header);
  }

  async read(offset: number): Promise<StoredRecord> {
    const { context } = this.#state;
    const { frame } = await this.#lookUp(`read offset ${offset}`, (checkThere) => {
      this.#checkReadable(offset, "read");
      return findEntryOfOffset(context, this.#state.segments.findByOffset(offset), offset, checkThere);
    });
    context.observer.read?.({ bytes: frame.payload.length, batches: 1 });
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

  records(options: ReadOptions = {}): AsyncGenerator<StoredRecord, void, undefined> {
    const { limit = Number.POSITIVE_INFINITY, ...rest } = options;
    let from = 0;
    const batches = async function* (this: CommitLog): AsyncGenerator<StoredBatch, void, undefined> {
      from = await this.findOffset(options.from ?? "start");
      yield* this.batches({ ...rest, from });
    };
    return new RecordIterator(batches.call(this), { from: () => from, limit });
  }

  async *batches(options: ReadOptions = {}): AsyncGenerator<StoredBatch, void, undefined> {
    const { limit = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY, tail = false } = options;
    const signal = options.signal === undefined ? this.#ended.signal : AbortSignal.any([options.signal, this.#ended.signal]);
    const { observer } = this.#state.context;
    const from = await this.findOffset(options.from ?? "start");
    const cursor = await this.#openCursor(from);
    try {
      let leftBatches = limit;
      let leftBytes = maxBytes;
      let pieceBytes = Math.min(firstPieceBytes, maxBytes);
      while (leftBatches > 0 && leftBytes > 0 && !signal.aborted) {
        const wantedBytes = Math.max(4096, Math.min(pieceBytes, leftBytes));
        const frames = await this.#reading(`read offset ${cursor.nextOffset}`, () => cursor.next(wantedBytes));
        if (frames.length === 0) {
          if (!tail) return;
          await this.#waitToGoOn(cursor.nextOffset, signal);
          continue;
        }
        pieceBytes = readPieceGrowth(pieceBytes);
        for (const frame of frames) {
          if (frame.kind !== "data") continue;
          observer.read?.({ bytes: frame.payload.length, batches: 1 });
          yield new FrameBatch(frame);
          leftBatches -= 1;
          leftBytes -= frame.payload.length;
          if (leftBatches <= 0 || leftBytes <= 0) return;
          if (signal.aborted) break;
        }
      }
    } catch (error) {
      if (!(tail && isProglogError(error, "LOG_CLOSED"))) throw error;
    } finally {
      this.#cursors.delete(cursor);
    }
    // A tail ends with the log. Who only reads what is there must not take the close for the end.
    if (!tail && this.#ended.signal.aborted && options.signal?.aborted !== true) throw closedError("go on reading");
  }

  async #openCursor(from: number): Promise<LogCursor> {
    let cursor: LogCursor | undefined;
    const drop = (): void => {
      if (cursor !== undefined) this.#cursors.delete(cursor);
    };
    try {
      return await this.#lookUp(`read from offset ${from}`, async (checkThere) => {
        drop();
        this.#checkPlace(from);
        cursor = await LogCursor.open(this.#state, this.#limit, from, checkThere);
        // From here on it hears of truncations by itself.
        this.#cursors.add(cursor);
        return cursor;
      });
    } catch (error) {
      drop();
      throw error;
    }
  }

  /** Looks something up, and anew when the log was trimmed or truncated under it: what was sought may lie elsewhere, or nowhere. */
  #lookUp<T>(attempt: string, find: (checkThere: CheckThere) => Promise<T>): Promise<T> {
    return this.#reading(attempt, async () => {
      for (;;) {
        if (this.#closing !== undefined) throw closedError(attempt);
        const { truncations, base } = this.#state;
        const isChanged = (): boolean => truncations !== this.#state.truncations || base !== this.#state.base;
        try {
          const found = await find(() => {
            if (isChanged()) throw new Error("what was looked up is to be looked up anew");
          });
          if (!isChanged()) return found;
        } catch (error) {
          if (!isChanged()) throw error;
        }
      }
    });
  }

  /** Counts a read, and makes what the disk throws an error with a code. */
  async #reading<T>(attempt: string, read: () => Promise<T>): Promise<T> {
    this.#readCount += 1;
    try {
      return await read();
    } catch (error) {
      if (isProglogError(error)) throw error;
      if (this.#closing !== undefined) throw closedError(attempt);
      // An index that is built anew needs room.
      const answer = refusalOf(attempt, error);
      throw isProglogError(answer) || systemErrorCode(error) === undefined ? answer : diskFailedError(attempt, error);
    } finally {
      this.#readCount -= 1;
      if (this.#readCount === 0) this.#onLastRead?.();
    }
  }

  /** Resolves when there is more to read, or when the wait ended: the caller then looks at the signal. */
  async #waitToGoOn(nextOffset: number, signal: AbortSignal): Promise<void> {
    if (this.highWatermark > nextOffset) return;
    const poison = this.#writer.findPoison(`wait for offset ${nextOffset}`);
    if (poison !== undefined) throw poison;
    try {
      await this.#waiters.wait(nextOffset, signal);
    } catch (error) {
      // Cancelled or closed: a tail then simply ends.
      if (!isProglogError(error)) throw error;
    }
  }

  async findOffset(from: StartingPoint): Promise<number> {
    if (this.#closing !== undefined) throw closedError("find an offset");
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
      return this.#lookUp(`find the offset of time ${timestamp}`, (checkThere) =>
        this.#findOffsetOfTime(timestamp, checkThere),
      );
    }
    this.#checkPlace(from);
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
      for await (const batch of this.batches({ from: Math.min(startOffset, limit.nextOffset) })) {
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

  async waitForOffset(offset: number, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkOffset(offset, "wait for");
    for (;;) {
      if (this.#closing !== undefined) throw closedError(`wait for offset ${offset}`);
      if (this.highWatermark > offset) return;
      const poison = this.#writer.findPoison(`wait for offset ${offset}`);
      if (poison !== undefined) throw poison;
      await this.#waiters.wait(offset, options.signal);
    }
  }

  async truncate(offset: number): Promise<void> {
    checkOffset(offset, "truncate at");
    await this.#writer.exclusively(`truncate at offset ${offset}`, async () => {
      const { context, segments, last } = this.#state;
      if (offset < this.logStartOffset || offset > last.nextOffset)
        throw this.#outOfRange(offset, "truncate at", last.nextOffset);
      if (offset === last.nextOffset) return;
      await this.#writer.syncNow();
      const plan = await this.#reading(`truncate at offset ${offset}`, async () => {
        const { location, frame } = await findEntryOfOffset(context, segments.findByOffset(offset), offset);
        checkBatchStart(offset, location, nextOffsetOf(frame));
        return planTruncation(this.#state, location.index - 1);
      });
      await this.#writer.prepareChange();
      const keepIndex = plan.entries.last.index;
      try {
        // Told before and after: a piece being read while the files change is read again, or refused.
        for (const cursor of this.#cursors) cursor.noteTruncation(keepIndex, offset);
        await truncateBehind(this.#state, plan);
        for (const cursor of this.#cursors) cursor.noteTruncation(keepIndex, offset);
      } catch (error) {
        // Whatever it was, the files are half changed now; opening the log again finishes it.
        throw new Error(`the truncation stopped half-way: ${String(error)}`, { cause: error });
      } finally {
        // A tail that waits behind the new end would otherwise sleep until the log has grown past it again.
        this.#waiters.wakeAll();
      }
      this.#sealedBytes = undefined;
    });
  }

  async trim(offset: number): Promise<void> {
    checkOffset(offset, "trim to");
    await this.#writer.exclusively(`trim to offset ${offset}`, async () => {
      const end = this.#limit().nextOffset;
      if (offset > end) throw this.#outOfRange(offset, "trim to", end);
      // A trim that a full disk stopped after its first base record has moved the start, and removed nothing yet.
      const isUnfinished = this.#state.segments.at(0).baseIndex <= this.#state.base.baseIndex;
      if (offset > this.logStartOffset || isUnfinished) await this.#trim(Math.max(offset, this.logStartOffset));
    });
  }

  /** Inside `exclusively`. */
  async #trim(offset: number): Promise<void> {
    const { active } = this.#state.segments;
    // Nothing of the active segment is needed any more: it is sealed, so that it can go as well.
    if (offset === active.last.nextOffset && active.entryCount > 0) await this.#writer.rollNow();
    else {
      // The log start is durable at once; the records it is moved up to must not be less so.
      await this.#writer.syncNow();
      await this.#writer.prepareChange();
    }
    const plan = await this.#reading(`trim to offset ${offset}`, async () => planTrim(this.#state, offset));
    const trimmed = await trim(this.#state, plan);
    this.#sealedBytes = undefined;
    this.#state.context.observer.trimmed?.({ ...trimmed, logStartOffset: offset });
  }

  async applyRetention(): Promise<void> {
    this.#writer.checkOpen("apply retention");
    const { retentionMaxBytes, retentionMaxAgeMs } = this.#options;
    if (retentionMaxBytes === Number.POSITIVE_INFINITY && retentionMaxAgeMs === Number.POSITIVE_INFINITY) return;
    await this.#writer.exclusively("apply retention", async () => {
      const { clock } = this.#state.context;
      const { active } = this.#state.segments;
      const now = clock.now();
      if (active.entryCount > 0 && now - active.last.appendTime > retentionMaxAgeMs) await this.#writer.rollNow();
      const { sealed } = this.#state.segments;
      const describe = sealed.map((segment) => () => segment.summary());
      const limits = { maxBytes: retentionMaxBytes, maxAgeMs: retentionMaxAgeMs, now };
      // Nothing is changed by looking: what the disk throws here is an answer, and poisons nothing.
      const expired = await this.#reading("apply retention", () => countExpired(describe, this.#storeBytes(), limits));
      if (expired === 0) return;
      const offset = this.#state.segments.at(expired).baseOffset();
      if (offset > this.#limit().nextOffset) return;
      await this.#trim(Math.max(offset, this.logStartOffset));
    });
  }

  async sync(): Promise<void> {
    await this.#writer.exclusively("sync", () => this.#writer.syncNow());
    this.#waiters.wake(this.highWatermark);
  }

  async scrub(options: { readonly bytesPerSecond?: number; readonly signal?: AbortSignal } = {}): Promise<ScrubReport> {
    if (this.#closing !== undefined) throw closedError("scrub");
    const signal = options.signal === undefined ? this.#ended.signal : AbortSignal.any([options.signal, this.#ended.signal]);
    const limits = { bytesPerSecond: options.bytesPerSecond ?? Number.POSITIVE_INFINITY, signal };
    return this.#reading("scrub", () => scrubSegments(this.#state.context, () => this.#state.segments, limits));
  }

  status(): LogStatus {
    const { base, durable, last, segments } = this.#state;
    return {
      state: this.#writer.condition,
      logStartOffset: this.logStartOffset,
      logEndOffset: this.logEndOffset,
      highWatermark: this.highWatermark,
      firstIndex: Math.max(base.baseIndex, segments.at(0).baseIndex - 1) + 1,
      lastIndex: last.index,
      lastTerm: last.term,
      durableIndex: durable.index,
      segments: segments.count,
      storeBytes: this.#storeBytes(),
      queuedBytes: this.#writer.queuedBytes,
      queuedAppends: this.#writer.queuedAppends,
      indexKind: segments.active.indexKind,
      damages: this.#state.context.damages.count,
    };
  }

  #storeBytes(): number {
    const { context, segments } = this.#state;
    // Sizes are asked for once and summed up: 100,000 segments are as many system calls.
    const sealedCount = segments.sealed.length;
    if (this.#sealedBytes === undefined || this.#sealedCount !== sealedCount) {
      this.#sealedBytes = segments.sealed.reduce((sum, segment) => sum + (context.disk.size(segment.storePath) ?? 0), 0);
      this.#sealedCount = sealedCount;
    }
    return this.#sealedBytes + segments.active.store.end;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    try {
      await this.#writer.close();
    } finally {
      this.#ended.abort();
      this.#waiters.endAll(closedError("wait any longer"));
      if (this.#readCount > 0) await new Promise<void>((resolve) => (this.#onLastRead = resolve));
      this.#state.context.openFiles.forgetAll(`${this.directory}/`);
      this.#lock?.release();
    }
  }

  /** Runs `work` every so often, one run at a time. */
  #every(intervalMs: number, attempt: string, work: () => Promise<void>): void {
    const { clock, logger } = this.#state.context;
    const timer = clock.setTimer(intervalMs, () => {
      this.#timers.delete(timer);
      if (this.#closing !== undefined || this.#writer.condition !== "open") return;
      void work()
        .catch((error: unknown) => logger.error({ error, directory: this.directory }, `could not ${attempt}`))
        .finally(() => {
          if (this.#closing === undefined) this.#every(intervalMs, attempt, work);
        });
    });
    this.#timers.add(timer);
  }

  /** A place to begin at: a readable offset, or the end. */
  #checkPlace(offset: number): void {
    if (offset !== this.highWatermark) this.#checkReadable(offset, "read from");
  }

  #checkReadable(offset: number, attempt: string): void {
    checkOffset(offset, attempt);
    if (offset < this.logStartOffset || offset >= this.highWatermark)
      throw this.#outOfRange(offset, attempt, this.highWatermark);
  }

  #outOfRange(offset: number, attempt: string, end: number): ProglogError {
    const { logStartOffset, highWatermark } = this;
    const because =
      logStartOffset === end
        ? `the log is empty, and its next offset is ${end}`
        : offset < logStartOffset
          ? `the log starts at ${logStartOffset}`
          : `the log ends at ${end}`;
    return new ProglogError("OFFSET_OUT_OF_RANGE", `Cannot ${attempt} offset ${offset}: ${because}`, {
      details: { offset, logStartOffset, highWatermark },
    });
  }
}

function batchTooLargeError(byteLength: number, maxBytes: number): ProglogError {
  return new ProglogError("BATCH_TOO_LARGE", `Cannot append a batch of ${byteLength} bytes: ${maxBytes} are allowed`, {
    hint: "Append fewer records at a time.",
  });
}

function isList(records: RecordInput | readonly RecordInput[]): records is readonly RecordInput[] {
  return Array.isArray(records);
}

function checkOffset(offset: number, attempt: string): void {
  if (Number.isSafeInteger(offset) && offset >= 0) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt} offset ${offset}: it is no whole number from 0 to 2^53-1`);
}

/** Pieces grow while a reader goes on: one that wants little isn't made to read much. */
function readPieceGrowth(pieceBytes: number): number {
  return Math.min(4 * pieceBytes, 1 * MiB);
}
