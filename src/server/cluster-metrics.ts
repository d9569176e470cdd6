import { metricPartitionsMaxCount } from "../base/limits.ts";
import type { ClusteredNode } from "../replica/cluster/clustered-node.ts";
import type { GroupReplica } from "../replica/group/group-replica.ts";
import { type GroupStatus, isPeerInSync } from "../replica/group/group-status.ts";
import type { GroupState } from "../replica/group/group-set.ts";
import type { MetricsAdder } from "./metrics-adder.ts";

/** What a node of a cluster is asked at each scrape. Nothing of it is there before the node has its place in a cluster. */
export type WatchedCluster = Pick<ClusteredNode, "groups" | "clusterCatalog" | "controller" | "facts">;

/** Of the groups of a node, and of what they share (docs/operating.md, "Watching a cluster"). To be called once. */
export function addClusterMetrics(add: MetricsAdder, node: WatchedCluster): void {
  const single = (name: string, help: string, valueOf: () => number | undefined): void =>
    add.gauge(name, help, [], (each) => each.set(valueOf() ?? 0));
  const ofPartitions = (name: string, help: string, valueOf: (status: GroupStatus) => number | undefined): void =>
    add.gauge(name, help, ["topic", "partition"], (each) => {
      // Partitions come and go; what isn't there any more must not stay in the text.
      each.reset();
      for (const { labels, status } of openPartitions(node)) {
        const value = valueOf(status);
        if (value !== undefined) each.set(labels, value);
      }
    });

  add.gauge("proglog_groups", "Replicas of groups on this node, by what they are", ["role"], (each) => {
    for (const role of groupRoles) each.set({ role }, 0);
    for (const { state } of node.groups?.states() ?? []) each.inc({ role: groupRoleOf(state) });
  });
  single("proglog_groups_leaderless", "Groups with a replica here of which nobody is known to lead", () =>
    countGroups(node, ({ status }) => status.leader === undefined),
  );
  single("proglog_groups_under_replicated", "Groups led here of which a member isn't in sync", () =>
    countGroups(node, ({ status }) => isUnderReplicated(status, node)),
  );
  ofPartitions("proglog_group_term", "Term of a partition's group", ({ term }) => term);
  ofPartitions("proglog_group_uncommitted_entries", "Entries of a leader's log that aren't committed", (status) =>
    status.role === "leader" ? status.lastIndex - status.commitIndex : undefined,
  );
  add.gauge(
    "proglog_group_follower_lag_entries",
    "Entries of a leader's log that a follower isn't known to have on its disk",
    ["topic", "partition", "node"],
    (each) => {
      each.reset();
      for (const { labels, status } of openPartitions(node))
        for (const { nodeId, matchIndex } of status.peers)
          each.set({ ...labels, node: nodeId }, Math.max(0, status.lastIndex - matchIndex));
    },
  );

  single("proglog_unsynced_bytes", "Bytes that all groups have taken and not synced", () => node.groups?.unsynced.bytes);
  single("proglog_unsynced_waits", "Produce streams that wait for the disk", () => node.groups?.unsynced.waitingCount);
  single("proglog_disk_stalled", "1 while a sync takes so long that what is led here is handed over", () =>
    Number(node.groups?.status.isDiskStalled ?? false),
  );
  single("proglog_disk_syncs_waiting", "Syncs that wait for their turn", () => node.groups?.status.syncsWaitingCount);
  single("proglog_hard_states_failed", "1 when terms and votes can't be written any more", () =>
    Number(node.groups?.status.hardStateError !== undefined),
  );
  add.total("proglog_hard_state_syncs_total", "Syncs of terms and votes", () => node.groups?.status.hardStateSyncCount ?? 0);
  add.total(
    "proglog_loop_stalls_total",
    "Times that the event loop stood still for ticks",
    () => node.groups?.status.stallCount ?? 0,
  );
  add.total("proglog_group_messages_dropped_total", "Messages with entries that there was no room for", () => {
    return node.groups?.status.droppedCount ?? 0;
  });
  add.total("proglog_group_copied_bytes_total", "Bytes of logs sent to replicas that catch up or repair theirs", () => {
    return node.groups?.status.copiedBytes ?? 0;
  });
  single("proglog_peers_lost", "Nodes of the cluster that there is no way to", () => node.groups?.status.lostPeers.length);

  single("proglog_catalog_leader", "1 where the cluster's catalog is led", () =>
    Number(node.clusterCatalog?.isLeader ?? false),
  );
  single(
    "proglog_catalog_offset",
    "Offset of the catalog up to which this node knows it",
    () => node.clusterCatalog?.nextOffset,
  );
  add.total(
    "proglog_catalog_divergences_total",
    "Snapshots of the catalog that said something else than was known here",
    () => {
      return node.clusterCatalog?.divergenceCount ?? 0;
    },
  );
  single("proglog_controller_moves", "Partitions that the controller is moving, where it runs", () => {
    return node.controller?.status().movingCount;
  });
  single("proglog_controller_failing", "Groups whose change failed and is tried again, where the controller runs", () => {
    return node.controller?.status().failingCount;
  });
}

/** `lost`: it is listed and has no files. `failed`: it didn't open, or stopped itself. `damaged`: it is out of the write path. */
export const groupRoles = ["leader", "follower", "candidate", "damaged", "opening", "failed", "lost", "deleting"] as const;

export function groupRoleOf(state: GroupState<GroupReplica>): (typeof groupRoles)[number] {
  if (state.kind !== "open") return state.kind;
  const { role, damage } = state.member.status();
  if (damage !== undefined) return "damaged";
  return role === "pre-candidate" ? "candidate" : role;
}

/** Whether somebody who should have everything isn't there, or hasn't. */
export function isUnderReplicated({ role, peers, lastIndex }: GroupStatus, { facts }: Pick<WatchedCluster, "facts">): boolean {
  if (role !== "leader") return false;
  return peers.some((peer) => {
    const isThere = facts?.presenceOf(peer.nodeId).isConnected !== false;
    return !isThere || peer.lostIndex > 0 || !isPeerInSync(peer, lastIndex);
  });
}

interface OpenGroup {
  readonly groupId: string;
  readonly status: GroupStatus;
}

function* openGroups({ groups }: Pick<WatchedCluster, "groups">): Generator<OpenGroup, undefined> {
  for (const { record, state } of groups?.states() ?? [])
    if (state.kind === "open") yield { groupId: record.groupId, status: state.member.status() };
}

/** Those that the catalog has a name for, as far as they are told of one by one. */
function* openPartitions(node: WatchedCluster) {
  let listed = 0;
  for (const { groupId, status } of openGroups(node)) {
    const place = node.clusterCatalog?.state.groups.get(groupId);
    if (place === undefined) continue;
    if (listed === metricPartitionsMaxCount) return;
    listed += 1;
    yield { labels: { topic: place.topic, partition: place.partition }, status };
  }
}

export function countGroups(node: Pick<WatchedCluster, "groups">, isOne: (group: OpenGroup) => boolean): number {
  let found = 0;
  for (const group of openGroups(node)) if (isOne(group)) found += 1;
  return found;
}
