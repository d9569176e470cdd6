import type { ProglogError } from "../base/error.ts";
import type { CompactionReport, RecoveryReport } from "./log.ts";

/** Told what the log does, for metrics. Called on the hot path: one that dawdles makes appends wait; one that throws harms nobody and is logged, once. */
export interface LogObserver {
  /** The log was opened, or made. */
  opened?(event: RecoveryReport): void;
  /** A group of appends was written. `bytes` counts frames whole; `durationMs` is the writing alone, without the sync. */
  appended?(event: {
    readonly records: number;
    readonly batches: number;
    readonly bytes: number;
    readonly durationMs: number;
  }): void;
  /** A batch came in another codec than the log keeps, and was packed anew. `bytes` counts what became of it. */
  repacked?(event: { readonly bytes: number; readonly batches: number }): void;
  /** A sync ended. `bytes` and `batches` tell what it made durable. */
  synced?(event: { readonly durationMs: number; readonly bytes: number; readonly batches: number }): void;
  /**
   * Batches of records are in the log's store, and synced where the log syncs: `durationMs` after their writing began. Told before those who wait are
   * answered, and meant for who traces: what it does with each batch is waited for. `directory` is the log's.
   */
  stored?(event: { readonly directory: string; readonly batches: readonly Buffer[]; readonly durationMs: number }): void;
  /** Batches were handed to a reader. `appendTime` is that of the last one. */
  read?(event: { readonly bytes: number; readonly batches: number; readonly appendTime: number }): void;
  /** A segment was sealed and the one of this base index begun. */
  rolled?(event: { readonly baseIndex: number; readonly durationMs: number }): void;
  /** Segments were removed from the front. */
  trimmed?(event: { readonly segments: number; readonly bytes: number; readonly logStartOffset: number }): void;
  /** A reader or a scrub found bytes that rotted. */
  damaged?(event: LogDamage): void;
  /** A write or a sync failed: nothing is appended any more. */
  poisoned?(event: { readonly error: ProglogError }): void;
  /** A scrub ended. */
  scrubbed?(event: { readonly segments: number; readonly bytes: number; readonly damages: number }): void;
  /** A compaction ended; also one that failed, with what it had done until then. */
  compacted?(event: CompactionReport): void;
}

/** A range of records that can't be read any more. */
export interface LogDamage {
  readonly file: string;
  /** Of the first bad byte range's frame in that file. */
  readonly position: number;
  readonly firstOffset: number;
  /** Exclusive; equal to `firstOffset` when it isn't known or no records are hit. */
  readonly nextOffset: number;
  readonly reason: string;
}
