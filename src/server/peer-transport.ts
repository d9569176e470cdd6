import type { Socket } from "node:net";
import { assert } from "../base/assert.ts";
import { type Clock, systemClock, type Timer } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { peerAnswerMaxMs } from "../base/cluster-limits.ts";
import { peerAskersMaxCount, peerBodyMaxBytes, peerConnectionsMaxCount, peerPingMs } from "../base/limits.ts";
import { type Logger, silentLogger } from "../base/logger.ts";
import { type Random, systemRandom } from "../base/random.ts";
import { describePeer, noWayError } from "../replica/peer-error.ts";
import type {
  AskOptions,
  KnownPeer,
  PeerAddress,
  PeerIdentity,
  PeerListener,
  PeerMessage,
  PeerTransport,
} from "../replica/peer-network.ts";
import type { PeerHello } from "../wire/peer-hello.ts";
import { AskedAddresses } from "./asked-addresses.ts";
import { IncomingPeer } from "./incoming-peer.ts";
import type { OutgoingPeer } from "./outgoing-peer.ts";
import { connectPlainly, resolveBySystem } from "./peer-address.ts";
import {
  checkHello,
  copyError,
  type PeerConnect,
  type PeerContext,
  type PeerObserver,
  type PeerRefusedReason,
  type PeerResolve,
} from "./peer-context.ts";
import type { PeerWait } from "./peer-wait.ts";
import { closedError, PeerWay } from "./peer-way.ts";

/**
 * Messages and questions between nodes over sockets (docs/replication.md, docs/peer-protocol.md): one connection each way between two
 * nodes, opened by the one that sends on it. It dials the nodes that it is told of, again and again, and takes the connections that the
 * listener hands it. One sweep a second pings, and ends what has been silent for too long.
 */
export class SocketPeers implements PeerTransport {
  readonly #context: PeerContext;
  readonly #ways = new Map<string, PeerWay>();
  readonly #incoming = new Set<IncomingPeer>();
  readonly #asked: AskedAddresses;
  /** Connections on their way out, until their sockets are closed. */
  readonly #leaving = new Set<Promise<void>>();
  #sweepTimer: Timer;
  #closing: Promise<void> | undefined;
  #lastRefusal: string | undefined;

  constructor(options: SocketPeersOptions) {
    const { clock = systemClock, random = systemRandom, logger = silentLogger, observer = {} } = options;
    const { identity, listener, connect = connectPlainly, resolve = resolveBySystem } = options;
    this.#context = { identity, listener, connect, resolve, clock, random, logger, observer };
    this.#asked = new AskedAddresses(this.#context);
    this.#sweepTimer = clock.setTimer(peerPingMs, () => void this.#sweep());
  }

  /** For gauges. */
  status(): PeersStatus {
    const outgoing = this.#outgoing;
    const all = [...outgoing, ...this.#incoming];
    return {
      reachedCount: [...this.#ways.values()].filter(({ connection }) => connection !== undefined).length,
      knownCount: this.#ways.size,
      incomingCount: this.#incoming.size,
      bufferedBytes: all.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0),
      questionsCount: all.reduce((sum, { questionCount }) => sum + questionCount, 0),
    };
  }

  send(to: string, groupId: string, message: PeerMessage): boolean {
    const ends = message.message;
    assert(ends.to === to && ends.from === this.#context.identity().nodeId, "a message goes from this node to that one");
    const isSent = this.#ways.get(to)?.connection?.send(groupId, message) ?? false;
    if (!isSent) this.#context.observer.dropped?.();
    return isSent;
  }

  async ask(to: PeerAddress, kind: string, body: Buffer, options: AskOptions = {}): Promise<Buffer> {
    const { timeoutMs = peerAnswerMaxMs, signal } = options;
    const { clock } = this.#context;
    if (body.length > peerBodyMaxBytes)
      throw new ProglogError(
        "REQUEST_TOO_LARGE",
        `Cannot ask ${describePeer(to)} for ${kind}: the question has ${body.length} bytes, and the limit is ${peerBodyMaxBytes}`,
      );
    if (this.#closing !== undefined) throw noWayError(to, "this node's connections are closed");
    const wait: PeerWait = { clock, to, kind, timeoutMs, deadlineMs: clock.monotonic() + timeoutMs, signal };
    if ("address" in to) return this.#asked.ask(to.address, kind, body, wait);
    const connection = this.#ways.get(to.nodeId)?.connection;
    if (connection === undefined) throw noWayError(to, "there is no connection");
    return connection.ask(kind, body, wait);
  }

  setPeers(peers: readonly KnownPeer[]): void {
    if (this.#closing !== undefined) return;
    const own = this.#context.identity().nodeId;
    const wanted = new Map(peers.filter(({ nodeId }) => nodeId !== own).map((peer) => [peer.nodeId, peer]));
    for (const [nodeId, way] of this.#ways)
      if (wanted.get(nodeId)?.address !== way.peer.address) {
        this.#ways.delete(nodeId);
        this.#leave(way.connection);
        way.close(closedError());
      }
    for (const [nodeId, peer] of wanted) {
      if (this.#ways.has(nodeId)) continue;
      const way = new PeerWay(peer, this.#context, { onUp: (connection) => this.#noticeLife(connection.identity) });
      this.#ways.set(nodeId, way);
      way.open();
    }
  }

  announce(): void {
    for (const connection of this.#outgoing) connection.announce();
    for (const connection of this.#incoming) connection.announce();
    for (const way of this.#ways.values()) way.hurry();
  }

  /** Takes over a connection that begins with the magic, which is to be read again. */
  takeConnection(socket: Socket): void {
    const connection = new IncomingPeer(socket, this.#context, {
      check: (hello, speaker) => this.#admit(hello, speaker),
      onEnd: (error, reason) => this.#onIncomingEnd(connection, error, reason),
    });
    const hasRoom = this.#closing === undefined && this.#makeRoom();
    this.#incoming.add(connection);
    if (hasRoom) connection.start();
    else
      connection.refuse(
        new ProglogError("OVERLOADED", "Cannot take the connection: this node has too many from peers"),
        "too-many",
      );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#sweepTimer.cancel();
    const error = new ProglogError("UNAVAILABLE", "Cannot go on with the connection: the node is stopping");
    for (const connection of [...this.#outgoing, ...this.#incoming]) this.#leave(connection);
    for (const way of this.#ways.values()) way.close(error);
    this.#ways.clear();
    this.#asked.close(error);
    for (const connection of this.#incoming) connection.close(error);
    await Promise.all(this.#leaving);
  }

  get #outgoing(): readonly OutgoingPeer[] {
    return [...[...this.#ways.values()].flatMap(({ connection }) => connection ?? []), ...this.#asked.connections];
  }

  #leave(connection: { readonly closed: Promise<void> } | undefined): void {
    if (connection === undefined) return;
    const leaving = connection.closed.then(() => void this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  /** Throws why a peer isn't heard. It is heard on one connection for messages: a newer one takes the place of the one before. */
  #admit(hello: PeerHello, speaker: IncomingPeer): void {
    checkHello(this.#context, hello);
    let askersCount = 0;
    for (const { hello: other } of this.#incoming)
      if (other?.storageId === hello.storageId && other.life !== hello.life) {
        if (other.bootCounter === hello.bootCounter) throw copyError(hello);
        if (other.bootCounter > hello.bootCounter) throw outdatedError(hello, other);
      }
    for (const connection of this.#incoming) {
      const other = connection.hello;
      if (connection === speaker || other?.storageId !== hello.storageId || other.purpose !== hello.purpose) continue;
      if (hello.purpose === "messages")
        connection.drop(new ProglogError("UNAVAILABLE", "Cannot go on with the connection: the peer has opened another"));
      else askersCount += 1;
    }
    if (askersCount >= peerAskersMaxCount)
      throw new ProglogError("OVERLOADED", `Cannot take the connection: ${hello.nodeId} has ${askersCount} that ask`);
    this.#noticeLife(hello);
    this.#ways.get(hello.nodeId)?.hurry();
  }

  /** What an earlier life of a node had under way is over, both ways. */
  #noticeLife({ nodeId, storageId, bootCounter }: Pick<PeerIdentity, "nodeId" | "storageId" | "bootCounter">): void {
    const error = new ProglogError("UNAVAILABLE", "Cannot go on with the connection: the peer has started again");
    for (const connection of this.#incoming) {
      const other = connection.hello;
      if (other?.storageId === storageId && other.bootCounter < bootCounter) connection.drop(error);
    }
    for (const connection of this.#outgoing)
      if (isEarlierLife(connection.identity, { storageId, bootCounter })) connection.drop(error);
    this.#ways.get(nodeId)?.hurry();
  }

  /** Whoever hasn't said who it is for the longest makes room. False when all have. */
  #makeRoom(): boolean {
    if (this.#incoming.size < peerConnectionsMaxCount) return true;
    for (const connection of this.#incoming)
      if (connection.hello === undefined) {
        connection.refuse(new ProglogError("OVERLOADED", "Cannot wait any longer: others want to connect"), "too-many");
        return true;
      }
    return false;
  }

  #onIncomingEnd(connection: IncomingPeer, error: ProglogError, refused: PeerRefusedReason | undefined): void {
    this.#incoming.delete(connection);
    const fields = { peer: connection.hello?.nodeId, reason: error.message };
    // A peer that is refused comes again every second.
    const isNews = refused === "unwanted" && error.message !== this.#lastRefusal;
    if (isNews) this.#lastRefusal = error.message;
    if (isNews) this.#context.logger.warn(fields, "refused a peer");
    else this.#context.logger.debug(fields, "a connection from a peer has ended");
  }

  async #sweep(): Promise<void> {
    const { clock } = this.#context;
    const nowMs = clock.monotonic();
    for (const connection of this.#outgoing) connection.ping();
    this.#asked.sweep(nowMs);
    // After a stall of this process what has come in since is read first: nobody was silent who wasn't listened to.
    await clock.turn();
    if (this.#closing !== undefined) return;
    for (const connection of [...this.#outgoing, ...this.#incoming]) connection.checkAlive(nowMs);
    this.#sweepTimer = clock.setTimer(peerPingMs, () => void this.#sweep());
  }
}

export interface SocketPeersOptions {
  /** Asked for at each handshake, and when `announce` is called. */
  readonly identity: () => PeerIdentity;
  readonly listener: PeerListener;
  /** Default: in clear. */
  readonly connect?: PeerConnect;
  /** Default: the system's resolver. */
  readonly resolve?: PeerResolve;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly logger?: Logger;
  readonly observer?: PeerObserver;
}

export interface PeersStatus {
  readonly knownCount: number;
  /** Of those known, how many there is a connection to. */
  readonly reachedCount: number;
  readonly incomingCount: number;
  readonly bufferedBytes: number;
  readonly questionsCount: number;
}

function isEarlierLife(one: PeerIdentity, other: Pick<PeerIdentity, "storageId" | "bootCounter">): boolean {
  return one.storageId === other.storageId && one.bootCounter < other.bootCounter;
}

function outdatedError({ nodeId, storageId, bootCounter }: PeerHello, newer: PeerHello): ProglogError {
  return new ProglogError(
    "PEER_REFUSED",
    `Cannot speak with ${nodeId}: this is start ${bootCounter} of its directory, and start ${newer.bootCounter} is connected`,
    {
      hint: "A directory that was put back to an earlier state is not to be started.",
      details: { node: nodeId, storageId, reason: "rolled-back" },
    },
  );
}
