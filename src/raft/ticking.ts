import { beginHandover, pressHandover, tickHandover } from "./handover.ts";
import { emit } from "./effects.ts";
import { mayCampaign, startPreVote } from "./election.ts";
import { becomeFollower } from "./follower.ts";
import { tickForwarded } from "./forwarded-reads.ts";
import { newestMembership } from "./log-coordinates.ts";
import { isVoter } from "./membership.ts";
import { findProgress } from "./progress.ts";
import { quorumValue } from "./quorum.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/** A tick of the clock has passed. */
export function tick(state: RaftState): void {
  state.electionElapsed += 1;
  if (state.role.kind === "leader") tickLeader(state, state.role);
  else if (state.role.kind === "follower") tickForwarded(state, state.role);
  if (state.role.kind !== "leader" && state.electionElapsed >= state.electionTimeout && mayCampaign(state)) startPreVote(state);
}

function tickLeader(state: RaftState, role: Leader): void {
  if (state.electionElapsed >= state.settings.electionTicks) {
    state.electionElapsed = 0;
    if (!hasQuorum(state, role)) {
      becomeFollower(state, state.hardState.term, undefined);
      return;
    }
    for (const peer of role.peers) peer.isActive = false;
  }
  if (role.handover === undefined && mustGo(state)) beginHandover(state, role, { isObliged: true });
  else tickHandover(state, role);
  if (state.role !== role) return;
  role.heartbeatElapsed += 1;
  if (role.heartbeatElapsed < state.settings.heartbeatTicks) return;
  role.heartbeatElapsed = 0;
  sendHeartbeats(state, role);
  pressHandover(state, role);
}

/**
 * To all members; with the number of the round of reads, if one is running. Those that go out for readers put off none of the
 * clock's: with each of these goes what is repeated because it may be lost.
 */
export function sendHeartbeats(state: RaftState, role: Leader): void {
  const round = role.reads.running?.round ?? 0;
  for (const { nodeId, matchIndex } of role.peers)
    emit(state, nodeId, { kind: "heartbeat", commitIndex: state.commitIndex, matchIndex, round });
}

/** A leader that can't reach a quorum can't commit, and somebody else may lead already: its clients are better off elsewhere. */
function hasQuorum(state: RaftState, role: Leader): boolean {
  const heard = quorumValue(membershipOf(state), (nodeId) =>
    nodeId === state.self.nodeId || findProgress(role.peers, nodeId)?.isActive === true ? 1 : 0,
  );
  return heard === 1;
}

/** It is damaged, or a committed membership has no vote for it. */
function mustGo(state: RaftState): boolean {
  const { index, membership } = newestMembership(state.log);
  return state.isDamaged || (index <= state.commitIndex && !isVoter(membership, state.self));
}
