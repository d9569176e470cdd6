import { emit } from "./effects.ts";
import { becomeFollower } from "./follower.ts";
import { enterTerm, grantVote } from "./hard-state.ts";
import { becomeLeader } from "./leader.ts";
import { lastTerm } from "./log-coordinates.ts";
import type { NodeId } from "./member.ts";
import { isVoter, votersOf } from "./membership.ts";
import type { PreVoteRequest, PreVoteResponse, TimeoutNow, VoteRequest, VoteResponse } from "./message.ts";
import { mayVote } from "./owing.ts";
import { electionResult } from "./quorum.ts";
import { membershipOf, type RaftState, resetElectionTimer } from "./raft-state.ts";
import { failWaiting } from "./read-index.ts";
import { type Candidate, leaderOf, type PreCandidate, recordVote, voteOf } from "./role.ts";

/**
 * A voter, with a disk to trust. Also one that an uncommitted membership in its log makes none (thesis 4.2.2): it may be the only
 * one with all that is committed, and the others can't do without it until that membership is. Its own vote counts only where it
 * still has one.
 */
export function mayCampaign(state: RaftState): boolean {
  const { removedAt, log, self } = state;
  return mayVote(state) && removedAt === 0 && log.memberships.some(({ membership }) => isVoter(membership, self));
}

/**
 * Asks first whether it would win (thesis 9.6), in a term that nobody enters for it: a replica that was cut off for an hour
 * comes back with the term it had, and doesn't unseat a leader by its return.
 */
export function startPreVote(state: RaftState): void {
  failWaiting(state);
  const role: PreCandidate = { kind: "pre-candidate", votes: [] };
  state.role = role;
  resetElectionTimer(state);
  recordVote(role.votes, { nodeId: state.self.nodeId, isGranted: true });
  for (const { nodeId } of votersOf(membershipOf(state))) {
    if (nodeId === state.self.nodeId) continue;
    emit(state, nodeId, { kind: "pre-vote-request", ...lastOf(state) }, state.hardState.term + 1);
  }
  settlePreVote(state, role);
}

/** Stands for election in the next term. The requests wait until its vote for itself is durable, and so does that vote. */
export function startElection(state: RaftState, isTransfer: boolean): void {
  failWaiting(state);
  enterTerm(state.hardState, state.hardState.term + 1, state.self);
  const role: Candidate = { kind: "candidate", votes: [], voteSequence: state.hardState.sequence };
  state.role = role;
  resetElectionTimer(state);
  for (const { nodeId } of votersOf(membershipOf(state)))
    if (nodeId !== state.self.nodeId) emit(state, nodeId, { kind: "vote-request", ...lastOf(state), isTransfer });
}

/** Counts the candidate's own vote, once the disk has it. */
export function onHardStateDurable(state: RaftState): void {
  const { role, hardState } = state;
  if (role.kind !== "candidate" || hardState.durableSequence < role.voteSequence) return;
  recordVote(role.votes, { nodeId: state.self.nodeId, isGranted: true });
  settleElection(state, role);
}

export function onPreVoteRequest(state: RaftState, message: PreVoteRequest): void {
  const { term } = state.hardState;
  // For a term ahead there is no vote to give away yet; for this one it would be given as a real one is.
  const isFree = message.term > term || (message.term === term && isVoteFree(state, message));
  const isGranted = isFree && mayVote(state) && isUpToDate(state, message);
  // A grant names the term that was asked about. A refusal names ours, so that the asker learns of it; if the asker's own is the
  // later one, that: it would pass over an older.
  emit(
    state,
    message.from,
    { kind: "pre-vote-response", isGranted },
    isGranted ? message.term : Math.max(term, message.term - 1),
  );
}

export function onPreVoteResponse(state: RaftState, message: PreVoteResponse): void {
  const { role } = state;
  if (role.kind !== "pre-candidate") return;
  if (message.isGranted && message.term !== state.hardState.term + 1) return;
  recordVote(role.votes, { nodeId: message.from, isGranted: message.isGranted });
  settlePreVote(state, role);
}

/** The request is of this term: an older one was answered before, and a newer one entered. */
export function onVoteRequest(state: RaftState, message: VoteRequest): void {
  const isGranted = mayVote(state) && isVoteFree(state, message) && isUpToDate(state, message);
  if (isGranted) {
    grantVote(state.hardState, { nodeId: message.from, storageId: message.fromStorage });
    resetElectionTimer(state);
  }
  emit(state, message.from, { kind: "vote-response", isGranted });
}

export function onVoteResponse(state: RaftState, message: VoteResponse): void {
  const { role } = state;
  if (role.kind !== "candidate") return;
  recordVote(role.votes, { nodeId: message.from, isGranted: message.isGranted });
  settleElection(state, role);
}

/** The leader of this term wants this replica to succeed it: no pre-vote, since nobody has to be found out about. */
export function onTimeoutNow(state: RaftState, message: TimeoutNow): void {
  const { role } = state;
  if (role.kind === "follower" && role.leader === message.from && mayCampaign(state)) startElection(state, true);
}

/**
 * A leader was heard from lately, or this is one: no vote for anybody in a newer term, unless the leader itself asked for it; or
 * is who asks, for then it leads no more.
 */
export function isInLease(state: RaftState, asker: NodeId): boolean {
  const { role } = state;
  if (role.kind === "leader") return true;
  if (role.kind !== "follower" || role.leader === undefined || role.leader === asker) return false;
  return state.electionElapsed < state.settings.electionTicks;
}

/**
 * The leader asked for this election. That is believed of those who have a vote in the committed membership, or in what followed:
 * a `timeout-now` may arrive long after the transfer was given up and its target removed.
 */
export function isOfTransfer({ log }: RaftState, { from, fromStorage, isTransfer }: VoteRequest): boolean {
  const candidate = { nodeId: from, storageId: fromStorage };
  return isTransfer && log.memberships.some(({ membership }) => isVoter(membership, candidate));
}

function settlePreVote(state: RaftState, role: PreCandidate): void {
  const result = electionResult(membershipOf(state), (nodeId) => voteOf(role.votes, nodeId));
  if (result === "won") startElection(state, false);
  else if (result === "lost") becomeFollower(state, state.hardState.term, undefined);
}

function settleElection(state: RaftState, role: Candidate): void {
  // An election may be won by the others' votes alone; but a leader's term has to be durable before it acts in it.
  if (state.hardState.durableSequence < role.voteSequence) return;
  const result = electionResult(membershipOf(state), (nodeId) => voteOf(role.votes, nodeId));
  if (result === "won") becomeLeader(state);
  else if (result === "lost") becomeFollower(state, state.hardState.term, undefined);
}

/** The vote of this term is given to nobody, or to the one who asks again. */
function isVoteFree(state: RaftState, { from, fromStorage }: VoteRequest | PreVoteRequest): boolean {
  const { vote } = state.hardState;
  if (vote !== undefined) return vote.nodeId === from && vote.storageId === fromStorage;
  return leaderOf(state.role, state.self.nodeId) === undefined;
}

/** Paper §5.4.1: the later last term, or in the same the longer log. */
function isUpToDate(state: RaftState, { lastIndex, lastTerm: term }: VoteRequest | PreVoteRequest): boolean {
  const own = lastOf(state);
  return term > own.lastTerm || (term === own.lastTerm && lastIndex >= own.lastIndex);
}

function lastOf({ log }: RaftState): { readonly lastIndex: number; readonly lastTerm: number } {
  return { lastIndex: log.lastIndex, lastTerm: lastTerm(log) };
}
