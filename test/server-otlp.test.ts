import assert from "node:assert/strict";
import { test } from "node:test";
import { OtlpCollector } from "./otlp-collector.ts";
import { listMetrics } from "./reference/metrics-page.ts";
import { startTestNode } from "./test-node.ts";

test("a node pushes its metrics to the collector that is configured, and once more when it stops", async () => {
  await using collector = await OtlpCollector.open();
  const flags = { "otlp-endpoint": collector.url, "otlp-interval-ms": "1h", "otlp-headers": "x-key=hunter2" };
  const node = await startTestNode({ flags });
  assert.equal((await node.post("/v1/topics/a/records", '{"value":"1"}', { "content-type": "application/json" })).status, 200);
  await node.node.close();
  const { headers, message } = await collector.next();
  assert.equal(headers["x-key"], "hunter2");
  const text = JSON.stringify(message);
  assert.ok(text.includes(`{"key":"service.instance.id","value":{"stringValue":"${node.node.storageId}"}}`));
  const { resourceMetrics } = message as Message;
  const metrics = resourceMetrics[0]?.scopeMetrics[0]?.metrics ?? [];
  const known = listMetrics().map(({ name }) => name);
  assert.deepEqual(
    metrics.filter(({ name }) => !known.includes(name)),
    [],
  );
  const appended = metrics.find(({ name }) => name === "proglog_log_appended_records_total");
  assert.equal(appended?.sum?.dataPoints[0]?.asDouble, 1);
  assert.ok(!JSON.stringify(node.lines).includes("hunter2"));
});

interface Message {
  readonly resourceMetrics: readonly { readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[] }[];
}

interface Metric {
  readonly name: string;
  readonly sum?: { readonly dataPoints: readonly { readonly asDouble: number }[] };
}
