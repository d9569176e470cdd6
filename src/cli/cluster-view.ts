import type { ClusterStatus, GroupStatus, ReplicaDescription } from "../client/index.ts";
import { formatCount, formatNumberOf } from "./figures.ts";
import { formatTable } from "./table.ts";

/** How a cluster is, for people: a line that says it in short, its nodes, and the groups that came with the status. */
export function formatCluster(status: ClusterStatus): string {
  const { nodes, groups } = status;
  const rows = nodes.map(({ id, rpcAddr, state, isLeader, isVoter, replicaCount, leaderCount }) => [
    id,
    rpcAddr,
    state,
    isLeader ? "leads" : isVoter ? "votes" : "-",
    String(replicaCount),
    String(leaderCount),
  ]);
  const table = formatTable(["NODE", "ADDRESS", "STATE", "CATALOG", "REPLICAS", "LEADS"], rows);
  return `${describeCluster(status)}\n\n${table}${groups.length === 0 ? "" : `\n${formatGroups(groups)}`}`;
}

/** The replicas of a partition, with what isn't as it should be: "a, b (4,120 behind), c (learner)". */
export function describeReplicas(replicas: readonly ReplicaDescription[]): string {
  return replicas.map(describeReplica).join(", ");
}

function describeCluster(status: ClusterStatus): string {
  const { clusterId, nodes, groupCount, leaderlessCount, underReplicatedCount, movingCount } = status;
  const troubles = [
    ...(leaderlessCount === 0 ? [] : [`${formatCount(leaderlessCount)} without a leader`]),
    ...(underReplicatedCount === 0 ? [] : [`${formatCount(underReplicatedCount)} under-replicated`]),
    ...(movingCount === 0 ? [] : [`${formatCount(movingCount)} on the move`]),
  ];
  const name = clusterId === "" ? "No cluster" : `Cluster ${clusterId}`;
  const size = `${formatNumberOf(nodes.length, "node")}, ${formatNumberOf(groupCount, "group")}`;
  return `${name}: ${size}, ${troubles.length === 0 ? "all well" : troubles.join(", ")}`;
}

function formatGroups(groups: readonly GroupStatus[]): string {
  const rows = groups.map((group) => {
    const { topic, partition, leaderId, term, replicas } = group;
    const name = topic === "" ? "(catalog)" : `${topic}/${partition}`;
    return [name, leaderId === "" ? "-" : leaderId, String(term), describeReplicas(replicas), describeGroup(group)];
  });
  return formatTable(["GROUP", "LEADER", "TERM", "REPLICAS", "STATE"], rows);
}

function describeGroup({ leaderId, isUnderReplicated, move }: GroupStatus): string {
  const facts = [
    ...(leaderId === "" ? ["no leader"] : []),
    ...(isUnderReplicated ? ["under-replicated"] : []),
    ...(move === undefined ? [] : [`moves to ${move.replicas.join(", ")}: ${move.phase}`]),
  ];
  return facts.length === 0 ? "well" : facts.join("; ");
}

function describeReplica({ nodeId, isVoter, isInSync, lag = 0 }: ReplicaDescription): string {
  const facts = [
    ...(isVoter ? [] : ["learner"]),
    ...(isInSync ? [] : [lag > 0 ? `${formatCount(lag)} behind` : "not in sync"]),
  ];
  return facts.length === 0 ? nodeId : `${nodeId} (${facts.join(", ")})`;
}
