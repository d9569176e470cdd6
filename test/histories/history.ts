/**
 * What the clients of one partition asked and were told, on one clock, and what its replicas held in the end. The offsets that
 * were told are the order of things, so checking takes a sort and no search.
 */
export interface History {
  readonly appends: readonly AppendOperation[];
  readonly reads: readonly ReadOperation[];
  /** Of each replica, by node, read from its first record to its last once everything had healed. */
  readonly finals: ReadonlyMap<string, readonly SeenRecord[]>;
}

/** Records that were appended together. Each has a content that nobody else sends. */
export interface AppendOperation {
  readonly kind: "append";
  readonly client: string;
  readonly contents: readonly string[];
  readonly invokedMs: number;
  readonly returnedMs: number;
  /** `ok`: acknowledged at `baseOffset`. `fail`: it didn't happen. `info`: it may have happened, or may yet. */
  readonly outcome: "ok" | "fail" | "info";
  readonly baseOffset?: number;
}

export interface ReadOperation {
  readonly kind: "read";
  /** Reads of one stream go on where the one before ended, across connections and nodes. */
  readonly stream: string;
  readonly from: number;
  readonly invokedMs: number;
  readonly returnedMs: number;
  readonly records: readonly SeenRecord[];
  /** It was told that there was nothing more, as of now: it must have seen all that was acknowledged before it was asked. */
  readonly isLatest: boolean;
}

export interface SeenRecord {
  readonly offset: number;
  readonly content: string;
}

export type AnomalyKind =
  /** Two replicas hold different records, or one ends early. */
  | "replicas-differ"
  /** Offsets of a replica have a hole, or don't rise. */
  | "hole"
  /** Acknowledged, and nowhere. */
  | "lost"
  /** Acknowledged at one offset, and at another. */
  | "moved"
  /** Refused, and there. */
  | "aborted"
  /** There twice. */
  | "duplicate"
  /** There, and nobody sent it. */
  | "invented"
  /** Records of one append that don't lie side by side. */
  | "torn"
  /** Acknowledged before another was asked for, and behind it. */
  | "reordered"
  /** A read showed what isn't there. */
  | "dirty-read"
  /** A read left something out, or doesn't begin where it was asked to. */
  | "read-gap"
  /** The latest was asked for, and what was acknowledged before is missing. */
  | "stale-read"
  /** A stream went back, or on too far, between two reads. */
  | "stream-jump";

export interface Anomaly {
  readonly kind: AnomalyKind;
  readonly text: string;
}
