import type { ErrorCode } from "../base/error.ts";

/**
 * What each error code is on every border: one table, complete by its type, so that a new code doesn't compile until it is
 * decided here. It only grows, as the list of codes does; a cell changes only when it was wrong.
 */
export interface ErrorTableEntry {
  /** Number of the gRPC status. */
  readonly grpc: number;
  /** HTTP status. */
  readonly http: number;
  /** The same request, unchanged, may succeed later. */
  readonly isRetryable: boolean;
  /**
   * What it says about an append that met it. `not-appended`: no record was. `unknown`: they may be there, or come to be there;
   * only a retry that can be recognised as one (a producer id and sequence) is safe. Null where no append can meet it, or an earlier one was.
   */
  readonly outcome: AppendOutcome | null;
}

export type AppendOutcome = "not-appended" | "unknown";

export function errorTableEntry(code: ErrorCode): ErrorTableEntry {
  return errorTable[code];
}

/** gRPC's own numbers. */
const grpc = {
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;

export const errorTable: Readonly<Record<ErrorCode, ErrorTableEntry>> = {
  // The request is wrong: nothing was done, and nothing will be.
  INVALID_ARGUMENT: refusal(grpc.invalidArgument, 400),
  INVALID_CONFIG: refusal(grpc.invalidArgument, 400),
  INVALID_RECORD: refusal(grpc.invalidArgument, 400),
  INVALID_BATCH: refusal(grpc.invalidArgument, 400),
  INVALID_TOPIC_NAME: refusal(grpc.invalidArgument, 400),
  RECORD_TOO_LARGE: refusal(grpc.invalidArgument, 413),
  BATCH_TOO_LARGE: refusal(grpc.invalidArgument, 413),
  REQUEST_TOO_LARGE: refusal(grpc.resourceExhausted, 413),
  UNSUPPORTED_COMPRESSION: refusal(grpc.unimplemented, 415),
  UNSUPPORTED_MEDIA_TYPE: refusal(grpc.invalidArgument, 415),
  METHOD_NOT_ALLOWED: refusal(grpc.unimplemented, 405),
  FORBIDDEN_ORIGIN: refusal(grpc.permissionDenied, 403),
  UNAUTHENTICATED: refusal(grpc.unauthenticated, 401),
  PERMISSION_DENIED: refusal(grpc.permissionDenied, 403),
  ROUTE_NOT_FOUND: refusal(grpc.unimplemented, 404),

  // What it names is not there, or is there already.
  OFFSET_OUT_OF_RANGE: readRefusal(grpc.outOfRange, 416),
  OFFSET_INSIDE_BATCH: readRefusal(grpc.invalidArgument, 400),
  TOPIC_NOT_FOUND: refusal(grpc.notFound, 404),
  TOPIC_ALREADY_EXISTS: refusal(grpc.alreadyExists, 409),
  TOO_MANY_PARTITIONS: refusal(grpc.failedPrecondition, 409),
  PARTITION_NOT_FOUND: refusal(grpc.notFound, 404),
  LOG_NOT_FOUND: refusal(grpc.dataLoss, 500),

  // What it builds on isn't the case any more.
  PRODUCER_FENCED: refusal(grpc.aborted, 409),
  OUT_OF_ORDER_SEQUENCE: refusal(grpc.failedPrecondition, 409),
  // The records are there, since an earlier try: to append them with another sequence would double them.
  DUPLICATE_SEQUENCE: { grpc: grpc.alreadyExists, http: 409, isRetryable: false, outcome: "unknown" },
  CONDITION_FAILED: refusal(grpc.failedPrecondition, 412),

  // The log can't, now or any more. Only a write or sync that failed under way leaves open what a restart will find.
  APPEND_QUEUE_FULL: { grpc: grpc.resourceExhausted, http: 503, isRetryable: true, outcome: "not-appended" },
  OVERLOADED: { grpc: grpc.resourceExhausted, http: 503, isRetryable: true, outcome: "not-appended" },
  QUOTA_EXCEEDED: { grpc: grpc.resourceExhausted, http: 429, isRetryable: true, outcome: "not-appended" },
  DISK_FULL: { grpc: grpc.resourceExhausted, http: 507, isRetryable: true, outcome: "not-appended" },
  DISK_FAILED: { grpc: grpc.internal, http: 500, isRetryable: false, outcome: "unknown" },
  LOG_CLOSED: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: "not-appended" },
  LOG_LOCKED: refusal(grpc.failedPrecondition, 500),
  LOG_POISONED: { grpc: grpc.internal, http: 500, isRetryable: false, outcome: "not-appended" },
  LOG_CORRUPT: refusal(grpc.dataLoss, 500),
  MANIFEST_CORRUPT: refusal(grpc.dataLoss, 500),
  UNDECODABLE_BATCH: readRefusal(grpc.dataLoss, 500),
  UNSUPPORTED_FORMAT: refusal(grpc.failedPrecondition, 500),

  // Somebody else is to be asked, or it can't be done in this cluster now. Only what was proposed before leadership went is in doubt.
  NOT_LEADER: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: "not-appended" },
  NOT_A_REPLICA: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: null },
  LEADERSHIP_LOST: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: "unknown" },
  NOT_CLUSTERED: refusal(grpc.failedPrecondition, 409),
  NODE_NOT_FOUND: refusal(grpc.notFound, 404),
  NODE_ALREADY_EXISTS: refusal(grpc.alreadyExists, 409),
  PEER_REFUSED: refusal(grpc.permissionDenied, 403),
  CHANGE_IN_PROGRESS: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: "not-appended" },

  // The service around it.
  INSECURE_ADDRESS: refusal(grpc.failedPrecondition, 500),
  ADDRESS_IN_USE: refusal(grpc.failedPrecondition, 500),
  SHUTTING_DOWN: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: "not-appended" },
  // A connection that broke is this code too, at the client: so nothing is known of an append.
  UNAVAILABLE: { grpc: grpc.unavailable, http: 503, isRetryable: true, outcome: "unknown" },
  TIMEOUT: { grpc: grpc.deadlineExceeded, http: 504, isRetryable: true, outcome: "unknown" },
  CANCELLED: { grpc: grpc.cancelled, http: 499, isRetryable: false, outcome: "unknown" },
  INTERNAL: { grpc: grpc.internal, http: 500, isRetryable: false, outcome: "unknown" },
};

/** Refused before anything was done, for good. */
function refusal(grpcStatus: number, http: number): ErrorTableEntry {
  return { grpc: grpcStatus, http, isRetryable: false, outcome: "not-appended" };
}

/** Only a read or a cut meets it. */
function readRefusal(grpcStatus: number, http: number): ErrorTableEntry {
  return { grpc: grpcStatus, http, isRetryable: false, outcome: null };
}
