import { openStoredBatch } from "../batch/decode-batch.ts";
import { readBatchHeader } from "../batch/batch-header.ts";
import { filterBatch, RecordWalk } from "../batch/filter-batch.ts";
import { systemErrorCode } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import { compactionPieceBytes, segmentsMergedMaxCount } from "../base/limits.ts";
import { cleanOffsetOf, type CompactionMark, tombstoneEndOf } from "./compaction-mark.ts";
import { entryFlags, type Frame, nextOffsetOf } from "./frame.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { KeyMap } from "./key-map.ts";
import type { CompactionReport } from "./log.ts";
import type { LogState } from "./log-state.ts";
import { removeMergeNote, writeMergeNote } from "./merge-note.ts";
import { keepPace } from "./pace.ts";
import { removeIndexes, removeSegment } from "./segment-files.ts";
import { checkSeam } from "./seam.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { joinSegments, type NewStore, removeRewrite, rewriteSegment } from "./segment-rewrite.ts";
import { slotBytes } from "./slots.ts";
import { corruptError, findDamage } from "./corrupt-error.ts";
import { findScanFault } from "./store-scan.ts";
import { diskFailedError, diskFullError, isDiskFull } from "./write-failure.ts";

/**
 * Compaction keeps the newest record of each key, in the sealed segments (docs/format.md, "Compaction").
 *
 * Keys don't fit into memory. So it goes in passes: one maps the keys of a range of offsets, from where the log is clean, as
 * many as the table holds; then every segment up to the end of that range is read, from the front, and written anew without
 * the records that the table has a newer one for. Afterwards everything below the range's end is clean, and the next pass maps
 * from there.
 *
 * A tombstone must not go while an older record of its key is there: it would come back to life. It goes once a whole pass has
 * been through everything below it, which the compaction mark remembers, and its time has passed since.
 *
 * What may happen meanwhile: appends, rolls and trims, which change nothing of what was mapped; reads, which go on in the old
 * store or look up anew; a truncation, which may take away the newer record for which an older one was to go, and so ends the run.
 */
export interface CompactionParts {
  readonly state: LogState;
  /** Runs with the log to itself. */
  readonly exclusively: (operation: () => Promise<void>) => Promise<void>;
  /** Records from here on aren't committed yet. */
  readonly limitOffset: number;
  readonly mapMaxBytes: number;
  readonly segmentMaxBytes: number;
  readonly indexMaxBytes: number;
  readonly tombstoneRetentionMs: number;
  readonly tombstoneCeiling: number;
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal;
  /** Whether the log is still to be compacted. */
  readonly isWanted: () => boolean;
  readonly mark: CompactionMark;
  /** A pass is done, durably: to be called with the log to itself. */
  readonly advance: (pass: FinishedPass) => Promise<void>;
  /** The store of a segment was replaced: called in the same turn. */
  readonly replaced: (bytesBefore: number, bytesAfter: number) => void;
  /** Segments were merged: called in the same turn. */
  readonly merged: () => void;
}

export interface FinishedPass {
  /** Keys were mapped up to here. */
  readonly mappedOffset: number;
  /** Below it no record is left that another one below it supersedes. */
  readonly cleanOffset: number;
}

/** Why a run ends before its end without anything having failed. */
class Stopped extends Error {}

/** One run. `report` tells what it did, also after it threw. */
export class Compaction {
  readonly #parts: CompactionParts;
  readonly #state: LogState;
  readonly #truncations: number;
  readonly #start: number;
  /** The last segment that takes part, and its end. */
  readonly #last: { readonly baseIndex: number; readonly nextOffset: number } | undefined;
  readonly #tombstoneEnd: number;
  #workedBytes = 0;
  #report: Omit<CompactionReport, "durationMs"> = {
    isComplete: false,
    segments: 0,
    bytesBefore: 0,
    bytesAfter: 0,
    recordsRemoved: 0,
    tombstonesRemoved: 0,
    undecodableBatches: 0,
    segmentsMerged: 0,
    passes: 0,
  };

  constructor(parts: CompactionParts) {
    const { state, mark, limitOffset, tombstoneRetentionMs, tombstoneCeiling } = parts;
    this.#parts = parts;
    this.#state = state;
    this.#truncations = state.truncations;
    this.#start = state.context.clock.monotonic();
    this.#last = findLast(state, limitOffset);
    this.#tombstoneEnd = Math.min(tombstoneCeiling, tombstoneEndOf(mark, state.last.appendTime, tombstoneRetentionMs));
  }

  get report(): CompactionReport {
    return { ...this.#report, durationMs: this.#state.context.clock.monotonic() - this.#start };
  }

  /** Throws LOG_CORRUPT, DISK_FULL, DISK_FAILED and what `exclusively` throws. */
  async run(): Promise<void> {
    try {
      const last = this.#last;
      if (last !== undefined) {
        await this.#runPasses(last.nextOffset);
        await this.#mergeSegments();
      }
      this.#report = { ...this.#report, isComplete: true };
    } catch (error) {
      if (!(error instanceof Stopped)) throw error;
    }
  }

  async #runPasses(endOffset: number): Promise<void> {
    const { context } = this.#state;
    const map = new KeyMap(context.random.bytes(16), this.#parts.mapMaxBytes);
    let from = cleanOffsetOf(this.#parts.mark);
    do {
      map.clear();
      const mappedOffset = await this.#mapKeys(map, from, endOffset);
      const undecodableOffset = await this.#rewriteSegments(map, mappedOffset);
      // A batch that can't be decoded today may be one day, and may hold an older record of any key.
      const cleanOffset = Math.min(mappedOffset, undecodableOffset);
      await this.#exclusively(
        () => true,
        () => this.#parts.advance({ mappedOffset, cleanOffset }),
      );
      this.#report = { ...this.#report, passes: this.#report.passes + 1 };
      from = mappedOffset;
    } while (from < endOffset);
  }

  /** Notes the newest offset of each key from `from` on, and returns up to where: the end, or where the table was full. */
  async #mapKeys(map: KeyMap, from: number, endOffset: number): Promise<number> {
    if (from >= endOffset) return endOffset;
    const firstIndex = this.#state.segments.findByOffset(from).baseIndex;
    for (let segment = this.#nextSegment(firstIndex - 1, endOffset); segment !== undefined; ) {
      const fullAt = await this.#inSegment(segment, (current) => this.#mapSegment(map, current, from));
      if (fullAt !== undefined) return fullAt;
      segment = this.#nextSegment(segment.baseIndex, endOffset);
    }
    return endOffset;
  }

  /** The offset of the first record that the table had no room for; undefined when it had room for all. */
  async #mapSegment(map: KeyMap, segment: SealedSegment, from: number): Promise<number | undefined> {
    const { disk, openFiles, seed } = this.#state.context;
    const file = openFiles.acquire(disk, segment.storePath);
    try {
      const scanner = new FrameScanner({
        file,
        position: segmentHeaderBytes,
        endPosition: file.size(),
        chain: segment.before(),
        seed,
        pieceBytes: compactionPieceBytes,
        reusesMemory: true,
      });
      while (scanner.end === undefined) {
        const before = scanner.position;
        for (const frame of await scanner.next()) {
          if (!isOfRecords(frame) || nextOffsetOf(frame) <= from) continue;
          await map.makeRoom(countKeysAtMost(frame), () => this.#keepPace(0));
          const fullAt = mapBatch(map, frame.payload, from);
          if (fullAt !== undefined) return fullAt;
        }
        await this.#goOn(segment, scanner.position - before);
      }
      const { position, chain } = scanner;
      const reason = findScanFault(file, scanner);
      if (reason === undefined) return undefined;
      const damage = { file: segment.storePath, position, firstOffset: chain.nextOffset, nextOffset: chain.nextOffset, reason };
      throw corruptError("compact a segment", damage);
    } finally {
      openFiles.release(file);
    }
  }

  /** Removes from each segment what the table has a newer record for. Returns the first offset of a batch that can't be decoded. */
  async #rewriteSegments(map: KeyMap, endOffset: number): Promise<number> {
    let undecodableOffset = Number.POSITIVE_INFINITY;
    const noteUndecodable = (frame: Frame, error: unknown): void => {
      undecodableOffset = Math.min(undecodableOffset, frame.baseOffset);
      this.#report = { ...this.#report, undecodableBatches: this.#report.undecodableBatches + 1 };
      const { logger, directory } = this.#state.context;
      logger.warn(
        { error, directory, offset: frame.baseOffset },
        "compaction keeps a batch as it is that can't be decoded or packed",
      );
    };
    for (let segment = this.#nextSegment(0, endOffset); segment !== undefined; ) {
      await this.#inSegment(segment, (current) => this.#rewriteSegment(map, current, noteUndecodable));
      segment = this.#nextSegment(segment.baseIndex, endOffset);
    }
    return undecodableOffset;
  }

  async #rewriteSegment(map: KeyMap, segment: SealedSegment, noteUndecodable: NoteUndecodable): Promise<void> {
    const { context } = this.#state;
    const removed = { records: 0, tombstones: 0 };
    const rewrite = await rewriteSegment(context, segment, {
      change: (frame) => {
        try {
          return this.#filter(map, frame, removed);
        } catch (error) {
          if (!isProglogError(error)) throw error;
          noteUndecodable(frame, error);
          return undefined;
        }
      },
      goOn: (bytes) => this.#goOn(segment, bytes),
    });
    const { store, bytesBefore } = rewrite;
    try {
      this.#checkGoesOn(segment);
      checkSeam("compact a segment", segment, rewrite.end, this.#state.segments.after(segment));
      if (store !== undefined)
        await this.#exclusively(
          () => this.#isThere(segment),
          () => this.#replace(segment, bytesBefore, store),
        );
    } catch (error) {
      // Once it is renamed, there is nothing of that name.
      if (store !== undefined) removeRewrite(context, store.path);
      throw error;
    }
    this.#report = {
      ...this.#report,
      segments: this.#report.segments + 1,
      bytesBefore: this.#report.bytesBefore + bytesBefore,
      bytesAfter: this.#report.bytesAfter + (store?.bytes ?? bytesBefore),
      recordsRemoved: this.#report.recordsRemoved + removed.records,
      tombstonesRemoved: this.#report.tombstonesRemoved + removed.tombstones,
    };
  }

  /** What is left of a batch, or undefined when all of it is. */
  #filter(map: KeyMap, frame: Frame, removed: { records: number; tombstones: number }): Buffer | undefined {
    let records = 0;
    let tombstones = 0;
    const filtered = filterBatch(frame.payload, ({ bytes, keyStart, keyBytes, offset, isTombstone }) => {
      // A record without a key is from before the log was compacted: nothing can supersede it.
      if (keyBytes < 0) return true;
      const isSuperseded = map.newestOffset(bytes, keyStart, keyStart + keyBytes) > offset;
      if (!isSuperseded && !(isTombstone && offset < this.#tombstoneEnd)) return true;
      records += 1;
      if (isTombstone) tombstones += 1;
      return false;
    });
    removed.records += records;
    removed.tombstones += tombstones;
    return filtered;
  }

  /**
   * Puts the new store in the old one's place. After a crash either is there, whole. Beside the new one the old index files may
   * lie, and do no harm: positions are checked by whoever uses them, and the old times are those of more records. Beside the old
   * store the new index files must never lie, whose times would hide records; so they are written once the rename is durable.
   */
  async #replace(segment: SealedSegment, bytesBefore: number, store: NewStore): Promise<void> {
    const { disk, directory } = this.#state.context;
    this.#rename(segment, store);
    const replacement = this.#takeOver([segment], store);
    this.#parts.replaced(bytesBefore, store.bytes);
    await disk.syncDirectory(directory);
    replacement.settle();
  }

  /** Renames the store to that of a segment. When it throws, nothing has changed. */
  #rename(segment: SealedSegment, store: NewStore): void {
    try {
      this.#state.context.disk.rename(store.path, segment.storePath);
    } catch (error) {
      throw codedError("put a segment in its place", error);
    }
  }

  /** In the turn of the rename: who opens the first one's file from then on knows where its frames lie. */
  #takeOver(segments: readonly [SealedSegment, ...SealedSegment[]], store: NewStore): SealedSegment {
    const { context } = this.#state;
    context.openFiles.forget(segments[0].storePath);
    const replacement = SealedSegment.replacing(context, store.builder);
    this.#state.replaceSealed(segments, replacement);
    return replacement;
  }

  /**
   * Merges small segments that follow each other, as far as a segment may grow. What compaction leaves of many segments would
   * otherwise be as many files for ever. Larger ones than half of that are let be, so that nothing is copied again and again.
   */
  async #mergeSegments(): Promise<void> {
    let group = await this.#nextGroup(0);
    while (group !== undefined) {
      const last = group.at(-1) ?? group[0];
      if (group.length > 1) await this.#merge(group);
      group = await this.#nextGroup(last.baseIndex);
    }
  }

  /** The segments behind `baseIndex` that fit together, or the next one alone. */
  async #nextGroup(baseIndex: number): Promise<[SealedSegment, ...SealedSegment[]] | undefined> {
    const { segmentMaxBytes, indexMaxBytes } = this.#parts;
    const { disk } = this.#state.context;
    const group: SealedSegment[] = [];
    let bytes = segmentHeaderBytes;
    let entryCount = 0;
    for (let segment = this.#nextSegment(baseIndex, Number.POSITIVE_INFINITY); segment !== undefined; ) {
      const summary = await this.#inSegment(segment, (current) => current.summary());
      const storeBytes = disk.size(segment.storePath) ?? Number.POSITIVE_INFINITY;
      bytes += storeBytes - segmentHeaderBytes;
      entryCount += summary?.entryCount ?? Number.POSITIVE_INFINITY;
      const isSmall = storeBytes <= segmentMaxBytes / 2;
      const fits = isSmall && bytes <= segmentMaxBytes && entryCount * slotBytes <= indexMaxBytes;
      if (group.length > 0 && (!fits || group.length === segmentsMergedMaxCount)) break;
      group.push(segment);
      if (!fits) break;
      segment = this.#nextSegment(segment.baseIndex, Number.POSITIVE_INFINITY);
    }
    const [first, ...others] = group;
    return first === undefined ? undefined : [first, ...others];
  }

  async #merge(group: readonly [SealedSegment, ...SealedSegment[]]): Promise<void> {
    const { context } = this.#state;
    const areThere = (): boolean => group.every((segment) => this.#isThere(segment));
    try {
      const store = await joinSegments(context, group, async (bytes) => {
        await this.#keepPace(bytes);
        if (this.#isStopped() || !areThere()) throw new Stopped();
      });
      try {
        await this.#exclusively(areThere, () => this.#replaceAll(group, store));
      } catch (error) {
        removeRewrite(context, store.path);
        throw error;
      }
      this.#report = { ...this.#report, segmentsMerged: this.#report.segmentsMerged + group.length - 1 };
    } catch (error) {
      // Some were trimmed away: what is left is for the next run.
      if (this.#isStopped() || areThere() || !isOfAbsence(error)) throw error;
    }
  }

  /** See `MergeNote` for what a crash leaves at each step. */
  async #replaceAll(group: readonly [SealedSegment, ...SealedSegment[]], store: NewStore): Promise<void> {
    const { context } = this.#state;
    const lastIndex = store.builder.last.index;
    const baseIndexes = group.map(({ baseIndex }) => baseIndex);
    try {
      await writeMergeNote(context, { baseIndexes, lastIndex });
      this.#rename(group[0], store);
    } catch (error) {
      // Nothing has changed but for the note. Where that can't be taken back, nothing may be done any more that it could be wrong of.
      await removeMergeNote(context);
      throw codedError("merge segments", error);
    }
    const replacement = this.#takeOver(group, store);
    this.#parts.merged();
    await context.disk.syncDirectory(context.directory);
    for (const { baseIndex } of group.slice(1)) removeSegment(context, baseIndex);
    // Valid as they are, they know of the first one's entries only: a crash must not bring them back once the note is gone.
    removeIndexes(context, group[0].baseIndex);
    await removeMergeNote(context);
    replacement.settle();
  }

  /** Runs `change` with the log to itself, if what it is for is there by then and nothing ends the run. */
  async #exclusively(isThere: () => boolean, change: () => Promise<void>): Promise<void> {
    let isDone = false;
    await this.#parts.exclusively(async () => {
      if (this.#isStopped() || !isThere()) return;
      await change();
      isDone = true;
    });
    if (!isDone) throw new Stopped();
  }

  /** Runs `work` unless the segment is trimmed away meanwhile; what is damaged is told. */
  async #inSegment<T>(segment: SealedSegment, work: (segment: SealedSegment) => Promise<T>): Promise<T | undefined> {
    try {
      return await work(segment);
    } catch (error) {
      if (!this.#isStopped() && !this.#isThere(segment) && isOfAbsence(error)) return undefined;
      if (isProglogError(error, "LOG_CORRUPT")) {
        const damage = findDamage(error, segment.storePath);
        if (damage !== undefined) this.#state.context.damages.note(damage);
      }
      throw error;
    }
  }

  /** The first segment behind `baseIndex` that takes part and begins below `endOffset`. */
  #nextSegment(baseIndex: number, endOffset: number): SealedSegment | undefined {
    const segment = this.#state.segments.findByIndexAbove(baseIndex);
    if (!(segment instanceof SealedSegment) || segment.baseIndex > (this.#last?.baseIndex ?? 0)) return undefined;
    return segment.baseOffset() < endOffset ? segment : undefined;
  }

  async #goOn(segment: SealedSegment, bytes: number): Promise<void> {
    await this.#keepPace(bytes);
    this.#checkGoesOn(segment);
  }

  async #keepPace(bytes: number): Promise<void> {
    this.#workedBytes += bytes;
    const { bytesPerSecond, signal } = this.#parts;
    const { clock } = this.#state.context;
    await clock.turn();
    await keepPace(clock, { start: this.#start, bytes: this.#workedBytes, bytesPerSecond, signal });
  }

  #checkGoesOn(segment: SealedSegment): void {
    if (this.#isStopped() || !this.#isThere(segment)) throw new Stopped();
  }

  #isStopped(): boolean {
    return this.#parts.signal.aborted || !this.#parts.isWanted() || this.#truncations !== this.#state.truncations;
  }

  #isThere(segment: SealedSegment): boolean {
    return this.#state.segments.findByIndex(segment.baseIndex) === segment;
  }
}

type NoteUndecodable = (frame: Frame, error: unknown) => void;

/** What the disk threw before anything had changed. */
function codedError(attempt: string, error: unknown): unknown {
  if (isProglogError(error)) return error;
  return isDiskFull(error) ? diskFullError(attempt, error) : diskFailedError(attempt, error);
}

/** An error that a segment's files may bring when they are removed while they are read. */
function isOfAbsence(error: unknown): boolean {
  return error instanceof Stopped || isProglogError(error, "LOG_CORRUPT") || systemErrorCode(error) === "ENOENT";
}

/** The last sealed segment of which all is committed. */
function findLast({ segments }: LogState, limitOffset: number): { baseIndex: number; nextOffset: number } | undefined {
  for (let position = segments.sealed.length - 1; position >= 0; position -= 1) {
    const nextOffset = segments.at(position + 1).baseOffset();
    if (nextOffset <= limitOffset) return { baseIndex: segments.at(position).baseIndex, nextOffset };
  }
  return undefined;
}

/** What repair put in the place of lost records says so by its flag, and has no keys. */
function isOfRecords({ kind, flags }: Frame): boolean {
  return kind === "data" && (flags & entryFlags.lost) === 0;
}

function countKeysAtMost({ payload, span }: Frame): number {
  try {
    return Math.min(span, readBatchHeader(payload).recordCount);
  } catch (error) {
    if (isProglogError(error)) return 0;
    throw error;
  }
}

/**
 * Notes the keys of a batch from offset `from` on. A batch is gone through to its end before the first of its keys is noted:
 * nothing may be removed for the sake of a record that nobody can read.
 */
function mapBatch(map: KeyMap, batch: Buffer, from: number): number | undefined {
  let walk: RecordWalk;
  try {
    const opened = openStoredBatch(batch);
    const trial = new RecordWalk(opened);
    while (trial.next());
    walk = new RecordWalk(opened);
  } catch (error) {
    if (isProglogError(error)) return undefined;
    throw error;
  }
  while (walk.next()) {
    const { offset, keyStart, keyBytes, bytes } = walk;
    if (offset < from || keyBytes < 0) continue;
    if (!map.put(bytes, keyStart, keyStart + keyBytes, offset)) return offset;
  }
  return undefined;
}
