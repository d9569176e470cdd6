import { systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf, ProglogError } from "../base/error.ts";
import {
  type BidiStreamCall,
  type CallKind,
  Channel,
  type ChannelOptions,
  type EncodedMessage,
  type CallOptions as GrpcCallOptions,
  type GrpcStatusError,
  isGrpcStatusError,
  Metadata,
  type Method,
} from "../grpc/index.ts";
import { fromGrpcStatus } from "../wire/grpc-status.ts";
import { tlsFailureOf } from "./tls-failure.ts";
import { type TokenSource, takeToken } from "./token-source.ts";
import type { CallOptions, RequestStream, StreamListener, Transport } from "./transport.ts";

/** The way to a node by gRPC: one connection, made when it is needed and again when it is lost. */
export class GrpcTransport implements Transport {
  readonly address: string;
  readonly #channel: Channel;
  readonly #token: TokenSource | undefined;
  readonly #methods = new Map<string, Method<EncodedMessage, Buffer>>();

  /** With a token each call says who makes it. */
  constructor({ token, ...options }: ChannelOptions & { readonly token?: TokenSource | undefined }) {
    this.address = options.address;
    this.#token = token;
    this.#channel = new Channel(options);
  }

  async call(path: string, request: Buffer, options: CallOptions = {}): Promise<Buffer> {
    try {
      return await this.#channel.unary(this.#method(path, "unary"), request, await this.#optionsOf(options));
    } catch (error) {
      throw toProglogError(error, this.address);
    }
  }

  async *openServerStream(path: string, request: Buffer, options: CallOptions = {}): AsyncGenerator<Buffer, void, undefined> {
    let wasServed = false;
    try {
      const callOptions = await this.#optionsOf(options);
      const call = await this.#channel.serverStream(this.#method(path, "server-stream"), request, callOptions);
      for await (const response of call.responses) {
        wasServed = true;
        yield response;
      }
    } catch (error) {
      throw this.#streamError(error, wasServed);
    }
  }

  openStream(path: string, listener: StreamListener): RequestStream {
    const method = this.#method(path, "bidi-stream");
    const call = this.#optionsOf({}).then((options) => this.#channel.bidiStream(method, options));
    let wasServed = false;
    const watching: StreamListener = {
      answered: (answer) => {
        wasServed = true;
        listener.answered(answer);
      },
      ended: (error) => listener.ended(error === undefined ? undefined : this.#streamError(error, wasServed)),
    };
    return new GrpcStream(call, watching);
  }

  async close(): Promise<void> {
    await this.#channel.close();
  }

  /**
   * What a stream ends with. One that was served until its token was over is worth another try where there may be another token by now; its
   * last answer has come by then, so what has none wasn't done.
   */
  #streamError(error: unknown, wasServed: boolean): unknown {
    const found = toProglogError(error, this.address);
    if (!wasServed || typeof this.#token !== "function" || !isProglogError(found, "UNAUTHENTICATED")) return found;
    const reason = `${this.address} didn't take the token any more`;
    return new ProglogError("UNAVAILABLE", `Cannot go on: ${reason}`, {
      details: { reason, outcome: "not-appended" },
      cause: found,
    });
  }

  /** The token is asked for each time: it may be another by now. */
  async #optionsOf({ timeoutMs, signal }: CallOptions): Promise<GrpcCallOptions> {
    const metadata =
      this.#token === undefined ? undefined : Metadata.of({ authorization: `Bearer ${await takeToken(this.#token)}` });
    return {
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(signal === undefined ? {} : { signal }),
      ...(metadata === undefined ? {} : { metadata }),
    };
  }

  /** Messages are bytes here: whoever calls knows what they mean. */
  #method<Kind extends CallKind>(path: string, kind: Kind): Method<EncodedMessage, Buffer, Kind> {
    let method = this.#methods.get(path);
    if (method === undefined) this.#methods.set(path, (method = { path, kind, request: bytesCodec, response: bytesCodec }));
    return method as Method<EncodedMessage, Buffer, Kind>;
  }
}

/**
 * A stream of requests and answers that can be sent to before there is a connection, and faster than it takes: what is sent waits
 * for its turn. How much that is the sender bounds, by what it has under way.
 */
class GrpcStream implements RequestStream {
  readonly #listener: StreamListener;
  readonly #waiting: EncodedMessage[] = [];
  #call: BidiStreamCall<EncodedMessage, Buffer> | undefined;
  #isSending = false;
  #isEnding = false;
  #isOver = false;

  constructor(call: Promise<BidiStreamCall<EncodedMessage, Buffer>>, listener: StreamListener) {
    this.#listener = listener;
    void this.#run(call);
  }

  send(request: EncodedMessage): void {
    if (this.#isOver) return;
    this.#waiting.push(request);
    this.#goOn();
  }

  end(): void {
    this.#isEnding = true;
    this.#goOn();
  }

  cancel(): void {
    this.#call?.cancel();
    this.#finish(new ProglogError("CANCELLED", "The stream was cancelled"));
  }

  async #run(opening: Promise<BidiStreamCall<EncodedMessage, Buffer>>): Promise<void> {
    try {
      const call = await opening;
      if (this.#isOver) return call.cancel();
      this.#call = call;
      this.#goOn();
      for (;;) {
        const answers = await call.responses.readAvailable();
        if (answers.length === 0) break;
        for (const answer of answers) if (!this.#isOver) this.#listener.answered(answer);
      }
      this.#finish(undefined);
    } catch (error) {
      this.#finish(error);
    }
  }

  #goOn(): void {
    if (this.#call === undefined || this.#isSending) return;
    this.#isSending = true;
    void this.#sendAll(this.#call);
  }

  async #sendAll(call: BidiStreamCall<EncodedMessage, Buffer>): Promise<void> {
    try {
      // The call refuses what is far more than it has room for: so each waits until there is some.
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) await call.send(next);
      if (this.#isEnding) call.end();
    } catch {
      // Reading hears of it, too, and says so.
      this.#waiting.length = 0;
    }
    this.#isSending = false;
  }

  #finish(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#waiting.length = 0;
    this.#listener.ended(error);
  }
}

const bytesCodec = { encode: (bytes: EncodedMessage) => bytes, decode: (bytes: Buffer) => bytes };

function toProglogError(error: unknown, address: string): unknown {
  if (isProglogError(error) || !isGrpcStatusError(error)) return error;
  const { code, message, details } = error;
  if (details === undefined && isGrpcStatusError(error, "UNAVAILABLE")) return connectionError(error, address);
  if (error.isUnprocessed && isGrpcStatusError(error, "UNAUTHENTICATED")) return refusedError(error, address);
  return fromGrpcStatus({ code, message, details });
}

/** What became of the connection. `details.reason` says it without the attempt, which whoever shows it may know better. */
function connectionError(error: GrpcStatusError, address: string): ProglogError {
  if (!error.isUnprocessed) {
    const reason = `the connection to ${address} was lost`;
    const details = { reason, outcome: "unknown" };
    return new ProglogError("UNAVAILABLE", `Cannot hear the answer: ${reason}`, { details, cause: error });
  }
  const untrusted = tlsFailureOf(error, address);
  if (untrusted !== undefined) {
    const { tls, reason, hint } = untrusted;
    const details = { reason, tls, outcome: "not-appended" };
    return new ProglogError("UNAVAILABLE", `Cannot call: ${reason}`, { hint, details, cause: error });
  }
  const reason = unreachedReason(error, address);
  return new ProglogError("UNAVAILABLE", `Cannot call: ${reason}`, {
    hint: "Start one with proglog serve, or check the address.",
    details: { reason, outcome: "not-appended" },
    cause: error,
  });
}

/** It said so, before it looked at a call: for the client's certificate, or because it speaks TLS and this client doesn't. */
function refusedError(error: GrpcStatusError, address: string): ProglogError {
  const reason = `${address} refuses this client: ${messageOf(error.cause)}`;
  return new ProglogError("UNAUTHENTICATED", `Cannot call: ${reason}`, {
    hint: "Show a certificate that it takes, by tls (on the command line --tls-cert-file and its companions).",
    details: { reason, tls: "refused", outcome: "not-appended" },
    cause: error,
  });
}

function unreachedReason({ message, cause }: GrpcStatusError, address: string): string {
  if (cause === undefined) return `${address} didn't take the call (${message})`;
  const code = systemErrorCode(cause) ?? messageOf(cause);
  if (code.startsWith("ERR_HTTP2")) return `what answers at ${address} is no proglog (${messageOf(cause)})`;
  return `no server answers at ${address} (${code})`;
}
