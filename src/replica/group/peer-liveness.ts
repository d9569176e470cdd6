import type { NodeId } from "../../raft/member.ts";
import type { PeerIdentity } from "../peer-network.ts";

/**
 * Which nodes are lost: to them there is no way for some time, or they have begun another life. A connection that breaks and is back at
 * once loses nobody. Groups that sleep have nobody else to notice it (docs/raft.md, "Sleeping groups").
 *
 * That a node which says nothing more is disconnected is the transport's affair.
 */
export class PeerLiveness {
  readonly #lostAfterMs: number;
  readonly #peers = new Map<NodeId, KnownLife>();

  constructor(lostAfterMs: number) {
    this.#lostAfterMs = lostAfterMs;
  }

  get lost(): readonly NodeId[] {
    return [...this.#peers].filter(([, { isLost }]) => isLost).map(([nodeId]) => nodeId);
  }

  /** What there is to tell the groups, in this order. */
  connected({ nodeId, storageId, bootCounter }: PeerIdentity): readonly ("lost" | "found")[] {
    const life = `${storageId} ${bootCounter}`;
    const known = this.#peers.get(nodeId);
    this.#peers.set(nodeId, { life, goneSinceMs: undefined, isLost: false });
    // One that isn't known was perhaps forgotten while it was lost, as a node is that is removed and comes again: to groups it is lost still.
    if (known?.life === undefined || known.isLost) return ["found"];
    return known.life === life ? [] : ["lost", "found"];
  }

  disconnected(nodeId: NodeId, nowMs: number): void {
    const known = this.#peers.get(nodeId) ?? { life: undefined, goneSinceMs: undefined, isLost: false };
    this.#peers.set(nodeId, { ...known, goneSinceMs: known.goneSinceMs ?? nowMs });
  }

  /** Those that are lost from now on. */
  tick(nowMs: number): readonly NodeId[] {
    const lost: NodeId[] = [];
    for (const [nodeId, peer] of this.#peers) {
      if (peer.isLost || peer.goneSinceMs === undefined || nowMs - peer.goneSinceMs < this.#lostAfterMs) continue;
      this.#peers.set(nodeId, { ...peer, isLost: true });
      lost.push(nodeId);
    }
    return lost;
  }

  /** Who there is besides this node: one that was never seen is looked for from now on, and who isn't named any more is forgotten. */
  expect(nodeIds: readonly NodeId[], nowMs: number): void {
    for (const nodeId of nodeIds) if (!this.#peers.has(nodeId)) this.disconnected(nodeId, nowMs);
    for (const nodeId of this.#peers.keys()) if (!nodeIds.includes(nodeId)) this.#peers.delete(nodeId);
  }
}

interface KnownLife {
  readonly life: string | undefined;
  readonly goneSinceMs: number | undefined;
  readonly isLost: boolean;
}
