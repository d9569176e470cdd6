import {
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import type { Duplex } from "node:stream";
import { assert } from "../base/assert.ts";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import {
  grpcHeaderListMaxBytes,
  grpcHeaderPairsMaxCount,
  grpcInvalidFramesMaxCount,
  grpcRejectedStreamsMaxCount,
  grpcSessionMemoryMaxMb,
  grpcSweepMs,
} from "../base/limits.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import { type GrpcServerLimits, grpcServerLimits } from "./grpc-server-limits.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";
import { HeldBytes } from "./held-bytes.ts";
import type { ServedMethod } from "./method.ts";
import { ServerCall, type ServerCallHost, trailersOf } from "./server-call.ts";
import { ServerSession, type SessionRefusal } from "./server-session.ts";

/**
 * Serves methods to whatever brings HTTP/2 streams. It listens to nothing itself: a listener hands it sockets (`acceptSocket`), a
 * server of node:http2 its sessions (`acceptSession`) or single streams (`acceptStream`). So one port can serve gRPC beside HTTP/1.1.
 */
export class GrpcServer {
  readonly #methods = new Map<string, ServedMethod>();
  readonly #services = new Set<string>();
  readonly #sessions = new Map<ServerHttp2Session, ServerSession>();
  readonly #options: GrpcServerOptions;
  readonly #limits: GrpcServerLimits;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #host: ServerCallHost;
  #sweepTimer: Timer | undefined;
  #isDraining = false;
  #onEmpty: (() => void) | undefined;

  constructor(options: GrpcServerOptions) {
    this.#options = options;
    this.#limits = { ...grpcServerLimits, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    for (const served of options.methods) this.#add(served);
    const { observer = {} } = options;
    this.#host = {
      limits: this.#limits,
      clock: this.#clock,
      deadlines: new DeadlineWheel(this.#clock),
      held: new HeldBytes(this.#limits.heldMaxBytes),
      statusOf: options.statusOf ?? unknownError,
      onEnded: (path, code) => observer.callEnded?.(path, code),
    };
  }

  /** What a session has to be made with: for `createServer` and `createSecureServer` of node:http2. */
  get sessionOptions(): ServerOptions {
    const { streamsMaxCount, streamWindowBytes } = this.#limits;
    return {
      settings: {
        maxConcurrentStreams: streamsMaxCount,
        initialWindowSize: streamWindowBytes,
        maxHeaderListSize: grpcHeaderListMaxBytes,
        enablePush: false,
      },
      maxHeaderListPairs: grpcHeaderPairsMaxCount,
      maxSessionMemory: grpcSessionMemoryMaxMb,
      maxSessionInvalidFrames: grpcInvalidFramesMaxCount,
      maxSessionRejectedStreams: grpcRejectedStreamsMaxCount,
      // A name of metadata may stand more than once, whatever it means elsewhere.
      strictSingleValueFields: false,
      maxOutstandingPings: 5,
      maxSettings: 16,
      unknownProtocolTimeout: 2000,
    };
  }

  get methods(): readonly ServedMethod[] {
    return [...this.#methods.values()];
  }

  get sessionCount(): number {
    return this.#sessions.size;
  }

  get callCount(): number {
    let count = 0;
    for (const { calls } of this.#sessions.values()) count += calls.size;
    return count;
  }

  /** What all calls hold: received and not taken, sent and not gone. */
  get heldBytes(): number {
    let bytes = 0;
    for (const { calls } of this.#sessions.values()) for (const call of calls) bytes += call.heldBytes;
    return bytes;
  }

  /** Speaks HTTP/2 on a connection, from its preface on. Bytes put back into the socket are read first. */
  acceptSocket(socket: Duplex): void {
    this.acceptSession(performServerHandshake(socket, this.sessionOptions), socket);
  }

  /**
   * Looks after a session, and serves its streams. Name its socket where you have it: a session that is ended gets rid of one that
   * nobody reads from no other way.
   */
  acceptSession(session: ServerHttp2Session, socket?: Duplex): void {
    const owner = this.#adopt(session, socket);
    session.on("stream", (stream, headers, _flags, rawHeaders) =>
      this.#accept(stream, { owner, session, headers, rawHeaders: rawHeaders }),
    );
  }

  /** Serves one stream, of a session whose streams somebody else hears of first. */
  acceptStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
    const session = stream.session as ServerHttp2Session | undefined;
    // Gone already, between its headers and this turn.
    if (session === undefined) return;
    this.#accept(stream, { owner: this.#sessions.get(session) ?? this.#adopt(session), session, headers, rawHeaders });
  }

  /**
   * Stops in peace: clients are told to make no more calls here, and each connection closes when its calls are done. What isn't done
   * after `limitMs` ends with UNAVAILABLE. Resolves when no connection is left. Sockets that come later are asked to go at once.
   */
  async drain({ limitMs }: { readonly limitMs: number }): Promise<void> {
    this.#isDraining = true;
    for (const session of this.#sessions.values()) session.leave();
    if (this.#sessions.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const timer = this.#clock.setTimer(limitMs, resolve);
      await promise;
      timer.cancel();
    }
    await this.close();
  }

  /** Ends all calls with UNAVAILABLE and all connections, now. Twice is fine. */
  async close(): Promise<void> {
    this.#isDraining = true;
    const error = new GrpcStatusError("UNAVAILABLE", "Cannot finish the call: the server is stopping");
    await Promise.all([...this.#sessions.values()].map((session) => session.stop(error)));
    this.#sweepTimer?.cancel();
    this.#sweepTimer = undefined;
    this.#host.deadlines.clear();
  }

  #add(served: ServedMethod): void {
    const { path } = served.method;
    const match = /^\/([^/]+)\/[^/]+$/.exec(path);
    assert(match !== null, "a method's path is /package.Service/Method");
    assert(!this.#methods.has(path), `no two methods have the path ${path}`);
    this.#methods.set(path, served);
    this.#services.add(match[1] ?? "");
  }

  #accept(stream: ServerHttp2Stream, { owner, session, headers, rawHeaders }: AcceptedStream): void {
    // Cancelled in the same breath as it was made.
    if (stream.destroyed) return owner.streamReset();
    const refusal = refusalOf(headers);
    if (refusal !== undefined) return refuse(stream, refusal);
    const served = this.#methods.get(headers[":path"] ?? "");
    if (served === undefined) return refuseCall(stream, this.#unknown(headers));
    if (byteLengthOf(rawHeaders) > grpcHeaderListMaxBytes)
      return refuseCall(
        stream,
        new GrpcStatusError(
          "RESOURCE_EXHAUSTED",
          `Cannot take the call: its headers are of more than ${grpcHeaderListMaxBytes} bytes`,
        ),
      );
    const call = new ServerCall({ host: this.#host, owner, stream, session, served, headers, rawHeaders });
    owner.calls.add(call);
    call.start();
  }

  #adopt(session: ServerHttp2Session, socket?: Duplex): ServerSession {
    const { observer = {} } = this.#options;
    const owner = new ServerSession(session, {
      clock: this.#clock,
      random: this.#random,
      limits: this.#limits,
      socket,
      cut: () => socket?.destroy(),
      onError: (error) => observer.sessionFailed?.(error),
      onRefused: (reason) => observer.sessionRefused?.(reason),
      onClosed: () => {
        this.#sessions.delete(session);
        if (this.#sessions.size === 0) this.#onEmpty?.();
      },
    });
    this.#sessions.set(session, owner);
    this.#sweepTimer ??= this.#clock.setTimer(grpcSweepMs, () => this.#sweep());
    if (this.#isDraining) owner.leave();
    return owner;
  }

  #sweep(): void {
    const nowMs = this.#clock.monotonic();
    for (const session of this.#sessions.values()) session.sweep(nowMs);
    this.#endLargest();
    this.#sweepTimer = this.#sessions.size === 0 ? undefined : this.#clock.setTimer(grpcSweepMs, () => this.#sweep());
  }

  /** Brings what all calls hold below the limit: what a stream's window let in is counted here, and what waits to be sent. */
  #endLargest(): void {
    let total = this.heldBytes;
    if (total <= this.#limits.heldMaxBytes) return;
    const calls = [...this.#sessions.values()].flatMap((session) => [...session.calls]);
    for (const call of calls.toSorted((a, b) => b.heldBytes - a.heldBytes)) {
      total -= call.heldBytes;
      call.reset(
        new GrpcStatusError("RESOURCE_EXHAUSTED", "Cannot go on: the server holds as many bytes of messages as it may"),
        enhanceYourCalm,
      );
      if (total <= this.#limits.heldMaxBytes) return;
    }
  }

  #unknown(headers: IncomingHttpHeaders): GrpcStatusError {
    const path = headers[":path"] ?? "";
    const [, service = ""] = /^\/([^/]+)\/[^/]+$/.exec(path) ?? [];
    const why = this.#services.has(service) ? `the service ${service} has no such method` : "there is no such service";
    return new GrpcStatusError("UNIMPLEMENTED", `Cannot call ${path.slice(0, 200)}: ${why}`);
  }
}

export interface GrpcServerOptions {
  readonly methods: readonly ServedMethod[];
  /** The bounds that differ from `grpcServerLimits`. */
  readonly limits?: Partial<GrpcServerLimits>;
  readonly clock?: Clock;
  readonly random?: Random;
  /** The status for what a handler threw that isn't a `GrpcStatusError`. Without it: UNKNOWN, and no word of what it was. */
  readonly statusOf?: (error: unknown, path: string) => GrpcStatusError;
  readonly observer?: GrpcServerObserver;
}

/** What happens, for metrics and diagnostics. None may throw. */
export interface GrpcServerObserver {
  readonly callEnded?: (path: string, code: number) => void;
  readonly sessionRefused?: (reason: SessionRefusal) => void;
  readonly sessionFailed?: (error: Error) => void;
}

interface AcceptedStream {
  readonly owner: ServerSession;
  readonly session: ServerHttp2Session;
  readonly headers: IncomingHttpHeaders;
  readonly rawHeaders: readonly string[];
}

const enhanceYourCalm = 0xb;

/** What isn't gRPC gets an answer in HTTP's own words. */
function refusalOf(headers: IncomingHttpHeaders): Record<string, string | number> | undefined {
  if (headers[":method"] !== "POST") return { ":status": 405, allow: "POST" };
  const type = headers["content-type"] ?? "";
  const isGrpc = type.startsWith("application/grpc") && (type.length === 16 || type[16] === "+" || type[16] === ";");
  return isGrpc ? undefined : { ":status": 415, "accept-post": "application/grpc" };
}

function refuseCall(stream: ServerHttp2Stream, error: GrpcStatusError): void {
  refuse(stream, { ":status": 200, "content-type": "application/grpc", ...trailersOf(error, undefined) });
}

/** As HTTP/2 counts it. node:http2 says the limit to clients, and doesn't hold them to it. */
function byteLengthOf(rawHeaders: readonly string[]): number {
  let bytes = 16 * rawHeaders.length;
  for (const text of rawHeaders) bytes += text.length;
  return bytes;
}

const refusalOptions = { endStream: true, sendDate: false };

/** Answers, and lets what still comes run off. */
function refuse(stream: ServerHttp2Stream, headers: Record<string, unknown>): void {
  stream.on("error", () => {});
  if (stream.closed || stream.destroyed) return;
  stream.respond(headers as Record<string, string | number>, refusalOptions);
  stream.resume();
}

function unknownError(): GrpcStatusError {
  return new GrpcStatusError("UNKNOWN", "Cannot finish the call: its handler failed");
}
