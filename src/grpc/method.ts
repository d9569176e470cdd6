import type { CallContext } from "./call-context.ts";
import type { MessageReceiver } from "./message-receiver.ts";
import type { EncodedMessage, MessageInPieces } from "./message-sender.ts";

/** How many messages go which way: one and one, many and one, one and many, many and many. */
export type CallKind = "unary" | "client-stream" | "server-stream" | "bidi-stream";

/** How a message becomes bytes and comes back. `decode` throws for bytes that are none; both are synchronous. */
export interface MessageCodec<Message> {
  readonly encode: (message: Message) => EncodedMessage;
  readonly decode: (bytes: Buffer) => Message;
}

/** What both ends know of a method. A table of these is what a service is, and what a client calls. */
export interface Method<Request, Response, Kind extends CallKind = CallKind> {
  /** `/package.Service/Method`. */
  readonly path: string;
  readonly kind: Kind;
  readonly request: MessageCodec<Request>;
  readonly response: MessageCodec<Response>;
}

/** Takes the messages of a call one by one, or all that are here. */
export type Requests<Request> = Pick<
  MessageReceiver<Request>,
  "read" | "readAvailable" | "ready" | typeof Symbol.asyncIterator
>;

/** Sends the messages of a call. */
export interface Responses<Response> {
  /** Resolves when there is room for another: await it, or a slow client fills the memory until the call is ended. */
  send(response: Response): Promise<void>;
}

/** The same, for who sends much. */
export interface StreamedResponses<Response> extends Responses<Response> {
  /**
   * Sends a response that is encoded already, piece by piece as there is room, so a large one needn't be in memory whole. Nothing else may be sent
   * until it resolves. When the pieces fail it rejects with their error, which the handler is to end the call with.
   */
  sendInPieces(message: MessageInPieces): Promise<void>;
  /** True while the promise of the last `send` isn't resolved: the client takes less than it is sent. */
  readonly isFull: boolean;
}

/** A handler's throw is the call's status: a `GrpcStatusError` as it says, anything else as the server's `statusOf` says. */
export interface Handlers<Request, Response> {
  readonly unary: (request: Request, call: CallContext) => Response | Promise<Response>;
  readonly "client-stream": (requests: Requests<Request>, call: CallContext) => Promise<Response>;
  readonly "server-stream": (request: Request, responses: StreamedResponses<Response>, call: CallContext) => Promise<void>;
  readonly "bidi-stream": (requests: Requests<Request>, responses: Responses<Response>, call: CallContext) => Promise<void>;
}

/** A method and what serves it. Its types are checked where it is made, by `serve`, and forgotten in the server's table. */
export interface ServedMethod {
  readonly method: Method<unknown, unknown>;
  readonly handler: Handlers<unknown, unknown>[CallKind];
}

export function serve<Request, Response, Kind extends CallKind>(
  method: Method<Request, Response, Kind>,
  handler: Handlers<Request, Response>[Kind],
): ServedMethod {
  return { method: method as unknown as ServedMethod["method"], handler: handler as unknown as ServedMethod["handler"] };
}
