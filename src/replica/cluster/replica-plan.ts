import type { Member } from "../../raft/member.ts";
import type { SettingsOfTopic } from "../effective-settings.ts";
import {
  type CatalogState,
  foundersOf,
  mayDeleteReplica,
  partitionsOf,
  type PlacedReplica,
  replicaStorageId,
} from "./catalog-state.ts";
import type { NodeRecordState, ReplicaRecord } from "./node-record-state.ts";

/** What a node is to do so that it has the replicas that the catalog places on it, and no others. */
export interface ReplicaPlan {
  readonly create: readonly PlannedReplica[];
  /** Replicas whose files are to go: the catalog says that nobody counts on them. */
  readonly remove: readonly ReplicaRecord[];
}

/** Who plans: a name, and what its node record says. */
export interface PlanningNode extends Pick<NodeRecordState, "storageId" | "catalogIncarnation" | "placedBefore" | "replicas"> {
  readonly node: string;
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
 * isn't listed: what is listed and has no files is lost, and never made anew in silence. What was deleted and is listed no more is known by
 * its incarnation, which comes before `placedBefore`.
 */
export function planReplicas(state: CatalogState, self: PlanningNode): ReplicaPlan {
  const { replicas: listed, placedBefore } = self;
  const remove = listed.filter(({ groupId, incarnation, state: known }) => {
    if (known === "deleted" || groupId === state.clusterId) return false;
    return known === "deleting" || mayDeleteReplica(state, groupId, { node: self.node, incarnation });
  });
  const create: PlannedReplica[] = [];
  const node = state.nodes.get(self.node);
  // Nor before the catalog has come to where this node's replica of it was placed: one that was placed anew reads once more what was long ago.
  if (node?.storageId !== self.storageId || node.incarnation < self.catalogIncarnation) return { create, remove };
  const incarnations = new Map<string, Set<number>>();
  const present = new Set<string>();
  for (const { groupId, incarnation, state: known } of listed) {
    const of = incarnations.get(groupId) ?? new Set();
    incarnations.set(groupId, of.add(incarnation));
    // A group's directory holds one replica: the next one is made when the one before is gone.
    if (known !== "deleted") present.add(groupId);
  }
  for (const { topic, partition } of partitionsOf(state)) {
    const { uuid: groupId, partition: number, logId } = partition;
    if (present.has(groupId)) continue;
    const founders = foundersOf(state, partition);
    const isListed = ({ incarnation }: PlacedReplica): boolean => incarnations.get(groupId)?.has(incarnation) === true;
    const isFounder = ({ incarnation }: PlacedReplica): boolean =>
      founders?.some(({ storageId }) => storageId === replicaStorageId(self.storageId, incarnation)) === true;
    // A founder first, even one that is to go again: without it the group may never begin, and nothing would follow.
    const mine = [...partition.leaving.filter(isFounder), ...partition.replicas].find((replica) => {
      return replica.node === self.node && replica.incarnation >= placedBefore && !isListed(replica);
    });
    if (mine === undefined) continue;
    const { incarnation } = mine;
    // Whoever comes later learns from the others: one that began with a later placement for its first membership could elect itself with
    // others that know as little, past those who have the records.
    const firstMembers = isFounder(mine) ? founders : undefined;
    create.push({
      ...{ groupId, topic: topic.name, partition: number, incarnation, logId },
      ...{ firstMembers, isWishedLeader: partition.leader === self.node, settings: topic.settings },
    });
  }
  return { create, remove };
}

/**
 * The offset before which nothing that the catalog places here is still to be made: what was deleted of that needn't be listed any more.
 * Undefined where that can't be told.
 */
export function findPlacedBefore(state: CatalogState, nextOffset: number, self: PlanningNode): number | undefined {
  const node = state.nodes.get(self.node);
  if (node?.storageId !== self.storageId || node.incarnation < self.catalogIncarnation) return undefined;
  const listed = new Set(self.replicas.map(({ groupId, incarnation }) => `${groupId}/${incarnation}`));
  let first = nextOffset;
  // One that is leaving may be called back, and be made then for the first time.
  for (const { partition } of partitionsOf(state))
    for (const replica of [...partition.replicas, ...partition.leaving]) {
      if (replica.node !== self.node || replica.incarnation < self.placedBefore) continue;
      if (!listed.has(`${partition.uuid}/${replica.incarnation}`)) first = Math.min(first, replica.incarnation);
    }
  return first;
}
