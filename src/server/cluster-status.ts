import type { ClusteredNode } from "../replica/cluster/clustered-node.ts";
import type { GroupStatus } from "../replica/group/group-status.ts";
import type { ReplicaStatus } from "../replica/replica.ts";
import { countGroups, groupRoleOf, groupRoles, isUnderReplicated } from "./cluster-metrics.ts";

/** What a node of a cluster says of itself in its status, from its first moment on. */
export function describeClusterNode(node: ClusteredNode): object {
  const { clusterId, nodeId, waitsFor, clusterCatalog: catalog, groups, facts, controller } = node;
  const nodes = [...(catalog?.state.nodes.keys() ?? [])];
  return {
    ...(clusterId === undefined ? {} : { clusterId }),
    ...(nodeId === undefined ? {} : { nodeName: nodeId }),
    // A cluster that is there is waited for no more.
    ...(groups !== undefined || waitsFor === undefined ? {} : { waitsFor }),
    ...(groups === undefined || catalog === undefined
      ? {}
      : {
          nodeCount: nodes.length,
          reachedCount: nodes.filter((name) => facts?.presenceOf(name).isConnected === true).length,
          catalog: {
            ...(catalog.leader === undefined ? {} : { leaderId: catalog.leader }),
            isKnown: catalog.state.clusterId !== undefined,
            nextOffset: catalog.nextOffset,
            movingCount: controller?.status().movingCount ?? 0,
          },
          groups: {
            ...countRoles(node),
            leaderless: countGroups(node, ({ status }) => status.leader === undefined),
            underReplicated: countGroups(node, ({ status }) => isUnderReplicated(status, node)),
          },
          unsyncedBytes: groups.unsynced.bytes,
          isDiskStalled: groups.status.isDiskStalled,
        }),
  };
}

function countRoles({ groups }: ClusteredNode): Readonly<Record<string, number>> {
  const counts = new Map<string, number>(groupRoles.map((role) => [role, 0]));
  for (const { state } of groups?.states() ?? []) counts.set(groupRoleOf(state), (counts.get(groupRoleOf(state)) ?? 0) + 1);
  return Object.fromEntries(counts);
}

/** A partition's state on this node as it goes over HTTP. */
export function describeReplica({ group, ...status }: ReplicaStatus): object {
  return group === undefined ? status : { ...status, group: describeGroup(group) };
}

function describeGroup(status: GroupStatus): object {
  const { role, term, leader, membership, lastIndex, durableIndex, commitIndex, shownIndex, peers } = status;
  return {
    role,
    term,
    ...(leader === undefined ? {} : { leaderId: leader }),
    ...{ lastIndex, durableIndex, commitIndex, shownIndex },
    voters: membership.voters.map(({ nodeId }) => nodeId),
    learners: membership.learners.map(({ nodeId }) => nodeId),
    ...(role === "leader" ? { followers: peers.map(({ nodeId, matchIndex, flow }) => ({ nodeId, matchIndex, flow })) } : {}),
  };
}
