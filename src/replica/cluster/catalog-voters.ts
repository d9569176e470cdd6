import { catalogVotersMaxCount, catalogVotersMinCount } from "../../base/cluster-limits.ts";

/**
 * Who is to vote in group 0: three nodes, five from five on, all of fewer than three. Who votes already stays; a place that is free,
 * or held by a node that drains or has been away for long, goes to a node that is there. An even number would bear no more failures than
 * the odd one below it.
 */
export function chooseCatalogVoters(nodes: readonly CatalogVoterCandidate[]): readonly string[] {
  const candidates = nodes.filter(({ isDraining }) => !isDraining);
  const count = candidates.length >= catalogVotersMaxCount ? catalogVotersMaxCount : catalogVotersMinCount;
  return candidates
    .toSorted(
      (a, b) => Number(a.isGone) - Number(b.isGone) || Number(b.isVoter) - Number(a.isVoter) || a.incarnation - b.incarnation,
    )
    .slice(0, count)
    .map(({ name }) => name);
}

export interface CatalogVoterCandidate {
  readonly name: string;
  readonly isVoter: boolean;
  readonly isDraining: boolean;
  /** Away for so long that another one is to vote in its place. */
  readonly isGone: boolean;
  /** Who has been in the cluster for longer goes first. */
  readonly incarnation: number;
}
