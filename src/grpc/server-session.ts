import { constants, type ServerHttp2Session } from "node:http2";
import type { Duplex } from "node:stream";
import type { Clock } from "../base/clock.ts";
import {
  grpcCloseMaxMs,
  grpcPingsBurst,
  grpcPingsPerSecond,
  grpcResetsBurst,
  grpcResetsPerSecond,
  grpcSettingsBurst,
  grpcSettingsPerSecond,
} from "../base/limits.ts";
import type { Random } from "../base/random.ts";
import type { GrpcServerLimits } from "./grpc-server-limits.ts";
import type { GrpcStatusError } from "./grpc-status-error.ts";
import type { ServerCall, ServerCallOwner } from "./server-call.ts";
import { TokenBucket } from "./token-bucket.ts";

/**
 * One client's connection: what it does beside its calls. It counts what costs a client nothing and us something (pings, settings,
 * calls cancelled as soon as they are made), asks old and idle connections to go, and finds out whether the other end is still there.
 */
export class ServerSession implements ServerCallOwner {
  readonly calls = new Set<ServerCall>();
  readonly socket: Duplex | undefined;
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>;
  readonly #session: ServerHttp2Session;
  readonly #options: ServerSessionOptions;
  readonly #pings: TokenBucket;
  readonly #settings: TokenBucket;
  readonly #resets: TokenBucket;
  readonly #bornMs: number;
  readonly #ageMaxMs: number;
  #hasSettings = false;
  #idleSinceMs: number;
  #lastPingMs: number;
  #isPingOut = false;
  /** When the session was first seen to be ended, and the connection still open. */
  #endedMs: number | undefined;

  constructor(session: ServerHttp2Session, options: ServerSessionOptions) {
    this.#session = session;
    this.#options = options;
    this.socket = options.socket;
    const { clock, random, limits } = options;
    const nowMs = clock.monotonic();
    this.#bornMs = nowMs;
    this.#idleSinceMs = nowMs;
    this.#lastPingMs = nowMs;
    this.#ageMaxMs = limits.connectionAgeMaxMs * (0.9 + 0.2 * random.float());
    this.#pings = new TokenBucket({ burst: grpcPingsBurst, perSecond: grpcPingsPerSecond, nowMs });
    this.#settings = new TokenBucket({ burst: grpcSettingsBurst, perSecond: grpcSettingsPerSecond, nowMs });
    this.#resets = new TokenBucket({ burst: grpcResetsBurst, perSecond: grpcResetsPerSecond, nowMs });
    session.on("ping", () => this.#spend(this.#pings, "too_many_pings"));
    session.on("remoteSettings", () => {
      this.#hasSettings = true;
      this.#spend(this.#settings, "too_many_settings");
    });
    // What broke the connection is told by the end of its calls; nobody else has to know.
    session.on("error", (error: Error) => options.onError(error));
    const closed = Promise.withResolvers<void>();
    this.closed = closed.promise;
    session.on("close", () => {
      options.onClosed(this);
      closed.resolve();
    });
    if (limits.connectionWindowBytes > initialWindowBytes) session.setLocalWindowSize(limits.connectionWindowBytes);
  }

  /** Messages came or went: an honest client's pings come with them. */
  traffic(bytes: number): void {
    this.#pings.add(1 + bytes / frameBytes);
  }

  callClosed(call: ServerCall, wasReset: boolean): void {
    this.calls.delete(call);
    if (this.calls.size === 0) this.#idleSinceMs = this.#options.clock.monotonic();
    if (wasReset) this.streamReset();
  }

  /** The client took a call back before it was answered. */
  streamReset(): void {
    this.#spend(this.#resets, "too_many_resets");
  }

  sweep(nowMs: number): void {
    const { limits } = this.#options;
    if (this.#session.destroyed) {
      // It ends when all is gone that was sent, which may be never with a client that doesn't read.
      this.#endedMs ??= nowMs;
      if (nowMs - this.#endedMs >= grpcCloseMaxMs) this.#options.cut();
      return;
    }
    for (const call of this.calls) call.sweep(nowMs);
    if (!this.#hasSettings && nowMs - this.#bornMs >= limits.handshakeMaxMs) return this.refuse("no_settings");
    if (this.#isPingOut && nowMs - this.#lastPingMs >= limits.keepaliveTimeoutMs) return this.refuse("no_answer_to_ping");
    if (!this.#isPingOut && nowMs - this.#lastPingMs >= limits.keepaliveMs) this.#ping();
    const isIdle = this.calls.size === 0 && nowMs - this.#idleSinceMs >= limits.idleMaxMs;
    if (isIdle || nowMs - this.#bornMs >= this.#ageMaxMs) this.leave();
  }

  /**
   * Asks the client to make no more calls here, and closes when those under way are done. The GOAWAY names the last call that was
   * taken, so one that crosses it is known never to have been seen, and its client makes it elsewhere. (A first GOAWAY that names
   * none would let it through, but after any GOAWAY node:http2 takes no call.)
   */
  leave(): void {
    if (!this.#session.destroyed && !this.#session.closed) this.#session.close();
  }

  /** Ends the connection at once, with the reason in its GOAWAY. */
  refuse(reason: SessionRefusal): void {
    if (this.#session.destroyed) return;
    this.#options.onRefused(reason);
    this.#session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0, Buffer.from(reason));
    this.#session.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /** Ends all calls with a status, and the connection when that is out. */
  async stop(error: GrpcStatusError): Promise<void> {
    for (const call of this.calls) call.end(error);
    // Headers go in one turn of the loop, trailers in the next.
    await this.#options.clock.turn();
    await this.#options.clock.turn();
    if (!this.#session.destroyed) this.#session.destroy();
    const timer = this.#options.clock.setTimer(grpcCloseMaxMs, () => this.#options.cut());
    await this.closed;
    timer.cancel();
  }

  #ping(): void {
    this.#lastPingMs = this.#options.clock.monotonic();
    this.#isPingOut = this.#session.ping(() => {
      this.#isPingOut = false;
    });
  }

  #spend(bucket: TokenBucket, reason: SessionRefusal): void {
    if (!bucket.take(this.#options.clock.monotonic())) this.refuse(reason);
  }
}

export type SessionRefusal = "too_many_pings" | "too_many_settings" | "too_many_resets" | "no_settings" | "no_answer_to_ping";

export interface ServerSessionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: GrpcServerLimits;
  readonly socket: Duplex | undefined;
  /** Drops the connection without a word. */
  readonly cut: () => void;
  readonly onError: (error: Error) => void;
  readonly onRefused: (reason: SessionRefusal) => void;
  readonly onClosed: (session: ServerSession) => void;
}

/** HTTP/2's own, which no SETTINGS change for a connection. */
const initialWindowBytes = 65_535;

/** The largest frame that we take, and so what an honest client may answer with a ping. */
const frameBytes = 16_384;
