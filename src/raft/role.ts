import type { ByteWindow } from "./byte-window.ts";
import type { ForwardedReads } from "./forwarded-reads.ts";
import type { Member, NodeId } from "./member.ts";
import type { Progress } from "./progress.ts";
import type { ReadRounds } from "./read-index.ts";

/** What a replica is in its term. A field that makes sense in one role lives in that one alone. */
export type Role = Follower | PreCandidate | Candidate | Leader;

export interface Follower {
  readonly kind: "follower";
  leader: NodeId | undefined;
  /**
   * Up to here the log was verified against the leader of this term. At least the commit index: what is committed, every later
   * leader has.
   */
  agreedIndex: number;
  /** The highest index acknowledged in this term. */
  toldIndex: number;
  /** The same by the leader's word, which knows of what was acknowledged before a restart. */
  acknowledgedIndex: number;
  /** Readers here, for whom the leader was asked. */
  readonly forwarded: ForwardedReads;
}

export interface PreCandidate {
  readonly kind: "pre-candidate";
  readonly votes: Vote[];
}

export interface Candidate {
  readonly kind: "candidate";
  readonly votes: Vote[];
  /** The hard state that its own vote stands in: counted when that is durable. */
  readonly voteSequence: number;
}

export interface Leader {
  readonly kind: "leader";
  /** Its first entry. Once that is committed, so is all before it, and the leader knows how far. */
  readonly noOpIndex: number;
  /** Every other member. */
  readonly peers: Progress[];
  /** Who was in a membership of this leader's and isn't in the next: to be told once that is committed. */
  readonly leaving: Member[];
  readonly uncommitted: ByteWindow;
  readonly reads: ReadRounds;
  handover: Handover | undefined;
  heartbeatElapsed: number;
  /** Ticks for which nothing has been under way. */
  quietElapsed: number;
  /** Of the last time that it asked the members to sleep. */
  sleepRound: number;
  isAskingToSleep: boolean;
}

export interface Vote {
  readonly nodeId: NodeId;
  readonly isGranted: boolean;
}

export interface Handover {
  readonly to: NodeId;
  elapsed: number;
  /** It got its `timeout-now`. */
  isAsked: boolean;
  /** The leader was removed or is damaged: when this handover fails it steps down. */
  readonly isObliged: boolean;
}

export function recordVote(votes: Vote[], vote: Vote): void {
  // The first word counts: a doubled message changes nothing.
  if (!votes.some(({ nodeId }) => nodeId === vote.nodeId)) votes.push(vote);
}

export function voteOf(votes: readonly Vote[], nodeId: NodeId): boolean | undefined {
  for (const vote of votes) if (vote.nodeId === nodeId) return vote.isGranted;
  return undefined;
}

export function leaderOf(role: Role, self: NodeId): NodeId | undefined {
  if (role.kind === "leader") return self;
  return role.kind === "follower" ? role.leader : undefined;
}
