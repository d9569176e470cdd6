import { assert } from "../base/assert.ts";
import { ProglogError } from "../base/error.ts";
import { ActiveSegment } from "./active-segment.ts";
import { advanceChain } from "./chain.ts";
import type { EntryLocation } from "./entry-index.ts";
import { readEntry } from "./entry-lookup.ts";
import type { Frame } from "./frame.ts";
import { IndexBuilder, type KnownEntries } from "./index-builder.ts";
import type { LogDescription } from "./log-description.ts";
import type { LogState } from "./log-state.ts";
import { describeFrame, replaySegments, startDescription } from "./replay.ts";
import { removeSegment } from "./segment-files.ts";
import { type Segment, Segments } from "./segments.ts";
import { scanStore } from "./store-scan.ts";
import { refusalOf } from "./write-failure.ts";

/** What stays of the log, read and verified before anything is changed. */
export interface TruncationPlan {
  /** The segment that will be the active one. */
  readonly staying: Segment;
  /** Its entries up to the one that will be the log's last. */
  readonly entries: KnownEntries;
  /** What will be known of all entries. */
  readonly description: LogDescription;
}

/**
 * Before anything is cut, no base record may describe what will be: new entries take the place of the old, and it would be taken for
 * theirs. Throws DISK_FULL or OVERLOADED, and the log is as it was.
 */
export async function lowerBase(state: LogState, { description }: TruncationPlan): Promise<void> {
  if (!state.isDescribedBehind(description.index)) return;
  try {
    await state.writeBase({}, description);
  } catch (error) {
    throw refusalOf("write the base record", error);
  }
}

/**
 * Drops all entries behind those of `plan`, durably. The caller has the log to itself, and has lowered the base record.
 *
 * The order matters at each step, since a crash may come between any two: first the mark is lowered and says that a cut is
 * under way, so that opening finishes it whatever frames it still finds; then whole segments go, newest first; then the rest of
 * the one that stays is zeroed and synced; and only then the mark says that it is done.
 */
export async function truncateBehind(state: LogState, plan: TruncationPlan): Promise<void> {
  const { context, markFile } = state;
  const { disk, directory } = context;
  const { staying, entries, description } = plan;
  assert(!state.isDescribedBehind(description.index), "nothing that is cut is described");
  // Before the first byte changes, and until the last one has: nothing behind the end is shown to a reader.
  state.ceiling = entries.last;
  state.truncations += 1;
  const { newsIndex } = description;
  const newEnd = { ...entries.last, segmentBaseIndex: staying.baseIndex, position: entries.end, newsIndex };
  await markFile.writeBoth({ ...state.describeEnd(), ...newEnd, isCutting: true });
  state.durable = entries.last;
  state.description = description;

  if (staying !== state.segments.active) {
    const { sealed, active } = state.segments;
    await active.close();
    for (const segment of sealed) if (segment.baseIndex >= staying.baseIndex) segment.retire();
    const kept = sealed.filter((segment) => segment.baseIndex < staying.baseIndex);
    // Before the files go, so that nobody looks for them any more.
    state.segments = new Segments(kept, ActiveSegment.reopen(context, entries));
    const removed = [...sealed.filter((segment) => segment.baseIndex > staying.baseIndex), active];
    for (const segment of removed.toReversed()) {
      removeSegment(context, segment.baseIndex);
      await disk.syncDirectory(directory);
    }
  }
  await state.segments.active.cut(entries);
  state.durable = state.segments.active.last;
  state.ceiling = undefined;
  state.truncations += 1;
  await markFile.writeBoth(state.describeEnd());
}

/**
 * Reads what is to stay of the segment in which `index` lies, or right before which: its indexes are built anew from it. Here
 * and not later, so that rot in it is an answer, LOG_CORRUPT, and no truncation that stops half-way.
 */
export async function planTruncation(state: LogState, index: number): Promise<TruncationPlan> {
  const { context, segments } = state;
  const staying = segments.findByIndex(index);
  const before = staying.before();
  const builder = new IndexBuilder(before);
  const last = index > before.index ? await readEntry(context, staying, index) : undefined;
  const { description, mustRead } = startDescription(state, last === undefined ? before : advanceChain(last));
  if (mustRead) {
    const earlier = segments.sealed.filter((segment) => segment.baseIndex < staying.baseIndex);
    await replaySegments(context, earlier, staying.baseIndex, description);
  }
  if (last !== undefined) {
    const endPosition = last.position + last.byteLength;
    const onFrame = (frame: Frame): void => {
      builder.add(frame);
      if (mustRead) describeFrame(description, frame);
    };
    const file = context.openFiles.acquire(context.disk, staying.storePath);
    try {
      await scanStore(file, { before, seed: context.seed, endPosition, onFrame }, staying.storePath);
    } finally {
      context.openFiles.release(file);
    }
  }
  assert(builder.last.index === index, "what stays ends with the entry that was asked for");
  description.passOver(builder.last);
  return { staying, entries: { before, ...builder.entries() }, description };
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
