/** The middle and the ends of some measurements: one figure alone hides how much the machine wavers. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  return { median: medianOfSorted(sorted), min: sorted[0] ?? Number.NaN, max: sorted.at(-1) ?? Number.NaN };
}

export function medianOf(samples: readonly number[]): number {
  return medianOfSorted(samples.toSorted((a, b) => a - b));
}

function medianOfSorted(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

/**
 * The ratio of two sides that were measured in turn: round by round, so that a slow minute of the machine hits both, and only
 * then the median. The ratio of two medians would compare different minutes.
 */
export function ratioOf(figures: readonly number[], ceilings: readonly number[]): Spread {
  return spreadOf(figures.map((figure, round) => figure / (ceilings[round] ?? Number.NaN)));
}
