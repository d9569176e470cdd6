import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { Clock, Timer } from "../base/clock.ts";
import { systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { headersMaxMs, peerConnectionsMaxCount } from "../base/limits.ts";
import { classifyProtocol, type Protocol, protocolMaxBytes } from "./protocol.ts";

/**
 * The one port. It reads a connection's first bytes, which tell what the other end speaks, puts them back, and hands the connection
 * to whoever serves that. What speaks nothing we know is dropped before anything is allocated for it, and one that says nothing is
 * dropped after five seconds: an open port costs no more than its connections' descriptors, whose number is capped.
 *
 * Other nodes come in by the same port, and clients must not keep them out: where peers are served, so many connections beyond the cap
 * are theirs. Who speaks what isn't known before it speaks, so clients beyond their cap are dropped by their first bytes, and when
 * all places are taken whoever has been silent the longest makes room: a peer says its magic at once.
 */
export class Listener {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #sockets = new Set<Socket>();
  /** Oldest first. */
  readonly #undecided = new Set<FirstBytes>();
  #clientCount = 0;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    // Half-open, as node:http wants its connections: it answers a client that has closed its sending side.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
    // With peers it is counted here: a connection too many may be one of theirs.
    if (options.onPeer === undefined) this.#server.maxConnections = options.maxConnections;
    this.#server.on("drop", () => options.onRefused("too-many"));
  }

  /** Throws ADDRESS_IN_USE, or INVALID_CONFIG for an address that isn't this machine's or a port that isn't ours to take. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    listener.#server.once("error", reject);
    listener.#server.listen({ host: options.host, port: options.port }, resolve);
    try {
      await promise;
    } catch (error) {
      throw listenError(error, options);
    }
    listener.#server.off("error", reject);
    listener.#server.on("error", options.onError);
    return listener;
  }

  /** Where it listens: the real port where 0 was asked for. */
  get address(): { readonly host: string; readonly port: number } {
    // Null only for a server that doesn't listen, and a string only for a pipe.
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  /** Takes no further connection. Those there are go on. Twice is fine. */
  stop(): void {
    this.#server.close();
  }

  /** Drops every connection, whatever it is doing. */
  destroyConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    // Without this a connection reset before it is handed over would end the process. Its end is all we need to know.
    socket.on("error", () => {});
    if (!this.#makeRoom()) {
      this.#options.onRefused("too-many");
      return void socket.destroy();
    }
    const first: FirstBytes = new FirstBytes(socket, this.#options, {
      isAdmitted: (protocol) => this.#admit(socket, protocol),
      left: () => this.#undecided.delete(first),
    });
    this.#undecided.add(first);
    first.read();
  }

  /** False when all places are taken by connections that speak something. */
  #makeRoom(): boolean {
    const { maxConnections, onPeer } = this.#options;
    if (onPeer === undefined || this.#sockets.size <= maxConnections + peerConnectionsMaxCount) return true;
    const [oldest] = this.#undecided;
    oldest?.refuse("too-many");
    return oldest !== undefined;
  }

  #admit(socket: Socket, protocol: Protocol): boolean {
    if (protocol === "peer") return true;
    if (this.#clientCount >= this.#options.maxConnections) return false;
    this.#clientCount += 1;
    socket.once("close", () => {
      this.#clientCount -= 1;
    });
    return true;
  }
}

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** Of clients; with `onPeer` there are `peerConnectionsMaxCount` more for peers. */
  readonly maxConnections: number;
  readonly clock: Clock;
  /** Takes over a connection that speaks HTTP/1.1. Its first bytes are to be read again. */
  readonly onHttp1: (socket: Socket) => void;
  /** The same for HTTP/2. */
  readonly onHttp2: (socket: Socket) => void;
  /** The same for another node. Without it nothing is known of peers: they are refused as `unknown`. */
  readonly onPeer?: (socket: Socket) => void;
  readonly onAccepted: (protocol: Protocol) => void;
  readonly onRefused: (reason: RefusedReason) => void;
  readonly onError: (error: Error) => void;
}

/** `unknown`: neither HTTP nor anything else we know. `silent`: it didn't say in time what it speaks. `too-many`: over the cap. */
export type RefusedReason = "unknown" | "silent" | "too-many";

/** What the listener's counting has to say and to hear about one connection. */
interface Places {
  /** Asked once it is known what it speaks. */
  readonly isAdmitted: (protocol: Protocol) => boolean;
  /** It is handed over, or at its end. */
  readonly left: () => void;
}

/** A connection until it is known what it speaks. */
class FirstBytes {
  readonly #socket: Socket;
  readonly #options: ListenerOptions;
  readonly #places: Places;
  readonly #timer: Timer;
  #received: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, options: ListenerOptions, places: Places) {
    this.#socket = socket;
    this.#options = options;
    this.#places = places;
    this.#timer = options.clock.setTimer(headersMaxMs, () => this.refuse("silent"));
  }

  read(): void {
    this.#socket.on("data", this.#onData);
    this.#socket.once("end", this.#onEnd);
    this.#socket.once("close", this.#onEnd);
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const protocol = classifyProtocol(this.#received);
    switch (protocol) {
      case "undecided":
        // A prefix of the HTTP/2 preface: it can't be longer than that.
        if (this.#received.length >= protocolMaxBytes) this.refuse("unknown");
        return;
      case "unknown":
        return this.refuse("unknown");
      case "peer":
        if (this.#options.onPeer === undefined) return this.refuse("unknown");
        return this.#decide(protocol);
      case "http2":
      case "http1":
        return this.#decide(protocol);
    }
  };

  readonly #onEnd = (): void => {
    this.#leave();
    this.#socket.destroy();
  };

  #decide(protocol: Protocol): void {
    if (!this.#places.isAdmitted(protocol)) return this.refuse("too-many");
    this.#options.onAccepted(protocol);
    this.#handOver(protocol);
  }

  #handOver(protocol: Protocol): void {
    this.#leave();
    const socket = this.#socket;
    // Paused, so that nothing is lost between our listener and the next one, which has what we took first.
    socket.pause();
    socket.unshift(this.#received);
    if (protocol === "http2") {
      // A session takes by itself what was put back, and the rest from below the stream. It has nothing to say to who has left.
      socket.allowHalfOpen = false;
      return this.#options.onHttp2(socket);
    }
    if (protocol === "peer") return this.#options.onPeer?.(socket);
    this.#options.onHttp1(socket);
    socket.resume();
  }

  refuse(reason: RefusedReason): void {
    this.#leave();
    this.#options.onRefused(reason);
    this.#socket.destroy();
  }

  #leave(): void {
    this.#timer.cancel();
    this.#places.left();
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onEnd);
    this.#socket.off("close", this.#onEnd);
  }
}

function listenError(error: unknown, { host, port }: ListenerOptions): ProglogError {
  if (systemErrorCode(error) === "EADDRINUSE") {
    return new ProglogError("ADDRESS_IN_USE", `Cannot listen on ${host} port ${port}: another process does`, {
      hint: "Stop it, or choose another --rpc-port.",
      details: { host, port },
      cause: error,
    });
  }
  return new ProglogError("INVALID_CONFIG", `Cannot listen on ${host} port ${port}: ${messageOf(error)}`, {
    hint: "Name an address of this machine and a port that this user may take.",
    details: { host, port },
    cause: error,
  });
}
