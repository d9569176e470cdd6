import { assert } from "../base/assert.ts";
import type { ChainPoint } from "./chain.ts";
import type { LogState } from "./log-state.ts";
import { removeSegment } from "./segment-files.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import { Segments } from "./segments.ts";
import { refusalOf } from "./write-failure.ts";

export interface Trimmed {
  readonly segments: number;
  readonly bytes: number;
}

export interface TrimPlan {
  /** The new log start. */
  readonly offset: number;
  readonly dropped: readonly SealedSegment[];
  /** The last entry of those dropped; undefined when there are none. */
  readonly before: ChainPoint | undefined;
}

/** What a trim to `offset` takes away, no entry behind `lastIndex` in any case. Reads, and changes nothing. */
export function planTrim({ segments }: LogState, offset: number, lastIndex = Number.POSITIVE_INFINITY): TrimPlan {
  const keepFrom = Math.min(segments.findByOffset(offset).baseIndex, segments.findByIndex(lastIndex + 1).baseIndex);
  const dropped = segments.sealed.filter((segment) => segment.baseIndex < keepFrom);
  const before = dropped.length === 0 ? undefined : segments.findByIndex(keepFrom).before();
  return { offset, dropped, before };
}

/**
 * Makes the plan's offset the log start and removes the segments wholly below it. The caller has the log to itself, and has
 * checked that the offset lies between the log start and the end. The base record is durable before any file goes.
 */
export async function trim(state: LogState, plan: TrimPlan): Promise<Trimmed> {
  const { context, segments } = state;
  const { disk, directory, logger } = context;
  const { offset, dropped, before } = plan;
  assert(state.durable.index === state.last.index, "what is described is durable");
  try {
    const base = before !== undefined && { baseIndex: before.index, baseTerm: before.term, nextOffset: before.nextOffset };
    // What it says of the entries is to hold without those that go.
    await state.writeBase({ logStartOffset: offset, ...base }, state.description);
  } catch (error) {
    // The other slot is whole, so where there is no room, or no descriptor, it only means: not now.
    throw refusalOf("write the base record", error);
  }
  if (dropped.length === 0) return { segments: 0, bytes: 0 };

  state.segments = new Segments(segments.sealed.slice(dropped.length), segments.active);
  let bytes = 0;
  for (const segment of dropped) {
    segment.retire();
    bytes += disk.size(segment.storePath) ?? 0;
    try {
      removeSegment(context, segment.baseIndex);
    } catch (error) {
      // Nobody reads it any more, and the next opening removes it.
      logger.warn({ error, segment: segment.storePath }, "could not remove a trimmed segment");
    }
  }
  await disk.syncDirectory(directory);
  return { segments: dropped.length, bytes };
}
