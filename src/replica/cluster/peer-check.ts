import { ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";
import type { PeerIdentity } from "../peer-network.ts";
import type { ClusterNode } from "./joining.ts";
import type { HeardStart } from "./node-record-state.ts";

/** What a node knows when somebody introduces itself. */
export interface PeerKnowledge {
  readonly self: Pick<PeerIdentity, "clusterId" | "storageId">;
  /** The catalog's; before it has any, the members of the formation. */
  readonly nodes: Iterable<ClusterNode>;
  /** The highest boot counter heard of each storage id. */
  readonly bootCounters: ReadonlyMap<string, HeardStart>;
  /** Who is connected at the moment. */
  readonly connected: Iterable<PeerIdentity>;
  /** Whether a node leads group 0, or may, as far as it is known here: then it may be one that the catalog here hasn't come to yet. */
  readonly mayLead: (node: NodeId) => boolean;
}

export type PeerStanding =
  /** `movedFrom`: where the catalog has it, when that isn't where it is. */
  | { readonly kind: "member"; readonly movedFrom: string | undefined }
  /** It isn't known to be of this cluster, or there is none yet: it may ask formation/*, and be heard of group 0 if it says it is of it. */
  | { readonly kind: "outsider" };

/**
 * Judges who introduces itself (docs/replication.md, "Identities"). Throws PEER_REFUSED with the reason and what to do; `details` has
 * `node`, `storageId` and `reason`: "cluster", "directory", "name", "rolled-back" or "copy".
 */
export function checkPeer(peer: PeerIdentity, knowledge: PeerKnowledge): PeerStanding {
  const { self, bootCounters, connected } = knowledge;
  checkCluster(peer, self);
  // First: of two that run, what is to be done with the one isn't what is to be done with an old copy that took its place.
  checkCopies(peer, self, connected);
  const highest = bootCounters.get(peer.storageId);
  if (highest !== undefined) checkStart(peer, self, highest);
  const standing = standingOf(peer, knowledge);
  return self.clusterId === undefined || peer.clusterId === undefined ? { kind: "outsider" } : standing;
}

/** Whether one of that standing may ask this. */
export function mayAsk({ kind }: PeerStanding, question: string): boolean {
  return kind === "member" || question.startsWith("formation/");
}

function checkCluster(peer: PeerIdentity, { clusterId }: PeerKnowledge["self"]): void {
  if (peer.clusterId === undefined || clusterId === undefined || peer.clusterId === clusterId) return;
  throw refused(
    peer,
    "cluster",
    `it belongs to cluster ${peer.clusterId}, and this node to ${clusterId}`,
    "One of them has a wrong address among its join addresses, or answers at an address that was the other's.",
  );
}

/** Each start counts on, durably, before it says a word: who comes with less, or with what another process had, is of an earlier state. */
function checkStart(peer: PeerIdentity, { clusterId }: PeerKnowledge["self"], highest: HeardStart): void {
  if (peer.bootCounter > highest.bootCounter) return;
  // Two that run from copies of one empty directory are told apart by the formation, which says who they are.
  const isSame = clusterId === undefined || highest.life === undefined || highest.life === peer.life;
  if (peer.bootCounter === highest.bootCounter && isSame) return;
  const why =
    peer.bootCounter === highest.bootCounter
      ? `another process had start ${peer.bootCounter} of its directory: it is an old copy`
      : `its directory was started ${peer.bootCounter} times, and was once ${highest.bootCounter} times: it is an old copy`;
  throw refused(
    peer,
    "rolled-back",
    why,
    "What it promised and acknowledged since then it has forgotten. Remove the node from the cluster, and let it join anew with an empty directory.",
  );
}

function checkCopies(peer: PeerIdentity, self: PeerKnowledge["self"], connected: PeerKnowledge["connected"]): void {
  const hint = "Stop one of the two, and let it join anew with an empty directory.";
  // Before there is a cluster a node may come to ask itself: its own address can be among the join addresses.
  if (peer.storageId === self.storageId && self.clusterId !== undefined)
    throw refused(peer, "copy", "its directory is this node's, or a copy of it", hint);
  for (const other of connected)
    if (other.storageId === peer.storageId && other.bootCounter === peer.bootCounter && other.address !== peer.address)
      throw refused(peer, "copy", `a node at ${other.address} runs on a copy of its directory`, hint);
}

function standingOf(peer: PeerIdentity, { nodes, connected, mayLead }: PeerKnowledge): PeerStanding {
  // The node of a name may have been replaced since: were the other one refused that leads group 0, nobody could ever tell that to this node.
  const isPerhapsNews = (known: ClusterNode): boolean =>
    mayLead(peer.nodeId) && ![...connected].some(({ storageId }) => storageId === known.storageId);
  let standing: PeerStanding = { kind: "outsider" };
  for (const node of nodes) {
    if (node.storageId === peer.storageId && node.name === peer.nodeId)
      standing = { kind: "member", movedFrom: node.address === peer.address ? undefined : node.address };
    // Who has no cluster id may ask to join, and is told so there.
    else if (peer.clusterId === undefined) continue;
    else if (node.name === peer.nodeId && isPerhapsNews(node)) continue;
    else if (node.name === peer.nodeId)
      throw refused(
        peer,
        "directory",
        "the node of that name has another directory",
        `If that one is lost, remove the node first (proglog cluster remove ${peer.nodeId} --force), and let it join anew with an empty directory.`,
      );
    else if (node.storageId === peer.storageId)
      throw refused(peer, "name", `its directory is that of ${node.name}`, `Start it with --node-name ${node.name}.`);
  }
  return standing;
}

function refused({ nodeId, storageId, address }: PeerIdentity, reason: string, why: string, hint: string): ProglogError {
  return new ProglogError("PEER_REFUSED", `Cannot speak with ${nodeId} at ${address}: ${why}`, {
    hint,
    details: { node: nodeId, storageId, reason },
  });
}
