import { emit } from "./effects.ts";
import { becomeFollower } from "./follower.ts";
import type { Member } from "./member.ts";
import { findInMembership, membersOf, type Membership } from "./membership.ts";
import type { PreVoteRequest, Removed, VoteRequest } from "./message.ts";
import type { RaftState } from "./raft-state.ts";
import type { Leader } from "./role.ts";

/**
 * Who was removed hears nothing any more, and would ask for votes for ever: it doesn't know, for the entry that removes it need not
 * reach it. So the leader tells it once, when that is committed; and whoever knows of it tells it when it asks, for the leader's word
 * may be lost. It is believed by the index of the membership: who has itself in a later one was added again, or is told by one who
 * lags. All that follows is that it doesn't stand for election, which is safe whoever said it.
 */
export function noteLeaving({ leaving }: Leader, before: Membership, next: Membership): void {
  for (const member of membersOf(before)) if (!isIn(next, member)) leaving.push(member);
}

/** The membership of a leader is committed: who isn't in it any more is told. */
export function tellLeaving(state: RaftState, { leaving }: Leader): void {
  const [settled] = state.log.memberships;
  if (settled === undefined) return;
  for (const member of leaving) if (!isIn(settled.membership, member)) tell(state, member, settled.index);
  leaving.length = 0;
}

/** Somebody asks for a vote, and neither the committed membership nor a later one here has it. It is told so, beside the answer. */
export function answerStranger(state: RaftState, { from, fromStorage }: PreVoteRequest | VoteRequest): void {
  const { memberships } = state.log;
  const stranger = { nodeId: from, storageId: fromStorage };
  const [settled] = memberships;
  if (settled === undefined || settled.index === 0 || settled.index > state.commitIndex) return;
  if (!memberships.some(({ membership }) => isIn(membership, stranger))) tell(state, stranger, settled.index);
}

export function onRemoved(state: RaftState, { storageId, membershipIndex }: Removed): void {
  const { log, self, role } = state;
  if (storageId !== self.storageId || role.kind === "leader") return;
  const isInLater = log.memberships.some(({ index, membership }) => index >= membershipIndex && isIn(membership, self));
  if (isInLater) return;
  if (role.kind !== "follower") becomeFollower(state, state.hardState.term, undefined);
  state.removedAt = Math.max(state.removedAt, membershipIndex);
}

function tell(state: RaftState, { nodeId, storageId }: Member, membershipIndex: number): void {
  if (nodeId !== state.self.nodeId) emit(state, nodeId, { kind: "removed", storageId, membershipIndex });
}

function isIn(membership: Membership, { nodeId, storageId }: Member): boolean {
  return findInMembership(membership, nodeId)?.storageId === storageId;
}
