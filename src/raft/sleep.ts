import { emit } from "./effects.ts";
import { followLeader } from "./follower.ts";
import { sendHeartbeats } from "./heartbeats.ts";
import type { NodeId } from "./member.ts";
import type { SleepRequest, SleepResponse } from "./message.ts";
import { findProgress, type Progress } from "./progress.ts";
import { isQuiet } from "./quiet.ts";
import { quorumValue } from "./quorum.ts";
import { membershipOf, type RaftState, resetElectionTimer } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * A node has a thousand groups of which most are idle, and a tick of each would be most of its work. So a group in which nothing is
 * under way falls asleep: it isn't ticked, it sends nothing, it has no timeouts. Nothing of what is safe depends on it.
 *
 * What must be proved is that it wakes. Its leader asks all members, in the place of heartbeats; each that is at rest too, with the
 * leader's very log committed on its disk, falls asleep and says so; the leader does so last, when all have. So a message that is
 * lost leaves the leader awake, and its heartbeats wake the others. Whatever then happens to a replica wakes it, and who is awake
 * gets a leader or becomes one: a leader that wakes sends heartbeats at once; a follower that hears none asks for votes as ever, and
 * those questions wake the rest, the leader too if it lives. What nobody would notice is that the leader's node is gone: that is
 * the node's to notice, once for all of its groups, and to tell by `peerLost`.
 *
 * A member on a node that is lost agrees to nothing. If one dead node kept a third of all groups awake, they would be most awake when
 * there is least to spare; so its agreement isn't waited for, as long as the others are a quorum. It is asked after when its node
 * is found again, or asks itself.
 */
function fallAsleep(state: RaftState): void {
  state.isAsleep = true;
}

/** Something happened. A leader shows at once that it leads, and has the time of a full check to find its quorum. */
export function wake(state: RaftState): void {
  if (!state.isAsleep) return;
  state.isAsleep = false;
  resetElectionTimer(state);
  const { role } = state;
  if (role.kind !== "leader") return;
  for (const peer of role.peers) peer.isActive = false;
  role.heartbeatElapsed = 0;
  stopAsking(role);
  sendHeartbeats(state, role);
}

/** A leader's tick in which heartbeats are due. True when it asked instead: who answers that has been heard from as well. */
export function askToSleep(state: RaftState, role: Leader): boolean {
  const { sleepTicks, electionTicks } = state.settings;
  if (role.quietElapsed < sleepTicks) return false;
  if (role.quietElapsed >= sleepTicks + electionTicks) {
    // Somebody doesn't answer. The others were kept waiting for long enough.
    stopAsking(role);
    return false;
  }
  if (!role.isAskingToSleep) {
    role.isAskingToSleep = true;
    role.sleepRound += 1;
  }
  const { commitIndex } = state;
  for (const peer of role.peers) {
    if (isLost(state, peer))
      emit(state, peer.nodeId, { kind: "heartbeat", commitIndex, matchIndex: peer.matchIndex, round: 0 });
    else emit(state, peer.nodeId, { kind: "sleep-request", round: role.sleepRound, commitIndex });
  }
  settleSleep(state, role);
  return true;
}

/** Each tick of a leader: how long nothing has been under way. */
export function tickQuiet(state: RaftState, role: Leader): void {
  if (isQuiet(state)) role.quietElapsed += 1;
  else stopAsking(role);
}

/** The leader is at rest and asks who else is. That it asks says that it leads. */
export function onSleepRequest(state: RaftState, { from, round, commitIndex }: SleepRequest): void {
  followLeader(state, from);
  const isAgreed = state.log.lastIndex === commitIndex && !state.lostNodes.has(from) && isQuiet(state);
  emit(state, from, { kind: "sleep-response", round, isAgreed });
  if (isAgreed) fallAsleep(state);
  else wake(state);
}

export function onSleepResponse(state: RaftState, role: Leader, { from, round, isAgreed }: SleepResponse): void {
  const peer = findProgress(role.peers, from);
  if (peer === undefined) return;
  peer.isActive = true;
  if (!isAgreed) {
    stopAsking(role);
    wake(state);
    return;
  }
  if (!role.isAskingToSleep || round !== role.sleepRound) return;
  peer.sleepRound = round;
  settleSleep(state, role);
}

/**
 * A node is gone, as far as this one can tell, or began another life. A follower that loses its sleeping leader so wakes without a
 * lease; who loses another member sleeps on, for in a group that sleeps that member has everything.
 */
export function onPeerLost(state: RaftState, nodeId: NodeId): void {
  state.lostNodes.add(nodeId);
  if (!state.isAsleep) return;
  const { role } = state;
  if (role.kind === "follower" && role.leader === nodeId) {
    wake(state);
    state.electionElapsed = state.settings.electionTicks;
  } else if (role.kind === "leader" && !isQuorumThere(state, () => true)) wake(state);
}

/**
 * The connection to a node broke, as it does when its process ends. If that node leads, nobody need wait as long as silence would have to be: a
 * few ticks are enough for its heartbeats to come after all, on a connection of its own or a new one. And who else asks for votes isn't
 * refused for its sake. A leader that lives keeps its lease where its connections hold, so one broken connection unseats nobody.
 */
export function onDisconnected(state: RaftState, nodeId: NodeId): void {
  const { role, settings, random } = state;
  if (state.isAsleep || role.kind !== "follower" || role.leader !== nodeId) return;
  const { electionTicks, heartbeatTicks } = settings;
  // Drawn from as many ticks as two campaigns need to lie apart; two at once would split the votes.
  const soonTicks = heartbeatTicks + 1 + Math.floor(random.float() * (2 * heartbeatTicks + 1));
  const leftTicks = Math.min(soonTicks, state.electionTimeout - state.electionElapsed);
  state.electionElapsed = Math.max(state.electionElapsed, electionTicks);
  state.electionTimeout = state.electionElapsed + leftTicks;
}

/** There is a way to a node again. What it missed of a group that went on without it is its leader's to find out. */
export function onPeerFound(state: RaftState, nodeId: NodeId): void {
  const wasLost = state.lostNodes.delete(nodeId);
  if (wasLost && state.role.kind === "leader" && findProgress(state.role.peers, nodeId) !== undefined) wake(state);
}

function settleSleep(state: RaftState, role: Leader): void {
  if (!isQuiet(state)) {
    stopAsking(role);
    return;
  }
  const hasAgreed = (peer: Progress): boolean => peer.sleepRound === role.sleepRound;
  const isEveryone = role.peers.every((peer) => hasAgreed(peer) || isLost(state, peer));
  if (!isEveryone || !isQuorumThere(state, hasAgreed)) return;
  stopAsking(role);
  fallAsleep(state);
}

function stopAsking(role: Leader): void {
  role.isAskingToSleep = false;
  role.quietElapsed = 0;
}

function isLost({ lostNodes }: RaftState, { nodeId }: Progress): boolean {
  return lostNodes.has(nodeId);
}

/** Those that aren't lost, and of whom `counts` is true, are a quorum. */
function isQuorumThere(state: RaftState, counts: (peer: Progress) => boolean): boolean {
  const { role, self } = state;
  if (role.kind !== "leader") return false;
  const there = quorumValue(membershipOf(state), (nodeId) => {
    const peer = findProgress(role.peers, nodeId);
    return nodeId === self.nodeId || (peer !== undefined && !isLost(state, peer) && counts(peer)) ? 1 : 0;
  });
  return there === 1;
}
