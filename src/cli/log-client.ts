import type { TopicSettingValue } from "../base/topic-settings.ts";
import type { StartingPoint } from "../wire/starting-point.ts";

/**
 * What the commands ask of a server. Every method throws `ProglogError`: the server's own codes, or UNAVAILABLE and TIMEOUT for what
 * happened on the way.
 */
export interface LogClient {
  /** Where it sends to, for messages: "127.0.0.1:8000". */
  readonly address: string;
  openUpload(request: UploadRequest): RecordUpload;
  consume(request: ConsumeRequest): Promise<ConsumedRecords>;
  listTopics(): Promise<readonly TopicDescription[]>;
  createTopic(request: CreateTopicRequest): Promise<TopicDescription>;
  changeTopic(request: ChangeTopicRequest): Promise<TopicDescription>;
  describeTopic(topic: string): Promise<TopicDescription>;
  deleteTopic(topic: string): Promise<void>;
  /** Drops its connections. Twice is fine. */
  close(): void;
}

export interface UploadRequest {
  readonly topic: string;
  /** Default: by key, or the server's choice. */
  readonly partition?: number | undefined;
}

/** Records on their way to a topic. They are appended in the order in which they are written, and acknowledged in it. */
export interface RecordUpload {
  write(records: readonly PackedRecord[]): void;
  /** No more come. Twice is fine. */
  end(): void;
  /**
   * The next acknowledgement; undefined when the upload has ended and everything is acknowledged. Throws what ended it otherwise;
   * then `details.outcome` says whether what isn't acknowledged may have been appended all the same ("unknown", or "not-appended"),
   * and `details.lastLine`, where it is known, the number of the last record of which that holds.
   */
  next(): Promise<Acknowledged | undefined>;
}

/** The next so many records, and where they lie. */
export interface Acknowledged {
  readonly records: number;
  readonly ranges: readonly AppendedRange[];
}

/** A record as it travels, packed once, when its size is counted. */
export interface PackedRecord {
  readonly text: string;
  readonly bytes: number;
}

/** Offsets `[baseOffset, baseOffset + count)` of a partition. */
export interface AppendedRange {
  readonly partition: number;
  readonly baseOffset: number;
  readonly count: number;
  /** False where the server acknowledges before it syncs. */
  readonly isDurable: boolean;
}

export interface ConsumeRequest {
  readonly topic: string;
  readonly partition: number;
  readonly from: StartingPoint;
  /** Records at most. */
  readonly limit?: number | undefined;
  /** How long the server waits for a first record when there is none. Default: 0. */
  readonly waitMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ConsumedRecords {
  readonly records: readonly ConsumedRecord[];
  /** Where to go on. */
  readonly nextOffset: number;
  readonly highWatermark: number;
}

export interface ConsumedRecord {
  readonly offset: number;
  /** Milliseconds since 1970; -1 where a foreign producer gave none. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly ConsumedHeader[];
}

export interface ConsumedHeader {
  readonly key: string;
  readonly value: Buffer | null;
}

export interface CreateTopicRequest {
  readonly topic: string;
  /** Default: the server's. */
  readonly partitions?: number | undefined;
  readonly settings: Readonly<Record<string, TopicSettingValue>>;
}

export interface ChangeTopicRequest {
  readonly topic: string;
  /** How many it is to have. Default: as many as it has. */
  readonly partitions?: number | undefined;
  /** Null: as the server has it by default. */
  readonly settings: Readonly<Record<string, TopicSettingValue | null>>;
}

export interface TopicDescription {
  readonly name: string;
  readonly uuid: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** What is set for it. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** What holds for it, set or by default. */
  readonly effectiveSettings: Readonly<Record<string, unknown>>;
  readonly partitions: readonly PartitionDescription[];
}

/** What isn't known of a partition is absent, as its log isn't open. */
export interface PartitionDescription {
  readonly partition: number;
  readonly state: string;
  readonly error?: { readonly code: string; readonly message: string };
  readonly logStartOffset?: number;
  readonly highWatermark?: number;
  readonly storeBytes?: number;
  readonly segments?: number;
}
