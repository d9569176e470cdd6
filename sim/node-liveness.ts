import type { NodeId } from "../src/raft/member.ts";
import type { EventQueue } from "./event-queue.ts";
import type { Network } from "./network.ts";
import type { NodeSlot } from "./node-slot.ts";
import type { RaftNode } from "./raft-node.ts";

/** How often nodes look after each other. */
const lookMs = 200;

/** A way that is broken for as long makes a node lost for the other. */
const lostAfterMs = 1_000;

interface Peer {
  /** The process that was seen last: another one is another life. */
  node: RaftNode | undefined;
  goneSinceMs: number | undefined;
  isLost: boolean;
}

/**
 * What nodes notice of each other, whatever their groups say: that a connection is broken, that nothing comes back, that who answers
 * has started again. It stands in for connections and their heartbeats, and tells replicas what docs/raft.md asks for groups that
 * sleep. A process that is stopped notices nothing.
 */
export class NodeLiveness {
  readonly #slots: readonly NodeSlot[];
  readonly #network: Network;
  readonly #queue: EventQueue;
  readonly #seen = new WeakMap<RaftNode, Map<NodeId, Peer>>();

  constructor(slots: readonly NodeSlot[], network: Network, queue: EventQueue) {
    this.#slots = slots;
    this.#network = network;
    this.#queue = queue;
  }

  start(): void {
    this.#queue.after(lookMs, () => {
      this.start();
      for (const slot of this.#slots)
        for (const other of this.#slots) if (slot !== other && !slot.isStopped) this.#look(slot, other);
    });
  }

  #look({ nodeId, node }: NodeSlot, other: NodeSlot): void {
    if (node === undefined) return;
    const peers = this.#seen.get(node) ?? new Map<NodeId, Peer>();
    this.#seen.set(node, peers);
    const peer = peers.get(other.nodeId) ?? { node: other.node, goneSinceMs: undefined, isLost: false };
    peers.set(other.nodeId, peer);
    const isCut = this.#network.isCut(nodeId, other.nodeId) || this.#network.isCut(other.nodeId, nodeId);
    if (other.node === undefined || other.isStopped || isCut) {
      peer.goneSinceMs ??= this.#queue.nowMs;
      if (peer.isLost || this.#queue.nowMs - peer.goneSinceMs < lostAfterMs) return;
      peer.isLost = true;
      node.peerLost(other.nodeId);
      return;
    }
    peer.goneSinceMs = undefined;
    if (peer.node !== other.node && !peer.isLost) {
      peer.isLost = true;
      node.peerLost(other.nodeId);
    }
    peer.node = other.node;
    if (!peer.isLost) return;
    peer.isLost = false;
    node.peerFound(other.nodeId);
  }
}
