import type { Disk } from "../base/disk.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { Compaction } from "./compaction.ts";
import { advanceMark, type CompactionMark, cutMark, readCompactionMark, writeCompactionMark } from "./compaction-mark.ts";
import type { CompactionReport } from "./log.ts";
import type { ResolvedOptions } from "./log-options.ts";
import type { LogState } from "./log-state.ts";
import { checkBound } from "./read-options.ts";
import type { ReadsUnderWay } from "./reads-under-way.ts";
import type { Segments } from "./segments.ts";
import { SharedRun } from "./shared-run.ts";
import { Turns } from "./turns.ts";
import { diskFailedError, diskFullError, isDiskFull } from "./write-failure.ts";

/** Compactions of all logs of a disk take turns: each may fill a table of keys, and read and write as fast as it may. */
const turnsOfDisks = new WeakMap<Disk, Turns>();

function turnsOf(disk: Disk): Turns {
  const turns = turnsOfDisks.get(disk) ?? new Turns();
  turnsOfDisks.set(disk, turns);
  return turns;
}

export interface CompactorParts {
  readonly options: () => CompactorOptions;
  readonly reads: ReadsUnderWay;
  readonly exclusively: (attempt: string, operation: () => Promise<void>) => Promise<void>;
  /** The first offset that isn't committed. */
  readonly limitOffset: () => number;
  /** Aborted once the log is closed. */
  readonly ended: AbortSignal;
  /** The store of a sealed segment has another size now. */
  readonly replaced: (bytesBefore: number, bytesAfter: number) => void;
  /** There are fewer sealed segments now. */
  readonly merged: () => void;
}

export type CompactorOptions = Pick<
  ResolvedOptions,
  | "cleanup"
  | "tombstoneRetentionMs"
  | "compactionMinDirtyRatio"
  | "compactionBytesPerSecond"
  | "compactionMapMaxBytes"
  | "tombstoneCeiling"
  | "segmentMaxBytes"
  | "indexMaxBytes"
>;

/** When a log is compacted, and how far it is: one run at a time, in the background or asked for. */
export class Compactor {
  readonly #state: LogState;
  readonly #parts: CompactorParts;
  #mark: CompactionMark | undefined;
  #running: SharedRun<CompactionReport> | undefined;
  #measured: { readonly segments: Segments; readonly mark: CompactionMark; readonly dirtyRatio: number } | undefined;

  constructor(state: LogState, parts: CompactorParts) {
    this.#state = state;
    this.#parts = parts;
  }

  /** Compacts in the background when so much is dirty that it pays. */
  async compactWhenDue(): Promise<void> {
    const { compactionMinDirtyRatio, compactionBytesPerSecond } = this.#parts.options();
    const dirtyRatio = this.dirtyRatio();
    if (dirtyRatio === 0 || dirtyRatio < compactionMinDirtyRatio) return;
    try {
      await this.compact({ bytesPerSecond: compactionBytesPerSecond });
    } catch (error) {
      // The log was closed under it: no failure.
      if (!isProglogError(error, "LOG_CLOSED")) throw error;
    }
  }

  /** The log's cleanup may be changed at any time. */
  get #isWanted(): boolean {
    return this.#parts.options().cleanup !== "delete";
  }

  /** See `Log.compact`. */
  async compact(options: { readonly bytesPerSecond?: number; readonly signal?: AbortSignal }): Promise<CompactionReport> {
    this.#parts.reads.checkOpen("compact");
    checkBound("compact", "bytesPerSecond", options.bytesPerSecond, 1);
    if (!this.#isWanted) {
      throw new ProglogError("INVALID_ARGUMENT", 'Cannot compact: the log\'s cleanup is "delete"', {
        hint: 'Open it with cleanup "compact" or "both".',
        details: { option: "cleanup" },
      });
    }
    // One that everybody has given up on isn't joined any more.
    if (this.#running?.isStopped === true) {
      await this.#running.wait();
      return this.compact(options);
    }
    this.#running ??= new SharedRun((stopped) =>
      this.#parts.reads
        .run("compact", () => this.#compact(AbortSignal.any([stopped, this.#parts.ended]), options.bytesPerSecond))
        .finally(() => {
          this.#running = undefined;
        }),
    );
    return (await this.#running.wait(options.signal)) ?? neverBegun;
  }

  async #compact(signal: AbortSignal, bytesPerSecond: number | undefined): Promise<CompactionReport> {
    const { context } = this.#state;
    const { limitOffset, replaced, merged, exclusively } = this.#parts;
    const report = await turnsOf(context.disk).run(signal, async () => {
      // It may have been changed while other logs had their turn.
      if (!this.#isWanted) return undefined;
      const { compactionMapMaxBytes, segmentMaxBytes, indexMaxBytes, tombstoneRetentionMs, tombstoneCeiling } =
        this.#parts.options();
      const compaction = new Compaction({
        state: this.#state,
        exclusively: (operation) => exclusively("compact", operation),
        limitOffset: limitOffset(),
        mapMaxBytes: compactionMapMaxBytes,
        segmentMaxBytes,
        indexMaxBytes,
        tombstoneRetentionMs,
        tombstoneCeiling: tombstoneCeiling?.() ?? Number.POSITIVE_INFINITY,
        isWanted: () => this.#isWanted,
        bytesPerSecond: bytesPerSecond ?? Number.POSITIVE_INFINITY,
        signal,
        mark: this.#getMark(),
        advance: ({ mappedOffset, cleanOffset }) => {
          // The clock only ever delays it: a log that was idle when it was compacted has an append time of long ago.
          const time = Math.max(this.#state.last.appendTime, context.clock.now());
          return this.#writeMark(advanceMark(this.#getMark(), mappedOffset, { offset: cleanOffset, time }));
        },
        replaced,
        merged,
      });
      try {
        await compaction.run();
      } finally {
        context.observer.compacted?.(compaction.report);
      }
      return compaction.report;
    });
    return report ?? neverBegun;
  }

  /**
   * To be told before everything from `offset` on is dropped, with the log to itself: other records may come there, of which
   * nothing is known. Throws DISK_FULL or DISK_FAILED; nothing has changed then.
   */
  async noteTruncation(offset: number): Promise<void> {
    const mark = this.#getMark();
    if (mark.mappedOffset > offset) await this.#writeMark(cutMark(mark, offset));
  }

  /** Another log has taken the place of this one, with a mark of its own or none. */
  noteReplaced(): void {
    this.#mark = undefined;
    this.#measured = undefined;
  }

  /** The part of the sealed segments that came since the last run, in bytes. 0 in a log that isn't compacted. */
  dirtyRatio(): number {
    if (!this.#isWanted) return 0;
    const { segments } = this.#state;
    // Nothing is opened any more.
    if (this.#parts.ended.aborted) return this.#measured?.dirtyRatio ?? 0;
    const mark = this.#getMark();
    if (this.#measured?.segments !== segments || this.#measured.mark !== mark) {
      this.#measured = { segments, mark, dirtyRatio: this.#measureDirtyRatio(segments, mark) };
    }
    return this.#measured.dirtyRatio;
  }

  /** As far as it can be told: a disk that refuses at the moment keeps nobody from the rest of a status. */
  get knownDirtyRatio(): number {
    try {
      return this.dirtyRatio();
    } catch {
      return this.#measured?.dirtyRatio ?? 0;
    }
  }

  #measureDirtyRatio(segments: Segments, { mappedOffset }: CompactionMark): number {
    const { disk } = this.#state.context;
    const firstDirty = segments.findByOffset(mappedOffset).baseIndex;
    let totalBytes = 0;
    let dirtyBytes = 0;
    for (const { baseIndex, storePath } of segments.sealed) {
      const bytes = disk.size(storePath) ?? 0;
      totalBytes += bytes;
      if (baseIndex >= firstDirty) dirtyBytes += bytes;
    }
    return totalBytes === 0 ? 0 : dirtyBytes / totalBytes;
  }

  #getMark(): CompactionMark {
    this.#mark ??= readCompactionMark(this.#state.context, this.#state.last.nextOffset);
    return this.#mark;
  }

  async #writeMark(mark: CompactionMark): Promise<void> {
    try {
      await writeCompactionMark(this.#state.context, mark);
      this.#mark = mark;
    } catch (error) {
      // Either mark may be there, and both are true; so nothing of the log is in doubt. The higher one is to be lowered if need be.
      this.#mark = undefined;
      if (isProglogError(error)) throw error;
      throw isDiskFull(error)
        ? diskFullError("write the compaction mark", error)
        : diskFailedError("write the compaction mark", error);
    }
  }
}

/** It was told to end while other logs had their turn; or somebody gave up waiting for a run that goes on for others. */
const neverBegun: CompactionReport = {
  isComplete: false,
  segments: 0,
  bytesBefore: 0,
  bytesAfter: 0,
  recordsRemoved: 0,
  tombstonesRemoved: 0,
  undecodableBatches: 0,
  segmentsMerged: 0,
  passes: 0,
  durationMs: 0,
};
