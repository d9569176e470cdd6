import { assert } from "../base/assert.ts";
import { isProglogError } from "../base/error.ts";
import type { BaseRecord } from "./base-record.ts";
import type { BaseSlots } from "./base-slots.ts";
import type { ChainPoint } from "./chain.ts";
import type { LogContext } from "./log-context.ts";
import { describedBase, type LogDescription } from "./log-description.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import { Segments } from "./segments.ts";
import type { SyncMark, SyncMarkFile } from "./sync-mark.ts";
import { refusalOf } from "./write-failure.ts";

/**
 * What changes in an open log, in one place. Only one operation at a time writes it (the writer's queue sees to that); readers
 * look at it between two awaits.
 *
 * Invariants: `durable.index <= last.index`; `last` is the last entry of the active segment, or of the one before while that is
 * empty; the mark never says more than `durable`; `base.logStartOffset <= last.nextOffset`; `description.index` is that of `last`, and
 * no file of the base record describes more.
 */
export class LogState {
  readonly context: LogContext;
  markFile: SyncMarkFile;
  segments: Segments;
  /** The last entry known synced. */
  durable: ChainPoint;
  /** While a truncation is under way: the entry that will be the last. What lies behind is being taken apart and shown to nobody. */
  ceiling: ChainPoint | undefined;
  /** Of a replica's log: how far readers may go, whatever is written. */
  shown: { readonly index: number; readonly nextOffset: number } | undefined;
  /** Counts up when a truncation begins and when it ends: what was looked up before may lie elsewhere now, or nowhere. */
  truncations = 0;
  /** What is known of all entries written. */
  description: LogDescription;
  /** Counts up when the store of a sealed segment was replaced: positions in it that were known before mean nothing any more. */
  replacements = 0;
  #baseSlots: BaseSlots;

  constructor(parts: {
    readonly context: LogContext;
    readonly markFile: SyncMarkFile;
    readonly segments: Segments;
    readonly baseSlots: BaseSlots;
    readonly description: LogDescription;
  }) {
    this.context = parts.context;
    this.markFile = parts.markFile;
    this.segments = parts.segments;
    this.durable = parts.segments.active.last;
    this.#baseSlots = parts.baseSlots;
    this.description = parts.description;
  }

  get base(): BaseRecord {
    return this.#baseSlots.record;
  }

  /** Another log has taken the place of this one: all that it holds is synced, and behind its base nothing is shown. */
  replaceAll(parts: Pick<LogState, "markFile" | "segments" | "description"> & { readonly baseSlots: BaseSlots }): void {
    this.markFile = parts.markFile;
    this.segments = parts.segments;
    this.durable = parts.segments.active.last;
    this.description = parts.description;
    this.#baseSlots = parts.baseSlots;
    this.ceiling = undefined;
    const { baseIndex, nextOffset } = this.base;
    this.shown = { index: baseIndex, nextOffset };
  }

  /** The last entry written. */
  get last(): ChainPoint {
    return this.segments.active.last;
  }

  /** Puts `replacement` in the place of segments that follow each other, whose entries its store holds. */
  replaceSealed(segments: readonly SealedSegment[], replacement: SealedSegment): void {
    const { sealed, active } = this.segments;
    const [first] = segments;
    const at = first === undefined ? -1 : sealed.indexOf(first);
    assert(
      at >= 0 && segments.every((segment, i) => sealed[at + i] === segment),
      "segments of the log are replaced that follow each other",
    );
    for (const segment of segments) segment.retire();
    this.segments = new Segments([...sealed.slice(0, at), replacement, ...sealed.slice(at + segments.length)], active);
    this.replacements += 1;
  }

  /** Whether there are entries that change what the base record says. */
  get hasNews(): boolean {
    return this.description.newsIndex > this.base.describedIndex;
  }

  /** Whether the base record may describe entries behind `index`. */
  isDescribedBehind(index: number): boolean {
    return this.#baseSlots.maxDescribedIndex > index;
  }

  /** The base record on disk that describes the most of the log and nothing behind `index`. */
  findBaseUpTo(index: number): BaseRecord | undefined {
    return this.#baseSlots.findUpTo(index);
  }

  /** Changes the base record, durably and twice. `description` is to be that of entries that are durable. */
  writeBase(changes: Partial<BaseRecord>, description: LogDescription): Promise<void> {
    return this.#baseSlots.write(describedBase({ ...this.base, ...changes }, description));
  }

  /**
   * Brings the base record up to the log's last entry, which is durable. Without it the next opening has more to read; so when there is
   * no room, or no descriptor, the log goes on.
   */
  async describe(): Promise<void> {
    const { logger, directory } = this.context;
    assert(this.durable.index === this.last.index, "what is described is durable");
    if (this.base.describedIndex === this.last.index) return;
    try {
      await this.#baseSlots.describe(describedBase(this.base, this.description));
    } catch (error) {
      if (!isProglogError(refusalOf("write the base record", error))) throw error;
      logger.warn({ error, directory }, "could not bring the base record up to date");
    }
  }

  /** What the sync mark is to say once everything written is synced. */
  describeEnd(flags: Partial<Pick<SyncMark, "isClean" | "isCutting" | "isPoisoned">> = {}): SyncMark {
    const { active } = this.segments;
    const { last } = active;
    return {
      index: last.index,
      term: last.term,
      nextOffset: last.nextOffset,
      appendTime: last.appendTime,
      segmentBaseIndex: active.baseIndex,
      position: active.store.end,
      newsIndex: this.description.newsIndex,
      isClean: flags.isClean ?? false,
      isCutting: flags.isCutting ?? false,
      isPoisoned: flags.isPoisoned ?? false,
    };
  }
}
