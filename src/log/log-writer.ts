import type { BatchHeader } from "../batch/batch-header.ts";
import { assert } from "../base/assert.ts";
import type { Timer } from "../base/clock.ts";
import { isProglogError, type ProglogError } from "../base/error.ts";
import { MiB } from "../base/units.ts";
import { ActiveSegment } from "./active-segment.ts";
import { type AppendGroup, frameBytesOf, stampGroup } from "./append-group.ts";
import { answerOthers, type JudgedAppend, type JudgedAppends, judgeAppends, unsettledOf } from "./append-judge.ts";
import type { AppendResult, SyncPolicy } from "./log.ts";
import type { LogState } from "./log-state.ts";
import { MarkTimer } from "./mark-timer.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { Segments } from "./segments.ts";
import { slotBytes } from "./slots.ts";
import { encodeStamped, type StampedEntry } from "./stamped-entry.ts";
import { type PendingAppend, WorkQueue } from "./work-queue.ts";
import { closedError, diskFullError, isDiskFull, poisonedError, poisonOf, refusalOf } from "./write-failure.ts";

export interface WriterOptions {
  readonly sync: SyncPolicy;
  readonly syncIntervalMs: number;
  readonly segmentMaxBytes: number;
  readonly segmentMaxAgeMs: number;
  readonly indexMaxBytes: number;
  readonly appendQueueMaxBytes: number;
  readonly groupMaxBytes: number;
}

export interface WriterListener {
  /** The high watermark may have moved. */
  progressed(): void;
  /** It won't move any more. */
  poisoned(): void;
}

/** How long nothing is appended until the sync mark is itself synced. */
const idleMarkSyncMs = 100;

/** A smaller group isn't halved: up to here a sync takes about as long whatever it covers. */
const halvedMinBytes = 1 * MiB;

/** The term of a log that no raft group writes. */
const soloTerm = 1;

/**
 * The one writer of a log.
 *
 * A sync takes some 300 µs however much it covers, so one sync serves everybody who waits: while one runs, appends gather, and
 * the next write and sync takes them all. Group N+1 isn't written before N is synced; so what a frame says of how far the log
 * was synced is true when it is written, and a tear can only ever reach the last group.
 *
 * A write or sync that fails poisons the log: nobody knows then what is on the disk, and trying again would only hide it (a
 * second fsync reports success over pages that the first one dropped). Only a full disk is different: its write is undone by
 * cutting the file, and the log goes on.
 */
export class LogWriter {
  readonly #state: LogState;
  readonly #options: WriterOptions;
  readonly #queue: WorkQueue;
  readonly #listener: WriterListener;
  #isRunning = false;
  /** The last group, done; its callers hear of it as soon as the next one is on its way, or there is none. */
  #unanswered:
    | { readonly group: AppendGroup; readonly others: readonly JudgedAppend[]; readonly isDurable: boolean }
    | undefined;
  /** Those of the group under way that aren't written, and whose answer doesn't rest on it: it comes with that of the last group. */
  #settled: readonly JudgedAppend[] = [];
  #condition: { kind: "open" } | { kind: "poisoned"; error: ProglogError } | { kind: "closed" } = { kind: "open" };
  #closing: Promise<void> | undefined;
  #isMarkTakenBack = false;
  readonly #markTimer: MarkTimer;
  #syncTimer: Timer | undefined;

  constructor(state: LogState, options: WriterOptions, listener: WriterListener) {
    this.#state = state;
    this.#options = options;
    this.#queue = new WorkQueue(options.appendQueueMaxBytes);
    this.#listener = listener;
    this.#markTimer = new MarkTimer(state.context.clock, idleMarkSyncMs, () => {
      // Appends came meanwhile: the end of their run arms it again.
      if (!this.#isRunning) this.#inBackground("sync the sync mark", () => state.markFile.sync());
    });
  }

  get condition(): "open" | "poisoned" | "closed" {
    return this.#condition.kind;
  }

  get queuedBytes(): number {
    return this.#queue.appendBytes;
  }

  get queuedAppends(): number {
    return this.#queue.appendCount;
  }

  /** Appends one packed batch that was checked. */
  append(batch: Buffer, header: BatchHeader, expectedOffset?: number): Promise<AppendResult> {
    this.checkOpen("append");
    this.#queue.checkRoom(batch.length);
    const { promise, resolve, reject } = Promise.withResolvers<AppendResult>();
    this.#queue.pushAppend({ batch, header, expectedOffset, resolve, reject });
    this.#wake();
    return promise;
  }

  /** Runs `operation` when everything asked for before is done, with the log to itself. A failed write in it poisons the log. */
  exclusively<T>(attempt: string, operation: () => Promise<T>): Promise<T> {
    this.checkOpen(attempt);
    this.#queue.checkOperationRoom(attempt);
    return this.#alone(attempt, operation);
  }

  #alone<T>(attempt: string, operation: () => Promise<T>): Promise<T> {
    return this.#enqueue(async () => {
      this.#checkSound(attempt);
      try {
        return await operation();
      } catch (error) {
        // A coded error is an answer; anything else left the files half changed.
        if (isProglogError(error)) throw error;
        throw await this.#poison(attempt, error);
      }
    });
  }

  /** LOG_POISONED for whoever wants to go on with `attempt`; undefined while nothing failed. */
  findPoison(attempt: string): ProglogError | undefined {
    return this.#condition.kind === "poisoned" ? poisonedError(attempt, this.#condition.error) : undefined;
  }

  /** Throws LOG_CLOSED or LOG_POISONED. */
  checkOpen(attempt: string): void {
    if (this.#closing !== undefined) throw closedError(attempt);
    this.#checkSound(attempt);
  }

  #checkSound(attempt: string): void {
    if (this.#condition.kind === "closed") throw closedError(attempt);
    if (this.#condition.kind === "poisoned") throw poisonedError(attempt, this.#condition.error);
  }

  /** Everything written is synced when it resolves. To be called inside `exclusively`. */
  async syncNow(): Promise<void> {
    const { active } = this.#state.segments;
    if (this.#state.durable.index === active.last.index) return;
    await this.#syncActive({ bytes: 0, batches: active.last.index - this.#state.durable.index });
  }

  /** Seals the active segment and begins the next. To be called inside `exclusively`. */
  async rollNow(): Promise<void> {
    await this.#takeBackCleanMark();
    await this.#roll();
  }

  /** Before files are changed: the mark no longer says that the log was closed in order. */
  async prepareChange(): Promise<void> {
    await this.#takeBackCleanMark();
  }

  /** Another log has taken the place of this one, and was closed in order. */
  noteReplaced(): void {
    this.#isMarkTakenBack = false;
  }

  /** Waits for what was accepted, syncs, seals what can be sealed, and closes the files. */
  close(): Promise<void> {
    // Nothing new is taken from here on; what was accepted before is still worked off.
    this.#closing ??= this.#enqueue(() => this.#closeFiles());
    return this.#closing;
  }

  #enqueue<T>(operation: () => Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#queue.pushOperation(() => operation().then(resolve, reject));
    this.#wake();
    return promise;
  }

  #wake(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    // What is appended in the same turn of the loop goes together.
    queueMicrotask(() => void this.#run());
  }

  /** Never rejects: each piece of work carries its own outcome. */
  async #run(): Promise<void> {
    for (;;) {
      const work = this.#queue.peek();
      if (work?.kind !== "append") this.#answer();
      if (work === undefined) break;
      if (work.kind === "operation") {
        this.#queue.shift();
        await work.run();
      } else {
        await this.#writeGroup();
      }
    }
    this.#isRunning = false;
    this.#armMarkTimer();
  }

  async #writeGroup(): Promise<void> {
    let appends: readonly PendingAppend[] | undefined;
    let isWritten = false;
    try {
      if (this.#condition.kind !== "open") {
        appends = this.#takeAll();
        this.#checkSound("append");
      }
      await this.#takeBackCleanMark();
      if (this.#isRollDue()) {
        this.#answer();
        await this.#roll();
      }
      appends = this.#takeGroup();
      // Zeros being written ahead may have failed since this group's turn began.
      this.#checkSound("append");
      const judged = this.#judge(appends);
      appends = unsettledOf(judged);
      if (judged.accepted.length === 0) this.#answer();
      else {
        await this.#writeAccepted(judged);
        isWritten = true;
      }
    } catch (error) {
      this.#answer();
      const reported = isProglogError(error) ? error : await this.#poison("append", error);
      // The head of the queue fails with a failure that came before anything was taken, so that the queue moves on.
      appends ??= this.#condition.kind === "open" ? unsettledOf(this.#judge(this.#takeGroup())) : this.#takeGroup();
      this.#answer();
      for (const append of appends) append.reject(reported);
    }
    // Perhaps nothing was waited for: then who tries again as soon as it is answered would keep the loop to itself.
    if (!isWritten) await this.#state.context.clock.turn();
  }

  /** Those that are settled get their answers with the next `#answer`, whatever becomes of the group. */
  #judge(appends: readonly PendingAppend[]): JudgedAppends {
    const { context, description, last } = this.#state;
    const appendTime = Math.max(last.appendTime, context.clock.now());
    const judged = judgeAppends(appends, { producers: description.producers, nextOffset: last.nextOffset, appendTime });
    this.#settled = judged.settled;
    return judged;
  }

  async #writeAccepted({ accepted, others, appendTime }: JudgedAppends): Promise<void> {
    const { active } = this.#state.segments;
    const { description, context } = this.#state;
    const { seed, observer } = context;
    const { last } = active;
    const group = stampGroup(accepted, {
      last,
      durableIndex: this.#state.durable.index,
      term: Math.max(soloTerm, last.term),
      now: appendTime,
      beginsSegment: active.entryCount === 0 && active.before().index > 0,
      seed,
    });
    const startMs = context.clock.monotonic();
    const durationMs = await this.#writeFrames(active, group);
    const position = active.store.end;
    active.store.advance(group.byteLength);
    for (const entry of group.entries) {
      active.note(entry.header, position + entry.position, entry.append.header.maxTimestamp);
      description.apply(entry.header, entry.append.batch);
    }
    const batches = accepted.length;
    observer.appended?.({ records: group.recordCount, batches, bytes: group.byteLength, durationMs });

    const isDurable = this.#options.sync === "always";
    if (isDurable) await this.#syncActive({ bytes: group.byteLength, batches });
    else await this.#letOthersRun();
    if (observer.stored !== undefined)
      this.#tellStored(
        group.entries.map(({ append }) => append.batch),
        startMs,
      );
    this.#unanswered = { group, others, isDurable };
    this.#listener.progressed();
    if (!isDurable) this.#answer();
    this.#zeroAhead(active, group.byteLength);
  }

  #zeroAhead(active: ActiveSegment, groupBytes: number): void {
    const onFailure = (error: unknown): void => void this.#poison("write zeros ahead", error);
    active.store.zeroAhead(groupBytes, this.#options.segmentMaxBytes, onFailure);
  }

  /**
   * Writes entries that were stamped elsewhere, as one group, and syncs them. To be called inside `exclusively`. DISK_FULL: nothing
   * was written.
   */
  async writeStamped(entries: readonly StampedEntry[]): Promise<void> {
    this.#checkSound("append");
    await this.#takeBackCleanMark();
    const { active } = this.#state.segments;
    const { context, description } = this.#state;
    const group = encodeStamped(entries, { durableIndex: this.#state.durable.index, seed: context.seed });
    const startMs = context.clock.monotonic();
    const durationMs = await this.#writeFrames(active, group);
    const position = active.store.end;
    active.store.advance(group.byteLength);
    for (const { header, payload, maxTimestamp, position: at } of group.entries) {
      active.note(header, position + at, maxTimestamp);
      description.apply(header, payload);
    }
    const batches = group.entries.length;
    context.observer.appended?.({ records: group.recordCount, batches, bytes: group.byteLength, durationMs });
    await this.#syncActive({ bytes: group.byteLength, batches });
    if (context.observer.stored !== undefined)
      this.#tellStored(
        group.entries.flatMap(({ header, payload }) => (header.kind === "data" ? [payload] : [])),
        startMs,
      );
    this.#zeroAhead(active, group.byteLength);
  }

  #tellStored(batches: readonly Buffer[], startMs: number): void {
    const { clock, directory, observer } = this.#state.context;
    if (batches.length > 0) observer.stored?.({ directory, batches, durationMs: clock.monotonic() - startMs });
  }

  /** Answers those whose appends are done, and those that are settled. */
  #answer(): void {
    const [last, settled] = [this.#unanswered, this.#settled];
    this.#unanswered = undefined;
    this.#settled = [];
    const { nextOffset } = this.#state.durable;
    if (last !== undefined) {
      const { group, others, isDurable } = last;
      for (const { append, header } of group.entries) {
        append.resolve({
          baseOffset: header.baseOffset,
          lastOffset: header.baseOffset + header.span - 1,
          count: append.header.recordCount,
          appendTime: header.appendTime,
          isDurable,
          isDuplicate: false,
        });
      }
      answerOthers(others, nextOffset);
    }
    answerOthers(settled, nextOffset);
  }

  /** Writes the group's bytes, or leaves no trace of it when the disk is full. Returns how long it took. */
  async #writeFrames(
    active: ActiveSegment,
    group: Pick<AppendGroup, "buffers" | "byteLength"> & { readonly entries: { readonly length: number } },
  ): Promise<number> {
    const { clock } = this.#state.context;
    const start = clock.monotonic();
    await active.store.makeRoom(group.byteLength);
    try {
      active.reserve(group.entries.length);
      await active.store.write(group.buffers, () => clock.turn());
      return clock.monotonic() - start;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      await active.store.undoWrite();
      throw diskFullError(`append ${group.byteLength} bytes`, error);
    }
  }

  /** Syncs the active store, and notes what is durable now: in memory, and in the mark. */
  async #syncActive(covers: { readonly bytes: number; readonly batches: number }): Promise<void> {
    const { active } = this.#state.segments;
    const { clock, observer } = this.#state.context;
    const mark = this.#state.describeEnd();
    const { last } = active;
    const start = clock.monotonic();
    const syncing = active.store.datasync();
    // Who is answered appends again at once, and that is checked on this thread: so not before the disk has something to do.
    this.#answer();
    await syncing;
    observer.synced?.({ durationMs: clock.monotonic() - start, ...covers });
    assert(this.#state.segments.active === active && active.last.index === last.index, "nothing is written while a sync runs");
    this.#state.durable = last;
    this.#state.markFile.write(mark);
  }

  #isRollDue(): boolean {
    const { active } = this.#state.segments;
    if (active.entryCount === 0) return false;
    const { segmentMaxBytes, segmentMaxAgeMs, indexMaxBytes } = this.#options;
    const next = this.#queue.peek();
    const nextBytes = next?.kind === "append" ? frameBytesOf(next.append) : 0;
    if (active.store.end + nextBytes > segmentMaxBytes) return true;
    if ((active.entryCount + 1) * slotBytes > indexMaxBytes) return true;
    return this.#state.context.clock.now() - (active.firstAppendTime ?? Number.POSITIVE_INFINITY) >= segmentMaxAgeMs;
  }

  async #roll(): Promise<void> {
    const { context, markFile } = this.#state;
    const { sealed, active } = this.#state.segments;
    const start = context.clock.monotonic();
    await this.syncNow();
    await markFile.sync();
    // So that no opening ever has to read a sealed segment.
    await this.#state.describe();
    const before = active.last;
    let next: ActiveSegment;
    try {
      next = await ActiveSegment.create(context, before, this.#state.durable.index);
    } catch (error) {
      throw refusalOf("begin a segment", error);
    }
    try {
      await active.prepareSeal();
    } catch (error) {
      await next.close();
      throw error;
    }
    const summary = active.seal();
    this.#state.segments = new Segments([...sealed, new SealedSegment(context, active.baseIndex, summary)], next);
    await active.store.close();
    context.observer.rolled?.({ baseIndex: next.baseIndex, durationMs: context.clock.monotonic() - start });
  }

  /** The appends that go together now: bounded in bytes, by the segment's room and by its index. */
  #takeGroup(): PendingAppend[] {
    const { active } = this.#state.segments;
    const maxBytes = Math.min(this.#groupMaxBytes(), this.#options.segmentMaxBytes - active.store.end);
    const maxCount = Math.max(1, Math.floor(this.#options.indexMaxBytes / slotBytes) - active.entryCount);
    const appends: PendingAppend[] = [];
    let byteLength = 0;
    for (;;) {
      const work = this.#queue.peek();
      if (work?.kind !== "append") return appends;
      byteLength += frameBytesOf(work.append);
      // The first one goes whatever its size: a segment holds at least one entry.
      if (appends.length > 0 && (byteLength > maxBytes || appends.length >= maxCount)) return appends;
      appends.push(work.append);
      this.#queue.shift();
    }
  }

  /**
   * Half of what is under way where that is much: while one half is synced, those of the other are answered, append again and
   * are checked. All at once would leave disk and processor waiting for each other in turn.
   */
  #groupMaxBytes(): number {
    const { sync, groupMaxBytes } = this.#options;
    if (sync !== "always") return groupMaxBytes;
    const underWayBytes = this.#queue.appendBytes + (this.#unanswered?.group.byteLength ?? 0);
    return Math.min(groupMaxBytes, Math.max(halvedMinBytes, underWayBytes / 2));
  }

  #takeAll(): PendingAppend[] {
    const appends: PendingAppend[] = [];
    for (let work = this.#queue.peek(); work?.kind === "append"; work = this.#queue.peek()) {
      appends.push(work.append);
      this.#queue.shift();
    }
    return appends;
  }

  async #takeBackCleanMark(): Promise<void> {
    if (this.#isMarkTakenBack) return;
    const { markFile } = this.#state;
    if (markFile.mark.isClean) {
      markFile.write({ ...markFile.mark, isClean: false });
      await markFile.sync();
    }
    this.#isMarkTakenBack = true;
  }

  /**
   * Without a sync to wait for, a caller that appends again as soon as it is answered would keep the loop to itself: every group
   * takes a turn of it, and what comes meanwhile goes together.
   */
  async #letOthersRun(): Promise<void> {
    this.#armSyncTimer();
    await this.#state.context.clock.turn();
  }

  #armMarkTimer(): void {
    if (this.#condition.kind !== "open" || this.#closing !== undefined || this.#state.markFile.isSynced) return;
    this.#markTimer.arm();
  }

  #armSyncTimer(): void {
    if (this.#options.sync !== "interval" || this.#syncTimer !== undefined) return;
    this.#syncTimer = this.#state.context.clock.setTimer(this.#options.syncIntervalMs, () => {
      this.#syncTimer = undefined;
      this.#inBackground("sync", () => this.syncNow());
    });
  }

  /** For what nobody waits for: its failure has poisoned the log, which tells everybody who comes. */
  #inBackground(attempt: string, operation: () => Promise<void>): void {
    if (this.#condition.kind !== "open" || this.#closing !== undefined) return;
    // There is one of each at the most, and it must not be dropped when others fill the queue.
    this.#alone(attempt, operation).catch((error: unknown) => {
      this.#state.context.logger.error({ error }, `could not ${attempt} in the background`);
    });
  }

  /** Ends writing for good. Returns the error for whoever's work it was. */
  async #poison(attempt: string, cause: unknown): Promise<ProglogError> {
    const error = poisonOf(attempt, cause);
    if (this.#condition.kind !== "open") return error;
    this.#condition = { kind: "poisoned", error };
    const { logger, observer, directory } = this.#state.context;
    this.#listener.poisoned();
    try {
      logger.error({ error: cause, directory }, `the log is poisoned: could not ${attempt}`);
      observer.poisoned?.({ error });
    } catch {
      // Those who are told must not keep from their answer those who wait: an observer that throws harms only itself here.
    }
    try {
      const { markFile } = this.#state;
      markFile.write({ ...markFile.mark, isClean: false, isPoisoned: true });
      await markFile.sync();
    } catch (markError) {
      // The mark is a courtesy to the next opening; without it the log is opened as after any crash.
      logger.warn({ error: markError }, "could not note the failure in the sync mark");
    }
    return error;
  }

  async #closeFiles(): Promise<void> {
    this.#markTimer.cancel();
    this.#syncTimer?.cancel();
    const { markFile, segments } = this.#state;
    try {
      if (this.#condition.kind !== "open") return;
      await this.syncNow();
      const isChanged = !markFile.mark.isClean;
      // Without news the mark says enough: a thousand logs close without a thousand writes more.
      if (this.#state.hasNews) await this.#state.describe();
      await segments.active.prepareSeal();
      this.#checkSound("close");
      segments.active.seal();
      if (isChanged) {
        await segments.active.store.datasync();
        markFile.write(this.#state.describeEnd({ isClean: true }));
        await markFile.sync();
      }
    } catch (error) {
      throw isProglogError(error) ? error : await this.#poison("close", error);
    } finally {
      this.#condition = { kind: "closed" };
      try {
        await segments.active.close();
      } finally {
        markFile.close();
      }
    }
  }
}
