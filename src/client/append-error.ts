import { type ErrorCode, isProglogError, messageOf, ProglogError } from "../base/error.ts";
import { errorTableEntry } from "../wire/error-table.ts";

/** What an error says of an append: what became of it, and who is to be asked now. */
export function outcomeOf(error: ProglogError): "not-appended" | "unknown" {
  const { outcome } = error.details;
  return (outcome ?? errorTableEntry(error.code).outcome) === "unknown" ? "unknown" : "not-appended";
}

/** The error, which is known to have come before anything was sent. */
export function notAppended(error: ProglogError): ProglogError {
  return withOutcome(error, "not-appended");
}

export function withOutcome(error: ProglogError, outcome: "not-appended" | "unknown"): ProglogError {
  return new ProglogError(error.code, error.message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: { ...error.details, outcome },
    cause: error,
  });
}

export function toProglogError(error: unknown): ProglogError {
  return isProglogError(error) ? error : new ProglogError("INTERNAL", `Cannot produce: ${messageOf(error)}`, { cause: error });
}
/** What says that another node is to be asked, or that this one can't be heard. */
const routeCodes: readonly ErrorCode[] = [
  "NOT_LEADER",
  "NOT_A_REPLICA",
  "LEADERSHIP_LOST",
  "UNAVAILABLE",
  "SHUTTING_DOWN",
  "LOG_CLOSED",
  "DISK_FULL",
  "DISK_FAILED",
  "LOG_POISONED",
  "LOG_CORRUPT",
];
/** What ails one replica. */
export const replicaCodes: readonly ErrorCode[] = ["DISK_FAILED", "LOG_POISONED", "LOG_CORRUPT"];

export function isAboutRoute({ code }: ProglogError): boolean {
  return routeCodes.includes(code);
}

/** It says who leads. */
export function isNaming({ details }: ProglogError): boolean {
  return typeof details["leaderRpcAddr"] === "string";
}

/** For what the batch is, whoever is asked: not for how the node is, or for what came before it. */
export function isRefusal({ code }: ProglogError): boolean {
  const { isRetryable, outcome } = errorTableEntry(code);
  return !isRetryable && outcome === "not-appended" && code !== "OUT_OF_ORDER_SEQUENCE" && !replicaCodes.includes(code);
}

export function sequenceLostError(cause: ProglogError): ProglogError {
  return new ProglogError("OUT_OF_ORDER_SEQUENCE", `Cannot tell whether the batch was appended: ${cause.message}`, {
    details: { outcome: "unknown" },
    cause,
  });
}
