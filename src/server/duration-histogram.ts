/** From a sync of a fast disk to a long poll, in seconds. */
export const durationBuckets: readonly number[] = [
  ...[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
];

/**
 * Durations by how long they were, for the places where one is taken with each append. prom-client's own histogram takes 0.8 µs for each,
 * this one a tenth: it counts in an array, and what prom-client wants to see of it is made when somebody asks.
 */
export class DurationHistogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` ascend, each one inclusive. */
  constructor(bounds: readonly number[] = durationBuckets) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(seconds: number): void {
    const bounds = this.#bounds;
    let bucket = 0;
    while (bucket < bounds.length && seconds > (bounds[bucket] ?? 0)) bucket += 1;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  /** As prom-client has the values of a histogram. */
  values(name: string, labels: Readonly<Record<string, string>>): readonly HistogramValue[] {
    let count = 0;
    const buckets = [...this.#counts].map((counted, bucket): HistogramValue => {
      count += counted;
      return { metricName: `${name}_bucket`, labels: { ...labels, le: this.#bounds[bucket] ?? "+Inf" }, value: count };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels, value: this.#sum },
      { metricName: `${name}_count`, labels, value: count },
    ];
  }
}

export interface HistogramValue {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}
