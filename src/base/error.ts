/**
 * The closed list of error codes. It only grows: clients and dashboards match on these words. What each maps to on gRPC and
 * HTTP, whether a retry can help and what it says about the append stands in one table, `src/wire/error-table.ts`.
 */
export type ErrorCode =
  // The request is wrong: nothing was done.
  | "INVALID_ARGUMENT"
  | "INVALID_CONFIG"
  | "INVALID_RECORD"
  | "INVALID_BATCH"
  | "INVALID_TOPIC_NAME"
  | "RECORD_TOO_LARGE"
  | "BATCH_TOO_LARGE"
  | "REQUEST_TOO_LARGE"
  | "UNSUPPORTED_COMPRESSION"
  | "UNSUPPORTED_MEDIA_TYPE"
  | "METHOD_NOT_ALLOWED"
  | "FORBIDDEN_ORIGIN"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "ROUTE_NOT_FOUND"
  // What it names is not there, or is there already.
  | "OFFSET_OUT_OF_RANGE"
  | "OFFSET_INSIDE_BATCH"
  | "TOPIC_NOT_FOUND"
  | "TOPIC_ALREADY_EXISTS"
  | "TOO_MANY_PARTITIONS"
  | "PARTITION_NOT_FOUND"
  | "LOG_NOT_FOUND"
  // What it builds on isn't the case any more.
  | "PRODUCER_FENCED"
  | "OUT_OF_ORDER_SEQUENCE"
  | "DUPLICATE_SEQUENCE"
  | "CONDITION_FAILED"
  // The log can't, now or any more.
  | "APPEND_QUEUE_FULL"
  | "OVERLOADED"
  | "QUOTA_EXCEEDED"
  | "DISK_FULL"
  | "DISK_FAILED"
  | "LOG_CLOSED"
  | "LOG_LOCKED"
  | "LOG_POISONED"
  | "LOG_CORRUPT"
  | "MANIFEST_CORRUPT"
  | "UNDECODABLE_BATCH"
  | "UNSUPPORTED_FORMAT"
  // Somebody else is to be asked, or it can't be done in this cluster now.
  | "NOT_LEADER"
  | "NOT_A_REPLICA"
  | "LEADERSHIP_LOST"
  | "NOT_CLUSTERED"
  | "NODE_NOT_FOUND"
  | "NODE_ALREADY_EXISTS"
  | "PEER_REFUSED"
  | "CHANGE_IN_PROGRESS"
  // The service around it.
  | "INSECURE_ADDRESS"
  | "ADDRESS_IN_USE"
  | "SHUTTING_DOWN"
  | "UNAVAILABLE"
  | "TIMEOUT"
  | "CANCELLED"
  | "INTERNAL";

/** Facts that a program may act on, as plain values. Which keys stand here is documented with the function that throws. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>;

export interface ProglogErrorOptions {
  /** What to do about it, as a sentence. */
  readonly hint?: string;
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
}

/**
 * What the world did wrong, as opposed to an `AssertionError`. The message says what was tried, then what is the case:
 * "Cannot read offset 12: the log starts at 40".
 */
export class ProglogError extends Error {
  override readonly name = "ProglogError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: ProglogErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

/** True when `error` is a `ProglogError`, of this code where one is given. */
export function isProglogError(error: unknown, code?: ErrorCode): error is ProglogError {
  return error instanceof ProglogError && (code === undefined || error.code === code);
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
