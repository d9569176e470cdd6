import type { AppendMessage, Heartbeat } from "./message.ts";
import type { RaftState } from "./raft-state.ts";
import type { Follower } from "./role.ts";

/**
 * A replica whose disk lost what it had acknowledged (a directory put back from a copy, a disk that lied about a sync) broke the promise
 * that commits rest on: it may have been one of the few that hold a committed entry. It can't know; its leader tells it, with every
 * heartbeat, what it acknowledged. Who hasn't got that doesn't vote and doesn't stand, for with its vote somebody could be elected who
 * lacks what is committed. It goes on taking and acknowledging entries, and is itself again once it has as much; or everything
 * committed of a later leader, who was elected without it.
 */
export function noteAcknowledged(state: RaftState, role: Follower, { term, matchIndex, commitIndex }: Heartbeat): void {
  const { log, owed } = state;
  role.acknowledgedIndex = Math.max(role.acknowledgedIndex, matchIndex);
  if (matchIndex > log.lastIndex) owe(state, { index: matchIndex, term });
  if (owed === undefined) return;
  const has = Math.min(log.durableIndex, role.agreedIndex);
  if (has >= owed.index || (term > owed.term && has >= commitIndex)) state.owed = undefined;
}

/** An append is rejected: its place isn't here. If it was acknowledged once, there is another in its stead. */
export function noteRejected(state: RaftState, role: Follower, { prevIndex, term }: AppendMessage): void {
  if (prevIndex <= role.acknowledgedIndex) owe(state, { index: role.acknowledgedIndex, term });
}

/** Its vote isn't to be had. */
export function mayVote({ isDamaged, owed }: RaftState): boolean {
  return !isDamaged && owed === undefined;
}

function owe(state: RaftState, { index, term }: { readonly index: number; readonly term: number }): void {
  state.owed = { index: Math.max(index, state.owed?.index ?? 0), term };
}
