/** A metric with its values, as prom-client's registry has them. */
export interface MetricValues {
  readonly name: string;
  readonly help: string;
  /** "counter", "gauge", "histogram" */
  readonly type: string;
  readonly values: readonly MetricValue[];
}

export interface MetricValue {
  /** Of a histogram: with `_bucket`, `_sum` or `_count`. */
  readonly metricName?: string;
  readonly labels: Labels;
  readonly value: number;
}

type Labels = Readonly<Record<string, string | number | undefined>>;

export interface OtlpResource {
  readonly version: string;
  /** Of the node, and the same after a restart. */
  readonly instanceId: string;
}

export interface OtlpTimes {
  /** Since when is counted, in ms since 1970. */
  readonly startMs: number;
  readonly nowMs: number;
}

/**
 * An ExportMetricsServiceRequest of OTLP in its JSON form: the same names, labels and figures that `/metrics` tells. Counters and histograms are
 * cumulative, so one that is lost on its way is made good by the next.
 */
export function encodeMetrics(metrics: readonly MetricValues[], resource: OtlpResource, times: OtlpTimes): object {
  return {
    resourceMetrics: [
      {
        resource: { attributes: describeResource(resource) },
        scopeMetrics: [
          {
            scope: { name: "proglog", version: resource.version },
            metrics: metrics.filter(({ values }) => values.length > 0).map((metric) => encodeMetric(metric, times)),
          },
        ],
      },
    ],
  };
}

/** What stands above metrics and spans alike. */
export function describeResource({ version, instanceId }: OtlpResource): readonly object[] {
  return encodeAttributes({ "service.name": "proglog", "service.version": version, "service.instance.id": instanceId });
}

function encodeMetric({ name, help, type, values }: MetricValues, times: OtlpTimes): object {
  const unit = unitOf(name);
  const common = { name, description: help, ...(unit === undefined ? {} : { unit }) };
  switch (type) {
    case "counter":
      return {
        ...common,
        sum: { ...cumulative, isMonotonic: true, dataPoints: values.map((value) => encodeTotal(value, times)) },
      };
    case "histogram":
      return { ...common, histogram: { ...cumulative, dataPoints: encodeHistograms(name, values, times) } };
    default:
      return { ...common, gauge: { dataPoints: values.map((value) => encodePoint(value, times)) } };
  }
}

/** AGGREGATION_TEMPORALITY_CUMULATIVE */
const cumulative = { aggregationTemporality: 2 };

function encodePoint({ labels, value }: MetricValue, { nowMs }: OtlpTimes): object {
  return { attributes: encodeAttributes(labels), timeUnixNano: nanosOf(nowMs), asDouble: value };
}

function encodeTotal(value: MetricValue, times: OtlpTimes): object {
  return { ...encodePoint(value, times), startTimeUnixNano: nanosOf(times.startMs) };
}

/** One for each set of labels. Prometheus counts up over the buckets, OTLP in each of them. */
function encodeHistograms(name: string, values: readonly MetricValue[], { startMs, nowMs }: OtlpTimes): readonly object[] {
  const series = Map.groupBy(values, ({ labels: { le: _le, ...labels } }) => JSON.stringify(labels));
  return [...series.values()].map((points) => {
    const of = (suffix: string): readonly MetricValue[] =>
      points.filter(({ metricName }) => metricName === `${name}_${suffix}`);
    const buckets = of("bucket");
    const bounds = buckets.map(({ labels }) => Number(labels["le"])).filter(Number.isFinite);
    const { le: _le, ...labels } = buckets[0]?.labels ?? {};
    return {
      attributes: encodeAttributes(labels),
      startTimeUnixNano: nanosOf(startMs),
      timeUnixNano: nanosOf(nowMs),
      count: String(of("count")[0]?.value ?? 0),
      sum: of("sum")[0]?.value ?? 0,
      bucketCounts: buckets.map(({ value }, bucket) => String(value - (buckets[bucket - 1]?.value ?? 0))),
      explicitBounds: bounds,
    };
  });
}

export function encodeAttributes(attributes: Labels): readonly object[] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: encodeValue(value) }],
  );
}

/** 64 bits go as text in JSON. */
function encodeValue(value: string | number): object {
  if (typeof value === "string") return { stringValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

/** Nanoseconds since 1970, as text. A number would have lost its last digits. */
export function nanosOf(ms: number): string {
  const wholeMs = Math.floor(ms);
  return `${wholeMs}${String(Math.floor((ms - wholeMs) * 1e6)).padStart(6, "0")}`;
}

/** As UCUM writes them. */
function unitOf(name: string): string | undefined {
  if (/_seconds(_total)?$/.test(name)) return "s";
  return /_bytes(_total)?$/.test(name) ? "By" : undefined;
}
