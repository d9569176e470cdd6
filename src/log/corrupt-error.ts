import { ProglogError } from "../base/error.ts";
import type { LogDamage } from "./log-observer.ts";

/** Rot of acknowledged data, as an error: LOG_CORRUPT with details {file, position, firstOffset, nextOffset}. */
export function corruptError(attempt: string, damage: LogDamage): ProglogError {
  return new ProglogError(
    "LOG_CORRUPT",
    `Cannot ${attempt}: ${damage.file} is damaged at position ${damage.position}: ${damage.reason}`,
    {
      hint: "Run `proglog verify` on the directory; `proglog repair` says what would be lost and keeps a copy.",
      details: { ...damage },
    },
  );
}
