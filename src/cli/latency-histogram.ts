/**
 * Counts durations in buckets that grow with them: each is at most a 32nd wide of what it holds, so a percentile is known to some
 * 3 %, from a microsecond to days, in a few KiB and whatever is counted.
 */
export class LatencyHistogram {
  readonly #counts = new Float64Array(bucketCount);
  #count = 0;
  #maxMs = 0;

  get count(): number {
    return this.#count;
  }

  get maxMs(): number {
    return this.#maxMs;
  }

  add(durationMs: number): void {
    const index = bucketOf(Math.max(0, Math.round(durationMs * 1000)));
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    this.#count += 1;
    if (durationMs > this.#maxMs) this.#maxMs = durationMs;
  }

  /** What so large a share (0.99) took at most, in milliseconds. 0 when nothing was counted. */
  percentileMs(share: number): number {
    let left = Math.max(1, Math.ceil(this.#count * share));
    for (const [index, count] of this.#counts.entries()) {
      left -= count;
      if (left <= 0) return Math.min(endOf(index) / 1000, this.#maxMs);
    }
    return this.#maxMs;
  }

  /** The counts by powers of two, from the first that has some to the last: of durations below `endMs`, and not below the one before. */
  octaves(): readonly Octave[] {
    const counts = new Map<number, number>();
    for (const [index, count] of this.#counts.entries()) {
      if (count === 0) continue;
      const exponent = Math.ceil(Math.log2(endOf(index)));
      counts.set(exponent, (counts.get(exponent) ?? 0) + count);
    }
    const exponents = [...counts.keys()];
    const first = Math.min(...exponents);
    const length = exponents.length === 0 ? 0 : Math.max(...exponents) - first + 1;
    return Array.from({ length }, (_, i) => ({ endMs: 2 ** (first + i) / 1000, count: counts.get(first + i) ?? 0 }));
  }
}

export interface Octave {
  readonly endMs: number;
  readonly count: number;
}

/** Below this many microseconds there is a bucket for each; above, so many for each power of two. */
const linearCount = 64;
const perOctave = 32;
const exponentMax = 40;
const bucketCount = linearCount + (exponentMax - 6) * perOctave;

function bucketOf(us: number): number {
  if (us < linearCount) return us;
  const exponent = Math.min(exponentMax - 1, Math.floor(Math.log2(us)));
  const within = Math.min(perOctave - 1, Math.floor((us / 2 ** exponent - 1) * perOctave));
  return linearCount + (exponent - 6) * perOctave + within;
}

/** The first number of microseconds that lies in the next bucket. */
function endOf(index: number): number {
  if (index < linearCount) return index + 1;
  const above = index - linearCount;
  return 2 ** (Math.floor(above / perOctave) + 6) * (1 + ((above % perOctave) + 1) / perOctave);
}
