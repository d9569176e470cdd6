import { type ClientHttp2Stream, constants, type IncomingHttpHeaders, type OutgoingHttpHeaders } from "node:http2";
import { messageOf } from "../base/error.ts";
import type { CallOptions } from "./call-options.ts";
import { formatTimeout } from "./call-timeout.ts";
import type { ClientConnection } from "./client-connection.ts";
import type { DeadlineWheel, Expirable } from "./deadline-wheel.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";
import { statusOfHttpStatus, statusOfReset } from "./http-status.ts";
import { acceptedEncodings, type MessageEncoding } from "./message-compression.ts";
import { MessageReceiver } from "./message-receiver.ts";
import { type EncodedMessage, MessageSender } from "./message-sender.ts";
import { Metadata } from "./metadata.ts";
import type { Method } from "./method.ts";
import { SingleMessage } from "./single-message.ts";
import { statusCodes } from "./status-code.ts";
import { decodeStatusMessage } from "./status-message.ts";

/** What a call needs of its channel. */
export interface ClientCallHost {
  readonly deadlines: DeadlineWheel;
  readonly messageMaxBytes: number;
  /** Of every call: `user-agent` and the like. */
  readonly headers: OutgoingHttpHeaders;
  readonly onClosed: () => void;
}

/**
 * One call of a client, on a connection that is there, from the request's headers to the status. It is over as soon as that is
 * known: sent by the server, or made here of a deadline, a cancellation or what became of the stream.
 */
export class ClientCall<Request, Response> implements Expirable {
  /** Compress what is sent from now on. Only of use where the call was begun so: the headers have told it. */
  isCompressing: boolean;
  readonly #host: ClientCallHost;
  readonly #connection: ClientConnection;
  readonly #method: Method<Request, Response>;
  readonly #options: CallOptions;
  readonly #deadlineMs: number | undefined;
  readonly #stream: ClientHttp2Stream;
  #deadlineTick = 0;
  #encoding: MessageEncoding = "identity";
  #isOver = false;
  /** The server's status, when it is here and what came before it isn't read yet. */
  #status: GrpcStatusError | "OK" | undefined;
  #single: SingleMessage<Response> | undefined;
  #receiver: MessageReceiver<Response> | undefined;
  #sender: MessageSender | undefined;
  readonly #answered: PromiseWithResolvers<Response> | undefined;
  #onAbort: (() => void) | undefined;

  /** Sends the headers. Throws INVALID_ARGUMENT for metadata that HTTP/2 doesn't take. */
  constructor(options: {
    readonly host: ClientCallHost;
    readonly connection: ClientConnection;
    readonly method: Method<Request, Response>;
    readonly callOptions: CallOptions;
    readonly deadlineMs: number | undefined;
  }) {
    this.isCompressing = options.callOptions.isCompressing === true;
    this.#host = options.host;
    this.#connection = options.connection;
    this.#method = options.method;
    this.#options = options.callOptions;
    this.#deadlineMs = options.deadlineMs;
    const { signal } = this.#options;
    try {
      this.#stream = this.#connection.request(this.#requestHeaders());
    } catch (error) {
      throw new GrpcStatusError("INVALID_ARGUMENT", `Cannot call ${this.#method.path}: ${messageOf(error)}`, { cause: error });
    }
    const isAnsweredOnce = this.#method.kind === "unary" || this.#method.kind === "client-stream";
    if (isAnsweredOnce) this.#answered = Promise.withResolvers<Response>();
    this.#listen();
    if (this.#deadlineMs !== undefined) this.#deadlineTick = this.#host.deadlines.add(this, this.#deadlineMs);
    if (signal !== undefined) {
      this.#onAbort = () => this.cancel();
      if (signal.aborted) this.cancel();
      else signal.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  /** The one response, of a method that has one. */
  get response(): Promise<Response> {
    if (this.#answered === undefined) throw new TypeError(`${this.#method.path} has a stream of responses`);
    return this.#answered.promise;
  }

  /** The responses, of a method that has many. */
  get responses(): MessageReceiver<Response> {
    if (this.#receiver === undefined) throw new TypeError(`${this.#method.path} has one response`);
    return this.#receiver;
  }

  /** Sends the only message of a method that takes one, framed. */
  sendOnly(frame: Buffer): void {
    if (!this.#stream.destroyed && !this.#stream.closed) this.#stream.end(frame);
  }

  /** Resolves when there is room for another: await it, or a slow server fills the memory until `send` refuses. */
  send(request: Request): Promise<void> {
    const sender = this.#openSender();
    let message: EncodedMessage;
    try {
      message = this.#method.request.encode(request);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    return sender.send(message, this.isCompressing);
  }

  /** No more is sent. Twice is fine. */
  end(): void {
    this.#openSender().end();
  }

  cancel(): void {
    this.#abandon(new GrpcStatusError("CANCELLED", `Cannot finish ${this.#method.path}: it was cancelled`));
  }

  /** The deadline has passed. */
  expire(): void {
    this.#abandon(new GrpcStatusError("DEADLINE_EXCEEDED", `Cannot finish ${this.#method.path}: its deadline has passed`));
  }

  #requestHeaders(): OutgoingHttpHeaders {
    const { metadata, isCompressing } = this.#options;
    const headers: OutgoingHttpHeaders = { ":method": "POST", ":path": this.#method.path, ...this.#host.headers };
    if (this.#deadlineMs !== undefined) {
      const timeout = formatTimeout(Math.max(0, this.#deadlineMs - this.#host.deadlines.now()));
      if (timeout !== undefined) headers["grpc-timeout"] = timeout;
    }
    if (isCompressing === true) headers["grpc-encoding"] = "gzip";
    metadata?.addTo(headers as Record<string, string | string[]>);
    return headers;
  }

  #openSender(): MessageSender {
    if (this.#sender === undefined) {
      this.#sender = new MessageSender(this.#stream);
      if (this.#isOver) this.#sender.fail(this.#statusError());
    }
    return this.#sender;
  }

  #listen(): void {
    const stream = this.#stream;
    const { decode } = this.#method.response;
    const { messageMaxBytes } = this.#host;
    // What failed is told by the close that follows.
    stream.on("error", () => {});
    stream.on("close", () => this.#onClose());
    stream.on("response", (headers, flags, rawHeaders) =>
      this.#onResponse(headers, (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0, rawHeaders),
    );
    stream.on("trailers", (trailers, _flags, rawTrailers) => this.#onTrailers(trailers, rawTrailers));
    const onData = (accept: (chunk: Buffer) => void): void => {
      stream.on("data", (chunk: Buffer) => {
        this.#connection.traffic();
        if (this.#isOver) return;
        try {
          accept(chunk);
        } catch (error) {
          this.#abandon(asStatusError(error));
        }
      });
    };
    if (this.#answered === undefined) {
      onData((chunk) => {
        this.#receiver?.accept(chunk);
      });
      this.#receiver = new MessageReceiver({
        stream,
        decode,
        // Known when the headers are here, which come before any message.
        encoding: () => this.#encoding,
        messageMaxBytes,
        onAbandoned: () => this.cancel(),
      });
    } else {
      this.#single = new SingleMessage({ decode, encoding: () => this.#encoding, messageMaxBytes });
      onData((chunk) => {
        this.#single?.accept(chunk);
      });
    }
    stream.on("end", () => this.#onEnd());
  }

  #onResponse(
    headers: IncomingHttpHeaders & { readonly ":status"?: number | undefined },
    isLast: boolean,
    raw: readonly string[],
  ): void {
    if (this.#isOver) return;
    const httpStatus = headers[":status"] ?? 0;
    const isGrpc = headers["content-type"]?.startsWith("application/grpc") === true;
    if (headers["grpc-status"] !== undefined && (isLast || !isGrpc)) return this.#onTrailers(headers, raw);
    if (httpStatus !== 200 || !isGrpc) {
      const what = httpStatus === 200 ? `content of type "${headers["content-type"] ?? ""}"` : `HTTP status ${httpStatus}`;
      return this.#abandon(
        new GrpcStatusError(
          httpStatus === 200 ? "UNKNOWN" : statusOfHttpStatus(httpStatus),
          `Cannot call ${this.#method.path}: the answer isn't gRPC's, but ${what}`,
        ),
      );
    }
    const encoding = headers["grpc-encoding"] ?? "identity";
    if (encoding !== "identity" && encoding !== "gzip")
      return this.#abandon(
        new GrpcStatusError("INTERNAL", `Cannot read the answer: it is compressed by "${String(encoding).slice(0, 20)}"`),
      );
    this.#encoding = encoding;
    this.#options.onHeaders?.(Metadata.fromRawHeaders(raw));
  }

  #onTrailers(trailers: IncomingHttpHeaders, raw: readonly string[]): void {
    if (this.#isOver || this.#status !== undefined) return;
    this.#status = statusOf(trailers, raw);
    this.#options.onTrailers?.(Metadata.fromRawHeaders(raw));
    if (this.#answered !== undefined) this.#onEnd();
  }

  /** All that the server sends has been read from the stream. */
  #onEnd(): void {
    if (this.#isOver || this.#status === undefined) return;
    const status = this.#status;
    if (status !== "OK") return this.#finish(status);
    try {
      if (this.#single !== undefined) {
        const response = this.#single.end();
        if (response instanceof Promise) {
          response.then(
            (inflated) => this.#finish(undefined, inflated),
            (error: unknown) => this.#abandon(asStatusError(error)),
          );
          return;
        }
        this.#finish(undefined, response);
      } else {
        this.#receiver?.end();
        this.#finish(undefined);
      }
    } catch (error) {
      this.#abandon(asStatusError(error));
    }
  }

  #onClose(): void {
    this.#connection.callClosed();
    this.#host.onClosed();
    // With a status, the end comes when all is read.
    if (!this.#isOver && (this.#status === undefined || !this.#stream.readableEnded)) this.#finish(this.#lostError());
  }

  /** Why there is no status. */
  #lostError(): GrpcStatusError {
    const { session } = this.#connection;
    const { path } = this.#method;
    const id = this.#stream.id;
    const { rstCode } = this.#stream;
    const isUnprocessed =
      id === undefined ||
      rstCode === constants.NGHTTP2_REFUSED_STREAM ||
      // The last one that the server took notice of, as its GOAWAY says.
      id > (this.#connection.goawayLastStreamId ?? Number.POSITIVE_INFINITY);
    if (isUnprocessed && this.#connection.refusal !== undefined) return this.#connection.refusalError();
    if (isUnprocessed)
      return new GrpcStatusError("UNAVAILABLE", `Cannot call ${path}: the server didn't take the call`, { isUnprocessed });
    if (session.destroyed) return new GrpcStatusError("UNAVAILABLE", `Cannot finish ${path}: the connection was lost`);
    if (this.#deadlineMs !== undefined && this.#host.deadlines.now() >= this.#deadlineMs)
      return new GrpcStatusError("DEADLINE_EXCEEDED", `Cannot finish ${path}: its deadline has passed`);
    const status = statusOfReset(rstCode);
    const what = rstCode === constants.NGHTTP2_NO_ERROR ? "ended" : `was reset with code ${rstCode}`;
    return new GrpcStatusError(status, `Cannot finish ${path}: the stream ${what} without a status`);
  }

  /** Ends the call from this side. */
  #abandon(error: GrpcStatusError): void {
    if (this.#isOver) return;
    this.#finish(error, undefined, { isDropping: true });
    resetStream(this.#stream);
  }

  #finish(error: GrpcStatusError | undefined, response?: Response, { isDropping } = { isDropping: false }): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#status = error ?? "OK";
    if (this.#deadlineMs !== undefined) this.#host.deadlines.remove(this, this.#deadlineTick);
    if (this.#onAbort !== undefined) this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#sender?.fail(this.#statusError());
    if (error !== undefined) {
      this.#receiver?.fail(error, { isDropping });
      this.#answered?.reject(error);
    } else {
      this.#answered?.resolve(response as Response);
    }
    // The server has said all, and hears no more of what this side would still send.
    if (!this.#stream.writableEnded) resetStream(this.#stream);
  }

  /** For who sends on when all is over: the status, which may well be OK. */
  #statusError(): GrpcStatusError {
    if (this.#status instanceof GrpcStatusError) return this.#status;
    return new GrpcStatusError("CANCELLED", `Cannot send to ${this.#method.path}: the server has ended the call`);
  }
}

/**
 * Resets a stream. By itself node:http2 ends the sending side first, and to the server that looks as if all had been sent: so the
 * step that would tell it is taken out.
 */
function resetStream(stream: ClientHttp2Stream): void {
  if (stream.destroyed || stream.closed) return;
  stream._final = (done) => done();
  stream.close(constants.NGHTTP2_CANCEL);
}

/** The headers of every call. */
export const clientHeaders: OutgoingHttpHeaders = {
  "content-type": "application/grpc",
  te: "trailers",
  "grpc-accept-encoding": acceptedEncodings,
};

function statusOf(trailers: IncomingHttpHeaders, raw: readonly string[]): GrpcStatusError | "OK" {
  const text = trailers["grpc-status"];
  const code = typeof text === "string" && /^[0-9]{1,9}$/.test(text) ? Number(text) : undefined;
  if (code === statusCodes.OK) return "OK";
  if (code === undefined) return new GrpcStatusError("UNKNOWN", "Cannot finish the call: its trailers have no grpc-status");
  const details = trailers["grpc-status-details-bin"];
  return new GrpcStatusError(code, decodeStatusMessage(String(trailers["grpc-message"] ?? "")), {
    trailers: Metadata.fromRawHeaders(raw),
    ...(typeof details === "string" && { details: Buffer.from(details, "base64") }),
  });
}

function asStatusError(error: unknown): GrpcStatusError {
  if (error instanceof GrpcStatusError) return error;
  return new GrpcStatusError("INTERNAL", `Cannot read the answer: ${messageOf(error)}`, { cause: error });
}
