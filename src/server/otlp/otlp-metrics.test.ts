import assert from "node:assert/strict";
import { test } from "node:test";
import { Registry } from "prom-client";
import { MetricsAdder } from "../metrics-adder.ts";
import { encodeMetrics, type MetricValues, nanosOf } from "./otlp-metrics.ts";

const times = { startMs: 1_000, nowMs: 61_000.5 };
const [start, now] = ["1000000000", "61000500000"];

async function encode(fill: (add: MetricsAdder) => void): Promise<readonly object[]> {
  const registry = new Registry();
  fill(new MetricsAdder(registry));
  const values = (await registry.getMetricsAsJSON()) as unknown as readonly MetricValues[];
  const message = encodeMetrics(values, { version: "1.2.3", instanceId: "n1" }, times) as Message;
  const [
    {
      resource,
      scopeMetrics: [scoped],
    } = assert.fail(),
  ] = message.resourceMetrics;
  assert.deepEqual(resource.attributes, [
    { key: "service.name", value: { stringValue: "proglog" } },
    { key: "service.version", value: { stringValue: "1.2.3" } },
    { key: "service.instance.id", value: { stringValue: "n1" } },
  ]);
  assert.deepEqual(scoped?.scope, { name: "proglog", version: "1.2.3" });
  return scoped?.metrics ?? [];
}

test("counters are sums since the start, gauges are what they are, each with its labels and unit", async () => {
  const metrics = await encode((add) => {
    add.counter("a_bytes_total", "of a", ["code"]).inc({ code: "X" }, 7);
    add.gauge("b", "of b", ["partition"], (gauge) => gauge.set({ partition: 3 }, 0.5));
    add.counter("c_total", "with labels, and none seen yet", ["code"]);
  });
  assert.deepEqual(metrics, [
    {
      ...{ name: "a_bytes_total", description: "of a", unit: "By" },
      sum: {
        aggregationTemporality: 2,
        isMonotonic: true,
        dataPoints: [
          {
            attributes: [{ key: "code", value: { stringValue: "X" } }],
            timeUnixNano: now,
            asDouble: 7,
            startTimeUnixNano: start,
          },
        ],
      },
    },
    {
      ...{ name: "b", description: "of b" },
      gauge: {
        dataPoints: [{ attributes: [{ key: "partition", value: { intValue: "3" } }], timeUnixNano: now, asDouble: 0.5 }],
      },
    },
  ]);
});

test("histograms have what lies in each bucket, ours and prom-client's alike", async () => {
  const metrics = await encode((add) => {
    const ours = add.durationsBy("d_seconds", "of d", "acks", ["quorum", "none"], [1, 2]);
    for (const seconds of [0.5, 1, 1.5, 9]) ours.quorum.observe(seconds);
    add.seconds("e_seconds", "of e").observe(0.0001);
  });
  const point = (value: string, bucketCounts: readonly string[], sum: number, count: string) => ({
    ...{ attributes: [{ key: "acks", value: { stringValue: value } }], startTimeUnixNano: start, timeUnixNano: now },
    ...{ count, sum, bucketCounts, explicitBounds: [1, 2] },
  });
  assert.deepEqual(metrics[0], {
    ...{ name: "d_seconds", description: "of d", unit: "s" },
    histogram: {
      aggregationTemporality: 2,
      dataPoints: [point("quorum", ["2", "1", "1"], 12, "4"), point("none", ["0", "0", "0"], 0, "0")],
    },
  });
  const { histogram } = metrics[1] as { histogram: { dataPoints: { bucketCounts: string[]; explicitBounds: number[] }[] } };
  const { bucketCounts = [], explicitBounds = [] } = histogram.dataPoints[0] ?? {};
  assert.equal(bucketCounts.length, explicitBounds.length + 1);
  assert.deepEqual(bucketCounts.slice(0, 2), ["1", "0"]);
});

test("times are nanoseconds, as text", () => {
  assert.equal(nanosOf(1_760_000_000_000), "1760000000000000000");
  assert.equal(nanosOf(1.5), "1500000");
  assert.equal(nanosOf(0), "0000000");
});

interface Message {
  readonly resourceMetrics: readonly {
    readonly resource: { readonly attributes: readonly object[] };
    readonly scopeMetrics: readonly { readonly scope: object; readonly metrics: readonly object[] }[];
  }[];
}
