import { diskFullError, isDiskFull } from "./write-failure.ts";
import type { LogState } from "./log-state.ts";
import { removeSegment } from "./recovery.ts";
import { Segments } from "./segments.ts";

export interface Trimmed {
  readonly segments: number;
  readonly bytes: number;
}

/**
 * Makes `offset` the log start and removes the segments wholly below it. The caller has the log to itself, and has checked that
 * the offset lies between the log start and the end. The base record is durable before any file goes.
 */
export async function trimTo(state: LogState, offset: number): Promise<Trimmed> {
  const { context, segments } = state;
  const { disk, directory, logger } = context;
  const keepFrom = segments.findByOffset(offset).baseIndex;
  const dropped = segments.sealed.filter((segment) => segment.baseIndex < keepFrom);
  const first = segments.findByIndex(keepFrom);
  const before = dropped.length === 0 ? undefined : first.before();
  try {
    await state.writeBase({
      ...state.base,
      logStartOffset: offset,
      ...(before !== undefined && { baseIndex: before.index, baseTerm: before.term, nextOffset: before.nextOffset }),
    });
  } catch (error) {
    // The other slot is whole, so a full disk only means: not now.
    throw isDiskFull(error) ? diskFullError("write the base record", error) : error;
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
