import type { ProglogError } from "../../base/error.ts";
import type { NodeId } from "../../raft/member.ts";

/** What the groups of a node share, as it stands. */
export interface GroupSetStatus {
  /** Times the loop stood still. */
  readonly stallCount: number;
  readonly isDiskStalled: boolean;
  /** Taken by all groups, and not synced. */
  readonly unsyncedBytes: number;
  /** Sent of logs to those that catch up or repair theirs. */
  readonly copiedBytes: number;
  /** Messages with entries that there was no room for. */
  readonly droppedCount: number;
  readonly syncsWaitingCount: number;
  readonly hardStateSyncCount: number;
  /** Why no term or vote is written any more. */
  readonly hardStateError: ProglogError | undefined;
  readonly lostPeers: readonly NodeId[];
}
