import { assert } from "../base/assert.ts";
import { freeWindow } from "./byte-window.ts";
import { beginHandover } from "./handover.ts";
import { settleMemberships, newestMembership, termAt } from "./log-coordinates.ts";
import { findMember, type NodeId } from "./member.ts";
import { isJoint } from "./membership.ts";
import { leave } from "./membership-change.ts";
import { countedMatch, findProgress } from "./progress.ts";
import { quorumValue } from "./quorum.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";
import { tellLeaving } from "./removal.ts";
import type { Leader } from "./role.ts";

/**
 * Commits what a quorum has on its disks, if the last of it is of this term (paper §5.4.2): an older entry on a quorum may still
 * be overwritten by a leader that doesn't have it. Called whenever somebody's durable index moved, the leader's own included.
 */
export function advanceCommit(state: RaftState, role: Leader): void {
  const index = quorumValue(membershipOf(state), (nodeId) =>
    nodeId === state.self.nodeId ? ownMatch(state) : peerMatch(role, nodeId),
  );
  if (index <= state.commitIndex || termAt(state.log, index) !== state.hardState.term) return;
  raiseCommit(state, index);
  freeWindow(role.uncommitted, index);
  settleCommitted(state, role);
}

function peerMatch({ peers }: Leader, nodeId: NodeId): number {
  const peer = findProgress(peers, nodeId);
  return peer === undefined ? 0 : countedMatch(peer);
}

/** What a leader may count of itself: what its disk has, and nothing while it is damaged. */
export function ownMatch(state: RaftState): number {
  return state.isDamaged ? 0 : state.log.durableIndex;
}

export function raiseCommit(state: RaftState, index: number): void {
  if (index <= state.commitIndex) return;
  assert(index <= state.log.lastIndex, "what is committed is in the log");
  state.commitIndex = index;
  settleMemberships(state.log, index);
}

/**
 * What a leader does of itself when a membership is committed: it leaves a joint one, whoever entered it; and hands over when
 * the membership has no place for it any more.
 */
function settleCommitted(state: RaftState, role: Leader): void {
  const { index, membership } = newestMembership(state.log);
  if (index > state.commitIndex) return;
  if (role.leaving.length > 0) tellLeaving(state, role);
  if (isJoint(membership)) leave(state, role);
  else if (findMember(membership.voters, state.self.nodeId) === undefined && role.handover === undefined)
    beginHandover(state, role, { isObliged: true });
}
