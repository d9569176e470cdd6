import { termJumpMax, termMax } from "../base/cluster-limits.ts";
import { integerMax } from "../base/limits.ts";
import type { InstallRequest } from "./install.ts";
import { type LogTail, termAt } from "./log-coordinates.ts";
import { findMembershipFault } from "./membership.ts";
import type { RaftState } from "./raft-state.ts";

/**
 * What is wrong with what is to be installed. It comes from files of a peer, and takes the place of a log: what isn't a log, or not
 * one that could have what is committed here, must not.
 */
export function findInstallFault(state: RaftState, request: InstallRequest): "malformed" | "contradiction" | undefined {
  const { term, base, membership, tail } = request;
  const isSound =
    isNumber(term) &&
    term <= Math.min(termMax, state.hardState.term + termJumpMax) &&
    [base.index, base.term, base.nextOffset, membership.index].every(isNumber) &&
    base.index > 0 &&
    base.term > 0 &&
    base.term <= term &&
    membership.index <= base.index &&
    findMembershipFault(membership.membership) === undefined &&
    (tail === undefined || isSoundTail(request, tail));
  if (!isSound) return "malformed";
  const { commitIndex, log } = state;
  const ownTerm = termAt(log, base.index);
  if (base.index <= commitIndex) return ownTerm === undefined || ownTerm === base.term ? undefined : "contradiction";
  return base.term < (termAt(log, commitIndex) ?? 0) ? "contradiction" : undefined;
}

/** Terms, offsets and memberships rise from the base to the end. */
function isSoundTail({ term, base }: InstallRequest, { lastIndex, nextOffset, termHistory, memberships }: LogTail): boolean {
  if (!isNumber(lastIndex) || !isNumber(nextOffset) || lastIndex < base.index) return false;
  if ((termHistory[0]?.firstIndex ?? lastIndex + 1) !== base.index + 1) return false;
  let before = { term: base.term, firstIndex: base.index, firstOffset: base.nextOffset };
  for (const [position, start] of termHistory.entries()) {
    const { firstIndex, firstOffset } = start;
    const isRising = start.term > before.term || (position === 0 && start.term === before.term);
    if (!isNumber(start.term) || !isNumber(firstIndex) || !isNumber(firstOffset)) return false;
    if (!isRising || start.term > term || firstIndex <= before.firstIndex || firstOffset < before.firstOffset) return false;
    if (position === 0 && firstOffset !== base.nextOffset) return false;
    before = start;
  }
  if (before.firstIndex > lastIndex || nextOffset < before.firstOffset) return false;
  let membershipIndex = base.index;
  for (const { index, membership } of memberships) {
    if (!isNumber(index) || index <= membershipIndex || index > lastIndex) return false;
    if (findMembershipFault(membership) !== undefined) return false;
    membershipIndex = index;
  }
  return true;
}

function isNumber(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= integerMax;
}
