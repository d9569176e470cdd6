import { clusterNodesMaxCount } from "../../base/cluster-limits.ts";
import type { NodeId } from "../../raft/member.ts";
import type { KnownPeer, PeerIdentity } from "../peer-network.ts";
import type { CatalogState } from "./catalog-state.ts";
import type { FormationMember } from "./formation-proposal.ts";

/**
 * Where the other nodes of the cluster are. The catalog says so, as far as this node has it; but to hear what is new in the catalog there must
 * be a way to whoever brings it, and that may be a node that has come, or moved, since. So who introduces itself counts too: before the catalog
 * is known here, of anybody; later, of whom the catalog has elsewhere and there is no way to, and of who leads group 0, or may: such a
 * one may be new to this node, or have taken the place of a node of its name.
 */
export class PeerAddresses {
  readonly #parts: PeerAddressesParts;
  readonly #introduced = new Map<NodeId, PeerIdentity>();

  constructor(parts: PeerAddressesParts) {
    this.#parts = parts;
  }

  /** A peer says who it is, and may be spoken with. True when that is news of where somebody is. */
  introduce(peer: PeerIdentity): boolean {
    const { nodeId, address, clusterId } = peer;
    if (clusterId === undefined || nodeId === this.#parts.self() || !this.#isMissed(peer)) return false;
    if (this.#introduced.get(nodeId)?.address === address) return false;
    if (!this.#introduced.has(nodeId) && this.#introduced.size >= clusterNodesMaxCount) return false;
    // It may come before this node has noted that it was taken in.
    this.#introduced.set(nodeId, peer);
    return clusterId === this.#parts.clusterId();
  }

  /** `noted` and `formed`: those known at an earlier start, and those that formed the cluster; of use as long as the catalog isn't known. */
  known(noted: readonly KnownPeer[], formed: readonly FormationMember[]): readonly KnownPeer[] {
    const clusterId = this.#parts.clusterId();
    const { nodes } = this.#parts.catalog();
    const known = new Map<NodeId, KnownPeer>();
    for (const { name, address } of nodes.size > 0 ? nodes.values() : formed) known.set(name, { nodeId: name, address });
    if (nodes.size === 0) for (const peer of noted) known.set(peer.nodeId, peer);
    for (const [nodeId, { storageId, address, clusterId: theirs }] of this.#introduced) {
      const node = nodes.get(nodeId);
      // The catalog has caught up with it; or who leads is known, and isn't this one.
      const isSettled = node?.storageId === storageId ? node.address === address : !this.mayLead(nodeId);
      if (nodes.size > 0 && isSettled) this.#introduced.delete(nodeId);
      else if (theirs === clusterId) known.set(nodeId, { nodeId, address });
    }
    known.delete(this.#parts.self() ?? "");
    return [...known.values()];
  }

  #isMissed({ nodeId, storageId, address }: PeerIdentity): boolean {
    const { catalog, isConnected } = this.#parts;
    const { nodes } = catalog();
    if (nodes.size === 0) return true;
    if (isConnected(nodeId)) return false;
    const node = nodes.get(nodeId);
    return node?.storageId === storageId ? node.address !== address : this.mayLead(nodeId);
  }

  /** Whether a node leads group 0, as far as it is known here, or may, since nobody is known to. */
  mayLead(nodeId: NodeId): boolean {
    const leader = this.#parts.leader();
    return leader === undefined || leader === nodeId;
  }
}

export interface PeerAddressesParts {
  /** This node's name. */
  readonly self: () => NodeId | undefined;
  readonly clusterId: () => string | undefined;
  /** Without nodes as long as it isn't known here. */
  readonly catalog: () => Pick<CatalogState, "nodes">;
  /** Who leads group 0, as far as it is known here. */
  readonly leader: () => NodeId | undefined;
  readonly isConnected: (nodeId: NodeId) => boolean;
}
