import { beginHandover, pressHandover, tickHandover } from "./handover.ts";
import { mayCampaign, startPreVote } from "./election.ts";
import { becomeFollower } from "./follower.ts";
import { tickForwarded } from "./forwarded-reads.ts";
import { sendHeartbeats } from "./heartbeats.ts";
import { newestMembership } from "./log-coordinates.ts";
import { isVoter } from "./membership.ts";
import { findProgress } from "./progress.ts";
import { quorumValue } from "./quorum.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";
import { askToSleep, tickQuiet } from "./sleep.ts";

/** A tick of the clock has passed. Who sleeps needn't be told. */
export function tick(state: RaftState): void {
  if (state.isAsleep) return;
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
  tickQuiet(state, role);
  role.heartbeatElapsed += 1;
  if (role.heartbeatElapsed < state.settings.heartbeatTicks) return;
  role.heartbeatElapsed = 0;
  if (!askToSleep(state, role)) sendHeartbeats(state, role);
  pressHandover(state, role);
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
