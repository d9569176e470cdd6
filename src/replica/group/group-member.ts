import type { NodeId } from "../../raft/member.ts";
import type { ProglogError } from "../../base/error.ts";
import type { PeerMessage, PeerNetwork } from "../peer-network.ts";
import type { CopyQuestionKind } from "./copy-questions.ts";
import type { CopyShare } from "./log-copies.ts";
import type { HardStateSlot } from "./hard-state-slot.ts";
import type { UnsyncedAccount } from "./unsynced-bytes.ts";

/** What a group set asks of this node's replica of a group. */
export interface GroupMember {
  readonly isLeader: boolean;
  readonly term: number;
  /** Who leads, as far as it is known here. */
  readonly leader: NodeId | undefined;
  /** It needn't be ticked; absent where that is never so. */
  readonly isAsleep?: boolean;
  receive(message: PeerMessage): void;
  tick(): void;
  /** The connection to a peer broke. */
  disconnected(nodeId: NodeId): void;
  /** A node is lost, or found again; reasons to tick a group that sleeps (docs/raft.md, "Sleeping groups"). */
  peerLost?(nodeId: NodeId): void;
  peerFound?(nodeId: NodeId): void;
  wake?(): void;
  /** Asks for votes at once, where nobody is known to lead. */
  campaign?(): void;
  /** To the voter furthest ahead, where there is another one. */
  transferLeadership(): unknown;
  /** What a peer asks of its log, or has it do; absent where nobody may. */
  answerCopy?(from: NodeId, kind: CopyQuestionKind, body: Buffer, signal: AbortSignal): Promise<Buffer>;
  close(reason: ProglogError): Promise<void>;
}

/** What a group set gives to a member that it opens. */
export interface GroupSeams {
  readonly groupId: string;
  /** Of its log. */
  readonly directory: string;
  /** Whether its log is to be made; otherwise a missing one is a loss. */
  readonly createIfMissing: boolean;
  readonly hardState: HardStateSlot;
  readonly send: PeerNetwork["send"];
  readonly ask: PeerNetwork["ask"];
  /** What the groups of the node share where logs are copied. */
  readonly copies: CopyShare;
  /** To be kept up with what the member has taken and not synced. */
  readonly unsynced: UnsyncedAccount;
  /** Throws OVERLOADED where the groups of the node together have too much that isn't synced: asked before an append is taken. */
  readonly checkRoom: (bytes: number) => void;
  /** It leads, follows, or knows of no leader any more. */
  readonly roleChanged: (change: { readonly term: number; readonly leader: NodeId | undefined }) => void;
  /** It fell asleep, or woke: whether it is to be ticked. What is true when it is opened needn't be told. */
  readonly sleepChanged: (isAsleep: boolean) => void;
  /** It stopped itself. */
  readonly failed: (error: unknown) => void;
}
