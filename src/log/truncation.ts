import { ProglogError } from "../base/error.ts";
import { ActiveSegment } from "./active-segment.ts";
import { advanceChain } from "./chain.ts";
import type { EntryLocation } from "./entry-index.ts";
import { readEntry } from "./entry-lookup.ts";
import type { LogState } from "./log-state.ts";
import { removeSegment } from "./recovery.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { Segments } from "./segments.ts";
import type { SyncMark } from "./sync-mark.ts";

/** The entry that is to be the last, and where it ends. */
export type NewEnd = Omit<SyncMark, "isClean" | "isCutting" | "isPoisoned">;

/**
 * Drops all entries behind `end`, durably. The caller has the log to itself.
 *
 * The order matters at each step, since a crash may come between any two: first the mark is lowered and says that a cut is
 * under way, so that opening finishes it whatever frames it still finds; then whole segments go, newest first; then the rest of
 * the one that stays is zeroed and synced; and only then the mark says that it is done.
 */
export async function truncateBehind(state: LogState, end: NewEnd): Promise<void> {
  const { context, markFile } = state;
  const { disk, directory } = context;
  const { index: keepIndex, term, nextOffset, appendTime } = end;
  // Before the first byte changes, and until the last one has: nothing behind the end is shown to a reader.
  state.ceiling = { index: keepIndex, term, nextOffset, appendTime };
  state.truncations += 1;
  await markFile.writeBoth({ ...state.describeEnd(), ...end, isCutting: true });
  state.durable = state.ceiling;

  while (state.segments.active.baseIndex > keepIndex && state.segments.sealed.length > 0) {
    const { sealed, active } = state.segments;
    await active.close();
    removeSegment(context, active.baseIndex);
    await disk.syncDirectory(directory);
    const newest = sealed.at(-1);
    if (newest === undefined) break;
    newest.retire();
    const reopened = await ActiveSegment.reopen(context, newest.before());
    state.segments = new Segments(sealed.slice(0, -1), reopened);
  }
  await state.segments.active.cut(keepIndex);
  state.durable = state.segments.active.last;
  state.ceiling = undefined;
  state.truncations += 1;
  await markFile.writeBoth(state.describeEnd());
}

/** What the mark is to say of the entry that will be the last. Reads it, so it comes before anything is changed. */
export async function describeNewEnd(state: LogState, index: number): Promise<NewEnd> {
  const segment = state.segments.findByIndex(index);
  if (index < segment.baseIndex)
    return { ...segment.before(), segmentBaseIndex: segment.baseIndex, position: segmentHeaderBytes };
  const frame = await readEntry(state.context, segment, index);
  return { ...advanceChain(frame), segmentBaseIndex: segment.baseIndex, position: frame.position + frame.byteLength };
}

/** Throws OFFSET_INSIDE_BATCH when `offset` isn't the first of the batch at `location`. */
export function checkBatchStart(offset: number, location: EntryLocation, nextOffset: number): void {
  if (location.baseOffset === offset) return;
  throw new ProglogError(
    "OFFSET_INSIDE_BATCH",
    `Cannot truncate at offset ${offset}: it lies inside the batch of offsets ${location.baseOffset} to ${nextOffset - 1}`,
    { hint: `Truncate at ${location.baseOffset} or ${nextOffset}.`, details: { baseOffset: location.baseOffset, nextOffset } },
  );
}
