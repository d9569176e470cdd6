import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { DurationHistogram, durationBuckets } from "./duration-histogram.ts";

/** How metrics are added to a node's registry: each with a name, and a text that says what it counts. */
export class MetricsAdder {
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  counter<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Counter<Label> {
    return new Counter({ name, help, labelNames, registers: [this.#registry] });
  }

  /** A counter that somebody else counts. */
  total(name: string, help: string, valueOf: () => number): void {
    this.totals(name, help, [], (add) => add({}, valueOf()));
  }

  /** The same with labels, of which some may come and go. */
  totals<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: (add: (labels: Partial<Record<Label, string | number>>, value: number) => void) => void,
  ): void {
    const total: Counter<Label> = new Counter({
      ...{ name, help, labelNames, registers: [this.#registry] },
      collect() {
        total.reset();
        collect((labels, value) => total.inc(labels, value));
      },
    });
  }

  seconds<Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []): Histogram<Label> {
    return new Histogram({ name, help, labelNames, buckets: [...durationBuckets], registers: [this.#registry] });
  }

  /** Of durations that are taken so often that prom-client's own histogram would be felt. */
  durations(name: string, help: string, bounds?: readonly number[]): DurationHistogram {
    return this.durationsBy(name, help, "", [""], bounds)[""];
  }

  /** The same for each value of a label. */
  durationsBy<Value extends string>(
    name: string,
    help: string,
    label: string,
    values: readonly Value[],
    bounds?: readonly number[],
  ): Readonly<Record<Value, DurationHistogram>> {
    const histograms = values.map((value) => [value, new DurationHistogram(bounds)] as const);
    const metric = {
      ...{ name, help, type: "histogram", aggregator: "sum", labelNames: label === "" ? [] : [label] },
      async get() {
        const told = histograms.flatMap(([value, histogram]) => histogram.values(name, label === "" ? {} : { [label]: value }));
        return { name, help, type: "histogram", aggregator: "sum", values: told };
      },
      reset() {},
    };
    // The registry asks no more of a metric than this.
    this.#registry.registerMetric(metric as unknown as Histogram);
    return Object.fromEntries(histograms) as Record<Value, DurationHistogram>;
  }

  gauge<Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    collect: (gauge: Gauge<Label>) => void,
  ): void {
    const gauge: Gauge<Label> = new Gauge({ name, help, labelNames, registers: [], collect: () => collect(gauge) });
    this.#registry.registerMetric(gauge);
  }
}
