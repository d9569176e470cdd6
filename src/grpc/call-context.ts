import type { ServerHttp2Session } from "node:http2";
import type { Duplex } from "node:stream";
import type { GrpcStatusError } from "./grpc-status-error.ts";
import type { Metadata } from "./metadata.ts";

/** What a handler knows of its call besides the messages. */
export interface CallContext {
  /** `/package.Service/Method`. */
  readonly path: string;
  /** What the client sent with the call. */
  readonly metadata: Metadata;
  /** Goes out before the first message, or with `sendHeaders`; set it before. */
  readonly headers: Metadata;
  /** Goes out with the status. */
  readonly trailers: Metadata;
  /** Milliseconds until the client's deadline; undefined where it set none. Below zero when it has passed. */
  readonly timeLeftMs: number | undefined;
  /** Aborts when the call is over, in whichever way: the client cancelled it or is gone, its deadline passed, the server ended it. */
  readonly signal: AbortSignal;
  /** True when there is nobody left to answer. */
  readonly isOver: boolean;
  /** The connection, for who has to know its other end. */
  readonly session: ServerHttp2Session;
  /** What the connection came by, as it was handed to the server; undefined where only its session, or the stream, was. */
  readonly socket: Duplex | undefined;
  /** Whether the message taken last came compressed. */
  readonly isRequestCompressed: boolean;
  /** Compress the messages sent from now on; it does where the client accepts gzip. Set it for the first time before the headers go. */
  isCompressing: boolean;
  /** Sends the headers now, before there is a message. Later calls do nothing. */
  sendHeaders(): void;
  /** Ends the call with a status that isn't the handler's, whatever it is doing. Once it is over, nothing changes. */
  end(error: GrpcStatusError): void;
}
