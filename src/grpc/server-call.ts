import {
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Duplex } from "node:stream";
import { unreachable } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { grpcStatusDetailsMaxBytes } from "../base/limits.ts";
import type { CallContext } from "./call-context.ts";
import { parseTimeout } from "./call-timeout.ts";
import type { DeadlineWheel, Expirable } from "./deadline-wheel.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";
import type { GrpcServerLimits } from "./grpc-server-limits.ts";
import type { HeldBytes } from "./held-bytes.ts";
import { acceptedEncodings, type MessageEncoding } from "./message-compression.ts";
import { MessageReceiver } from "./message-receiver.ts";
import { byteLengthOf, type EncodedMessage, frameMessage, type MessageInPieces, MessageSender } from "./message-sender.ts";
import { Metadata } from "./metadata.ts";
import type { Handlers, ServedMethod, StreamedResponses } from "./method.ts";
import { SingleMessage } from "./single-message.ts";
import { statusCodes } from "./status-code.ts";
import { encodeStatusMessage } from "./status-message.ts";

/** What a call needs of its server. */
export interface ServerCallHost {
  readonly limits: GrpcServerLimits;
  readonly clock: Clock;
  readonly deadlines: DeadlineWheel;
  readonly held: HeldBytes;
  /** The status for what a handler threw that isn't a `GrpcStatusError`. */
  readonly statusOf: (error: unknown, path: string) => GrpcStatusError;
  readonly onEnded: (path: string, code: number) => void;
}

/** What a call needs of its connection. */
export interface ServerCallOwner {
  readonly socket: Duplex | undefined;
  /** Bytes of messages came or went: an honest peer's pings come with them. */
  traffic(bytes: number): void;
  /** `wasReset`: the client ended it before it was answered. */
  callClosed(call: ServerCall, wasReset: boolean): void;
}

/**
 * One call, from its headers to its trailers. It is over as soon as its status is decided: by the handler, the deadline, the client
 * or the server. What the handler does afterwards goes nowhere. It is closed when the stream is; till then its memory counts.
 */
export class ServerCall implements CallContext, Expirable, StreamedResponses<unknown> {
  readonly path: string;
  isCompressing = false;
  readonly #host: ServerCallHost;
  readonly #owner: ServerCallOwner;
  readonly #stream: ServerHttp2Stream;
  readonly #session: ServerHttp2Session;
  readonly #served: ServedMethod;
  readonly #requestHeaders: IncomingHttpHeaders;
  readonly #rawHeaders: readonly string[];
  #metadata: Metadata | undefined;
  #headers: Metadata | undefined;
  #trailers: Metadata | undefined;
  #abort: AbortController | undefined;
  #deadlineMs: number | undefined;
  #deadlineTick = 0;
  #single: SingleMessage | undefined;
  #receiver: MessageReceiver<unknown> | undefined;
  #sender: MessageSender | undefined;
  /** Of the one response, which waits for its client in the stream. */
  #answerBytes = 0;
  /** Undefined until the call is over. */
  #code: number | undefined;
  /** The status, ready to go when all messages are gone. */
  #lastHeaders: OutgoingHttpHeaders = okTrailers;
  #watch: Watch | undefined;

  constructor(options: {
    readonly host: ServerCallHost;
    readonly owner: ServerCallOwner;
    readonly stream: ServerHttp2Stream;
    readonly session: ServerHttp2Session;
    readonly served: ServedMethod;
    readonly headers: IncomingHttpHeaders;
    readonly rawHeaders: readonly string[];
  }) {
    this.path = options.served.method.path;
    this.#host = options.host;
    this.#owner = options.owner;
    this.#stream = options.stream;
    this.#session = options.session;
    this.#served = options.served;
    this.#requestHeaders = options.headers;
    this.#rawHeaders = options.rawHeaders;
  }

  get metadata(): Metadata {
    this.#metadata ??= Metadata.fromRawHeaders(this.#rawHeaders);
    return this.#metadata;
  }

  get headers(): Metadata {
    this.#headers ??= new Metadata();
    return this.#headers;
  }

  get trailers(): Metadata {
    this.#trailers ??= new Metadata();
    return this.#trailers;
  }

  get session(): ServerHttp2Session {
    return this.#session;
  }

  get socket(): Duplex | undefined {
    return this.#owner.socket;
  }

  get timeLeftMs(): number | undefined {
    return this.#deadlineMs === undefined ? undefined : this.#deadlineMs - this.#host.deadlines.now();
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.isOver) this.#abort.abort();
    }
    return this.#abort.signal;
  }

  get isRequestCompressed(): boolean {
    return this.#receiver?.wasCompressed ?? this.#single?.wasCompressed ?? false;
  }

  get isOver(): boolean {
    return this.#code !== undefined;
  }

  /** Bytes that this call holds in memory: received and not taken, sent and not gone. */
  get heldBytes(): number {
    const received = this.#receiver?.heldBytes ?? this.#single?.heldBytes ?? 0;
    return received + (this.#sender?.heldBytes ?? this.#stream.writableLength);
  }

  /** Listens to the stream, and calls the handler when the messages are there that it starts with. */
  start(): void {
    const stream = this.#stream;
    // What failed is told by the close that follows.
    stream.on("error", ignore);
    stream.on("close", () => this.#onClose());
    const timeout = this.#requestHeaders["grpc-timeout"];
    if (timeout !== undefined && !this.#setDeadline(String(timeout))) return;
    const encoding = this.#findEncoding();
    if (encoding === undefined) return;
    const { method, handler } = this.#served;
    switch (method.kind) {
      case "unary":
        return this.#receiveOne(encoding, (request) => this.#runUnary(handler as Handlers<unknown, unknown>["unary"], request));
      case "server-stream":
        return this.#receiveOne(encoding, (request) =>
          this.#runStream((handler as Handlers<unknown, unknown>["server-stream"])(request, this, this)),
        );
      case "client-stream": {
        const requests = this.#receiveMany(encoding);
        this.#runAnswer(() => (handler as Handlers<unknown, unknown>["client-stream"])(requests, this));
        return;
      }
      case "bidi-stream": {
        const requests = this.#receiveMany(encoding);
        this.#runAnswerless(() => (handler as Handlers<unknown, unknown>["bidi-stream"])(requests, this, this));
        return;
      }
      default:
        return unreachable(method.kind);
    }
  }

  sendHeaders(): void {
    if (this.isOver || this.#stream.headersSent || this.#stream.closed || this.#stream.destroyed) return;
    this.#stream.respond(this.#responseHeaders(), respondOptions);
    this.#stream.once("wantTrailers", () => this.#sendTrailers());
  }

  send(response: unknown): Promise<void> {
    if (this.isOver) return Promise.reject(overError());
    let message: EncodedMessage;
    try {
      message = this.#served.method.response.encode(response);
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    const sender = this.#startSending();
    this.#owner.traffic(byteLengthOf(message));
    return sender.send(message, this.isCompressing && this.#isCompressionAllowed());
  }

  async sendInPieces(message: MessageInPieces): Promise<void> {
    if (this.isOver) throw overError();
    const sender = this.#startSending();
    this.#owner.traffic(message.byteLength);
    await sender.sendInPieces(message);
  }

  get isFull(): boolean {
    return this.#sender?.isFull ?? false;
  }

  #startSending(): MessageSender {
    this.sendHeaders();
    return (this.#sender ??= new MessageSender(this.#stream));
  }

  /** The deadline has passed. */
  expire(): void {
    this.end(new GrpcStatusError("DEADLINE_EXCEEDED", "Cannot finish the call: its deadline has passed"));
  }

  /** Ends the call with a status that isn't the handler's. Once it is over, nothing changes. */
  end(error: GrpcStatusError): void {
    this.#finish(error);
  }

  /** Ends the call without a status, where none can get through: what waits to be sent is dropped. */
  reset(error: GrpcStatusError, resetCode: number): void {
    this.#settle(error.code, error);
    this.#sender?.fail(error);
    if (!this.#stream.destroyed) this.#stream.close(resetCode);
  }

  /**
   * Looks at the call every second or so: a request that doesn't get whole, a client that takes nothing of what waits for it, and one
   * that leaves its side open when all is said. Nothing of it costs a timer.
   */
  sweep(nowMs: number): void {
    const { limits } = this.#host;
    const watch = (this.#watch ??= { sinceMs: nowMs, isOver: false, takenCount: -1 });
    const takenCount = this.#sender?.takenCount ?? 0;
    const isSending = (this.#sender?.heldBytes ?? this.#stream.writableLength) > 0;
    const isWaiting = this.#single !== undefined && !this.#single.isWhole;
    // Everything that counts as progress starts the time anew.
    if (watch.isOver !== this.isOver || watch.takenCount !== takenCount || !(isSending || isWaiting || this.isOver)) {
      watch.sinceMs = nowMs;
      watch.isOver = this.isOver;
      watch.takenCount = takenCount;
      return;
    }
    const forMs = nowMs - watch.sinceMs;
    if (isSending) {
      if (forMs < limits.stallMaxMs) return;
      const error = new GrpcStatusError(
        "RESOURCE_EXHAUSTED",
        `Cannot send to the client: it took nothing for ${limits.stallMaxMs} ms`,
      );
      this.reset(error, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    } else if (this.isOver) {
      // All is sent, and the client hasn't closed its side: it needn't send what nobody reads.
      this.#stream.close(constants.NGHTTP2_NO_ERROR);
    } else if (forMs >= limits.requestMaxMs) {
      this.end(
        new GrpcStatusError("DEADLINE_EXCEEDED", `Cannot receive the request: it wasn't whole after ${limits.requestMaxMs} ms`),
      );
    }
  }

  #setDeadline(text: string): boolean {
    const timeoutMs = parseTimeout(text);
    if (timeoutMs === undefined) {
      this.#finish(new GrpcStatusError("INTERNAL", `Cannot take the call: its grpc-timeout is "${text.slice(0, 20)}"`));
      return false;
    }
    const { deadlines } = this.#host;
    this.#deadlineMs = deadlines.now() + timeoutMs;
    this.#deadlineTick = deadlines.add(this, this.#deadlineMs);
    return !this.#isTooLate();
  }

  /** Ends a call whose deadline has passed before its tick came: what nobody waits for isn't begun. */
  #isTooLate(): boolean {
    if (this.#deadlineMs === undefined || this.#deadlineMs > this.#host.deadlines.now()) return false;
    this.expire();
    return true;
  }

  #findEncoding(): MessageEncoding | undefined {
    const encoding = this.#requestHeaders["grpc-encoding"] ?? "identity";
    if (encoding === "identity" || encoding === "gzip") return encoding;
    this.#lastHeaders = { "grpc-accept-encoding": acceptedEncodings };
    this.#finish(
      new GrpcStatusError(
        "UNIMPLEMENTED",
        `Cannot take the call: its messages are compressed by "${String(encoding).slice(0, 20)}", and ${acceptedEncodings} are known`,
      ),
    );
    return undefined;
  }

  #isCompressionAllowed(): boolean {
    const accepted = this.#requestHeaders["grpc-accept-encoding"];
    return (
      accepted !== undefined &&
      String(accepted)
        .split(",")
        .some((encoding) => encoding.trim() === "gzip")
    );
  }

  #receiveOne(encoding: MessageEncoding, run: (request: unknown) => void): void {
    const single = new SingleMessage({
      decode: this.#served.method.request.decode,
      encoding: () => encoding,
      messageMaxBytes: this.#host.limits.messageMaxBytes,
      held: this.#host.held,
    });
    this.#single = single;
    this.#stream.on("data", (chunk: Buffer) => {
      if (this.isOver) return;
      try {
        single.accept(chunk);
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#stream.on("end", () => {
      if (this.isOver || this.#stream.aborted) return;
      try {
        const request = single.end();
        if (request instanceof Promise)
          request
            .then((inflated) => {
              if (!this.isOver && !this.#isTooLate()) run(inflated);
            })
            .catch((error: unknown) => this.#fail(error));
        else if (!this.#isTooLate()) run(request);
      } catch (error) {
        this.#fail(error);
      }
    });
  }

  #receiveMany(encoding: MessageEncoding): MessageReceiver<unknown> {
    const receiver = new MessageReceiver<unknown>({
      stream: this.#stream,
      decode: this.#served.method.request.decode,
      encoding: () => encoding,
      messageMaxBytes: this.#host.limits.messageMaxBytes,
      held: this.#host.held,
    });
    this.#receiver = receiver;
    this.#stream.on("data", (chunk: Buffer) => {
      this.#owner.traffic(chunk.length);
      try {
        receiver.accept(chunk);
      } catch (error) {
        this.#fail(error);
      }
    });
    this.#stream.on("end", () => void this.#endAfterTurn(receiver));
    return receiver;
  }

  /**
   * A stream that is reset or whose connection is lost ends, too; and a client on node:http2 that cancels a call ends its side first.
   * Neither is to look as if the client had sent all, so the end counts when a turn of the loop brought nothing worse: by then the call
   * is over.
   */
  async #endAfterTurn(receiver: MessageReceiver<unknown>): Promise<void> {
    await this.#host.clock.turn();
    if (this.isOver) return;
    try {
      receiver.end();
    } catch (error) {
      this.#fail(error);
    }
  }

  #runUnary(handler: Handlers<unknown, unknown>["unary"], request: unknown): void {
    const response = handler(request, this);
    if (response instanceof Promise)
      response.then(
        (awaited) => this.#answer(awaited),
        (error: unknown) => this.#fail(error),
      );
    else this.#answer(response);
  }

  #runAnswer(run: () => Promise<unknown>): void {
    Promise.try(run).then(
      (response) => this.#answer(response),
      (error: unknown) => this.#fail(error),
    );
  }

  #runAnswerless(run: () => Promise<void>): void {
    this.#runStream(Promise.try(run));
  }

  #runStream(running: Promise<void>): void {
    running.then(
      () => this.#finish(undefined),
      (error: unknown) => this.#fail(error),
    );
  }

  /** The one response and the status, which is OK. */
  #answer(response: unknown): void {
    if (this.isOver) return;
    try {
      const message = this.#served.method.response.encode(response);
      const frame = frameMessage(message, this.isCompressing && this.#isCompressionAllowed());
      // Counted until the stream is closed: the sweep, which looks every second, would see many of them too late.
      this.#answerBytes = frame.length;
      this.#host.held.add(frame.length, "answer");
      this.sendHeaders();
      this.#owner.traffic(frame.length);
      if (this.#trailers !== undefined) this.#lastHeaders = trailersOf(undefined, this.#trailers);
      this.#settle(statusCodes.OK, undefined);
      if (!this.#stream.destroyed && !this.#stream.closed) this.#stream.end(frame);
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.isOver) return;
    this.#finish(error instanceof GrpcStatusError ? error : this.#host.statusOf(error, this.path));
  }

  #finish(error: GrpcStatusError | undefined): void {
    if (this.isOver) return;
    const more = this.#lastHeaders === okTrailers ? {} : this.#lastHeaders;
    this.#lastHeaders = { ...more, ...trailersOf(error, this.#trailers) };
    const isStarted = this.#stream.headersSent;
    const headers = isStarted ? undefined : this.#responseHeaders();
    this.#settle(error?.code ?? statusCodes.OK, error);
    if (this.#stream.destroyed || this.#stream.closed) return;
    if (headers !== undefined) this.#stream.respond({ ...headers, ...this.#lastHeaders }, endingOptions);
    else if (this.#sender === undefined) this.#stream.end();
    else this.#sender.end();
  }

  /** From here on the call is over: nobody's deadline, nobody's reader. */
  #settle(code: number, error: GrpcStatusError | undefined): void {
    if (this.isOver) return;
    this.#code = code;
    if (this.#deadlineMs !== undefined) this.#host.deadlines.remove(this, this.#deadlineTick);
    this.#single?.drop();
    if (this.#receiver !== undefined) this.#receiver.fail(error ?? overError(), { isDropping: true });
    this.#abort?.abort();
    // What still comes is dropped, so that the stream can end.
    if (!this.#stream.readableEnded && !this.#stream.destroyed) this.#stream.resume();
  }

  /** node:http2 asks for them while it sends: what it doesn't take of them must not end the process. */
  #sendTrailers(): void {
    try {
      this.#stream.sendTrailers(this.#lastHeaders);
    } catch {
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  #onClose(): void {
    const wasReset = !this.isOver && this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR;
    // An error costs as much as a small call: none is made where nobody hears of it.
    if (!this.isOver || this.#sender !== undefined) {
      const error = new GrpcStatusError("CANCELLED", "Cannot finish the call: the client cancelled it or is gone");
      this.#settle(error.code, error);
      this.#sender?.fail(error);
    }
    this.#host.held.add(-this.#answerBytes);
    this.#owner.callClosed(this, wasReset);
    this.#host.onEnded(this.path, this.#code ?? statusCodes.CANCELLED);
  }

  #responseHeaders(): OutgoingHttpHeaders {
    const isCompressing = this.isCompressing && this.#isCompressionAllowed();
    if (!isCompressing && this.#headers === undefined) return plainHeaders;
    const headers: Record<string, string | string[]> = {};
    this.#headers?.addTo(headers);
    return { ...headers, ...plainHeaders, ...(isCompressing && { "grpc-encoding": "gzip" }) };
  }
}

/** What the sweep saw of a call when it looked last, and since when it is so. */
interface Watch {
  sinceMs: number;
  isOver: boolean;
  takenCount: number;
}

/**
 * The trailers of a status. What doesn't fit into them is left out, since a client may refuse larger ones whole: details beyond their
 * limit, and of two sorts of metadata the call's, where an error brings its own.
 */
export function trailersOf(error: GrpcStatusError | undefined, metadata: Metadata | undefined): OutgoingHttpHeaders {
  const trailers: Record<string, string | string[]> = {};
  const own = new Metadata();
  if (error?.trailers !== undefined) own.tryAppendAll(error.trailers);
  if (metadata !== undefined) own.tryAppendAll(metadata);
  own.addTo(trailers);
  trailers["grpc-status"] = String(error?.code ?? statusCodes.OK);
  if (error === undefined) return trailers;
  if (error.message !== "") trailers["grpc-message"] = encodeStatusMessage(error.message);
  if (error.details !== undefined && error.details.length <= grpcStatusDetailsMaxBytes)
    trailers["grpc-status-details-bin"] = error.details.toString("base64").replace(/=+$/, "");
  return trailers;
}

const plainHeaders: OutgoingHttpHeaders = { ":status": 200, "content-type": "application/grpc" };
const okTrailers: OutgoingHttpHeaders = { "grpc-status": "0" };
const respondOptions = { waitForTrailers: true, sendDate: false };
const endingOptions = { endStream: true, sendDate: false };

function overError(): GrpcStatusError {
  return new GrpcStatusError("CANCELLED", "Cannot go on: the call is over");
}

function ignore(): void {}
