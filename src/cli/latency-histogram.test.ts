import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { LatencyHistogram } from "./latency-histogram.ts";

test("a percentile is that of the sorted durations, to a 32nd and a microsecond", () => {
  const durations = fc.array(fc.double({ min: 0, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(durations, fc.constantFrom(0, 0.5, 0.99, 0.999, 1), (all, share) => {
      const histogram = new LatencyHistogram();
      for (const duration of all) histogram.add(duration);
      const exact = all.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(all.length * share)) - 1] ?? 0;
      const found = histogram.percentileMs(share);
      assert.ok(Math.abs(found - exact) <= exact / 32 + 0.0015, `${found} of ${exact}`);
      assert.ok(found <= histogram.maxMs);
    }),
  );
});

test("what takes years lies in the last bucket", () => {
  const histogram = new LatencyHistogram();
  histogram.add(1e15);
  assert.equal(histogram.count, 1);
  assert.ok(histogram.percentileMs(0.5) > 1e8);
});

test("counts by powers of two leave none out between the first and the last", () => {
  const histogram = new LatencyHistogram();
  assert.deepEqual(histogram.octaves(), []);
  assert.equal(histogram.percentileMs(0.5), 0);
  for (const duration of [0.3, 0.4, 3]) histogram.add(duration);
  assert.deepEqual(histogram.octaves(), [
    { endMs: 0.512, count: 2 },
    { endMs: 1.024, count: 0 },
    { endMs: 2.048, count: 0 },
    { endMs: 4.096, count: 1 },
  ]);
});
