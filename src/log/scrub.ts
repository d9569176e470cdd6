import { damagesMaxCount } from "../base/limits.ts";
import { findDamage } from "./corrupt-error.ts";
import { readSealedSlots } from "./entry-index.ts";
import type { ScrubReport } from "./log.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import { keepPace } from "./pace.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { checkSeam, type SegmentEnd } from "./seam.ts";
import type { Segment, Segments } from "./segments.ts";
import { indexSuffix, segmentPath } from "./segment-name.ts";
import { scrubSegment } from "./segment-scrub.ts";

export interface ScrubOptions {
  readonly bytesPerSecond: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads sealed segments whole and verifies them, so that rot is found while there is still another copy, and not by the reader
 * who needs the record. A wrong index is built anew; damage is reported and left as it is.
 */
export async function scrubSegments(
  context: LogContext,
  listSegments: () => Segments,
  options: ScrubOptions,
): Promise<ScrubReport> {
  const damages: LogDamage[] = [];
  let bytes = 0;
  let segments = 0;
  let doneUpTo = 0;
  const start = context.clock.monotonic();
  for (;;) {
    // Asked for anew each time: retention may have removed some meanwhile, and a roll added one.
    const segment = listSegments().findByIndexAbove(doneUpTo);
    if (!(segment instanceof SealedSegment) || options.signal?.aborted === true) break;
    doneUpTo = segment.baseIndex;
    const isThere = (): boolean => listSegments().sealed.includes(segment);
    const note = (damage: LogDamage): void => {
      if (!isThere()) return;
      if (damages.length < damagesMaxCount) damages.push(damage);
      context.damages.note(damage);
    };
    try {
      const scrubbed = await scrubSegment(context, segment, {
        nextOffset: findBaseOffset(listSegments().after(segment)),
        async goOn(readBytes) {
          bytes += readBytes;
          await keepPace(context.clock, { start, bytes, ...options });
          return options.signal?.aborted !== true && isThere();
        },
        onDamage: note,
      });
      if (scrubbed === undefined) continue;
      if (scrubbed.damages === 0) {
        await segment.summary();
        if (!isIndexSound(context, segment, scrubbed.end)) await segment.rebuild();
        segments += 1;
      }
      if (scrubbed.end !== undefined) checkSeam("scrub a segment", segment, scrubbed.end, listSegments().after(segment));
    } catch (error) {
      if (!isThere()) continue;
      const damage = findDamage(error, segment.storePath);
      if (damage === undefined) throw error;
      note(damage);
    }
  }
  context.observer.scrubbed?.({ segments, bytes, damages: damages.length });
  return { segments, bytes, damages };
}

/** The offset that the segment behind begins with; undefined when its header doesn't tell. */
function findBaseOffset(segment: Segment | undefined): number | undefined {
  try {
    return segment?.baseOffset();
  } catch {
    // It is damaged as well, which is reported when its turn comes.
    return undefined;
  }
}

function isIndexSound(context: LogContext, segment: SealedSegment, end: SegmentEnd | undefined): boolean {
  const { disk, openFiles, directory, seed } = context;
  const path = segmentPath(directory, segment.baseIndex, indexSuffix);
  if (disk.size(path) === undefined) return false;
  const index = openFiles.acquire(disk, path);
  try {
    const summary = readSealedSlots(index, segment.baseIndex, seed)?.summary;
    if (summary === undefined || end === undefined) return summary !== undefined;
    const lastIndex = segment.baseIndex + summary.entryCount - 1;
    // A store that was cut between two frames: its index says what is lost, and stays.
    if (lastIndex > end.lastIndex) return true;
    // A crash may leave the index of a store beside the one that compaction put in its place.
    return lastIndex === end.lastIndex && summary.storeBytes === end.storeBytes;
  } finally {
    openFiles.release(index);
  }
}
