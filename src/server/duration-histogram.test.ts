import assert from "node:assert/strict";
import { test } from "node:test";
import { Histogram, Registry } from "prom-client";
import { DurationHistogram, durationBuckets } from "./duration-histogram.ts";
import { MetricsAdder } from "./metrics-adder.ts";

test("a histogram of ours says what prom-client's own says of the same durations", async () => {
  const [ours, theirs] = [new Registry(), new Registry()];
  const histogram = new MetricsAdder(ours).durations("a_seconds", "of a");
  const reference = new Histogram({ name: "a_seconds", help: "of a", buckets: [...durationBuckets], registers: [theirs] });
  // Between the bounds, on each, below the first and above the last.
  for (const bound of [0, ...durationBuckets])
    for (const seconds of [bound, bound * 1.01, bound + 1e-6]) {
      histogram.observe(seconds);
      reference.observe(seconds);
    }
  assert.equal(await ours.metrics(), await theirs.metrics());
});

test("with a label, each of its values has a series from the start", async () => {
  const registry = new Registry();
  const by = new MetricsAdder(registry).durationsBy("b_seconds", "of b", "acks", ["quorum", "leader"], [1, 2]);
  by.leader.observe(1.5);
  assert.deepEqual((await registry.metrics()).trimEnd().split("\n").slice(2), [
    'b_seconds_bucket{acks="quorum",le="1"} 0',
    'b_seconds_bucket{acks="quorum",le="2"} 0',
    'b_seconds_bucket{acks="quorum",le="+Inf"} 0',
    'b_seconds_sum{acks="quorum"} 0',
    'b_seconds_count{acks="quorum"} 0',
    'b_seconds_bucket{acks="leader",le="1"} 0',
    'b_seconds_bucket{acks="leader",le="2"} 1',
    'b_seconds_bucket{acks="leader",le="+Inf"} 1',
    'b_seconds_sum{acks="leader"} 1.5',
    'b_seconds_count{acks="leader"} 1',
  ]);
});

test("a histogram without bounds counts", () => {
  const histogram = new DurationHistogram([]);
  histogram.observe(3);
  assert.deepEqual(
    histogram.values("c", {}).map(({ value }) => value),
    [1, 3, 1],
  );
});
