import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { Clock, Timer } from "../base/clock.ts";
import { systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { headersMaxMs, peerConnectionsMaxCount } from "../base/limits.ts";
import { refusalLingerMs } from "../base/security-limits.ts";
import { isLoopback } from "./bind-address.ts";
import { classifyProtocol, type Protocol, protocolMaxBytes } from "./protocol.ts";
import { readClientHello, tlsFirstByte } from "./tls/client-hello.ts";
import { failureTexts } from "./tls/certificate-judge.ts";
import { refusalBytes } from "./tls/refusal-bytes.ts";
import type { TlsDoor } from "./tls/tls-door.ts";
import type { HandshakeOutcome, TlsPlane } from "./tls/tls-plane.ts";

/**
 * The one port. It reads a connection's first bytes, which tell what the other end speaks, puts them back, and hands the connection
 * to whoever serves that. What speaks nothing we know is dropped before anything is allocated for it, and one that says nothing is
 * dropped after five seconds: an open port costs no more than its connections' descriptors, whose number is capped.
 *
 * What begins as TLS goes through its handshake first, within the same five seconds, and counts as one that hasn't spoken until then.
 * Where TLS is on, who speaks in clear is told so and refused: nobody is to find out by what is missing that a flag was.
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
  /** What takes connections that begin as TLS; without it they are refused as `unknown`. */
  readonly tls?: TlsDoor | undefined;
  /** The same for another node. Without it nothing is known of peers: they are refused as `unknown`. */
  readonly onPeer?: (socket: Socket) => void;
  readonly onAccepted: (protocol: Protocol) => void;
  readonly onRefused: (reason: RefusedReason) => void;
  readonly onError: (error: Error) => void;
}

/**
 * `unknown`: neither HTTP nor anything else we know. `silent`: it didn't say in time what it speaks. `too-many`: over the cap.
 * `clear-text`: not encrypted, where it has to be. `tls`: its handshake came to nothing, or its certificate isn't wanted.
 */
export type RefusedReason = "unknown" | "silent" | "too-many" | "clear-text" | "tls";

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
  #isOver = false;

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
    if (this.#received[0] === tlsFirstByte && this.#options.tls !== undefined) return this.#readHello(this.#options.tls);
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
        if (this.#options.tls?.peers !== undefined || !isFromHere(this.#socket)) return this.#refuseClear(protocol);
        return this.#decide(protocol, this.#socket);
      case "http2":
      case "http1":
        if (this.#options.tls?.clients !== undefined) return this.#refuseClear(protocol);
        return this.#decide(protocol, this.#socket);
    }
  };

  #readHello(tls: TlsDoor): void {
    const hello = readClientHello(this.#received);
    if (hello === "undecided") return;
    const plane = hello === "unknown" ? undefined : tls.planeOf(hello);
    if (plane === undefined) return this.refuse("unknown");
    this.#shakeHands(tls, plane);
  }

  #shakeHands(tls: TlsDoor, plane: TlsPlane): void {
    const socket = this.#socket;
    // It stays one of those that haven't spoken, with the time that is left of its five seconds.
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.pause();
    socket.unshift(this.#received);
    tls.begin(() => {
      if (!this.#isOver) plane.secure(socket, (outcome) => this.#shaken(outcome));
    });
  }

  #shaken(outcome: HandshakeOutcome): void {
    if (this.#isOver) return;
    switch (outcome.kind) {
      case "failed":
        return this.refuse("tls");
      case "refused":
        this.#leave();
        this.#options.onRefused("tls");
        return this.#sayAndEnd(outcome.socket, outcome.protocol, 403, failureTexts[outcome.failure]);
      case "secured":
        if (outcome.protocol === "peer" && this.#options.onPeer === undefined) return this.refuse("unknown");
        return this.#decide(outcome.protocol, outcome.socket);
    }
  }

  #refuseClear(protocol: Protocol): void {
    this.#leave();
    this.#options.onRefused("clear-text");
    const reason = protocol === "peer" ? "nodes speak with it by mutual TLS only" : "this port speaks TLS only; use https";
    this.#sayAndEnd(this.#socket, protocol, 400, reason);
  }

  /** Tells why and closes; what still comes is passed over, since a reset would take the words along. */
  #sayAndEnd(socket: Socket, protocol: Protocol, status: 400 | 403, reason: string): void {
    const { clock } = this.#options;
    socket.end(refusalBytes(protocol, { status, reason, nowMs: clock.now() }));
    socket.resume();
    const timer = clock.setTimer(refusalLingerMs, () => this.#socket.destroy());
    this.#socket.once("close", () => timer.cancel());
    socket.once("end", () => this.#socket.destroySoon());
  }

  readonly #onEnd = (): void => {
    this.#leave();
    this.#socket.destroy();
  };

  #decide(protocol: Protocol, socket: Socket): void {
    if (!this.#places.isAdmitted(protocol)) return this.refuse("too-many");
    this.#options.onAccepted(protocol);
    this.#leave();
    if (socket === this.#socket) {
      // Paused, so that nothing is lost between our listener and the next one, which has what we took first.
      socket.pause();
      socket.unshift(this.#received);
    }
    this.#handOver(protocol, socket);
  }

  #handOver(protocol: Protocol, socket: Socket): void {
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
    this.#isOver = true;
    this.#timer.cancel();
    this.#places.left();
    this.#socket.off("data", this.#onData);
    this.#socket.off("end", this.#onEnd);
    this.#socket.off("close", this.#onEnd);
  }
}

/** Nodes of one machine may speak in clear: whoever could listen there can read the files, too. */
function isFromHere({ remoteAddress = "" }: Socket): boolean {
  return isLoopback(remoteAddress.replace(/^::ffff:/, ""));
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
