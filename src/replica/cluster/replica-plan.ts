import type { Member } from "../../raft/member.ts";
import type { SettingsOfTopic } from "../effective-settings.ts";
import {
  type CatalogPartition,
  type CatalogState,
  mayDeleteReplica,
  memberOf,
  partitionsOf,
  type PlacedReplica,
} from "./catalog-state.ts";
import type { ReplicaRecord } from "./node-record-state.ts";

/** What a node is to do so that it has the replicas that the catalog places on it, and no others. */
export interface ReplicaPlan {
  readonly create: readonly PlannedReplica[];
  /** Replicas whose files are to go: the catalog says that nobody counts on them. */
  readonly remove: readonly ReplicaRecord[];
}

export interface PlannedReplica {
  readonly groupId: string;
  readonly topic: string;
  readonly partition: number;
  readonly incarnation: number;
  /** 32 hex digits. */
  readonly logId: string;
  /** Those that the group begins with; undefined for one that learns it from the others. */
  readonly firstMembers: readonly Member[] | undefined;
  /** It is to lead, where it can. */
  readonly isWishedLeader: boolean;
  readonly settings: SettingsOfTopic;
}

/**
 * Compares the catalog with what was ever made here. A replica is made only when the catalog names this disk under an incarnation that
 * isn't listed: what is listed and has no files is lost, and never made anew in silence.
 */
export function planReplicas(
  state: CatalogState,
  self: { readonly node: string; readonly storageId: string },
  listed: readonly ReplicaRecord[],
): ReplicaPlan {
  const remove = listed.filter(({ groupId, incarnation, state: known }) => {
    if (known === "deleted" || groupId === state.clusterId) return false;
    return known === "deleting" || mayDeleteReplica(state, groupId, { node: self.node, incarnation });
  });
  const create: PlannedReplica[] = [];
  if (state.nodes.get(self.node)?.storageId !== self.storageId) return { create, remove };
  const incarnations = new Map<string, Set<number>>();
  const present = new Set<string>();
  for (const { groupId, incarnation, state: known } of listed) {
    const of = incarnations.get(groupId) ?? new Set();
    incarnations.set(groupId, of.add(incarnation));
    // A group's directory holds one replica: the next one is made when the one before is gone.
    if (known !== "deleted") present.add(groupId);
  }
  for (const { topic, partition } of partitionsOf(state)) {
    const mine = partition.replicas.find(({ node }) => node === self.node);
    const groupId = partition.uuid;
    if (mine === undefined || present.has(groupId) || incarnations.get(groupId)?.has(mine.incarnation) === true) continue;
    const { incarnation } = mine;
    const { partition: number, logId } = partition;
    const firstMembers = firstMembersOf(state, partition);
    create.push({
      ...{ groupId, topic: topic.name, partition: number, incarnation, logId },
      ...{ firstMembers, isWishedLeader: partition.leader === self.node, settings: topic.settings },
    });
  }
  return { create, remove };
}

/**
 * The members that the group begins with, as long as it is as it was made; who is to lead it may have been decided anew. Afterwards its
 * log tells: a replica that began with a later placement for its first membership could elect itself with others that know as little, past
 * those who have the records. A later placement of one incarnation alone, when it is done, was taken on by all that it names: they are made.
 */
function firstMembersOf(state: CatalogState, { replicas, leaving, isMoving }: CatalogPartition) {
  const isAsMade = !isMoving && leaving.length === 0 && new Set(replicas.map(({ incarnation }) => incarnation)).size === 1;
  if (!isAsMade) return undefined;
  // In one order, whoever stands first by now: all are to begin with the same.
  const inOrder = replicas.toSorted((a, b) => (a.node < b.node ? -1 : 1));
  const members = inOrder.map((replica: PlacedReplica) => memberOf(state, replica));
  return members.every((member) => member !== undefined) ? members : undefined;
}
