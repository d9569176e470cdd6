import { emit, type Effects } from "./effects.ts";
import { failForwarded, forwardRead } from "./forwarded-reads.ts";
import type { NodeId } from "./member.ts";
import type { HeartbeatResponse, ReadRequest } from "./message.ts";
import { findProgress } from "./progress.ts";
import { quorumValue } from "./quorum.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * Read index (thesis 6.4): the leader notes its commit index, asks a quorum whether it still leads, and may then say that nothing
 * acknowledged before was missed. The question has a number, which no earlier question had: an answer to an older one says
 * nothing about now. One question is out at a time, for all who waited when it began; who comes later waits for the next.
 */
export interface ReadRounds {
  waiting: Reader[];
  running: ReadRound | undefined;
  /** The number of the last round begun. */
  lastRound: number;
}

interface ReadRound {
  readonly round: number;
  readonly index: number;
  readonly readers: readonly Reader[];
}

interface Reader {
  readonly id: number;
  /** The follower that asked; undefined when it was a reader here. */
  readonly from: NodeId | undefined;
}

export function newReadRounds(): ReadRounds {
  return { waiting: [], running: undefined, lastRound: 0 };
}

export type ReadOutcome =
  | { readonly outcome: "waiting" }
  | { readonly outcome: "no-leader" }
  /** Too many wait. */
  | { readonly outcome: "overloaded" };

export function readIndex(state: RaftState, id: number): ReadOutcome {
  const { role } = state;
  if (role.kind === "leader") return addReader(state, role, { id, from: undefined });
  if (role.kind !== "follower" || role.leader === undefined) return { outcome: "no-leader" };
  return { outcome: forwardRead(state, role, id) ? "waiting" : "overloaded" };
}

/** A reader of a follower that finds no place here is not told: it fails there, as it does when its question is lost. */
export function onReadRequest(state: RaftState, { id, from }: ReadRequest): void {
  if (state.role.kind === "leader") addReader(state, state.role, { id, from });
}

function addReader(state: RaftState, { reads }: Leader, reader: Reader): ReadOutcome {
  const count = reads.waiting.length + (reads.running?.readers.length ?? 0);
  if (count >= state.settings.readsWaitingMaxCount) return { outcome: "overloaded" };
  reads.waiting.push(reader);
  return { outcome: "waiting" };
}

/** Begins a round for those who wait, once the leader knows what is committed. True when its number is to be sent. */
export function beginRound(state: RaftState, role: Leader): boolean {
  const { reads } = role;
  if (reads.running !== undefined || reads.waiting.length === 0 || state.commitIndex < role.noOpIndex) return false;
  reads.lastRound += 1;
  reads.running = { round: reads.lastRound, index: state.commitIndex, readers: reads.waiting };
  reads.waiting = [];
  return !settleRound(state, role);
}

export function onRoundAnswered(state: RaftState, role: Leader, { from, round }: HeartbeatResponse): void {
  const peer = findProgress(role.peers, from);
  if (peer === undefined || round <= peer.round || round > role.reads.lastRound) return;
  peer.round = round;
  settleRound(state, role);
}

/** Answers the readers of the running round when a quorum has: of the membership in force now, which may have come since it began. */
export function settleRound(state: RaftState, role: Leader): boolean {
  const { running } = role.reads;
  if (running === undefined) return false;
  const answered = quorumValue(membershipOf(state), (nodeId) =>
    nodeId === state.self.nodeId ? running.round : (findProgress(role.peers, nodeId)?.round ?? 0),
  );
  if (answered < running.round) return false;
  role.reads.running = undefined;
  for (const { id, from } of running.readers) {
    if (from === undefined) state.effects.reads.push({ id, outcome: "confirmed", index: running.index });
    else emit(state, from, { kind: "read-response", id, index: running.index });
  }
  return true;
}

/** Tells who waits here to ask again, elsewhere: this replica leads no more, or follows that leader no more. */
export function failWaiting(state: RaftState): void {
  const { role, effects } = state;
  if (role.kind === "leader") failReads(effects, role.reads);
  else if (role.kind === "follower") failForwarded(state, role);
}

function failReads({ reads: answers }: Effects, reads: ReadRounds): void {
  for (const { id, from } of [...(reads.running?.readers ?? []), ...reads.waiting])
    if (from === undefined) answers.push({ id, outcome: "failed" });
  reads.running = undefined;
  reads.waiting = [];
}
