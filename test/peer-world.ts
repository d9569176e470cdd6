import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { type Clock, systemClock } from "../src/base/clock.ts";
import { ProglogError } from "../src/base/error.ts";
import type { Logger } from "../src/base/logger.ts";
import type { AppendMessage, Heartbeat } from "../src/raft/message.ts";
import type { PeerIdentity, PeerListener, PeerMessage } from "../src/replica/peer-network.ts";
import type { PeerRefusedReason } from "../src/server/peer-context.ts";
import { SocketPeers, type SocketPeersOptions } from "../src/server/peer-transport.ts";
import { encodePeerFrame, PeerDeframer, type PeerFrame, type PeerFrameType, peerMagic } from "../src/wire/peer-frame.ts";
import { encodePeerHello, type PeerHello } from "../src/wire/peer-hello.ts";
import { collectingLogger, type LoggedLine } from "./test-node.ts";

/** Something that things happen to, and who waits until they have. */
export class Happenings {
  #waiting: (() => void)[] = [];

  happened(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    }
  }
}

/** Timers go when they are told to; turns are real, so that sockets get theirs. */
export interface SteppedClock {
  readonly virtual: VirtualClock;
  readonly clock: Clock;
}

export function createSteppedClock(): SteppedClock {
  const virtual = createVirtualClock();
  const clock: Clock = {
    now: () => virtual.now(),
    monotonic: () => virtual.monotonic(),
    setTimer: (delayMs, run) => virtual.setTimer(delayMs, run),
    turn: () => systemClock.turn(),
  };
  return { virtual, clock };
}

/** A node's end of the network over real sockets on a free port, and all that it was told. */
export class TestPeer extends Happenings implements AsyncDisposable {
  identity: PeerIdentity;
  readonly received: { readonly from: PeerIdentity; readonly groupId: string; readonly message: PeerMessage }[] = [];
  readonly told: string[] = [];
  readonly refused: PeerRefusedReason[] = [];
  /** What it was refused with, or refused others with itself. */
  readonly refusals: string[] = [];
  readonly lines: LoggedLine[] = [];
  droppedCount = 0;
  /** Both ends of all connections that came in, oldest first. */
  readonly sockets: Socket[] = [];
  readonly transport: SocketPeers;
  answer: PeerListener["answer"] = async (_from, kind, body) => Buffer.from(`${kind}:${body.toString()}`);
  onReceived: ((groupId: string) => void) | undefined;
  onCheck: (() => void) | undefined;
  readonly #server: Server;

  private constructor(server: Server, identity: PeerIdentity, options: TestPeerOptions) {
    super();
    this.#server = server;
    this.identity = identity;
    const { clock, ...rest } = options;
    this.transport = new SocketPeers({
      identity: () => this.identity,
      listener: {
        check: (peer) => this.#check(peer),
        received: (from, groupId, message) => {
          this.onReceived?.(groupId);
          this.received.push({ from, groupId, message });
          this.happened();
        },
        answer: (from, kind, body, signal) => this.answer(from, kind, body, signal),
        connected: ({ nodeId, bootCounter }) => this.#tell(`connected ${nodeId} ${bootCounter}`),
        disconnected: (nodeId) => this.#tell(`disconnected ${nodeId}`),
        refused: ({ message }) => {
          this.refusals.push(message);
          this.happened();
        },
      },
      logger: this.#logger(),
      observer: {
        refused: (reason) => {
          this.refused.push(reason);
          this.happened();
        },
        dropped: () => {
          this.droppedCount += 1;
        },
      },
      ...(clock === undefined ? {} : { clock }),
      ...rest,
    });
    server.on("connection", (socket: Socket) => {
      this.sockets.push(socket);
      socket.on("error", () => {});
      socket.once("close", () => this.happened());
      this.transport.takeConnection(socket);
      this.happened();
    });
  }

  static async start(nodeId: string, options: TestPeerOptions & Partial<PeerIdentity> = {}): Promise<TestPeer> {
    const server = createServer({ allowHalfOpen: true });
    const { clusterId = "one", storageId = `s-${nodeId}`, bootCounter = 1, address, ...rest } = options;
    const { life = randomBytes(8).toString("hex") } = options;
    server.listen(Number(address?.split(":").at(-1) ?? 0), "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    return new TestPeer(server, { clusterId, nodeId, storageId, bootCounter, life, address: `127.0.0.1:${port}` }, rest);
  }

  get port(): number {
    return Number(this.identity.address.split(":").at(-1));
  }

  /** Dials these and no others; resolves when it is connected with all. */
  async knows(...peers: readonly TestPeer[]): Promise<void> {
    this.transport.setPeers(peers.map(({ identity: { nodeId, address } }) => ({ nodeId, address })));
    await this.until(() => this.transport.status().reachedCount === peers.length);
  }

  send(to: TestPeer, groupId: string, message: PeerMessage): boolean {
    const ends = { from: this.identity.nodeId, fromStorage: `${this.identity.storageId}/1`, to: to.identity.nodeId };
    return this.transport.send(to.identity.nodeId, groupId, { ...message, message: { ...message.message, ...ends } });
  }

  ask(
    to: TestPeer,
    kind: string,
    body: string | Buffer = "",
    options: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<Buffer> {
    return this.transport.ask({ nodeId: to.identity.nodeId }, kind, Buffer.from(body), options);
  }

  /** Takes no further connection: the port is free for another. */
  leavePort(): void {
    this.#server.close();
  }

  /** The same, and ends the connections there are. */
  stopListening(): void {
    this.leavePort();
    for (const socket of this.sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
    this.stopListening();
  }

  #logger(): Logger {
    const logger = collectingLogger(this.lines);
    const at =
      (level: keyof Logger) =>
      (fields: object, message: string): void => {
        logger[level](fields, message);
        this.happened();
      };
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }

  #tell(what: string): void {
    this.told.push(what);
    this.happened();
  }

  #check({ clusterId, nodeId }: PeerIdentity): void {
    this.onCheck?.();
    if (clusterId === undefined || this.identity.clusterId === undefined || clusterId === this.identity.clusterId) return;
    throw new ProglogError("PEER_REFUSED", `Cannot speak with ${nodeId}: it belongs to cluster ${clusterId}`, {
      hint: "Look at its addresses.",
      details: { clusterId },
    });
  }
}

export type TestPeerOptions = Partial<Omit<SocketPeersOptions, "identity" | "listener">>;

/** A connection that says whatever a test wants it to. */
export class RawPeer extends Happenings {
  readonly socket: Socket;
  readonly frames: PeerFrame[] = [];
  isClosed = false;

  constructor(socket: Socket) {
    super();
    this.socket = socket;
    const deframer = new PeerDeframer(
      () => Number.MAX_SAFE_INTEGER,
      (frame) => {
        this.frames.push(frame);
        this.happened();
      },
    );
    socket.on("data", (chunk: Buffer) => deframer.push(chunk));
    socket.on("error", () => {});
    socket.once("close", () => {
      this.isClosed = true;
      this.happened();
    });
  }

  static connect({ port }: { readonly port: number }): RawPeer {
    return new RawPeer(connect(port, "127.0.0.1"));
  }

  /** Connects, says who it is, and has been greeted. */
  static async greet(to: { readonly port: number }, hello: Partial<PeerHello> = {}): Promise<RawPeer> {
    const peer = RawPeer.connect(to)
      .write(peerMagic)
      .frame("hello", encodePeerHello(helloOf(hello)));
    await peer.until(() => peer.frames.length > 0 || peer.isClosed);
    return peer;
  }

  write(bytes: Buffer | string): this {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    return this;
  }

  frame(type: PeerFrameType, head: Buffer = Buffer.alloc(0), body: readonly Buffer[] = []): this {
    for (const piece of encodePeerFrame(type, head, body, type !== "messages")) this.socket.write(piece);
    return this;
  }

  async closed(): Promise<void> {
    await this.until(() => this.isClosed);
  }
}

export function helloOf(hello: Partial<PeerHello> = {}): PeerHello {
  return {
    version: 1,
    oldestVersion: 1,
    purpose: "messages",
    life: "00000000000000aa",
    bootCounter: 1,
    clusterId: "one",
    nodeId: "raw",
    storageId: "s-raw",
    address: "127.0.0.1:1",
    ...hello,
  };
}

const envelope = { from: "", fromStorage: "", to: "", term: 1 } as const;

/** Sender and receiver are filled in by `TestPeer.send`. */
export function append(prevIndex: number, ...frames: readonly Buffer[]): PeerMessage {
  const message: AppendMessage = { kind: "append", ...envelope, prevIndex, prevTerm: 0, entries: [], commitIndex: 0 };
  return { message, frames };
}

export function heartbeat(round: number): PeerMessage {
  const message: Heartbeat = { kind: "heartbeat", ...envelope, commitIndex: 0, matchIndex: 0, round };
  return { message, frames: [] };
}

/** What came, in order: index or round. */
export function numbersOf(peer: TestPeer): readonly number[] {
  return peer.received.map(({ message: { message } }) => {
    if (message.kind === "append") return message.prevIndex;
    return message.kind === "heartbeat" ? message.round : Number.NaN;
  });
}
