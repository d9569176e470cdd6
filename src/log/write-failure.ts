import { AssertionError } from "../base/assert.ts";
import { systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";

/**
 * True for a disk or quota that is full: the one failure of a write whose outcome is known, so that it can be undone. A sync
 * that says so isn't meant: what it left undone isn't known, whatever its reason.
 */
export function isDiskFull(error: unknown): boolean {
  const code = systemErrorCode(error);
  return (code === "ENOSPC" || code === "EDQUOT") && !isOfSync(error);
}

/** True when the process or the system may open no further file: nothing was done, and it passes. */
export function isOutOfFiles(error: unknown): boolean {
  const code = systemErrorCode(error);
  return (code === "EMFILE" || code === "ENFILE") && !isOfSync(error);
}

/** Every disk names the call that failed: fsync and fdatasync, or what stands for them in the simulator. */
function isOfSync(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && typeof error.syscall === "string" && error.syscall.includes("sync");
}

/** The answer to a failure that changed nothing and passes, or `error` as it is. */
export function refusalOf(attempt: string, error: unknown): unknown {
  if (isDiskFull(error)) return diskFullError(attempt, error);
  return isOutOfFiles(error) ? outOfFilesError(attempt, error) : error;
}

export function diskFullError(attempt: string, cause: unknown): ProglogError {
  return new ProglogError("DISK_FULL", `Cannot ${attempt}: the disk is full`, {
    hint: "Free some space or lower the retention; appends go on by themselves then.",
    cause,
  });
}

export function outOfFilesError(attempt: string, cause: unknown): ProglogError {
  return new ProglogError("OVERLOADED", `Cannot ${attempt}: too many files are open`, {
    hint: "Raise the limit of open files (ulimit -n), or close some of what this process has open.",
    cause,
    details: { systemCode: systemErrorCode(cause) ?? null },
  });
}

/** What ends a log's writing: a write or sync that failed, or something that proglog believed and that isn't so. What became of it isn't known. */
export function poisonOf(attempt: string, cause: unknown): ProglogError {
  const assertion = findAssertion(cause);
  if (assertion === undefined) return diskFailedError(attempt, cause, "unknown");
  return new ProglogError("INTERNAL", `Cannot ${attempt}: ${assertion.message}`, {
    hint: "This is a fault of proglog's own, and not of the disk: please report it. Opening the log again tells which records there are.",
    details: { outcome: "unknown" },
    cause,
  });
}

function findAssertion(error: unknown): AssertionError | undefined {
  if (error instanceof AssertionError) return error;
  return error instanceof Error ? findAssertion(error.cause) : undefined;
}

/** A write or sync that failed: whether the bytes are on the disk is not known. */
export function diskFailedError(attempt: string, cause: unknown, outcome?: "unknown"): ProglogError {
  return new ProglogError("DISK_FAILED", `Cannot ${attempt}: ${messageOf(cause)}`, {
    hint: "Check the disk, then open the log again: it then tells which records there are.",
    cause,
    details: { systemCode: systemErrorCode(cause) ?? null, ...(outcome !== undefined && { outcome }) },
  });
}

export function poisonedError(attempt: string, cause: ProglogError): ProglogError {
  const isOurs = cause.code === "INTERNAL";
  const reason = isOurs ? "the log stopped itself" : "an earlier write or sync failed";
  return new ProglogError("LOG_POISONED", `Cannot ${attempt}: ${reason} (${cause.message})`, {
    hint: `${isOurs ? "Open" : "Check the disk, then open"} the log again. Reading what was synced goes on.`,
    cause,
  });
}

export function closedError(attempt: string): ProglogError {
  return new ProglogError("LOG_CLOSED", `Cannot ${attempt}: the log is closed`);
}
