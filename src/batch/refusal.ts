import { type ErrorCode, type ErrorDetails, ProglogError } from "../base/error.ts";

/**
 * How a reader of batches says no. The same bytes are read when a batch comes in and when a stored one is decoded, but the
 * error differs: INVALID_BATCH tells a producer that its batch is wrong, UNDECODABLE_BATCH tells a consumer which offsets it
 * can't have. So whoever reads bytes gets a `Refuse` from whoever asked, and only says the reason.
 */
export type Refuse = (reason: string, options?: RefusalOptions) => ProglogError;

export interface RefusalOptions {
  /** Default: the code of whoever asked. */
  readonly code?: ErrorCode;
  /** What to do about it, where it isn't about the bytes. */
  readonly hint?: string;
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
}

/** A `Refuse` that makes INVALID_BATCH errors, `attempt` being what was tried: "Cannot accept the batch". */
export function invalidBatch(attempt: string): Refuse {
  return (reason, { code = "INVALID_BATCH", ...rest } = {}) => new ProglogError(code, `${attempt}: ${reason}`, rest);
}
