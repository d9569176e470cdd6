import { emit, type Effects } from "./effects.ts";
import type { ReadResponse } from "./message.ts";
import type { RaftState } from "./raft-state.ts";
import type { Follower } from "./role.ts";

/**
 * Readers of a follower, whose leader was asked for them. Each question has a number that no question of this group had before, those
 * of this node's earlier starts included: the caller's ids begin anew with each start, and an answer to an older reader of the same id
 * may still be under way. All get an answer: the leader's, or that they are to ask again.
 */
export interface ForwardedReads {
  /** Ids by the number of the question. */
  recent: Map<number, number>;
  /** Those that waited already when the clock was last looked at: the next time they have waited for too long. */
  older: Map<number, number>;
  elapsed: number;
}

export function newForwardedReads(): ForwardedReads {
  return { recent: new Map(), older: new Map(), elapsed: 0 };
}

/** False when too many wait. */
export function forwardRead(state: RaftState, { leader, forwarded }: Follower, id: number): boolean {
  if (leader === undefined || countForwarded(forwarded) >= state.settings.readsWaitingMaxCount) return false;
  // Drawn when it is first needed. Two starts don't come near each other's numbers in so wide a space.
  if (state.lastReadNumber === 0) state.lastReadNumber = Math.floor(state.random.float() * 2 ** 52);
  state.lastReadNumber += 1;
  forwarded.recent.set(state.lastReadNumber, id);
  emit(state, leader, { kind: "read-request", id: state.lastReadNumber });
  return true;
}

/** Passes on what was asked, once. */
export function onReadResponse(state: RaftState, { id: number, index }: ReadResponse): void {
  if (state.role.kind !== "follower") return;
  for (const waiting of [state.role.forwarded.recent, state.role.forwarded.older]) {
    const id = waiting.get(number);
    if (id === undefined) continue;
    waiting.delete(number);
    state.effects.reads.push({ id, outcome: "confirmed", index });
    return;
  }
}

/** Question or answer may be lost: who has waited for one to two election timeouts is to ask again. */
export function tickForwarded({ effects, settings }: RaftState, { forwarded }: Follower): void {
  forwarded.elapsed += 1;
  if (forwarded.elapsed < settings.electionTicks) return;
  forwarded.elapsed = 0;
  fail(effects, forwarded.older);
  forwarded.older = forwarded.recent;
  forwarded.recent = new Map();
}

/** The leader that was asked is none any more, for this replica. */
export function failForwarded({ effects }: RaftState, { forwarded }: Follower): void {
  fail(effects, forwarded.older);
  fail(effects, forwarded.recent);
}

export function countForwarded({ recent, older }: ForwardedReads): number {
  return recent.size + older.size;
}

function fail({ reads }: Effects, waiting: Map<number, number>): void {
  for (const id of waiting.values()) reads.push({ id, outcome: "failed" });
  waiting.clear();
}
