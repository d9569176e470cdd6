import type { TimestampType } from "../batch/batch-header.ts";
import type { Compression } from "../batch/compression.ts";
import type { RecordInput, StoredRecord } from "../batch/record.ts";
import type { Clock } from "../base/clock.ts";
import type { Disk } from "../base/disk.ts";
import type { Logger } from "../base/logger.ts";
import type { Random } from "../base/random.ts";
import type { LogDamage, LogObserver } from "./log-observer.ts";
import type { OpenFiles } from "./open-files.ts";

/**
 * When an append counts as done.
 *
 * - `always`: when it is synced to the disk. Nothing acknowledged is lost by a crash or a power cut.
 * - `interval`: when it is written; synced every `syncIntervalMs`. A power cut loses what came since; a killed process nothing.
 * - `never`: when it is written; the operating system syncs when it likes. Segments are synced when they are sealed.
 */
export type SyncPolicy = "always" | "interval" | "never";

/** What becomes of old records: see `LogOptions`. */
export type Cleanup = "delete" | "compact" | "both";

export interface LogOptions {
  /** Default "always". */
  readonly sync?: SyncPolicy;
  /** For "interval". Default 1,000. */
  readonly syncIntervalMs?: number;
  /** A segment is sealed when the next batch would make its store larger. Default 256 MiB; at least 1 KiB. */
  readonly segmentMaxBytes?: number;
  /** … or when its first entry is older, by append time. Default 7 days. */
  readonly segmentMaxAgeMs?: number;
  /** … or when its index is full, at 16 bytes a batch. Default 16 MiB. */
  readonly indexMaxBytes?: number;
  /** Whether the active index is mapped into memory. "auto" (default): where koffi is installed and the file system is fit. */
  readonly index?: "auto" | "mmap" | "heap";
  /** Whole segments are removed from the front while the rest is at least as large: the newest bytes up to the limit stay. Default: no limit. */
  readonly retentionMaxBytes?: number;
  /** Whole segments are removed from the front whose last entry is older, by append time. Default: no limit. */
  readonly retentionMaxAgeMs?: number;
  /** How often retention looks. Default 60,000. */
  readonly retentionIntervalMs?: number;
  /**
   * What becomes of old records. "delete" (default): retention by size and age removes them. "compact": compaction keeps the newest
   * record of each key, and retention removes nothing; records without a key are refused. "both": both.
   */
  readonly cleanup?: Cleanup;
  /** How long a tombstone stays, by append time, after compaction has removed all older records of its key. Default 1 day. */
  readonly tombstoneRetentionMs?: number;
  /** How often it is looked whether compaction is due. Default 60,000. */
  readonly compactionIntervalMs?: number;
  /** It is due when so much of the sealed segments, in bytes, came since the last one, from 0 to 1. Default 0.5. */
  readonly compactionMinDirtyRatio?: number;
  /** What compaction in the background reads and writes together at the most. Default 32 MiB a second. */
  readonly compactionBytesPerSecond?: number;
  /** The table of keys that compaction holds in memory, 24 bytes a key and a quarter free; of more keys, several passes are made. Default 128 MiB. */
  readonly compactionMapMaxBytes?: number;
  /** Tombstones at or above the offset it returns stay: for who has other copies of the log to wait for. Default: no limit. */
  readonly tombstoneCeiling?: () => number;
  /** Key, value and headers of one record. Default 1 MiB. */
  readonly recordMaxBytes?: number;
  /** One packed batch. Default 4 MiB; at most that. */
  readonly batchMaxBytes?: number;
  /** Codec for `append`. Default "none". */
  readonly compression?: Compression;
  /** Codec that `appendBatch` stores: "producer" (default), as the batch comes; else it is packed anew where it comes in another. */
  readonly batchCompression?: "producer" | Compression;
  /** "create" (default): records keep the timestamps they bring. "append": all get the time at which the log took them. */
  readonly timestampType?: TimestampType;
  /** Inflate compressed batches and check their records before they are taken. Default false; a compacted log always does. */
  readonly deepCheck?: boolean;
  /** Appends waiting for their turn; past it they are refused with APPEND_QUEUE_FULL. Default 64 MiB. */
  readonly appendQueueMaxBytes?: number;
  /** Bytes written and synced together at the most. Default 8 MiB. */
  readonly groupMaxBytes?: number;
  /** A producer that appended nothing for longer, by append time, is forgotten: its retries aren't recognized any more. Default 1 day. */
  readonly producerExpiryMs?: number;
  /** How often sealed segments are read and verified in the background. Default: never. */
  readonly scrubIntervalMs?: number;
  /** What a background scrub reads at the most. Default 16 MiB a second. */
  readonly scrubBytesPerSecond?: number;
  /** Whether a directory without a log becomes one. Default true; else LOG_NOT_FOUND. */
  readonly createIfMissing?: boolean;
  /** Whether the directory is locked against other processes. Default true. */
  readonly takesLock?: boolean;
  readonly observer?: LogObserver;
  readonly logger?: Logger;
  /** Handed in by whoever has many logs, so that they share one limit. */
  readonly openFiles?: OpenFiles;
  readonly disk?: Disk;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** What may change in an open log. Absent: as it is. For no limit, `Number.POSITIVE_INFINITY`. */
export type LogChanges = Pick<
  LogOptions,
  | "segmentMaxBytes"
  | "segmentMaxAgeMs"
  | "retentionMaxBytes"
  | "retentionMaxAgeMs"
  | "recordMaxBytes"
  | "compression"
  | "batchCompression"
  | "timestampType"
  | "deepCheck"
  | "cleanup"
  | "tombstoneRetentionMs"
>;

/** Where to begin: the first readable record, behind the newest one, an offset, or the first record at or after a time (ms). */
export type StartingPoint = "start" | "end" | number | { readonly timestamp: number };

export interface ReadOptions {
  /** Default "start". An offset below the log start or above the high watermark throws OFFSET_OUT_OF_RANGE. */
  readonly from?: StartingPoint;
  /** Records, or batches, at the most. A whole number from 0, or Infinity (default); else INVALID_ARGUMENT. */
  readonly limit?: number;
  /** Ends once batches of that many bytes were returned; one is returned at least. From 1, or Infinity (default); else INVALID_ARGUMENT. */
  readonly maxBytes?: number;
  /** Whether to wait for more at the high watermark, without polling, until `signal` or `close`, or LOG_POISONED. Default false: ends there. */
  readonly tail?: boolean;
  /** Ends the iteration, also a waiting one. */
  readonly signal?: AbortSignal;
}

export interface BatchReadOptions extends ReadOptions {
  /**
   * Each piece of the log is read over the one before: a batch, and its records' keys and values, are valid only until the next
   * one is asked for. For whoever copies or sends what he wants to keep; about twice as fast. Default false.
   */
  readonly reusesMemory?: boolean;
  /** What is read together; one batch that is larger comes alone. Default and at most 1 MiB, at least 4 KiB. */
  readonly maxPieceBytes?: number;
}

export interface PortionReadOptions extends BatchReadOptions {
  /** A batch whose entry is larger comes alone and without its bytes. */
  readonly wholeMaxBytes: number;
}

/** What was read together, or a batch that is too large for it. */
export type Portion =
  | { readonly kind: "batches"; readonly batches: readonly StoredBatch[] }
  | { readonly kind: "large"; readonly batch: LargeBatch };

/** A batch that is read piece by piece. */
export interface LargeBatch {
  readonly baseOffset: number;
  /** Exclusive. */
  readonly nextOffset: number;
  readonly byteLength: number;
  /**
   * The record batch v2 as it lies on disk, in pieces of at most so many bytes, each in memory of its own. Until the next portion is asked
   * for. Its checksum is compared before the last piece is given: whoever passes pieces on must not call them a batch until he has it.
   * Errors: LOG_CORRUPT, OFFSET_OUT_OF_RANGE when it was trimmed or truncated meanwhile, UNAVAILABLE when the log was compacted.
   */
  read(pieceBytes: number): AsyncGenerator<Buffer, void, undefined>;
}

export interface AppendOptions {
  /** Codec for `append`. Ignored by `appendBatch`. */
  readonly compression?: Compression;
  /**
   * Makes a retry harmless: the same records with the same numbers are appended once, and answered as they were the first time. The
   * id is the producer's own (0 to 2^53-1), the epoch counts its lives (0 to 32,767), `baseSequence` its records (0 to 2^31-1, then
   * 0 again). For `appendBatch` the batch itself carries it.
   */
  readonly producer?: { readonly id: number; readonly epoch: number; readonly baseSequence: number };
  /** Appends only if the log end offset is this one when the append's turn comes; else CONDITION_FAILED. */
  readonly expectedOffset?: number;
}

export interface AppendResult {
  readonly baseOffset: number;
  /** Inclusive. */
  readonly lastOffset: number;
  readonly count: number;
  readonly appendTime: number;
  /** False under `interval` and `never`: written, and not yet synced. */
  readonly isDurable: boolean;
  /** It was a retry of what had been appended before: nothing was appended now, and this is where it was then. */
  readonly isDuplicate: boolean;
}

export interface StoredBatch {
  readonly baseOffset: number;
  /** Exclusive. */
  readonly nextOffset: number;
  readonly recordCount: number;
  readonly maxTimestamp: number;
  readonly appendTime: number;
  readonly index: number;
  readonly term: number;
  /** The record batch v2 as it lies on disk, base offset and epoch stamped. Not to be changed. */
  readonly batch: Buffer;
  /** Its records. Throws UNDECODABLE_BATCH with details {baseOffset, nextOffset}. */
  records(): StoredRecord[];
}

/** What opening a log found and did. */
export interface RecoveryReport {
  /** `clean`: it was closed before, and nothing had to be scanned. */
  readonly kind: "created" | "clean" | "recovered";
  readonly durationMs: number;
  readonly lastIndex: number;
  readonly logEndOffset: number;
  readonly scannedBytes: number;
  /** A torn write of a group that was never acknowledged was removed. */
  readonly cut?: { readonly file: string; readonly position: number; readonly bytes: number; readonly reason: string };
  /** Bytes behind the sync mark that were written again before they counted. */
  readonly rewrittenBytes: number;
  readonly notes: readonly string[];
}

export interface ScrubReport {
  readonly segments: number;
  readonly bytes: number;
  readonly damages: readonly LogDamage[];
}

export interface CompactionReport {
  /** False when it ended early: told to by its signal, or since the log was truncated or closed. What was done stays. */
  readonly isComplete: boolean;
  /** Sealed segments that were read, in each pass. */
  readonly segments: number;
  /** Of those stores, before and after. */
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  /** Tombstones counted too. */
  readonly recordsRemoved: number;
  readonly tombstonesRemoved: number;
  /** Batches that can't be decoded, or packed again below the largest size of one: they are kept whole. */
  readonly undecodableBatches: number;
  /** Small segments that were merged with the one before them. */
  readonly segmentsMerged: number;
  readonly passes: number;
  readonly durationMs: number;
}

export interface LogStatus {
  readonly state: "open" | "poisoned" | "closed";
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  readonly highWatermark: number;
  readonly firstIndex: number;
  readonly lastIndex: number;
  readonly lastTerm: number;
  readonly durableIndex: number;
  readonly segments: number;
  /** Of all stores, as far as written. */
  readonly storeBytes: number;
  readonly queuedBytes: number;
  readonly queuedAppends: number;
  readonly indexKind: "mmap" | "heap";
  readonly damages: number;
  /** Producers whose retries are recognized. */
  readonly producers: number;
  /** The part of the sealed segments, in bytes, that came since the last compaction, from 0 to 1; 0 in a log that isn't compacted. */
  readonly dirtyRatio: number;
}

/**
 * A commit log of one directory, or in memory. One writer, any number of readers, in one process.
 *
 * ```ts
 * await using log = await openLog("./events");
 * const { baseOffset } = await log.append({ key: "order-1", value: "placed" });
 * for await (const record of log.records({ from: baseOffset })) console.log(record.offset, record.value?.toString());
 * ```
 */
export interface Log extends AsyncDisposable {
  readonly directory: string;
  /** The first readable offset. Equal to `logEndOffset` when the log is empty. */
  readonly logStartOffset: number;
  /** The offset that the next record will get. */
  readonly logEndOffset: number;
  /** Readers stop here, exclusive: what is synced under `always`, what is written otherwise. */
  readonly highWatermark: number;
  readonly recovery: RecoveryReport;

  /**
   * Appends one record, or several as one batch: all of them or none. Resolves as the sync policy says.
   * Errors: INVALID_RECORD, RECORD_TOO_LARGE, INVALID_BATCH, BATCH_TOO_LARGE, APPEND_QUEUE_FULL, OVERLOADED, DISK_FULL, LOG_CLOSED,
   * LOG_POISONED (nothing was appended); DISK_FAILED, INTERNAL (it may have been: read it after opening the log again). With a
   * producer: PRODUCER_FENCED with details {producerId, producerEpoch, currentEpoch}, OUT_OF_ORDER_SEQUENCE with {producerId,
   * expectedSequence, sequence}, DUPLICATE_SEQUENCE with {producerId, sequence}. With a condition: CONDITION_FAILED with
   * {expectedOffset, logEndOffset}. A retry is looked for first: it is answered though its condition doesn't hold any more.
   */
  append(records: RecordInput | readonly RecordInput[], options?: AppendOptions): Promise<AppendResult>;
  /**
   * The first half of `append`: checks and packs the records, and throws at once what is wrong with them. Calling what it returns, once and in the
   * same turn of the loop, appends them. For who has something else to append in their place, which must not come behind what follows.
   */
  prepare(records: RecordInput | readonly RecordInput[], options?: AppendOptions): () => Promise<AppendResult>;
  /** Appends a packed record batch v2, as it is unless the options say otherwise. The buffer isn't changed, and must not be until this settles. */
  appendBatch(batch: Buffer, options?: Pick<AppendOptions, "expectedOffset">): Promise<AppendResult>;

  /** Errors: OFFSET_OUT_OF_RANGE with details {offset, logStartOffset, highWatermark}, LOG_CORRUPT, UNDECODABLE_BATCH. */
  read(offset: number): Promise<StoredRecord>;
  records(options?: ReadOptions): AsyncGenerator<StoredRecord, void, undefined>;
  batches(options?: BatchReadOptions): AsyncGenerator<StoredBatch, void, undefined>;
  /** As `batches`, and those that were read together come together: see `maxPieceBytes`. */
  pieces(options?: BatchReadOptions): AsyncGenerator<readonly StoredBatch[], void, undefined>;
  /** As `pieces`, for who holds no more than so many bytes at a time, whatever the size of a batch. */
  portions(options: PortionReadOptions): AsyncGenerator<Portion, void, undefined>;
  /** The offset that a starting point means right now. A time after all records is the high watermark. */
  findOffset(from: StartingPoint): Promise<number>;
  /** Resolves once `highWatermark > offset`; rejects with CANCELLED on `signal`, LOG_CLOSED at close, LOG_POISONED when it can't come any more, OVERLOADED past 10,000 waits. */
  waitForOffset(offset: number, options?: { readonly signal?: AbortSignal }): Promise<void>;

  /** Drops records from `offset` on. It must be a batch's first, or the end: else OFFSET_INSIDE_BATCH with details {baseOffset, nextOffset}. */
  truncate(offset: number): Promise<void>;
  /** Makes `offset` the log start; whole segments below it are removed. Lower than the log start: nothing happens. */
  trim(offset: number): Promise<void>;
  /** Removes what the retention options say, now. */
  applyRetention(): Promise<void>;
  /**
   * Changes options from now on, all or none: segments and what is accepted with the next append, the rest when it is next looked
   * after. It isn't kept: the next opening goes by its own options. Errors: INVALID_ARGUMENT with details {option}, LOG_CLOSED.
   */
  configure(changes: LogChanges): void;
  /** Resolves when everything appended before is synced. */
  sync(): Promise<void>;
  /** Reads and verifies all sealed segments. */
  scrub(options?: { readonly bytesPerSecond?: number; readonly signal?: AbortSignal }): Promise<ScrubReport>;
  /**
   * Removes from the sealed segments every record that has a newer one of its key in them, and tombstones whose time is up, now.
   * Offsets don't change. While one runs, further calls get its report, at the rate of the first. Who aborts his signal waits no
   * longer, and gets a report that isn't complete; the run ends when all who wait for it have, or when `cleanup` is changed to
   * "delete". Errors: INVALID_ARGUMENT for a rate that is none, and in a log whose `cleanup` is "delete", LOG_CORRUPT, DISK_FULL, DISK_FAILED, LOG_CLOSED, LOG_POISONED; what was done before stays, and nothing is lost.
   */
  compact(options?: { readonly bytesPerSecond?: number; readonly signal?: AbortSignal }): Promise<CompactionReport>;
  status(): LogStatus;
  /** Waits for appends that were accepted, syncs, and lets go of the directory. Closing twice is fine. */
  close(): Promise<void>;
}
