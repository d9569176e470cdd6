import { corruptError } from "./corrupt-error.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import type { Segment } from "./segments.ts";

/** Where a segment's entries end. */
export interface SegmentEnd {
  readonly lastIndex: number;
  readonly nextOffset: number;
  readonly storeBytes: number;
}

/**
 * Throws LOG_CORRUPT when `next` doesn't go on where `segment` ends. A store that was cut between two frames, or one that is
 * gone, leaves every other frame whole: it shows at the seam only.
 */
export function checkSeam(attempt: string, segment: SealedSegment, end: SegmentEnd, next: Segment | undefined): void {
  const { lastIndex, nextOffset, storeBytes } = end;
  if (next === undefined || next.baseIndex === lastIndex + 1) return;
  throw corruptError(attempt, {
    file: segment.storePath,
    position: storeBytes,
    firstOffset: nextOffset,
    nextOffset: Math.max(nextOffset, next.baseOffset()),
    reason: `entries ${lastIndex + 1} to ${next.baseIndex - 1} are missing`,
  });
}
