import type { ProglogError } from "../base/error.ts";
import type { NodeId } from "../raft/member.ts";
import type { Message } from "../raft/message.ts";

/**
 * The other nodes, as a replica knows them: messages that may be lost, and questions that are answered or fail. Sockets, handshakes
 * and buffers are somebody else's (docs/replication.md); the simulator has its own.
 */
export interface PeerNetwork {
  /**
   * Sends a message of a group. It may be lost, never altered; those of one group to one node keep their order. False when it was
   * dropped at once: there is no connection, or its buffer is full.
   */
  send(to: NodeId, groupId: string, message: PeerMessage): boolean;
  /**
   * Asks a node, and resolves with its answer. Throws what the node refused with; UNAVAILABLE where there is no way to it or the
   * connection broke, TIMEOUT, CANCELLED.
   */
  ask(to: PeerAddress, kind: string, body: Buffer, options?: AskOptions): Promise<Buffer>;
}

/** A node's end of the network, as whoever runs the node has it. */
export interface PeerTransport extends PeerNetwork {
  /** Who is to be connected with, and no other. What isn't named any more is disconnected; this node itself may stand among them. */
  setPeers(peers: readonly KnownPeer[]): void;
  /** This node's identity has changed (it belongs to a cluster now): tells all whom it is connected with, and has them checked again. */
  announce(): void;
  /** Ends all connections; who waits for an answer gets UNAVAILABLE. Twice is fine. */
  close(): Promise<void>;
}

/** A node of the cluster, and where it said that it is reached. */
export interface KnownPeer {
  readonly nodeId: NodeId;
  readonly address: string;
}

/** A message as it travels: the entries of an append are frames. */
export interface PeerMessage {
  /** Its `entries` are empty. */
  readonly message: Message;
  /** Of an append, as `ReplicaLog.encodeForPeer` makes them. They are sent as they lie there: nobody writes to them any more. */
  readonly frames: readonly Buffer[];
}

/** A node of the cluster, or where one may be found that isn't known yet: `host:port`. */
export type PeerAddress = { readonly nodeId: NodeId } | { readonly address: string };

export interface AskOptions {
  /** Default `peerAnswerMaxMs`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Who speaks at the other end of a connection, as the handshake found. */
export interface PeerIdentity {
  /** Undefined before there is a cluster. */
  readonly clusterId: string | undefined;
  readonly nodeId: NodeId;
  readonly storageId: string;
  readonly bootCounter: number;
  /** Of its process: 16 random hex digits, by which two starts are told apart that have the same boot counter. */
  readonly life: string;
  /** Where it says that it is reached. */
  readonly address: string;
}

/** What a node does with what comes from others. */
export interface PeerListener {
  /** Throws why this peer isn't to be spoken with; nothing else of it is heard then. */
  check(peer: PeerIdentity): void;
  received(from: PeerIdentity, groupId: string, message: PeerMessage): void;
  /**
   * What it throws is the peer's answer: a `ProglogError` as it is, anything else INTERNAL. The signal aborts when nobody waits for the
   * answer any more: the asker gave up, or its connection broke.
   */
  answer(from: PeerIdentity, kind: string, body: Buffer, signal: AbortSignal): Promise<Buffer>;
  /** There is a way to the node now; a new life of it if its boot counter is another. Told again when it says anew who it is. */
  connected(peer: PeerIdentity): void;
  /** There is none any more: what was sent last may be lost. */
  disconnected(nodeId: NodeId): void;
  /** PEER_REFUSED: this node and another don't speak with each other; one of them says why. */
  refused?(error: ProglogError): void;
}
