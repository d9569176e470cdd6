import type { ChainPoint } from "./chain.ts";
import type { Frame } from "./frame.ts";
import type { LogContext } from "./log-context.ts";
import { LogDescription } from "./log-description.ts";
import type { LogState } from "./log-state.ts";
import { scanStore } from "./store-scan.ts";

/** A segment whose entries are to be described; of those of a list each but the last ends where the next begins. */
export interface ReplayedSegment {
  readonly baseIndex: number;
  readonly storePath: string;
  /** The entry before the segment. */
  before(): ChainPoint;
}

/**
 * Feeds `description` with what it doesn't know yet of `segments`, in order, all of which end before `endIndex`. Throws LOG_CORRUPT at
 * damage, unless it is given `onDamage`: then that is told, and it goes on with the next segment.
 */
export async function replaySegments(
  context: LogContext,
  segments: readonly ReplayedSegment[],
  endIndex: number,
  description: LogDescription,
  onDamage?: (segment: ReplayedSegment, error: unknown) => void,
): Promise<void> {
  for (const [i, segment] of segments.entries()) {
    const nextBaseIndex = segments[i + 1]?.baseIndex ?? endIndex;
    if (description.index >= nextBaseIndex - 1) continue;
    try {
      await replaySegment(context, segment, description);
    } catch (error) {
      if (onDamage === undefined) throw error;
      onDamage(segment, error);
    }
  }
}

async function replaySegment(context: LogContext, segment: ReplayedSegment, description: LogDescription): Promise<void> {
  const before = segment.before();
  const { disk, openFiles, seed } = context;
  const file = openFiles.acquire(disk, segment.storePath);
  try {
    await scanStore(file, { before, seed, onFrame: (frame) => describeFrame(description, frame) }, segment.storePath);
  } finally {
    openFiles.release(file);
  }
}

/** Takes note of an entry that was read, unless it is known. */
export function describeFrame(description: LogDescription, frame: Frame): void {
  if (frame.index > description.index) description.apply(frame, frame.payload);
}

/** A description that ends at or before an entry, and whether what follows it up to that entry has to be read. */
export interface DescriptionStart {
  readonly description: LogDescription;
  readonly mustRead: boolean;
}

/**
 * Where to begin to describe the log as if `end` were its last entry: with a base record that ends there or before, if there is one.
 * Else with what was trimmed away, and then everything that is there has to be read, unless it is known to have no news. That
 * nothing is known of producers now says nothing of how it was at `end`: what they were forgotten by may be what is cut.
 */
export function startDescription(state: LogState, end: Pick<ChainPoint, "index">): DescriptionStart {
  const { base, context, description: current } = state;
  const record = state.findBaseUpTo(end.index);
  const description =
    record === undefined
      ? LogDescription.of(base, context.producerLimits).cutTo({ index: base.baseIndex, nextOffset: base.nextOffset })
      : LogDescription.of(record, context.producerLimits);
  const mustRead = current.newsIndex > description.index;
  if (!mustRead) description.knowNews(current.newsIndex);
  return { description, mustRead };
}
