import { ProglogError } from "../base/error.ts";

/** Throws INVALID_ARGUMENT unless a topic may have so many partitions, as far as the number goes. */
export function checkPartitionCount(count: number, attempt: string): void {
  if (Number.isSafeInteger(count) && count >= 1) return;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt}: ${count} is no number of partitions`);
}
