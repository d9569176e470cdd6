import type { Entry } from "./entry.ts";
import type { NodeId, StorageId } from "./member.ts";

/** What replicas of a group say to each other. docs/raft.md has the rules; here is what each field means. */
export type Message =
  | PreVoteRequest
  | PreVoteResponse
  | VoteRequest
  | VoteResponse
  | AppendMessage
  | AppendAccepted
  | AppendRejected
  | CommitNotice
  | Heartbeat
  | HeartbeatResponse
  | SleepRequest
  | SleepResponse
  | NewerTerm
  | Removed
  | TimeoutNow
  | ReadRequest
  | ReadResponse;

export type MessageKind = Message["kind"];

export interface Envelope {
  readonly from: NodeId;
  /** The disk that speaks: refused when the membership has another one for that node. */
  readonly fromStorage: StorageId;
  readonly to: NodeId;
  /** The sender's. Of a pre-vote and its grant: the term that would be; of its refusal: the later of both sides'. */
  readonly term: number;
}

/** "Would you vote for me?" Asked before an election, so that one that can't be won disturbs nobody. */
export interface PreVoteRequest extends Envelope {
  readonly kind: "pre-vote-request";
  /** The last entry of the asker's log. */
  readonly lastIndex: number;
  readonly lastTerm: number;
}

export interface PreVoteResponse extends Envelope {
  readonly kind: "pre-vote-response";
  readonly isGranted: boolean;
}

/** "Vote for me." Sent only once the candidate's own vote is durable. */
export interface VoteRequest extends Envelope {
  readonly kind: "vote-request";
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader itself asked for this election, so having heard from it is no reason to refuse. */
  readonly isTransfer: boolean;
}

export interface VoteResponse extends Envelope {
  readonly kind: "vote-response";
  readonly isGranted: boolean;
}

/** "After that entry come these." Made by the caller from a send order; by the core itself when it carries no entries. */
export interface AppendMessage extends Envelope {
  readonly kind: "append";
  readonly prevIndex: number;
  readonly prevTerm: number;
  /** Contiguous from `prevIndex + 1`. None in a probe that has nothing to bring. */
  readonly entries: readonly Entry[];
  readonly commitIndex: number;
}

/** "My log is yours." */
export interface AppendAccepted extends Envelope {
  readonly kind: "append-accepted";
  /** Up to here it is on the follower's disk; this alone counts. */
  readonly matchIndex: number;
  /** Up to here the follower's log was verified against this leader's, synced or not: what need not be sent again. */
  readonly agreedIndex: number;
}

/** "I have no such entry before it." */
export interface AppendRejected extends Envelope {
  readonly kind: "append-rejected";
  /** Of the append that is rejected. */
  readonly prevIndex: number;
  /** The last place where both may agree: the follower's last entry at or below `prevIndex` whose term isn't above `prevTerm`. */
  readonly hintIndex: number;
  readonly hintTerm: number;
}

/** "So much is committed now." Not answered: one lost is made good by the next append or heartbeat. */
export interface CommitNotice extends Envelope {
  readonly kind: "commit-notice";
  readonly commitIndex: number;
}

/** "I lead." Small, so that those of all groups between two nodes travel together. */
export interface Heartbeat extends Envelope {
  readonly kind: "heartbeat";
  readonly commitIndex: number;
  /** What the follower acknowledged to this leader, be it lost since. */
  readonly matchIndex: number;
  /** Of reads that wait for a quorum; 0 when none ever did. */
  readonly round: number;
}

export interface HeartbeatResponse extends Envelope {
  readonly kind: "heartbeat-response";
  readonly round: number;
  /** The follower doesn't know that it agrees up to the leader's `matchIndex`: it has restarted, and is to be probed there. */
  readonly hasForgotten: boolean;
}

/** "Nothing is under way here: shall we sleep?" Said in the place of a heartbeat. */
export interface SleepRequest extends Envelope {
  readonly kind: "sleep-request";
  /** Each time it is asked for anew another. */
  readonly round: number;
  /** The leader's, and the end of its log. */
  readonly commitIndex: number;
}

export interface SleepResponse extends Envelope {
  readonly kind: "sleep-response";
  readonly round: number;
  /** The follower has the same log on its disk, knows that it is committed, has nothing under way, and sleeps. */
  readonly isAgreed: boolean;
}

/** "The term you lead is over": the answer to an append or heartbeat of an older term. */
export interface NewerTerm extends Envelope {
  readonly kind: "newer-term";
}

/** "You are no member any more." Of that disk: another of the same node may be one. Nobody enters a term for it. */
export interface Removed extends Envelope {
  readonly kind: "removed";
  readonly storageId: StorageId;
  /** Of the committed membership that doesn't have it. */
  readonly membershipIndex: number;
}

/** "Begin an election at once": the last step of a handover. */
export interface TimeoutNow extends Envelope {
  readonly kind: "timeout-now";
}

/** A follower's reader waits for a read index. */
export interface ReadRequest extends Envelope {
  readonly kind: "read-request";
  /** The follower's, given back with the answer. */
  readonly id: number;
}

export interface ReadResponse extends Envelope {
  readonly kind: "read-response";
  readonly id: number;
  readonly index: number;
}
