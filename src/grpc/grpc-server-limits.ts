import {
  grpcConnectionAgeMaxMs,
  grpcHeldMaxBytes,
  grpcIdleMaxMs,
  grpcKeepaliveMs,
  grpcKeepaliveTimeoutMs,
  grpcMessageMaxBytes,
  grpcRequestMaxMs,
  grpcStallMaxMs,
  grpcStreamsMaxCount,
  grpcWindowBytes,
  headersMaxMs,
} from "../base/limits.ts";

/** The bounds of a server that its owner may move; the others stand in `base/limits.ts`. */
export interface GrpcServerLimits {
  /** Of one message, as sent and as inflated. */
  readonly messageMaxBytes: number;
  /** Receive window of each stream. */
  readonly streamWindowBytes: number;
  /** Receive window of each connection. */
  readonly connectionWindowBytes: number;
  /** Calls of one connection at a time. */
  readonly streamsMaxCount: number;
  /** What all calls may hold together of received and unsent messages. */
  readonly heldMaxBytes: number;
  /** How long the one request of a call may take to arrive. */
  readonly requestMaxMs: number;
  /** How long a client may take nothing of what waits for it. */
  readonly stallMaxMs: number;
  /** How long a new connection may take to send its SETTINGS. */
  readonly handshakeMaxMs: number;
  /** How long a connection may be without a call. */
  readonly idleMaxMs: number;
  /** How old a connection may get before it is asked to go. A tenth more or less by chance, so that not all come back at once. */
  readonly connectionAgeMaxMs: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
}

export const grpcServerLimits: GrpcServerLimits = {
  messageMaxBytes: grpcMessageMaxBytes,
  streamWindowBytes: grpcWindowBytes,
  connectionWindowBytes: grpcWindowBytes,
  streamsMaxCount: grpcStreamsMaxCount,
  heldMaxBytes: grpcHeldMaxBytes,
  requestMaxMs: grpcRequestMaxMs,
  stallMaxMs: grpcStallMaxMs,
  handshakeMaxMs: headersMaxMs,
  idleMaxMs: grpcIdleMaxMs,
  connectionAgeMaxMs: grpcConnectionAgeMaxMs,
  keepaliveMs: grpcKeepaliveMs,
  keepaliveTimeoutMs: grpcKeepaliveTimeoutMs,
};
