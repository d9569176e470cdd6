import { ProglogError } from "../base/error.ts";
import { KiB } from "../base/units.ts";
import type { BatchReadOptions } from "./log.ts";

/** Throws INVALID_ARGUMENT with details {option}: a bound that is no number would be taken for none, or end a read at once. */
export function checkReadOptions({ limit, maxBytes, maxPieceBytes }: BatchReadOptions): void {
  checkBound("read", "limit", limit, 0);
  checkBound("read", "maxBytes", maxBytes, 1);
  checkBound("read", "maxPieceBytes", maxPieceBytes, 4 * KiB);
}

/** A bound is a whole number from `min`, or infinite; left out, there is none. */
export function checkBound(attempt: string, option: string, value: number | undefined, min: number): void {
  if (value === undefined || value === Number.POSITIVE_INFINITY) return;
  if (Number.isSafeInteger(value) && value >= min) return;
  throw new ProglogError(
    "INVALID_ARGUMENT",
    `Cannot ${attempt} with ${option} ${value}: it must be a whole number from ${min}, or Infinity`,
    { details: { option } },
  );
}
