import { readBatchHeader } from "../batch/batch-header.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import type { RecordInput, StoredRecord } from "../batch/record.ts";
import type { DiskLock } from "../base/disk.ts";
import { type AdmittedBatch, admitBatch, checkBatchBytes } from "./admission.ts";
import { checkCondition, producerFields } from "./append-options.ts";
import { BackgroundJobs } from "./background-jobs.ts";
import { Compactor } from "./compactor.ts";
import { findEntryOfOffset } from "./entry-lookup.ts";
import { type ExpiredSegments, findExpired } from "./expired-segments.ts";
import { nextOffsetOf } from "./frame.ts";
import type { ReadLimit } from "./log-cursor.ts";
import type {
  AppendOptions,
  AppendResult,
  BatchReadOptions,
  CompactionReport,
  Log,
  LogChanges,
  LogStatus,
  Portion,
  PortionReadOptions,
  ReadOptions,
  RecoveryReport,
  ScrubReport,
  StartingPoint,
  StoredBatch,
} from "./log.ts";
import { changeOptions } from "./log-changes.ts";
import type { ResolvedOptions } from "./log-options.ts";
import { LogReader } from "./log-reader.ts";
import type { LogState } from "./log-state.ts";
import { LogWriter } from "./log-writer.ts";
import { checkOffset, outOfRangeError } from "./offset-range.ts";
import { checkBound } from "./read-options.ts";
import { ReadsUnderWay } from "./reads-under-way.ts";
import { scrubSegments } from "./scrub.ts";
import { StoreSizes } from "./store-sizes.ts";
import { checkBatchStart, lowerBase, planTruncation, type TruncationPlan, truncateBehind } from "./truncation.ts";
import { planTrim, trim } from "./trimming.ts";
import { closedError } from "./write-failure.ts";

/** The log as its users see it: the writer, the readers and what runs in the background, over one state. */
export class CommitLog implements Log {
  readonly directory: string;
  readonly recovery: RecoveryReport;
  readonly #state: LogState;
  readonly #options: ResolvedOptions;
  readonly #lock: DiskLock | undefined;
  readonly #writer: LogWriter;
  readonly #reads: ReadsUnderWay;
  readonly #reader: LogReader;
  readonly #jobs: BackgroundJobs;
  readonly #storeSizes: StoreSizes;
  readonly #compactor: Compactor;
  readonly #limit = (): ReadLimit => {
    const { durable, last, ceiling, shown } = this.#state;
    return shown ?? ceiling ?? (this.#options.sync === "always" ? durable : last);
  };
  #closing: Promise<void> | undefined;

  constructor(
    state: LogState,
    options: ResolvedOptions,
    parts: { readonly lock: DiskLock | undefined; readonly recovery: RecoveryReport; readonly isReplicas: boolean },
  ) {
    this.directory = state.context.directory;
    this.recovery = parts.recovery;
    this.#state = state;
    this.#options = options;
    this.#lock = parts.lock;
    this.#storeSizes = new StoreSizes(state.context.disk);
    this.#writer = new LogWriter(state, options, {
      progressed: () => this.#reader.waiters.wake(this.highWatermark),
      poisoned: () => this.#reader.waiters.wakeAll(),
    });
    this.#reads = new ReadsUnderWay(state);
    this.#reader = new LogReader(state, this.#reads, {
      limit: this.#limit,
      findPoison: (attempt) => this.#writer.findPoison(attempt),
    });
    this.#compactor = new Compactor(state, {
      options: () => this.#options,
      reads: this.#reads,
      exclusively: (attempt, operation) => this.#writer.exclusively(attempt, operation),
      limitOffset: () => this.highWatermark,
      ended: this.#reader.ended,
      replaced: (bytesBefore, bytesAfter) => this.#storeSizes.noteReplaced(bytesBefore, bytesAfter),
      merged: () => this.#storeSizes.forget(),
    });
    this.#jobs = new BackgroundJobs(state.context, () => this.#writer.condition === "open");
    // In a group the leader decides what goes, for all replicas.
    if (!parts.isReplicas) this.#jobs.repeat(options.retentionIntervalMs, "apply retention", () => this.applyRetention());
    this.#jobs.repeat(options.compactionIntervalMs, "compact", () => this.#compactor.compactWhenDue());
    if (options.scrubIntervalMs !== undefined) {
      const { scrubBytesPerSecond } = options;
      this.#jobs.repeat(options.scrubIntervalMs, "scrub", async () => {
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

  async append(records: RecordInput | readonly RecordInput[], options: AppendOptions = {}): Promise<AppendResult> {
    return this.prepare(records, options)();
  }

  prepare(records: RecordInput | readonly RecordInput[], options: AppendOptions = {}): () => Promise<AppendResult> {
    this.#writer.checkOpen("append");
    checkCondition(options);
    const { batch, header } = this.#pack(isList(records) ? records : [records], options, this.#now());
    return async () => this.#writer.append(batch, header, options.expectedOffset);
  }

  #pack(records: readonly RecordInput[], options: AppendOptions, now: number): AdmittedBatch {
    const batch = encodeBatch(records, {
      now,
      timestampType: this.#options.timestampType,
      compression: options.compression ?? this.#options.compression,
      recordMaxBytes: this.#options.recordMaxBytes,
      requiresKeys: this.#isCompacted,
      isShortLived: true,
      ...producerFields(options),
    });
    // What was packed here need not be walked again; only its size may be more than this log takes.
    checkBatchBytes(batch, this.#options.batchMaxBytes);
    return { batch, header: readBatchHeader(batch) };
  }

  async appendBatch(batch: Buffer, options: Pick<AppendOptions, "expectedOffset"> = {}): Promise<AppendResult> {
    this.#writer.checkOpen("append");
    checkCondition(options);
    const { observer } = this.#state.context;
    const admitted = admitBatch(batch, this.#options, { now: this.#now(), observer });
    return this.#writer.append(admitted.batch, admitted.header, options.expectedOffset);
  }

  /** The time that records get. Where the log sets all of them, they don't go back when the clock does. */
  #now(lastAppendTime = this.#state.last.appendTime): number {
    const { clock } = this.#state.context;
    return Math.max(0, clock.now(), this.#options.timestampType === "append" ? lastAppendTime : 0);
  }

  get #isCompacted(): boolean {
    return this.#options.cleanup !== "delete";
  }

  read(offset: number): Promise<StoredRecord> {
    return this.#reader.read(offset);
  }

  records(options: ReadOptions = {}): AsyncGenerator<StoredRecord, void, undefined> {
    return this.#reader.records(options);
  }

  batches(options: BatchReadOptions = {}): AsyncGenerator<StoredBatch, void, undefined> {
    return this.#reader.batches(options);
  }

  pieces(options: BatchReadOptions = {}): AsyncGenerator<readonly StoredBatch[], void, undefined> {
    return this.#reader.pieces(options);
  }

  portions(options: PortionReadOptions): AsyncGenerator<Portion, void, undefined> {
    return this.#reader.portions(options);
  }

  findOffset(from: StartingPoint): Promise<number> {
    return this.#reader.findOffset(from);
  }

  waitForOffset(offset: number, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    return this.#reader.waitForOffset(offset, options.signal);
  }

  async truncate(offset: number): Promise<void> {
    checkOffset("truncate at", offset);
    await this.#writer.exclusively(`truncate at offset ${offset}`, async () => {
      const { context, segments, last } = this.#state;
      if (offset < this.logStartOffset || offset > last.nextOffset)
        throw outOfRangeError("truncate at", offset, last.nextOffset, this);
      if (offset === last.nextOffset) return;
      await this.#writer.syncNow();
      const plan = await this.#reads.run(`truncate at offset ${offset}`, async () => {
        const { location, frame } = await findEntryOfOffset(context, segments.findByOffset(offset), offset);
        checkBatchStart(offset, location, nextOffsetOf(frame));
        return planTruncation(this.#state, location.index - 1);
      });
      await this.#dropBehind(plan);
    });
  }

  /** Inside `exclusively`, with everything synced. */
  async #dropBehind(plan: TruncationPlan): Promise<void> {
    await this.#writer.prepareChange();
    await lowerBase(this.#state, plan);
    const { index: keepIndex, nextOffset: offset } = plan.entries.last;
    await this.#compactor.noteTruncation(offset);
    try {
      // Told before and after: a piece being read while the files change is read again, or refused.
      this.#reader.noteTruncation(keepIndex, offset);
      await truncateBehind(this.#state, plan);
      this.#reader.noteTruncation(keepIndex, offset);
    } catch (error) {
      // Whatever it was, the files are half changed now; opening the log again finishes it.
      throw new Error(`the truncation stopped half-way: ${String(error)}`, { cause: error });
    } finally {
      // A tail that waits behind the new end would otherwise sleep until the log has grown past it again.
      this.#reader.waiters.wakeAll();
    }
    this.#storeSizes.forget();
  }

  async trim(offset: number): Promise<void> {
    checkOffset("trim to", offset);
    await this.#writer.exclusively(`trim to offset ${offset}`, async () => {
      const end = this.#limit().nextOffset;
      if (offset > end) throw outOfRangeError("trim to", offset, end, this);
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
    const plan = await this.#reads.run(`trim to offset ${offset}`, async () => planTrim(this.#state, offset));
    const trimmed = await trim(this.#state, plan);
    this.#storeSizes.forget();
    this.#state.context.observer.trimmed?.({ ...trimmed, logStartOffset: offset });
  }

  async applyRetention(): Promise<void> {
    this.#writer.checkOpen("apply retention");
    const { retentionMaxBytes, retentionMaxAgeMs, cleanup } = this.#options;
    if (cleanup === "compact") return;
    if (retentionMaxBytes === Number.POSITIVE_INFINITY && retentionMaxAgeMs === Number.POSITIVE_INFINITY) return;
    await this.#writer.exclusively("apply retention", async () => {
      const { clock } = this.#state.context;
      const { active } = this.#state.segments;
      const now = clock.now();
      if (active.entryCount > 0 && now - active.last.appendTime > retentionMaxAgeMs) await this.#writer.rollNow();
      const { context, segments } = this.#state;
      const { count, unreadable } = await this.#findExpired(now);
      if (count === 0) return;
      const offset = segments.at(count).baseOffset();
      if (offset > this.#limit().nextOffset) return;
      await this.#trim(Math.max(offset, this.logStartOffset));
      for (const { storePath } of unreadable) {
        context.logger.warn({ segment: storePath }, "retention removed a segment whose index couldn't be read");
      }
    });
  }

  /** Nothing is changed by looking: what the disk throws here is an answer, and poisons nothing. */
  #findExpired(now: number): Promise<ExpiredSegments> {
    const { context, segments } = this.#state;
    const { retentionMaxBytes: maxBytes, retentionMaxAgeMs: maxAgeMs } = this.#options;
    return this.#reads.run("apply retention", async () =>
      findExpired(context, segments, this.#storeSizes.total(segments), { maxBytes, maxAgeMs, now }),
    );
  }

  configure(changes: LogChanges): void {
    if (this.#closing !== undefined) throw closedError("configure");
    changeOptions(this.#options, changes);
  }

  async sync(): Promise<void> {
    await this.#writer.exclusively("sync", () => this.#writer.syncNow());
    this.#reader.waiters.wake(this.highWatermark);
  }

  async scrub(options: { readonly bytesPerSecond?: number; readonly signal?: AbortSignal } = {}): Promise<ScrubReport> {
    this.#reads.checkOpen("scrub");
    checkBound("scrub", "bytesPerSecond", options.bytesPerSecond, 1);
    const { ended } = this.#reader;
    const signal = options.signal === undefined ? ended : AbortSignal.any([options.signal, ended]);
    const limits = { bytesPerSecond: options.bytesPerSecond ?? Number.POSITIVE_INFINITY, signal };
    return this.#reads.run("scrub", () => scrubSegments(this.#state.context, () => this.#state.segments, limits));
  }

  compact(options: { readonly bytesPerSecond?: number; readonly signal?: AbortSignal } = {}): Promise<CompactionReport> {
    return this.#compactor.compact(options);
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
      storeBytes: this.#storeSizes.total(this.#state.segments),
      queuedBytes: this.#writer.queuedBytes,
      queuedAppends: this.#writer.queuedAppends,
      indexKind: segments.active.indexKind,
      damages: this.#state.context.damages.count,
      producers: this.#state.description.producers.count,
      dirtyRatio: this.#compactor.knownDirtyRatio,
    };
  }

  /** What this log is made of, for a replica's (replica-log.ts): it writes and cuts by index, past the appends of this one. */
  parts(): LogParts {
    return {
      state: this.#state,
      options: this.#options,
      writer: this.#writer,
      reads: this.#reads,
      limit: this.#limit,
      dropBehind: (plan) => this.#dropBehind(plan),
      wakeReaders: () => this.#reader.waiters.wake(this.highWatermark),
      admit: (batch, lastAppendTime) =>
        admitBatch(batch, this.#options, { now: this.#now(lastAppendTime), observer: this.#state.context.observer }),
      pack: (records, options, lastAppendTime) => this.#pack(records, options, this.#now(lastAppendTime)),
      findExpired: (now) => this.#findExpired(now),
      sizesChanged: () => this.#storeSizes.forget(),
      replaced: () => {
        this.#writer.noteReplaced();
        this.#compactor.noteReplaced();
        this.#storeSizes.forget();
        this.#state.context.damages.forgetAll();
        this.#reader.waiters.wakeAll();
      },
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#jobs.end();
    this.#reads.beginEnd();
    try {
      await this.#writer.close();
    } finally {
      this.#reader.end();
      await this.#reads.wait();
      this.#state.context.openFiles.forgetAll(`${this.directory}/`);
      this.#lock?.release();
    }
  }
}

export interface LogParts {
  readonly state: LogState;
  readonly options: ResolvedOptions;
  readonly writer: LogWriter;
  readonly reads: ReadsUnderWay;
  /** How far readers may go. */
  readonly limit: () => ReadLimit;
  /** Drops all entries behind a plan's. Inside `writer.exclusively`, with everything synced. */
  readonly dropBehind: (plan: TruncationPlan) => Promise<void>;
  readonly wakeReaders: () => void;
  /** As at the door of `appendBatch` and `append`, behind an entry of that time. */
  readonly admit: (batch: Buffer, lastAppendTime: number) => AdmittedBatch;
  readonly pack: (records: readonly RecordInput[], options: AppendOptions, lastAppendTime: number) => AdmittedBatch;
  readonly findExpired: (now: number) => Promise<ExpiredSegments>;
  /** Segments came or went past this log. */
  readonly sizesChanged: () => void;
  /** Another log has taken the place of this one: to be told in the same turn. */
  readonly replaced: () => void;
}

function isList(records: RecordInput | readonly RecordInput[]): records is readonly RecordInput[] {
  return Array.isArray(records);
}
