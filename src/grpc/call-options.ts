import type { Metadata } from "./metadata.ts";

/** What a client may say of a call besides its messages. */
export interface CallOptions {
  readonly metadata?: Metadata;
  /** Milliseconds until the call ends with DEADLINE_EXCEEDED, waiting for a connection included. Without it: no limit. */
  readonly timeoutMs?: number;
  /** Cancels the call. */
  readonly signal?: AbortSignal;
  /** Compresses the messages sent, by gzip. Default false. */
  readonly isCompressing?: boolean;
  /** Waits for a connection however often connecting fails, instead of ending with UNAVAILABLE. Default false. */
  readonly isPatient?: boolean;
  /** Hears the server's headers when they come. */
  readonly onHeaders?: (headers: Metadata) => void;
  /** Hears the server's trailers when they come, before the call ends. */
  readonly onTrailers?: (trailers: Metadata) => void;
}
