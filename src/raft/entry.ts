import type { Membership } from "./membership.ts";

export type EntryKind = "data" | "no-op" | "membership" | "trim";

/**
 * The coordinates of an entry. Index, term and base offset are given once, by the leader that it is proposed to, and never again.
 * Objects are passed through, so a caller may hang more on them.
 */
export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly kind: EntryKind;
  /** Offsets that it takes; 0 for all kinds but data. */
  readonly span: number;
  /** Of its first record; for span 0, what the next record gets. */
  readonly baseOffset: number;
  /** As it travels, for limits. */
  readonly bytes: number;
  /** Of kind membership alone. */
  readonly membership?: Membership;
}

/** What is to become an entry. */
export interface Proposal {
  readonly kind: "data" | "trim";
  readonly span: number;
  readonly bytes: number;
}
