import type { ErrorDetails, ProglogError } from "../base/error.ts";
import type { TopicSettings } from "../base/topic-settings.ts";
import type { Catalog, Topic } from "./catalog.ts";
import type { PolicyStore } from "./policy-store.ts";
import type { Replica } from "./replica.ts";

/**
 * What a node serves: the topics, and its replicas of their partitions. On a single node that is its data directory, in a cluster what the
 * catalog places on it. Whoever answers clients asks here and needn't know which.
 */
export interface NodeStorage {
  /** Of the directory: 32 hex digits, made with it and never again. */
  readonly storageId: string;
  readonly catalog: Catalog;
  /** Who may do what. */
  readonly policy: PolicyStore;
  readonly replicas: ReplicaLookup;
  /** Directories of logs that nothing names: never removed. */
  readonly orphans: readonly string[];
  /** Read descriptors open at the moment. */
  readonly openFileCount: number;
  /** Opens what there is. A log that doesn't open is a failed replica. */
  openReplicas(): Promise<void>;
  /** The topic as this node knows it. Throws TOPIC_NOT_FOUND. */
  getTopic(name: string): Topic;
  /** This node's replica of a partition, for reading. Throws TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, NOT_A_REPLICA. */
  getReplica(topicName: string, partition: number): Replica;
  getReplicaOf(topic: Topic, partition: number): Replica;
  /** The replica that appends go to. Throws NOT_LEADER too, when that is another node's. */
  getLeaderOf(topic: Topic, partition: number): Replica;
  /**
   * Before an append of so many bytes, for who can be held back: undefined where it may come now, else resolves when it may. Else appends
   * that the disk is too slow for are refused with OVERLOADED. Throws that too, where too many wait.
   */
  whenRoom(bytes: number): Promise<void> | undefined;
  /** Who has the partition, as far as this node knows. */
  findPlace(topic: Topic, partition: number): PartitionPlace;
  /**
   * Who leads a partition in this node's place, or is to when it stops, as an error's details {leaderId, leaderRpcAddr, term}; none where nobody is
   * known. Without a number, of the topic's only partition.
   */
  findSuccessor(topicName: string, partition: number | undefined): ErrorDetails;
  /** What holds for a topic, its own settings and the node's together. */
  effectiveSettings(topic: Topic): TopicSettings;
  /** Before a planned stop: what is led here is led elsewhere soon, where there is somebody. Never rejects. */
  handOver(): Promise<void>;
  /** Waits for the topic change under way, syncs and closes all logs. Twice is fine. */
  close(reason: ProglogError): Promise<void>;
}

export interface ReplicaLookup {
  find(uuid: string): Replica | undefined;
  values(): IterableIterator<Replica>;
}

/** Where a partition is. On a single node it is here, and there is nothing to tell. */
export interface PartitionPlace {
  readonly leader: NodePlace | undefined;
  readonly replicas: readonly ReplicaPlace[];
  /** Of the leader: of two answers the one with the higher term is the newer. */
  readonly term: number;
}

export interface NodePlace {
  readonly nodeId: string;
  /** Where it is reached: `host:port`; empty where that isn't known. */
  readonly address: string;
}

export interface ReplicaPlace extends NodePlace {
  /** It counts for a quorum; one that is catching up doesn't yet. */
  readonly isVoter: boolean;
  /** It has, or had a moment ago, all that is committed. */
  readonly isInSync: boolean;
  /** Entries that the leader has and it hasn't; absent where that isn't known. */
  readonly lag?: number | undefined;
}
