import type { Member } from "../../raft/member.ts";

/**
 * Where one group keeps its hard state. All groups of a node share one file behind their slots, so that what several of them have to
 * write at once is one sync.
 */
export interface HardStateSlot {
  /** What is durable; undefined when nothing was ever written. */
  readonly saved: SavedHardState | undefined;
  /**
   * Durable when it resolves. One call after the other: who calls again before the first has settled may have both written as one.
   * DISK_FULL or OVERLOADED: nothing was written, and it may be tried again. Any other failure is final.
   */
  write(state: SavedHardState): Promise<void>;
}

/** What a replica must never forget (docs/raft.md). */
export interface SavedHardState {
  readonly term: number;
  readonly vote: Member | undefined;
}
