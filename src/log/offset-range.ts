import { ProglogError } from "../base/error.ts";

/** The offsets of a log that can be read: `[logStartOffset, highWatermark)`. */
export interface OffsetRange {
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

/** OFFSET_OUT_OF_RANGE with details {offset, logStartOffset, highWatermark}. `end` is where the log ends for this attempt. */
export function outOfRangeError(attempt: string, offset: number, end: number, range: OffsetRange): ProglogError {
  const { logStartOffset, highWatermark } = range;
  const because =
    logStartOffset === end
      ? `the log is empty, and its next offset is ${end}`
      : offset < logStartOffset
        ? `the log starts at ${logStartOffset}`
        : `the log ends at ${end}`;
  return new ProglogError("OFFSET_OUT_OF_RANGE", `Cannot ${attempt} offset ${offset}: ${because}`, {
    details: { offset, logStartOffset, highWatermark },
  });
}

/** Throws OFFSET_OUT_OF_RANGE unless there is a record at `offset` to read. */
export function checkReadable(attempt: string, offset: number, range: OffsetRange): void {
  checkOffset(attempt, offset);
  const { logStartOffset, highWatermark } = range;
  if (offset < logStartOffset || offset >= highWatermark) throw outOfRangeError(attempt, offset, highWatermark, range);
}

/** A place to begin at: a readable offset, or the end. */
export function checkPlace(offset: number, range: OffsetRange): void {
  if (offset !== range.highWatermark) checkReadable("read from", offset, range);
}

/** Throws INVALID_ARGUMENT for what is no offset at all. */
export function checkOffset(attempt: string, offset: number): void {
  if (Number.isSafeInteger(offset) && offset >= 0) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt} offset ${offset}: it is no whole number from 0 to 2^53-1`);
}
