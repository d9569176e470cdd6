import { assert } from "../base/assert.ts";
import { termMax } from "../base/cluster-limits.ts";
import type { Member } from "./member.ts";

/**
 * What must never be forgotten: the term, and who got this replica's vote in it. Each change has a number; what depends on a
 * change waits until that number is reported durable. A newer hard state stands for all before it, so a round of syncs may skip
 * those in between.
 */
export interface HardState {
  term: number;
  vote: Member | undefined;
  /** Of the last change. */
  sequence: number;
  durableSequence: number;
  handedSequence: number;
}

export function enterTerm(hardState: HardState, term: number, vote: Member | undefined): void {
  assert(term > hardState.term && term <= termMax, "terms only rise, and fit 32 bits");
  hardState.term = term;
  hardState.vote = vote;
  hardState.sequence += 1;
}

export function grantVote(hardState: HardState, vote: Member): void {
  if (hardState.vote?.storageId === vote.storageId) return;
  assert(hardState.vote === undefined, "a vote isn't taken back");
  hardState.vote = vote;
  hardState.sequence += 1;
}

export function isHardStateDurable(hardState: HardState): boolean {
  return hardState.durableSequence === hardState.sequence;
}
