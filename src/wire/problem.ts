import { STATUS_CODES } from "node:http";
import { type ErrorCode, type ErrorDetails, isProglogError, ProglogError } from "../base/error.ts";
import { type AppendOutcome, errorTable, errorTableEntry } from "./error-table.ts";

/**
 * An error as `application/problem+json` (RFC 9457). Programs match on `code`; people read `detail` and `hint`. `outcome` is
 * absent where no append can meet the code.
 */
export interface Problem {
  /** `urn:proglog:error:` and the code in lower case with hyphens. */
  readonly type: string;
  /** What the HTTP status is called. */
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint?: string;
  readonly retryable: boolean;
  readonly outcome?: AppendOutcome;
  /** Facts that a program may act on, such as `logStartOffset`. */
  readonly details?: ErrorDetails;
}

export const problemMediaType = "application/problem+json";

/**
 * The problem for whatever was thrown. What isn't a `ProglogError` is a fault of ours: it is named INTERNAL and keeps its
 * message to itself, since that may hold a path or worse. An error whose details carry an `outcome` knows better than the table:
 * a request appended in several batches may fail at the second.
 */
export function toProblem(error: unknown): Problem {
  if (!isProglogError(error)) return toProblem(new ProglogError("INTERNAL", "The request failed inside the server"));
  const entry = errorTableEntry(error.code);
  const { outcome: knownOutcome, ...details } = error.details;
  const outcome = isOutcome(knownOutcome) ? knownOutcome : entry.outcome;
  return {
    type: `urn:proglog:error:${error.code.toLowerCase().replaceAll("_", "-")}`,
    title: STATUS_CODES[entry.http] ?? "Error",
    status: entry.http,
    code: error.code,
    detail: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    retryable: entry.isRetryable,
    ...(outcome === null ? {} : { outcome }),
    ...(Object.keys(details).length === 0 ? {} : { details }),
  };
}

/** The error that a problem told of, or undefined for JSON that is none. Its `details.outcome` holds the outcome. */
export function fromProblem(problem: unknown): ProglogError | undefined {
  if (typeof problem !== "object" || problem === null) return undefined;
  const { code, detail, hint, outcome, details } = problem as Partial<Record<keyof Problem, unknown>>;
  if (typeof code !== "string" || !Object.hasOwn(errorTable, code) || typeof detail !== "string") return undefined;
  return new ProglogError(code as ErrorCode, detail, {
    ...(typeof hint === "string" ? { hint } : {}),
    details: { ...plainDetails(details), ...(isOutcome(outcome) ? { outcome } : {}) },
  });
}

function plainDetails(details: unknown): ErrorDetails {
  if (typeof details !== "object" || details === null) return {};
  const plain = Object.entries(details).filter(
    ([, value]) => value === null || ["string", "number", "boolean"].includes(typeof value),
  );
  return Object.fromEntries(plain);
}

function isOutcome(value: unknown): value is AppendOutcome {
  return value === "not-appended" || value === "unknown";
}
