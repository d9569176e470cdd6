import type { BaseRecord } from "./base-record.ts";
import type { BaseSlots } from "./base-slots.ts";
import type { ChainPoint } from "./chain.ts";
import type { LogContext } from "./log-context.ts";
import type { Segments } from "./segments.ts";
import type { SyncMark, SyncMarkFile } from "./sync-mark.ts";

/**
 * What changes in an open log, in one place. Only one operation at a time writes it (the writer's queue sees to that); readers
 * look at it between two awaits.
 *
 * Invariants: `durable.index <= last.index`; `last` is the last entry of the active segment, or of the one before while that is
 * empty; the mark never says more than `durable`; `base.logStartOffset <= last.nextOffset`.
 */
export class LogState {
  readonly context: LogContext;
  readonly markFile: SyncMarkFile;
  segments: Segments;
  /** The last entry known synced. */
  durable: ChainPoint;
  /** While a truncation is under way: the entry that will be the last. What lies behind is being taken apart and shown to nobody. */
  ceiling: ChainPoint | undefined;
  /** Counts up when a truncation begins and when it ends: what was looked up before may lie elsewhere now, or nowhere. */
  truncations = 0;
  readonly #baseSlots: BaseSlots;

  constructor(parts: {
    readonly context: LogContext;
    readonly markFile: SyncMarkFile;
    readonly segments: Segments;
    readonly baseSlots: BaseSlots;
  }) {
    this.context = parts.context;
    this.markFile = parts.markFile;
    this.segments = parts.segments;
    this.durable = parts.segments.active.last;
    this.#baseSlots = parts.baseSlots;
  }

  get base(): BaseRecord {
    return this.#baseSlots.record;
  }

  /** The last entry written. */
  get last(): ChainPoint {
    return this.segments.active.last;
  }

  /** Writes the base record, durably and twice. */
  writeBase(base: BaseRecord): Promise<void> {
    return this.#baseSlots.write(base);
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
      isClean: flags.isClean ?? false,
      isCutting: flags.isCutting ?? false,
      isPoisoned: flags.isPoisoned ?? false,
    };
  }
}
