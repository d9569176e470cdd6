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
  /** Throws INVALID_TOPIC_NAME, INVALID_ARGUMENT, TOPIC_ALREADY_EXISTS or TOO_MANY_PARTITIONS. When it resolves, the topic is durable. */
  createTopic(request: NewTopic): Promise<Topic>;
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
  /** What the topic was made with; none are known yet. */
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface Partition {
  readonly partition: number;
  readonly uuid: string;
}

export interface NewTopic {
  readonly name: string;
  /** Default: 1. */
  readonly partitions?: number | undefined;
}
