import type { TopicSettingChanges } from "../base/topic-settings.ts";
import type { SettingsOfTopic } from "./effective-settings.ts";

/**
 * The topics: which there are, and of which partitions. All administration goes through here, whoever keeps the list: on a single
 * node its manifest, in a cluster a replicated group. So everything that changes or must be fresh is asynchronous, and only
 * `findTopic`, which every produce and consume calls, answers from what this node knows.
 */
export interface Catalog {
  /** The topic as this node knows it, or undefined. */
  findTopic(name: string): Topic | undefined;
  /** By name. */
  listTopics(): Promise<readonly Topic[]>;
  /** Throws TOPIC_NOT_FOUND. */
  describeTopic(name: string): Promise<Topic>;
  /**
   * When it resolves, the topic is durable. Throws INVALID_TOPIC_NAME, INVALID_ARGUMENT, TOPIC_ALREADY_EXISTS, TOO_MANY_PARTITIONS,
   * or UNSUPPORTED_COMPRESSION. In a cluster this, like all that isn't `findTopic`, may throw NOT_LEADER (nobody could be asked, nothing was
   * done), OVERLOADED, or TIMEOUT (the outcome isn't known).
   */
  createTopic(request: NewTopic): Promise<Topic>;
  /**
   * Changes settings and adds partitions, all or nothing. When it resolves, the change is durable, and this node's logs go by it.
   * Throws TOPIC_NOT_FOUND, INVALID_ARGUMENT, TOO_MANY_PARTITIONS or UNSUPPORTED_COMPRESSION.
   */
  changeTopic(name: string, change: TopicChange): Promise<Topic>;
  /** Removes the topic and its records for good. Throws TOPIC_NOT_FOUND. */
  deleteTopic(name: string): Promise<void>;
}

export interface Topic {
  readonly name: string;
  /** Another one for each topic ever made: one deleted and made again isn't the same. */
  readonly uuid: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly partitions: readonly Partition[];
  /** Replicas that each partition is to have; 1 on a single node. */
  readonly replicationFactor: number;
  /** What is set for it, and doesn't go by the node's defaults. */
  readonly settings: SettingsOfTopic;
}

export interface Partition {
  readonly partition: number;
  readonly uuid: string;
  /** Who is to have it, by the nodes' names. Absent on a single node, which has them all. */
  readonly replicas?: readonly { readonly node: string }[];
}

export interface NewTopic {
  readonly name: string;
  /** Default: 1. */
  readonly partitions?: number | undefined;
  /** Default: 3, or as many as there are nodes; a single node keeps one. */
  readonly replicationFactor?: number | undefined;
  /** Null is the same as absent. */
  readonly settings?: TopicSettingChanges | undefined;
}

export interface TopicChange {
  /** How many it is to have: never fewer than it has. Keys of records to come may then lead elsewhere than those before. */
  readonly partitions?: number | undefined;
  /** Replicas of each partition: more are made, or some given up, once this is decided. */
  readonly replicationFactor?: number | undefined;
  /** Null for what is to go by the node's defaults again. */
  readonly settings?: TopicSettingChanges | undefined;
}
