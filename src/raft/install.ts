import { raiseCommit } from "./commit.ts";
import { followLeader, becomeFollower } from "./follower.ts";
import { findInstallFault } from "./install-check.ts";
import { installLog, type LogBase, type LogTail, type MembershipAt, termAt } from "./log-coordinates.ts";
import { acknowledge } from "./log-matching.ts";
import type { NodeId } from "./member.ts";
import type { RaftState } from "./raft-state.ts";
import { leaderOf } from "./role.ts";

export interface InstallRequest {
  /** The leader that sent it, and the term it leads. */
  readonly from: NodeId;
  readonly term: number;
  readonly base: LogBase;
  /** The newest at or before the base. */
  readonly membership: MembershipAt;
  /** What that leader's log holds behind the base, as far as its files came along. */
  readonly tail?: LogTail;
}

export type InstallOutcome =
  /** The next write order installs it. */
  | "accepted"
  /** Of a leader whose term is over, or that is none: another leads the term, this replica perhaps. */
  | "stale"
  /** The log has the base's entry already, or has committed past it. */
  | "unneeded"
  /** Coordinates that no log has. Nothing changed. */
  | "malformed"
  /** The base differs from what is committed here. Nothing changed. */
  | "contradiction";

/**
 * A base in the place of a log that lacks what the leader has trimmed (what a snapshot is to the paper's §7), with what lies behind
 * it in the files that were shipped: then nothing comes twice. A log that has the base's very entry has all before it too, and keeps
 * what follows; any other holds nothing behind its commit index that could be committed, for it would have to hold that entry as
 * well. What is installed is the leader's log of that term, and agreed upon like its appends.
 */
export function installBase(state: RaftState, request: InstallRequest): InstallOutcome {
  const { from, term, base, membership, tail } = request;
  const known = leaderOf(state.role, state.self.nodeId);
  const isOfAnother = term === state.hardState.term && known !== undefined && known !== from;
  if (term < state.hardState.term || isOfAnother) return "stale";
  const fault = findInstallFault(state, request);
  if (fault !== undefined) return fault;
  if (term > state.hardState.term) becomeFollower(state, term, from);
  const role = followLeader(state, from);
  const isThere = base.index <= state.commitIndex || termAt(state.log, base.index) === base.term;
  if (!isThere) installLog(state.log, { base, membership, tail, agreedIndex: role.agreedIndex });
  role.agreedIndex = Math.max(role.agreedIndex, isThere ? base.index : state.log.lastIndex);
  raiseCommit(state, base.index);
  if (isThere) acknowledge(state, role);
  return isThere ? "unneeded" : "accepted";
}
