import { systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
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

/** What `error` says is damaged in the store `file`; undefined when it says something else. */
export function findDamage(error: unknown, file: string): LogDamage | undefined {
  if (!isProglogError(error)) {
    // What the disk can't read, or has lost whole, is as damaged as what it reads wrong.
    if (systemErrorCode(error) === undefined) return undefined;
    return { file, position: 0, firstOffset: 0, nextOffset: 0, reason: messageOf(error) };
  }
  if (error.code !== "LOG_CORRUPT") return undefined;
  const details: Readonly<Record<string, unknown>> = error.details;
  const numberOf = (key: string): number => (typeof details[key] === "number" ? details[key] : 0);
  return {
    file,
    position: numberOf("position"),
    firstOffset: numberOf("firstOffset"),
    nextOffset: numberOf("nextOffset"),
    reason: typeof details["reason"] === "string" ? details["reason"] : "the segment header is bad",
  };
}
