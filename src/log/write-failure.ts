import { systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";

/** True for a disk or quota that is full: the one failure of a write whose outcome is known, so that it can be undone. */
export function isDiskFull(error: unknown): boolean {
  const code = systemErrorCode(error);
  return code === "ENOSPC" || code === "EDQUOT";
}

export function diskFullError(attempt: string, cause: unknown): ProglogError {
  return new ProglogError("DISK_FULL", `Cannot ${attempt}: the disk is full`, {
    hint: "Free some space or lower the retention; appends go on by themselves then.",
    cause,
  });
}

/** A write or sync that failed: whether the bytes are on the disk is not known. */
export function diskFailedError(attempt: string, cause: unknown): ProglogError {
  return new ProglogError("DISK_FAILED", `Cannot ${attempt}: ${messageOf(cause)}`, {
    hint: "Check the disk, then open the log again: it then tells which records there are.",
    cause,
    details: { systemCode: systemErrorCode(cause) ?? null },
  });
}

export function poisonedError(attempt: string, cause: ProglogError): ProglogError {
  return new ProglogError("LOG_POISONED", `Cannot ${attempt}: an earlier write or sync failed (${cause.message})`, {
    hint: "Check the disk, then open the log again. Reading what was synced goes on.",
    cause,
  });
}

export function closedError(attempt: string): ProglogError {
  return new ProglogError("LOG_CLOSED", `Cannot ${attempt}: the log is closed`);
}
