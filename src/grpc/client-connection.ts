import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants, type OutgoingHttpHeaders } from "node:http2";
import { connect as connectTcp, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";
import type { Clock, Timer } from "../base/clock.ts";
import { messageOf } from "../base/error.ts";
import {
  grpcConnectMaxMs,
  grpcHandshakeMaxMs,
  grpcHeaderListMaxBytes,
  grpcHeaderPairsMaxCount,
  grpcInvalidFramesMaxCount,
  grpcSessionMemoryMaxMb,
} from "../base/limits.ts";
import { GrpcStatusError } from "./grpc-status-error.ts";

/**
 * One connection of a client. It is ready when the server's SETTINGS are there, which nothing but HTTP/2 sends. While it has calls it
 * pings when nothing else comes, so that a server that vanished without a word is found out.
 */
export class ClientConnection {
  readonly session: ClientHttp2Session;
  /** Resolves when it is closed. */
  readonly gone: Promise<void>;
  readonly #gone = Promise.withResolvers<void>();
  readonly #options: ClientConnectionOptions;
  #callCount = 0;
  #timer: Timer | undefined;
  #isPingOut = false;
  #hasTraffic = false;
  #isLeaving = false;
  #goawayLastStreamId: number | undefined;
  #refusal: string | undefined;

  private constructor(session: ClientHttp2Session, options: ClientConnectionOptions) {
    this.session = session;
    this.gone = this.#gone.promise;
    this.#options = options;
  }

  /** Throws UNAVAILABLE when it doesn't work out, or takes too long; UNAUTHENTICATED when the server says that it doesn't want this client. */
  static async open(options: ClientConnectionOptions): Promise<ClientConnection> {
    const { host, port, clock, streamWindowBytes, connectionWindowBytes } = options;
    const limits = {
      settings: { initialWindowSize: streamWindowBytes, maxHeaderListSize: grpcHeaderListMaxBytes, enablePush: false },
      maxHeaderListPairs: grpcHeaderPairsMaxCount,
      maxSessionMemory: grpcSessionMemoryMaxMb,
      maxSessionInvalidFrames: grpcInvalidFramesMaxCount,
      strictSingleValueFields: false,
      maxSettings: 16,
    };
    const failure = (why: string, cause?: unknown): GrpcStatusError =>
      new GrpcStatusError("UNAVAILABLE", `Cannot connect to ${host} port ${port}: ${why}`, { isUnprocessed: true, cause });
    let socket: Socket;
    try {
      socket = openSocket(options);
    } catch (error) {
      throw failure(messageOf(error), error);
    }
    const session = connect(`${options.tls === undefined ? "http" : "https"}://${authorityOf(options)}`, {
      ...limits,
      createConnection: () => socket,
    });
    const connection = new ClientConnection(session, options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const fail = (why: string, cause?: unknown): void => reject(failure(why, cause));
    const timers = [clock.setTimer(grpcConnectMaxMs, () => fail(`it took longer than ${grpcConnectMaxMs} ms`))];
    if (options.tls !== undefined) {
      const late = `its TLS handshake took longer than ${grpcHandshakeMaxMs} ms`;
      socket.once("connect", () => timers.push(clock.setTimer(grpcHandshakeMaxMs, () => fail(late))));
      socket.once("secureConnect", () => timers.at(1)?.cancel());
    }
    options.signal.addEventListener("abort", () => fail("the channel was closed"), { once: true });
    session.once("remoteSettings", () => resolve());
    session.on("error", (error: Error) => fail(messageOf(error), error));
    session.on("close", () => {
      fail("the connection was closed at once");
      connection.#onGone();
    });
    session.once("connect", () => {
      if (!session.destroyed && connectionWindowBytes > initialWindowBytes) session.setLocalWindowSize(connectionWindowBytes);
    });
    // The other end wants no new calls here: with NO_ERROR those under way go on.
    session.on("goaway", (code: number, lastStreamId: number, said?: Uint8Array) => {
      connection.#goawayLastStreamId = lastStreamId;
      if (code === constants.NGHTTP2_INADEQUATE_SECURITY) connection.#refusal = refusalOf(said);
      connection.#onLeaving();
    });
    try {
      await promise;
      // It comes right behind the settings.
      if (connection.#refusal !== undefined) throw connection.refusalError();
    } catch (error) {
      session.destroy();
      await connection.gone;
      throw error;
    } finally {
      for (const timer of timers) timer.cancel();
    }
    return connection;
  }

  /** False when no new call may be made on it. */
  get isUsable(): boolean {
    return !this.#isLeaving && !this.session.closed && !this.session.destroyed;
  }

  /** The last call that the server will see through, once it has said so. */
  get goawayLastStreamId(): number | undefined {
    return this.#goawayLastStreamId;
  }

  /** What the server has against this client, once it has said so: for how it speaks, or who it is. Calls weren't looked at. */
  get refusal(): string | undefined {
    return this.#refusal;
  }

  refusalError(): GrpcStatusError {
    const { host, port } = this.#options;
    const message = `Cannot connect to ${host} port ${port}: it refuses this client: ${this.#refusal ?? ""}`;
    return new GrpcStatusError("UNAUTHENTICATED", message, { isUnprocessed: true, cause: new Error(this.#refusal) });
  }

  get callCount(): number {
    return this.#callCount;
  }

  /** Throws what node:http2 says of headers that it doesn't take. */
  request(headers: OutgoingHttpHeaders): ClientHttp2Stream {
    const stream = this.session.request(headers, requestOptions);
    this.#callCount += 1;
    if (this.#callCount === 1) this.#watch();
    return stream;
  }

  callClosed(): void {
    this.#callCount -= 1;
  }

  /** Something came: no need to ask whether the other end is there. */
  traffic(): void {
    this.#hasTraffic = true;
  }

  /** Makes no new calls, and closes when those under way are done. */
  leave(): void {
    this.#isLeaving = true;
    if (!this.session.closed && !this.session.destroyed) this.session.close();
  }

  /** Ends it and all its calls, now. */
  destroy(): void {
    this.#isLeaving = true;
    this.session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
  }

  #watch(): void {
    this.#timer ??= this.#options.clock.setTimer(this.#options.keepaliveMs, () => {
      this.#timer = undefined;
      if (this.session.destroyed || this.#callCount === 0) return;
      if (!this.#hasTraffic && !this.#isPingOut) this.#ping();
      this.#hasTraffic = false;
      this.#watch();
    });
  }

  #ping(): void {
    const { clock, keepaliveTimeoutMs } = this.#options;
    const timer = clock.setTimer(keepaliveTimeoutMs, () => {
      if (!this.session.destroyed)
        this.session.destroy(new Error(`the server didn't answer a ping for ${keepaliveTimeoutMs} ms`));
    });
    this.#isPingOut = this.session.ping(() => {
      timer.cancel();
      this.#isPingOut = false;
    });
    if (!this.#isPingOut) timer.cancel();
  }

  #onLeaving(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.#options.onLeaving(this);
  }

  #onGone(): void {
    this.#timer?.cancel();
    this.#onLeaving();
    this.#options.onGone(this);
    this.#gone.resolve();
  }
}

export interface ClientConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** TLS where it is given. Asked for anew with each connection, where it is a function. */
  readonly tls: ConnectionOptions | (() => ConnectionOptions) | undefined;
  readonly clock: Clock;
  /** Gives up connecting. */
  readonly signal: AbortSignal;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /** It takes no new calls any more. */
  readonly onLeaving: (connection: ClientConnection) => void;
  /** It is closed. */
  readonly onGone: (connection: ClientConnection) => void;
}

/** `host:port`, as it stands in `:authority`. */
export function authorityOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Throws where the options of TLS can't be had, or are no good. */
function openSocket({ host, port, tls }: Pick<ClientConnectionOptions, "host" | "port" | "tls">): Socket {
  if (tls === undefined) return connectTcp({ host, port, noDelay: true });
  const socket = connectTls({ host, port, ...(typeof tls === "function" ? tls() : tls), ALPNProtocols: ["h2"] });
  return socket.setNoDelay(true);
}

/** The words of a GOAWAY, in one line and not too long. */
function refusalOf(said: Uint8Array | undefined): string {
  const text = Buffer.from(said ?? [])
    .toString()
    .replaceAll(/[\p{C}\p{Zl}\p{Zp}]+/gu, " ")
    .trim();
  return text === "" ? "it doesn't say why" : text.slice(0, refusalMaxChars);
}

const refusalMaxChars = 200;

/** HTTP/2's own, which no SETTINGS change for a connection. */
const initialWindowBytes = 65_535;

const requestOptions = { endStream: false };
