import { appendAsLeader, type ProposeOutcome, settlePeers } from "./leader.ts";
import { newestMembership } from "./log-coordinates.ts";
import { changeMembership, leaveJoint, type Membership, type MembershipChange } from "./membership.ts";
import { findProgress, type Progress } from "./progress.ts";
import type { RaftState } from "./raft-state.ts";
import { settleRound } from "./read-index.ts";
import { noteLeaving } from "./removal.ts";
import type { Leader } from "./role.ts";

export type ChangeOutcome =
  | ProposeOutcome
  /** Nothing is wrong with the change, but now isn't the time. */
  | { readonly outcome: "not-now"; readonly reason: string }
  | { readonly outcome: "impossible"; readonly reason: string };

/**
 * Proposes another membership. It is in force on each replica from the moment it is in its log, so two rules keep quorums of
 * neighbouring memberships overlapping: the last one is committed, and so is an entry of this term (without that, an uncommitted
 * one of an older leader may be in force elsewhere).
 */
export function proposeMembership(state: RaftState, changes: readonly MembershipChange[]): ChangeOutcome {
  const { role } = state;
  if (role.kind !== "leader") return { outcome: "not-leader", leader: role.kind === "follower" ? role.leader : undefined };
  if (role.handover !== undefined) return { outcome: "handing-over", to: role.handover.to };
  if (state.commitIndex < role.noOpIndex)
    return { outcome: "not-now", reason: "the leader hasn't committed an entry of its term yet" };
  const { index, membership } = newestMembership(state.log);
  if (index > state.commitIndex) return { outcome: "not-now", reason: `the membership at ${index} isn't committed yet` };
  const next = changeMembership(membership, changes);
  if (typeof next === "string") return { outcome: "impossible", reason: next };
  for (const change of changes) {
    if (change.kind !== "promote") continue;
    const reason = findLag(state, role, findProgress(role.peers, change.nodeId));
    if (reason !== undefined) return { outcome: "not-now", reason: `${change.nodeId} can't vote yet: ${reason}` };
  }
  return { outcome: "appended", entries: [enter(state, role, next)] };
}

/** Leaves the joint membership. No limit and no handover stands against it: the group isn't whole before. */
export function leave(state: RaftState, role: Leader): void {
  enter(state, role, leaveJoint(newestMembership(state.log).membership));
}

function enter(state: RaftState, role: Leader, membership: Membership) {
  noteLeaving(role, newestMembership(state.log).membership, membership);
  const entry = appendAsLeader(state, { kind: "membership", span: 0, bytes: 0 }, membership);
  settlePeers(state, role);
  // Those who have answered may be a quorum now, and the one who was waited for may be gone.
  settleRound(state, role);
  if (role.handover !== undefined && findProgress(role.peers, role.handover.to) === undefined) role.handover = undefined;
  return entry;
}

/** Why a learner isn't ready to vote: from its promotion on, commits wait for its disk. */
function findLag({ log, settings }: RaftState, role: Leader, learner: Progress | undefined): string | undefined {
  if (learner !== undefined && learner.lostIndex > 0) return "it lost what it had acknowledged";
  if (learner === undefined || learner.matchIndex < role.noOpIndex) return "it hasn't got this leader's first entry yet";
  const lag = log.lastIndex - learner.matchIndex;
  if (lag > settings.promotionMaxLag) return `it is ${lag} entries behind`;
  return learner.isActive ? undefined : "it doesn't answer";
}
