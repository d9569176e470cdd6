import type { BackupLog, BackupSegment, BackupTopics } from "../wire/backup-message.ts";

/** Where a backup comes from: a server, or a directory whose server doesn't run. What is asked of each stands in `log/log-snapshot.ts`. */
export interface BackupSource {
  topics(): Promise<BackupTopics>;
  /** Throws TOPIC_NOT_FOUND, PARTITION_NOT_FOUND, CHANGE_IN_PROGRESS, and whatever opening a log throws. */
  log(partition: BackupPartition): Promise<BackupLog>;
  segments(partition: BackupPartition, range: SegmentRange): Promise<readonly BackupSegment[]>;
  read(partition: BackupPartition, piece: StorePiece): Promise<Buffer>;
  close(): Promise<void>;
}

export interface BackupPartition {
  readonly topic: string;
  readonly partition: number;
  /** Of its log, as the topics named it. */
  readonly uuid: string;
}

export interface SegmentRange {
  readonly version: string;
  readonly fromIndex: number;
  readonly lastIndex: number;
}

export interface StorePiece {
  readonly version: string;
  readonly baseIndex: number;
  readonly position: number;
  readonly endPosition: number;
}
