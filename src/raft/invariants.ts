import { windowCount } from "./byte-window.ts";
import { isHardStateDurable } from "./hard-state.ts";
import { type LogCoordinates, lastTerm, newestMembership } from "./log-coordinates.ts";
import type { Member } from "./member.ts";
import { findMembershipFault, type Membership, membersOf } from "./membership.ts";
import { findProgress, type Progress } from "./progress.ts";
import { isQuiet } from "./quiet.ts";
import type { RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * What holds of one replica's core at all times, by the numbers of docs/raft.md: run after each step in tests and simulations.
 * What holds of a group as a whole is in group-witness.ts.
 */
export function findViolations(state: RaftState, before?: Marks): string[] {
  const found: string[] = [];
  const expect = (rule: string, holds: boolean, what: string): void => {
    if (!holds) found.push(`${rule}: ${what}`);
  };
  checkLog(state, expect);
  checkRole(state, expect);
  if (before !== undefined) checkMarks(state, before, expect);
  return found;
}

/** What must not go back from one step to the next. */
export interface Marks {
  readonly term: number;
  readonly vote: string | undefined;
  readonly sequence: number;
  readonly baseIndex: number;
  readonly commitIndex: number;
  readonly durableIndex: number;
  readonly generation: number;
  readonly membership: Membership;
}

export function marksOf({ hardState, log, commitIndex }: RaftState): Marks {
  return {
    term: hardState.term,
    vote: hardState.vote?.storageId,
    sequence: hardState.sequence,
    baseIndex: log.base.index,
    commitIndex,
    durableIndex: log.durableIndex,
    generation: log.generation,
    membership: newestMembership(log).membership,
  };
}

type Expect = (rule: string, holds: boolean, what: string) => void;

function checkMarks(state: RaftState, before: Marks, expect: Expect): void {
  const now = marksOf(state);
  expect("R1", now.commitIndex >= before.commitIndex, `commit fell from ${before.commitIndex} to ${now.commitIndex}`);
  expect("R1", now.baseIndex >= before.baseIndex, "the base fell");
  expect("R1", now.generation >= before.generation, "the generation fell");
  expect(
    "R1",
    now.durableIndex >= before.durableIndex || now.generation > before.generation,
    "durable fell without a truncation",
  );
  expect("R2", now.term >= before.term && now.sequence >= before.sequence, "term or hard state fell");
  const isVoteKept = now.term > before.term || before.vote === undefined || now.vote === before.vote;
  if (state.role.kind === "leader" && now.membership === before.membership && now.commitIndex > before.commitIndex)
    expect("R5", now.commitIndex <= countedIndex(state, state.role), "what a leader commits is on its disk and a quorum's");
  expect("R2", isVoteKept, `the vote for ${before.vote} was taken back`);
}

/** Another way to the index that a quorum has: the middle one of each half, sorted; and nothing of who is damaged or lost something. */
function countedIndex({ self, isDamaged, log }: RaftState, { peers }: Leader): number {
  const ofMember = ({ nodeId }: Member): number => {
    if (nodeId === self.nodeId) return isDamaged ? 0 : log.durableIndex;
    const peer = findProgress(peers, nodeId);
    return peer === undefined || peer.lostIndex > 0 ? 0 : peer.matchIndex;
  };
  const { voters, outgoing } = newestMembership(log).membership;
  const halves = [voters, outgoing].filter((half) => half.length > 0);
  const middles = halves.map((half) => half.map(ofMember).sort((a, b) => b - a)[Math.floor(half.length / 2)] ?? 0);
  return Math.min(...middles);
}

function checkLog({ log, commitIndex, hardState }: RaftState, expect: Expect): void {
  const { base, lastIndex, durableIndex, memberships, handedIndex } = log;
  expect("R1", base.index <= commitIndex && commitIndex <= lastIndex, `commit ${commitIndex} lies outside of the log`);
  expect(
    "R1",
    durableIndex <= lastIndex && durableIndex <= handedIndex,
    `durable ${durableIndex} is ahead of what was written`,
  );
  checkHistory(log, expect);
  expect("R3", lastTerm(log) <= hardState.term, "an entry is of a term that the node hasn't reached");
  for (const [position, { index, membership }] of memberships.entries()) {
    const next = memberships[position + 1];
    expect("R4", next === undefined || index < next.index, "memberships rise");
    expect("R4", position === 0 || index > commitIndex, "only one membership is kept of what is committed");
    const isUnknown = index === 0 && membership.voters.length === 0;
    expect("R4", isUnknown || findMembershipFault(membership) === undefined, `the membership at ${index} is unsound`);
  }
  expect("R4", newestMembership(log).index <= lastIndex, "the membership in force is in the log");
}

function checkHistory({ base, lastIndex, nextOffset, termHistory }: LogCoordinates, expect: Expect): void {
  let { index, term, nextOffset: offset } = base;
  for (const start of termHistory) {
    expect("R3", start.firstIndex > index, "the term history rises in index");
    expect("R3", start.term > term || (start.term === term && start === termHistory[0]), "the term history rises in term");
    expect("R3", start.firstOffset >= offset, "the term history doesn't fall in offset");
    ({ firstIndex: index, term, firstOffset: offset } = start);
  }
  expect("R3", index <= lastIndex && offset <= nextOffset, "the term history ends in the log");
  expect("R3", (termHistory[0]?.firstIndex ?? lastIndex + 1) === base.index + 1, "the term history begins behind the base");
}

function checkRole(state: RaftState, expect: Expect): void {
  const { role, hardState, self, log, effects } = state;
  expect("R11", !state.isAsleep || isQuiet(state), "who sleeps has nothing under way");
  const lostLeader = role.kind === "follower" && role.leader !== undefined && state.lostNodes.has(role.leader);
  expect("R11", !state.isAsleep || !lostLeader, "nobody sleeps whose leader's node is lost");
  if (role.kind === "leader") {
    expect("R5", hardState.vote?.storageId === self.storageId && isHardStateDurable(hardState), "a leader's vote is durable");
    checkLeader(state, role, expect);
  }
  if (role.kind === "candidate") {
    expect("R5", hardState.vote?.storageId === self.storageId, "a candidate votes for itself");
    const hasOwn = role.votes.some(({ nodeId }) => nodeId === self.nodeId);
    expect("R5", !hasOwn || hardState.durableSequence >= role.voteSequence, "an own vote counts when it is durable");
  }
  if (role.kind === "follower") {
    expect("R8", role.agreedIndex <= log.lastIndex, "the log has what was agreed upon");
    expect("R8", role.agreedIndex >= state.commitIndex, "what is committed is agreed upon");
    expect("R8", role.toldIndex <= Math.min(log.durableIndex, role.agreedIndex), "what was acknowledged is durable and agreed");
  }
  expect(
    "R9",
    effects.held.every(({ sequence }) => sequence > hardState.durableSequence),
    "what is held waits for a hard state",
  );
}

function checkLeader(state: RaftState, role: Leader, expect: Expect): void {
  const { log, commitIndex, self } = state;
  const others = membersOf(newestMembership(log).membership).filter(({ nodeId }) => nodeId !== self.nodeId);
  const isEveryone = others.length === role.peers.length && others.every(({ nodeId }, i) => role.peers[i]?.nodeId === nodeId);
  expect("R6", isEveryone, "a leader has the progress of each other member");
  for (const peer of role.peers) checkProgress(state, peer, expect);
  const own = log.memberships.filter(({ index }) => index > Math.max(commitIndex, role.noOpIndex));
  expect("R4", own.length <= 1, "a leader has one change of membership under way");
  expect("R10", role.reads.running === undefined || commitIndex >= role.noOpIndex, "a round of reads waits for the no-op");
  expect("R10", (role.reads.running?.index ?? 0) <= commitIndex, "a read index is committed");
}

function checkProgress({ log, settings }: RaftState, peer: Progress, expect: Expect): void {
  const { matchIndex, nextIndex, flow, nodeId } = peer;
  const holds = matchIndex < nextIndex && nextIndex <= log.lastIndex + 1;
  expect("R6", holds, `of ${nodeId}: match ${matchIndex}, next ${nextIndex}, last ${log.lastIndex}`);
  if (flow.kind !== "replicate") return;
  const { inflight } = flow;
  let before = matchIndex;
  for (const { lastIndex } of inflight.items.slice(inflight.head)) {
    expect("R7", lastIndex > before && lastIndex < nextIndex, `of ${nodeId}: in flight lies between match and next`);
    before = lastIndex;
  }
  expect("R7", windowCount(inflight) <= settings.inflightMaxCount, `of ${nodeId}: too many appends in flight`);
  const held = inflight.items.slice(inflight.head);
  const bytes = held.reduce((sum, item) => sum + item.bytes, 0);
  expect("R7", bytes === inflight.bytes, `of ${nodeId}: what is in flight adds up`);
  // Whatever the last order brought; before it there was room.
  const earlier = bytes - (held.at(-1)?.bytes ?? 0);
  expect("R7", earlier < settings.inflightMaxBytes, `of ${nodeId}: too many bytes in flight`);
}
