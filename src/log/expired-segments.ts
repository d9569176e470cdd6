import { findDamage } from "./corrupt-error.ts";
import type { LogContext } from "./log-context.ts";
import { countExpired, type RetentionLimits, type SegmentAge } from "./retention.ts";
import type { SealedSegment } from "./sealed-segment.ts";
import type { Segment, Segments } from "./segments.ts";

export interface ExpiredSegments {
  /** How many can go from the front. */
  readonly count: number;
  /** Those among them of which an index tells no more. */
  readonly unreadable: readonly SealedSegment[];
}

/**
 * Which segments retention removes. Usually the trailer of a segment's index says what it goes by. One that is lost, or doesn't fit the store, isn't built
 * anew for that: it would mean to read the whole store, at each look, and where that is bad there is no building it, so that a
 * damaged segment would keep the log from ever getting rid of it and of what follows. The size of the file and the headers
 * behind tell as much.
 */
export function findExpired(
  context: LogContext,
  segments: Segments,
  totalBytes: number,
  limits: RetentionLimits,
): ExpiredSegments {
  const unreadable: SealedSegment[] = [];
  const describe = segments.sealed.map((segment) => (): SegmentAge => {
    const summary = readIfSound(() => segment.findSummary());
    const storeBytes = context.disk.size(segment.storePath) ?? 0;
    if (summary?.storeBytes === storeBytes) return summary;
    // It may be the index of another store, which a crash brought back.
    if (summary === undefined) unreadable.push(segment);
    return { storeBytes, lastAppendTime: findAppendTimeBehind(segments, segment) };
  });
  let count = countExpired(describe, totalBytes, limits);
  // Where the log begins then is told by the header of the first that stays. Behind a bad one, they go when that one goes, too.
  while (count > 0 && !hasSoundHeader(context, segments.at(count))) count -= 1;
  return { count, unreadable: unreadable.filter((segment) => segments.sealed.indexOf(segment) < count) };
}

/** The header behind a segment bears its last append time; one further behind a later one, so nothing goes too early by it. */
function findAppendTimeBehind(segments: Segments, segment: SealedSegment): number {
  for (let next = segments.after(segment); next !== undefined; next = segments.after(next)) {
    const sound: Segment = next;
    const before = readIfSound(() => sound.before());
    if (before !== undefined) return before.appendTime;
  }
  return segments.active.last.appendTime;
}

function hasSoundHeader({ damages }: LogContext, segment: Segment): boolean {
  try {
    segment.before();
    return true;
  } catch (error) {
    const damage = findDamage(error, segment.storePath);
    if (damage === undefined) throw error;
    damages.note(damage);
    return false;
  }
}

function readIfSound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    // Bad bytes, a file that is gone, a disk that doesn't give them: readers and scrub report that, retention goes by what is left.
    return undefined;
  }
}
