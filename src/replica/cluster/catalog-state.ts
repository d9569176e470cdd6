import { assert } from "../../base/assert.ts";
import type { Member } from "../../raft/member.ts";
import type { Partition, Topic } from "../catalog.ts";

/**
 * What a cluster is to be: nodes, topics, who has which replica. The maps are changed in place by `applyCommand` alone; what
 * lies in them never changes, it is replaced. Everybody else only reads.
 */
export interface CatalogState {
  /** Of the commands that may follow; 0 before the cluster is formed. */
  version: number;
  clusterId: string | undefined;
  /** By name. */
  readonly nodes: Map<string, CatalogNode>;
  /** By name. */
  readonly topics: Map<string, CatalogTopic>;
  /** Which partition a group is. Follows from the topics. */
  readonly groups: Map<string, { readonly topic: string; readonly partition: number }>;
  /** Groups that are no more, by id, with the nodes that may still have files of them. */
  readonly deleted: Map<string, readonly string[]>;
  policy: string;
  /** The last commands that changed something, in that order, at most `appliedCommandsMaxCount`. */
  readonly applied: Set<string>;
}

export interface CatalogNode {
  readonly name: string;
  readonly storageId: string;
  readonly address: string;
  readonly version: number;
  /** Of its replica of group 0. */
  readonly incarnation: number;
  readonly isDraining: boolean;
}

export interface CatalogTopic extends Topic {
  readonly partitions: readonly CatalogPartition[];
}

export interface CatalogPartition extends Partition {
  /** 32 hex digits: what the group's frames are seeded with. */
  readonly logId: string;
  /** Who is to have it. Empty when a node was removed by force that alone had it. */
  readonly replicas: readonly PlacedReplica[];
  /** Who is to lead where it can; undefined where nobody has it. */
  readonly leader: string | undefined;
  /** The catalog's offset of this placement. */
  readonly placedAt: number;
  /** True until the group's own membership is known to be as placed. */
  readonly isMoving: boolean;
  /** Who had it, and may still be a member: their files stay. Empty unless it is moving. */
  readonly leaving: readonly PlacedReplica[];
  /**
   * The members that its group begins with, where it was placed anew before that was known to have happened: one of them that was slower than
   * the catalog still has to begin with them, or nobody could. Absent where it isn't moving: they are its replicas, or the group has begun.
   */
  readonly founders?: readonly Member[];
}

export interface PlacedReplica {
  readonly node: string;
  /** The catalog's offset at which it was placed. */
  readonly incarnation: number;
}

export function emptyCatalogState(): CatalogState {
  return {
    version: 0,
    clusterId: undefined,
    nodes: new Map(),
    topics: new Map(),
    groups: new Map(),
    deleted: new Map(),
    policy: "",
    applied: new Set(),
  };
}

export function findPartition(state: CatalogState, group: string): CatalogPartition | undefined {
  const place = state.groups.get(group);
  if (place === undefined) return undefined;
  const partition = state.topics.get(place.topic)?.partitions[place.partition];
  assert(partition?.uuid === group, "each group is a partition");
  return partition;
}

/** Every partition with its topic, by the topics' order in the catalog. */
export function* partitionsOf(state: CatalogState): Generator<{
  readonly topic: CatalogTopic;
  readonly partition: CatalogPartition;
}> {
  for (const topic of state.topics.values()) for (const partition of topic.partitions) yield { topic, partition };
}

/**
 * Whether the catalog allows a node to delete the files of its replica: the group is deleted, or the replica was replaced or moved away and
 * the group's committed membership was seen without it. Of a group that the catalog doesn't know nothing is deleted; nor is a replica that
 * was placed later than this state tells: a node that starts reads the catalog again from its log start, and meets what it was before.
 */
export function mayDeleteReplica(state: CatalogState, group: string, { node, incarnation }: PlacedReplica): boolean {
  if (state.deleted.has(group)) return true;
  const partition = findPartition(state, group);
  if (partition === undefined || incarnation > partition.placedAt) return false;
  return ![...partition.replicas, ...partition.leaving].some((known) => {
    return known.node === node && known.incarnation === incarnation;
  });
}

/** Who has group 0: all nodes, and nothing else says so. */
export function catalogPlacement({ clusterId = "", nodes }: CatalogState): Pick<CatalogPartition, "uuid" | "replicas"> {
  return { uuid: clusterId, replicas: [...nodes.values()].map(({ name, incarnation }) => ({ node: name, incarnation })) };
}

/** The members that a partition's group begins with, if it may not have begun yet. */
export function foundersOf(state: CatalogState, partition: CatalogPartition): readonly Member[] | undefined {
  const { replicas, isMoving, founders } = partition;
  if (isMoving) return founders;
  // All of one placement: as it was made, or as it was placed when all that was there before had begun.
  if (replicas.length === 0 || replicas.some(({ incarnation }) => incarnation !== replicas[0]?.incarnation)) return undefined;
  const members = replicas.map((replica) => memberOf(state, replica));
  if (!members.every((member) => member !== undefined)) return undefined;
  // In one order, also where another leader is wished by now.
  return members.toSorted((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

/** A replica as the raft core has it. Undefined when its node is in the catalog no more. */
export function memberOf(state: CatalogState, { node, incarnation }: PlacedReplica): Member | undefined {
  const storageId = state.nodes.get(node)?.storageId;
  return storageId === undefined ? undefined : { nodeId: node, storageId: replicaStorageId(storageId, incarnation) };
}

/** A replica that was deleted and comes back to the same disk is somebody else (docs/raft.md, rule 12). */
export function replicaStorageId(storageId: string, incarnation: number): string {
  return `${storageId}/${incarnation}`;
}
