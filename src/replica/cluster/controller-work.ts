import { findMember, type Member, type NodeId } from "../../raft/member.ts";
import { membersOf } from "../../raft/membership.ts";
import type { CatalogPartition, CatalogState, PlacedReplica } from "./catalog-state.ts";
import { memberOf, partitionsOf, replicaStorageId } from "./catalog-state.ts";
import { chooseCatalogVoters } from "./catalog-voters.ts";
import type { GroupReport } from "./group-report.ts";
import type { GroupWish } from "./group-step.ts";

/** What the controller knows of the world beside the catalog. */
export interface ControllerFacts {
  /** Who leads a group, as far as was heard. */
  leaderOf(group: string): NodeId | undefined;
  /** Whether there is a way to a node, and since when there is or isn't one, by the monotonic clock. This node itself is always there. */
  presenceOf(node: NodeId): { readonly isConnected: boolean; readonly sinceMs: number };
  /** Whether a replica is lost, or damaged beyond repair, as its node or its leader says. */
  isLost(group: string, replica: PlacedReplica): boolean;
  /** Changes whenever `isLost` may say something else. */
  readonly lostVersion: number;
}

/** Whom the catalog wants in a group. */
export function wishOf(state: CatalogState, partition: CatalogPartition): GroupWish {
  const members = partition.replicas.map((replica) => memberOf(state, replica));
  return { voters: members.filter((member) => member !== undefined), learners: [], leader: partition.leader };
}

/** A replica that is leaving and is no member any more, by a membership that is committed. */
export function findLeft({ leaving }: CatalogPartition, { membership, isSettled }: GroupReport): PlacedReplica | undefined {
  if (!isSettled) return undefined;
  const members = membersOf(membership);
  return leaving.find(({ node, incarnation }) => {
    return !members.some(({ nodeId, storageId }) => nodeId === node && storageId.endsWith(`/${incarnation}`));
  });
}

/**
 * Who is to be in group 0: all nodes, and some of them vote. Those who vote by now are known from its report; a node counts as gone after
 * `goneMs`, or when its replica is lost.
 */
export function wishOfCatalog(
  state: CatalogState,
  { membership }: GroupReport,
  { facts, nowMs, goneMs }: { readonly facts: ControllerFacts; readonly nowMs: number; readonly goneMs: number },
): GroupWish {
  const nodes = [...state.nodes.values()];
  const members = nodes.map(({ name, storageId, incarnation }) => {
    return { nodeId: name, storageId: replicaStorageId(storageId, incarnation) };
  });
  const voters = new Set(
    chooseCatalogVoters(
      nodes.map(({ name, isDraining, incarnation }) => {
        const { isConnected, sinceMs } = facts.presenceOf(name);
        // One that is to take the place of another on its node has no vote yet, so that a third may have it meanwhile.
        const isVoter = membership.voters.some((voter) => isAmong(members, voter) && voter.nodeId === name);
        const isLost = facts.isLost(state.clusterId ?? "", { node: name, incarnation });
        const isGone = isLost || (!isConnected && nowMs - sinceMs >= goneMs);
        return { name, isVoter, isDraining, isGone, incarnation };
      }),
    ),
  );
  return {
    voters: members.filter(({ nodeId }) => voters.has(nodeId)),
    learners: members.filter(({ nodeId }) => !voters.has(nodeId)),
    leader: undefined,
  };
}

function isAmong(members: readonly Member[], { nodeId, storageId }: Member): boolean {
  return findMember(members, nodeId)?.storageId === storageId;
}

/** Nodes that drain and have no partition any more: what is left of them is their replica of group 0. */
export function drainedNodes(state: CatalogState): readonly string[] {
  const draining = new Set([...state.nodes.values()].filter(({ isDraining }) => isDraining).map(({ name }) => name));
  if (draining.size === 0) return [];
  for (const { partition } of partitionsOf(state))
    for (const { node } of [...partition.replicas, ...partition.leaving]) draining.delete(node);
  return [...draining];
}

/** Partitions that are led by somebody else than is wished, where the wished one has been back for `returnMs`. */
export function misledGroups(
  state: CatalogState,
  { facts, nowMs, returnMs }: { readonly facts: ControllerFacts; readonly nowMs: number; readonly returnMs: number },
): readonly CatalogPartition[] {
  const found: CatalogPartition[] = [];
  for (const { partition } of partitionsOf(state)) {
    if (partition.leader === undefined || partition.isMoving) continue;
    const leader = facts.leaderOf(partition.uuid);
    if (leader === undefined || leader === partition.leader) continue;
    const { isConnected, sinceMs } = facts.presenceOf(partition.leader);
    if (isConnected && nowMs - sinceMs >= returnMs) found.push(partition);
  }
  return found;
}
