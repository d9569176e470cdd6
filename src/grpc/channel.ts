import type { OutgoingHttpHeaders } from "node:http2";
import type { ConnectionOptions } from "node:tls";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import {
  grpcClientCallsMaxCount,
  grpcKeepaliveMs,
  grpcKeepaliveTimeoutMs,
  grpcMessageMaxBytes,
  grpcWindowBytes,
} from "../base/limits.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { Backoff } from "./backoff.ts";
import type { CallOptions } from "./call-options.ts";
import { ClientCall, type ClientCallHost, clientHeaders } from "./client-call.ts";
import { ClientConnection, type ClientConnectionOptions } from "./client-connection.ts";
import { DeadlineWheel } from "./deadline-wheel.ts";
import { GrpcStatusError, isGrpcStatusError } from "./grpc-status-error.ts";
import type { MessageReceiver } from "./message-receiver.ts";
import { frameMessage } from "./message-sender.ts";
import type { MessageCodec, Method } from "./method.ts";

export interface ChannelOptions {
  /** `host:port`; an IPv6 address in brackets. */
  readonly address: string;
  /** TLS, by the options of `tls.connect`, or a function that is asked for them with each connection. Without it: clear text. */
  readonly tls?: ConnectionOptions | (() => ConnectionOptions);
  /** Receive windows. Default 1 MiB each. */
  readonly windows?: { readonly streamBytes?: number; readonly connectionBytes?: number };
  /** Largest message received. */
  readonly messageMaxBytes?: number;
  /** How often a silent server is asked whether it is there while calls are under way, and how long it may take to answer. */
  readonly keepalive?: { readonly intervalMs?: number; readonly timeoutMs?: number };
  readonly userAgent?: string;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** A channel to a server. It connects with its first call. */
export function connect(options: ChannelOptions): Channel {
  return new Channel(options);
}

/** Sends the requests of a call. */
export interface RequestStream<Request> {
  /** Compress what is sent from now on. Only of use where the call was begun so: the headers have told it. */
  isCompressing: boolean;
  /** Resolves when there is room for another: await it, or a slow server fills the memory until `send` refuses. */
  send(request: Request): Promise<void>;
  /** No more is sent. Twice is fine. */
  end(): void;
  cancel(): void;
}

export interface ClientStreamCall<Request, Response> extends RequestStream<Request> {
  /** The server's answer, which may come before all is sent. */
  readonly response: Promise<Response>;
}

/** The responses of a call, one by one or all that are here. Leaving a loop over them cancels the call. */
export type ResponseStream<Response> = Pick<MessageReceiver<Response>, "read" | "readAvailable" | typeof Symbol.asyncIterator>;

export interface ServerStreamCall<Response> {
  readonly responses: ResponseStream<Response>;
  cancel(): void;
}

export interface BidiStreamCall<Request, Response> extends RequestStream<Request> {
  readonly responses: ResponseStream<Response>;
}

/**
 * Calls to one server over one connection, which is made anew when it is lost. A call made while there is none waits for the try that
 * is under way and fails with it; a patient one waits until one succeeds. A call that the server says it never saw is made once more
 * by itself.
 */
export class Channel implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #backoff: Backoff;
  readonly #deadlines: DeadlineWheel;
  readonly #connectionOptions: Omit<ClientConnectionOptions, "onLeaving" | "onGone" | "signal">;
  readonly #host: ClientCallHost;
  readonly #waiters = new Set<Waiter>();
  /** All that aren't closed yet: the one in use, and those that see their last calls through. */
  readonly #connections = new Set<ClientConnection>();
  #state: ChannelState = { kind: "idle" };
  /** The try that is under way, or the last one. It never rejects. */
  #connecting: Promise<void> | undefined;
  #callCount = 0;
  #onEmpty: (() => void) | undefined;

  constructor(options: ChannelOptions) {
    this.#clock = options.clock ?? systemClock;
    this.#backoff = new Backoff(options.random ?? systemRandom);
    this.#deadlines = new DeadlineWheel(this.#clock);
    this.#connectionOptions = {
      ...parseAddress(options.address),
      tls: options.tls,
      clock: this.#clock,
      streamWindowBytes: options.windows?.streamBytes ?? grpcWindowBytes,
      connectionWindowBytes: options.windows?.connectionBytes ?? grpcWindowBytes,
      keepaliveMs: options.keepalive?.intervalMs ?? grpcKeepaliveMs,
      keepaliveTimeoutMs: options.keepalive?.timeoutMs ?? grpcKeepaliveTimeoutMs,
    };
    const headers: OutgoingHttpHeaders = { ...clientHeaders, "user-agent": options.userAgent ?? "grpc-node-proglog" };
    this.#host = {
      deadlines: this.#deadlines,
      messageMaxBytes: options.messageMaxBytes ?? grpcMessageMaxBytes,
      headers,
      onClosed: () => {
        this.#callCount -= 1;
        if (this.#callCount === 0) this.#onEmpty?.();
      },
    };
  }

  /** Calls that aren't over, those that wait for a connection included. */
  get callCount(): number {
    return this.#callCount;
  }

  /** Resolves when there is a connection. */
  async ready(options: Pick<CallOptions, "timeoutMs" | "signal" | "isPatient"> = {}): Promise<void> {
    const found = this.#findConnection();
    if (found === undefined) await this.#waitForConnection(options, this.#deadlineOf(options));
  }

  /** One request, one response. */
  async unary<Request, Response>(
    method: Method<Request, Response, "unary">,
    request: Request,
    options: CallOptions = noOptions,
  ): Promise<Response> {
    const deadlineMs = this.#deadlineOf(options);
    const frame = frameOnly(method.request, request, options);
    try {
      const call = this.#start(method, options, deadlineMs);
      return await exchange(call instanceof Promise ? await call : call, frame);
    } catch (error) {
      if (!isGrpcStatusError(error) || !error.isUnprocessed || this.#state.kind === "closed") throw error;
      // A try to connect that failed isn't made again: waiting for a connection is another's choice.
      if (this.#state.kind === "backoff" && options.isPatient !== true) throw error;
      return await exchange(await this.#start(method, options, deadlineMs), frame);
    }
  }

  /** Many requests, one response. */
  async clientStream<Request, Response>(
    method: Method<Request, Response, "client-stream">,
    options: CallOptions = noOptions,
  ): Promise<ClientStreamCall<Request, Response>> {
    const call = await this.#start(method, options, this.#deadlineOf(options));
    // Whoever awaits the response hears of its failure; sending hears of it, too.
    call.response.catch(() => {});
    return call;
  }

  /** One request, many responses. */
  async serverStream<Request, Response>(
    method: Method<Request, Response, "server-stream">,
    request: Request,
    options: CallOptions = noOptions,
  ): Promise<ServerStreamCall<Response>> {
    const frame = frameOnly(method.request, request, options);
    const call = await this.#start(method, options, this.#deadlineOf(options));
    call.sendOnly(frame);
    return call;
  }

  /** Many requests, many responses, in whichever order the two ends like. */
  bidiStream<Request, Response>(
    method: Method<Request, Response, "bidi-stream">,
    options: CallOptions = noOptions,
  ): Promise<BidiStreamCall<Request, Response>> {
    return Promise.try(() => this.#start(method, options, this.#deadlineOf(options)));
  }

  /** Takes no more calls. Those under way may go on for `graceMs`; then they end with UNAVAILABLE. Resolves when all is closed. */
  async close({ graceMs = 0 }: { readonly graceMs?: number } = {}): Promise<void> {
    const before = this.#state;
    this.#state = { kind: "closed" };
    if (before.kind === "backoff") before.timer.cancel();
    if (before.kind === "connecting") before.abort.abort();
    for (const waiter of [...this.#waiters]) waiter.reject(closedError());
    if (graceMs > 0 && this.#callCount > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onEmpty = resolve;
      const timer = this.#clock.setTimer(graceMs, resolve);
      await promise;
      timer.cancel();
    }
    const gone = [...this.#connections].map((connection) => connection.gone);
    for (const connection of [...this.#connections]) connection.destroy();
    await Promise.all([...gone, this.#connecting]);
    this.#deadlines.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #deadlineOf({ timeoutMs }: Pick<CallOptions, "timeoutMs">): number | undefined {
    return timeoutMs === undefined ? undefined : this.#deadlines.now() + timeoutMs;
  }

  #start<Request, Response>(
    method: Method<Request, Response>,
    callOptions: CallOptions,
    deadlineMs: number | undefined,
  ): ClientCall<Request, Response> | Promise<ClientCall<Request, Response>> {
    const connection = this.#findConnection();
    const start = (found: ClientConnection): ClientCall<Request, Response> => {
      const call = new ClientCall({ host: this.#host, connection: found, method, callOptions, deadlineMs });
      this.#callCount += 1;
      return call;
    };
    if (this.#callCount >= grpcClientCallsMaxCount)
      throw new GrpcStatusError(
        "RESOURCE_EXHAUSTED",
        `Cannot call ${method.path}: ${this.#callCount} calls are under way already`,
      );
    return connection === undefined ? this.#waitForConnection(callOptions, deadlineMs).then(start) : start(connection);
  }

  #findConnection(): ClientConnection | undefined {
    const state = this.#state;
    return state.kind === "ready" && state.connection.isUsable ? state.connection : undefined;
  }

  #waitForConnection(
    { isPatient = false, signal }: Pick<CallOptions, "isPatient" | "signal">,
    deadlineMs: number | undefined,
  ): Promise<ClientConnection> {
    const state = this.#state;
    if (state.kind === "closed") return Promise.reject(closedError());
    if (state.kind === "backoff" && !isPatient) return Promise.reject(state.error);
    if (signal?.aborted === true) return Promise.reject(cancelledError());
    const { promise, resolve, reject } = Promise.withResolvers<ClientConnection>();
    const onAbort = (): void => waiter.reject(cancelledError());
    const leave = (): void => {
      if (!this.#waiters.delete(waiter)) return;
      this.#callCount -= 1;
      if (deadlineMs !== undefined) this.#deadlines.remove(waiter, tick);
      signal?.removeEventListener("abort", onAbort);
    };
    const waiter: Waiter = {
      isPatient,
      resolve: (connection) => {
        leave();
        resolve(connection);
      },
      reject: (error) => {
        leave();
        reject(error);
      },
      expire: () =>
        waiter.reject(
          new GrpcStatusError("DEADLINE_EXCEEDED", "Cannot make the call: its deadline passed before there was a connection"),
        ),
    };
    const tick = deadlineMs === undefined ? 0 : this.#deadlines.add(waiter, deadlineMs);
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiters.add(waiter);
    this.#callCount += 1;
    if (state.kind !== "connecting" && state.kind !== "backoff") this.#connecting = this.#connect();
    return promise;
  }

  async #connect(): Promise<void> {
    const abort = new AbortController();
    this.#state = { kind: "connecting", abort };
    try {
      const connection = await ClientConnection.open({
        ...this.#connectionOptions,
        signal: abort.signal,
        onLeaving: (leaving) => this.#onLeaving(leaving),
        onGone: (gone) => this.#connections.delete(gone),
      });
      if (this.#isClosed()) {
        connection.destroy();
        return await connection.gone;
      }
      this.#backoff.reset();
      this.#connections.add(connection);
      this.#state = { kind: "ready", connection };
      for (const waiter of [...this.#waiters]) waiter.resolve(connection);
    } catch (error) {
      if (this.#isClosed()) return;
      const failure = error as GrpcStatusError;
      const timer = this.#clock.setTimer(this.#backoff.next(), () => {
        this.#state = { kind: "idle" };
        if (this.#waiters.size > 0) this.#connecting = this.#connect();
      });
      this.#state = { kind: "backoff", timer, error: failure };
      for (const waiter of [...this.#waiters]) if (!waiter.isPatient) waiter.reject(failure);
    }
  }

  /** After an await, what was known before may be false. */
  #isClosed(): boolean {
    return this.#state.kind === "closed";
  }

  /** The next call makes a connection of its own. */
  #onLeaving(connection: ClientConnection): void {
    if (this.#state.kind === "ready" && this.#state.connection === connection) this.#state = { kind: "idle" };
  }
}

type ChannelState =
  | { readonly kind: "idle" }
  | { readonly kind: "connecting"; readonly abort: AbortController }
  | { readonly kind: "ready"; readonly connection: ClientConnection }
  /** The last try failed, and the next may not be made yet. */
  | { readonly kind: "backoff"; readonly timer: Timer; readonly error: GrpcStatusError }
  | { readonly kind: "closed" };

/** A call that waits for a connection. */
interface Waiter {
  readonly isPatient: boolean;
  resolve(connection: ClientConnection): void;
  reject(error: GrpcStatusError): void;
  expire(): void;
}

const noOptions: CallOptions = {};

/** Before the call is made: a request that can't be encoded leaves none behind. */
function frameOnly<Request>(codec: MessageCodec<Request>, request: Request, options: CallOptions): Buffer {
  return frameMessage(codec.encode(request), options.isCompressing === true);
}

function exchange<Request, Response>(call: ClientCall<Request, Response>, frame: Buffer): Promise<Response> {
  call.sendOnly(frame);
  return call.response;
}

function closedError(): GrpcStatusError {
  return new GrpcStatusError("UNAVAILABLE", "Cannot make the call: the channel is closed");
}

function cancelledError(): GrpcStatusError {
  return new GrpcStatusError("CANCELLED", "Cannot make the call: it was cancelled before there was a connection");
}

function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const [, host6, host, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(address) ?? [];
  const found = host6 ?? host;
  if (found === undefined || Number(port) > 65_535)
    throw new GrpcStatusError("INVALID_ARGUMENT", `Cannot connect to "${address}": an address is host:port`);
  return { host: found, port: Number(port) };
}
