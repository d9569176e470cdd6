import type { Member, NodeId } from "./member.ts";
import type { Membership } from "./membership.ts";

/**
 * The arithmetic of quorums over values that voters have: a durable index, a number of a round, 1 for "heard from". It runs for
 * each acknowledgement and allocates nothing; with three voters or five, comparing all with all is cheaper than sorting.
 */
export type ValueOf = (nodeId: NodeId) => number;

/** The highest value that a quorum has reached, in both halves while joint; 0 when nobody votes. */
export function quorumValue(membership: Membership, valueOf: ValueOf): number {
  if (membership.voters.length === 0) return 0;
  const incoming = majorityValue(membership.voters, valueOf);
  if (membership.outgoing.length === 0) return incoming;
  return Math.min(incoming, majorityValue(membership.outgoing, valueOf));
}

function majorityValue(voters: readonly Member[], valueOf: ValueOf): number {
  const needed = Math.floor(voters.length / 2) + 1;
  let best = 0;
  for (const candidate of voters) {
    const value = valueOf(candidate.nodeId);
    if (value <= best) continue;
    let count = 0;
    for (const voter of voters) if (valueOf(voter.nodeId) >= value) count += 1;
    if (count >= needed) best = value;
  }
  return best;
}

export type ElectionResult = "won" | "lost" | "open";

export type VoteOf = (nodeId: NodeId) => boolean | undefined;

/** How an election stands: lost as soon as a quorum can't be had any more, in either half. */
export function electionResult(membership: Membership, voteOf: VoteOf): ElectionResult {
  if (membership.voters.length === 0) return "lost";
  const incoming = majorityResult(membership.voters, voteOf);
  const outgoing = membership.outgoing.length === 0 ? "won" : majorityResult(membership.outgoing, voteOf);
  if (incoming === "lost" || outgoing === "lost") return "lost";
  return incoming === "won" && outgoing === "won" ? "won" : "open";
}

function majorityResult(voters: readonly Member[], voteOf: VoteOf): ElectionResult {
  const needed = Math.floor(voters.length / 2) + 1;
  let granted = 0;
  let refused = 0;
  for (const { nodeId } of voters) {
    const vote = voteOf(nodeId);
    if (vote === true) granted += 1;
    else if (vote === false) refused += 1;
  }
  if (granted >= needed) return "won";
  return voters.length - refused < needed ? "lost" : "open";
}
