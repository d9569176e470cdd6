import { withdrawAll } from "./catch-up.ts";
import { newForwardedReads } from "./forwarded-reads.ts";
import { enterTerm } from "./hard-state.ts";
import type { NodeId } from "./member.ts";
import { type RaftState, resetElectionTimer } from "./raft-state.ts";
import { failWaiting } from "./read-index.ts";
import type { Follower } from "./role.ts";

/** Becomes a follower of `term`, of a leader when one is known. What it led or stood for is over. */
export function becomeFollower(state: RaftState, term: number, leader: NodeId | undefined): Follower {
  if (term > state.hardState.term) enterTerm(state.hardState, term, undefined);
  failWaiting(state);
  if (state.role.kind === "leader") withdrawAll(state, state.role);
  const role: Follower = {
    kind: "follower",
    leader,
    agreedIndex: state.commitIndex,
    toldIndex: 0,
    acknowledgedIndex: 0,
    forwarded: newForwardedReads(),
  };
  state.role = role;
  resetElectionTimer(state);
  return role;
}

/** Takes in that the leader of this term was heard. */
export function followLeader(state: RaftState, leader: NodeId): Follower {
  const { role } = state;
  state.removedAt = 0; // who is led is a member, or will be told again
  if (role.kind !== "follower") return becomeFollower(state, state.hardState.term, leader);
  role.leader = leader;
  resetElectionTimer(state);
  return role;
}
