import { assert } from "../base/assert.ts";
import { raiseCommit } from "./commit.ts";
import { emit } from "./effects.ts";
import type { Entry } from "./entry.ts";
import { followLeader } from "./follower.ts";
import { appendEntries, findAgreement, termAt, truncateLog } from "./log-coordinates.ts";
import type { AppendMessage, CommitNotice, Heartbeat } from "./message.ts";
import { noteAcknowledged, noteRejected } from "./owing.ts";
import type { RaftState } from "./raft-state.ts";
import type { Follower } from "./role.ts";

/**
 * The follower's side of replication: keeping the log a prefix of the leader's (paper §5.3). What is committed is never looked
 * at again, so a message that begins before it, or before a trimmed prefix, is no conflict; and where an entry differs it lies
 * behind the commit index, or one of the two logs isn't what it promised to be: such a message was refused before.
 */
export function onAppend(state: RaftState, message: AppendMessage): void {
  const role = followLeader(state, message.from);
  if (!hasPrevious(state, message)) {
    noteRejected(state, role, message);
    reject(state, message);
    return;
  }
  const { entries, prevIndex } = message;
  const isWritten = matchEntries(state, role, entries, Math.max(prevIndex, state.commitIndex));
  role.agreedIndex = Math.max(role.agreedIndex, prevIndex + entries.length);
  raiseCommit(state, Math.min(message.commitIndex, role.agreedIndex));
  // What is new is acknowledged when the disk has it. Else the answer is due now: the leader asks where they agree, or again.
  if (!isWritten) acknowledge(state, role);
}

export function onHeartbeat(state: RaftState, message: Heartbeat): void {
  const role = followLeader(state, message.from);
  raiseCommit(state, Math.min(message.commitIndex, role.agreedIndex));
  noteAcknowledged(state, role, message);
  const hasForgotten = role.agreedIndex < message.matchIndex;
  emit(state, message.from, { kind: "heartbeat-response", round: message.round, hasForgotten });
}

export function onCommitNotice(state: RaftState, message: CommitNotice): void {
  const role = followLeader(state, message.from);
  raiseCommit(state, Math.min(message.commitIndex, role.agreedIndex));
}

/** Something became durable: tell the leader, if that is more than it was told. */
export function acknowledgeDurable(state: RaftState, role: Follower): void {
  if (matchOf(state, role) > role.toldIndex) acknowledge(state, role);
}

/** What the disk has, but no more than what this leader's messages covered: the rest of the log may be an older leader's. */
function matchOf({ log }: RaftState, role: Follower): number {
  return Math.min(log.durableIndex, role.agreedIndex);
}

export function acknowledge(state: RaftState, role: Follower): void {
  if (role.leader === undefined || state.isDamaged) return;
  const matchIndex = matchOf(state, role);
  role.toldIndex = Math.max(role.toldIndex, matchIndex);
  emit(state, role.leader, { kind: "append-accepted", matchIndex, agreedIndex: role.agreedIndex });
}

function hasPrevious({ log, commitIndex }: RaftState, { prevIndex, prevTerm }: AppendMessage): boolean {
  const term = termAt(log, prevIndex);
  if (prevIndex > commitIndex) return term === prevTerm;
  assert(term === undefined || term === prevTerm, "what is committed is in the leader's log");
  return true;
}

/** Takes in the entries behind `knownIndex`, truncating where one differs. True when there was anything to write. */
function matchEntries(state: RaftState, role: Follower, entries: readonly Entry[], knownIndex: number): boolean {
  const { log } = state;
  for (let position = 0; position < entries.length; position += 1) {
    const entry = entries[position];
    if (entry === undefined) continue;
    if (entry.index <= knownIndex) {
      assert((termAt(log, entry.index) ?? entry.term) === entry.term, "a committed entry never changes");
      continue;
    }
    if (termAt(log, entry.index) === entry.term) continue;
    if (entry.index <= log.lastIndex) {
      assert(entry.index > state.commitIndex, "nobody truncates at or below the commit index");
      assert(entry.index > role.agreedIndex, "a leader never changes its own log");
      truncateLog(log, { lastIndex: entry.index - 1, nextOffset: entry.baseOffset });
    }
    appendEntries(log, position === 0 ? entries : entries.slice(position));
    return true;
  }
  return false;
}

function reject(state: RaftState, { from, prevIndex, prevTerm }: AppendMessage): void {
  const { log, commitIndex } = state;
  const agreement = findAgreement(log, { index: Math.min(prevIndex - 1, log.lastIndex), term: prevTerm });
  const hintIndex = Math.max(agreement, commitIndex);
  emit(state, from, { kind: "append-rejected", prevIndex, hintIndex, hintTerm: termAt(log, hintIndex) ?? 0 });
}
