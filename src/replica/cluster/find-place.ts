import type { NodeId } from "../../raft/member.ts";
import type { GroupReplica } from "../group/group-replica.ts";
import type { GroupSet } from "../group/group-set.ts";
import { isPeerInSync } from "../group/group-status.ts";
import type { PartitionPlace } from "../node-storage.ts";
import type { CatalogPartition } from "./catalog-state.ts";
import type { ControllerFacts } from "./controller-work.ts";

/** Who has a partition and leads it, as far as a node knows: the more, if it is the leader. */
export function findPlace(
  { uuid, replicas: placed }: CatalogPartition,
  { groups, facts, addressOf }: PlaceSources,
): PartitionPlace {
  const known = groups?.findLeader(uuid);
  const status = groups?.find(uuid)?.status();
  const lastIndex = status?.lastIndex ?? 0;
  const outOf = groups?.outOf(uuid) ?? [];
  const replicas = placed.map(({ node }) => {
    const peer = status?.peers.find(({ nodeId }) => nodeId === node);
    const isLeader = known?.leaderId === node;
    // Who leads knows how far the others are; who doesn't knows only who is there.
    const lag = isLeader ? 0 : peer === undefined ? undefined : lastIndex - peer.matchIndex;
    const isThere = facts?.presenceOf(node).isConnected === true && !outOf.includes(node);
    const isInSync = isLeader || (isThere && (peer === undefined || isPeerInSync(peer, lastIndex)));
    const isVoter = status === undefined || status.membership.voters.some(({ nodeId }) => nodeId === node);
    return { nodeId: node, address: addressOf(node), isVoter, isInSync, lag };
  });
  const leader = known === undefined ? undefined : { nodeId: known.leaderId, address: addressOf(known.leaderId) };
  return { leader, replicas, term: known?.term ?? 0 };
}

export interface PlaceSources {
  readonly groups: Pick<GroupSet<GroupReplica>, "find" | "findLeader" | "outOf"> | undefined;
  readonly facts: Pick<ControllerFacts, "presenceOf"> | undefined;
  /** Empty where it isn't known. */
  readonly addressOf: (nodeId: NodeId) => string;
}
