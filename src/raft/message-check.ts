import { termJumpMax, termMax } from "../base/cluster-limits.ts";
import { integerMax } from "../base/limits.ts";
import type { Entry } from "./entry.ts";
import { termAt } from "./log-coordinates.ts";
import { findInMembership, findMembershipFault } from "./membership.ts";
import type { AppendMessage, Message, MessageKind } from "./message.ts";
import { membershipOf, type RaftState } from "./raft-state.ts";

export type Refusal =
  /** For another node than this. */
  | "not-for-us"
  /** It would be counted, and comes from a disk that isn't the one the membership has for that node: wiped, or another's. */
  | "wrong-storage"
  /** Of a newer term, which nobody enters on the word of one who belongs to no membership known here, and neither leads nor stands. */
  | "not-a-member"
  /** A second leader of a term in which another was followed. */
  | "second-leader"
  /** Entries that differ from what is committed here or agreed upon in this term, or that don't go on where this log ends. */
  | "contradiction"
  /** Numbers or entries that no sound peer sends. */
  | "malformed";

/**
 * What is wrong with a message. Peers are authenticated, and yet one may be broken, of another version, or speak with the voice of
 * a disk that was wiped: nothing it says may bring this replica to a halt or into a lie. A leader or
 * candidate that the membership doesn't know is let in: who lags hasn't heard of it yet.
 */
export function findRefusal(state: RaftState, message: Message): Refusal | undefined {
  if (message.to !== state.self.nodeId || message.from === state.self.nodeId) return "not-for-us";
  if (!claimantsKinds.has(message.kind)) {
    const known = findInMembership(membershipOf(state), message.from);
    if (known !== undefined && known.storageId !== message.fromStorage) return "wrong-storage";
    if (known === undefined && message.term > state.hardState.term) return "not-a-member";
  }
  if (
    !isNumber(message.term) ||
    message.term > Math.min(termMax, state.hardState.term + termJumpMax) ||
    !isWellFormed(state, message)
  )
    return "malformed";
  if (isOfSecondLeader(state, message)) return "second-leader";
  return message.kind === "append" && isContradiction(state, message) ? "contradiction" : undefined;
}

/** What only the leader of a term says in it. */
const leadersKinds: ReadonlySet<MessageKind> = new Set([
  "append",
  "commit-notice",
  "heartbeat",
  "sleep-request",
  "timeout-now",
  "read-response",
]);

/**
 * What a leader or candidate says, or who tells of a removal. It counts by its own membership, and its log may be about to replace the
 * one here: it is heard whoever it is. All else is an answer, a question or a complaint: to be counted and believed by the membership here.
 */
const claimantsKinds: ReadonlySet<MessageKind> = new Set([...leadersKinds, "pre-vote-request", "vote-request", "removed"]);

function isOfSecondLeader({ role, hardState }: RaftState, { kind, term, from }: Message): boolean {
  if (term !== hardState.term || !leadersKinds.has(kind)) return false;
  return role.kind === "leader" || (role.kind === "follower" && role.leader !== undefined && role.leader !== from);
}

/**
 * One of the two logs isn't what it promised to be. Nothing is taken of such a message, and nothing answered: its sender gets no
 * further here, and whoever runs this replica sees why.
 */
function isContradiction({ log, commitIndex, role, hardState }: RaftState, message: AppendMessage): boolean {
  const { term, prevIndex, prevTerm, entries } = message;
  if (term < hardState.term) return false;
  const ownPrevTerm = termAt(log, prevIndex);
  if (prevIndex > commitIndex && ownPrevTerm !== prevTerm) return false; // rejected: nothing of it is taken
  if (ownPrevTerm !== undefined && ownPrevTerm !== prevTerm) return true;
  const keptIndex = role.kind === "follower" && term === hardState.term ? role.agreedIndex : commitIndex;
  for (const { index, term: entryTerm, baseOffset } of entries) {
    const ownTerm = termAt(log, index);
    if (ownTerm === entryTerm || index < log.base.index) continue;
    if (index <= keptIndex) return true;
    return ownTerm === undefined && baseOffset !== log.nextOffset;
  }
  return false;
}

function isWellFormed(state: RaftState, message: Message): boolean {
  const ownLast = state.log.lastIndex;
  const isToLeader = state.role.kind === "leader" && message.term === state.hardState.term;
  switch (message.kind) {
    case "pre-vote-request":
    case "vote-request":
      return isNumber(message.lastIndex) && isNumber(message.lastTerm) && message.lastTerm < message.term;
    case "append":
      return isSoundAppend(message);
    case "append-accepted":
      if (!isNumber(message.matchIndex) || !isNumber(message.agreedIndex)) return false;
      return message.matchIndex <= message.agreedIndex && (!isToLeader || message.agreedIndex <= ownLast);
    case "append-rejected":
      if (!isNumber(message.prevIndex) || !isNumber(message.hintIndex) || !isNumber(message.hintTerm)) return false;
      return message.hintIndex < message.prevIndex && message.hintTerm <= message.term;
    case "heartbeat":
      return isNumber(message.commitIndex) && isNumber(message.matchIndex) && isNumber(message.round);
    case "commit-notice":
      return isNumber(message.commitIndex);
    case "heartbeat-response":
    case "sleep-response":
      return isNumber(message.round);
    case "sleep-request":
      return isNumber(message.round) && isNumber(message.commitIndex);
    case "removed":
      return isNumber(message.membershipIndex);
    case "read-request":
      return isNumber(message.id);
    case "read-response":
      return isNumber(message.id) && isNumber(message.index);
    case "pre-vote-response":
    case "vote-response":
    case "newer-term":
    case "timeout-now":
      return true;
    default:
      return false;
  }
}

function isSoundAppend({ prevIndex, prevTerm, commitIndex, entries, term }: AppendMessage): boolean {
  if (!isNumber(prevIndex) || !isNumber(prevTerm) || !isNumber(commitIndex) || prevTerm > term) return false;
  let index = prevIndex;
  let entryTerm = prevTerm;
  let offset = entries[0]?.baseOffset ?? 0;
  for (const entry of entries) {
    index += 1;
    if (entry.index !== index || entry.term < entryTerm || entry.term > term || entry.baseOffset !== offset) return false;
    if (!isSoundEntry(entry)) return false;
    entryTerm = entry.term;
    offset += entry.span;
  }
  return isNumber(index) && isNumber(offset);
}

function isSoundEntry({ term, kind, span, baseOffset, bytes, membership }: Entry): boolean {
  if (!isNumber(term) || term === 0 || !isNumber(span) || !isNumber(baseOffset) || !isNumber(bytes)) return false;
  if ((kind === "data") !== span > 0 || (kind === "membership") !== (membership !== undefined)) return false;
  return membership === undefined || findMembershipFault(membership) === undefined;
}

function isNumber(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= integerMax;
}
