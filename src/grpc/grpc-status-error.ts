import type { Metadata } from "./metadata.ts";
import { nameOfStatus, type StatusName, statusCodes } from "./status-code.ts";

export interface GrpcStatusErrorOptions {
  /** A `google.rpc.Status` as protobuf bytes: what travels as `grpc-status-details-bin`. */
  readonly details?: Buffer;
  /** Sent beside the status, or received with it. */
  readonly trailers?: Metadata;
  /** True when the server is known not to have seen the call, so that sending it again can't do anything twice. */
  readonly isUnprocessed?: boolean;
  readonly cause?: unknown;
}

/**
 * How a call ended, when it didn't end well. A handler throws it to choose the status; a client's call throws what the server
 * said, or what became of the connection. What it means for a log is decided further up: this room knows nothing of logs.
 */
export class GrpcStatusError extends Error {
  override readonly name = "GrpcStatusError";
  /** As on the wire. Some servers send numbers outside of the list; those are handed through. */
  readonly code: number;
  readonly details: Buffer | undefined;
  readonly trailers: Metadata | undefined;
  readonly isUnprocessed: boolean;

  constructor(status: StatusName | number, message: string, options: GrpcStatusErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = typeof status === "number" ? status : statusCodes[status];
    this.details = options.details;
    this.trailers = options.trailers;
    this.isUnprocessed = options.isUnprocessed ?? false;
  }

  get status(): StatusName {
    return nameOfStatus(this.code);
  }
}

/** True when `error` is a `GrpcStatusError`, of this status where one is given. */
export function isGrpcStatusError(error: unknown, status?: StatusName): error is GrpcStatusError {
  return error instanceof GrpcStatusError && (status === undefined || error.code === statusCodes[status]);
}
