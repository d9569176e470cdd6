import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/client/index.ts";
import { parseConfig } from "../src/server/index.ts";
import { OtlpCollector } from "./otlp-collector.ts";
import { listMetrics } from "./reference/metrics-page.ts";
import { startTestNode } from "./test-node.ts";
import { ThreeNodes } from "./three-nodes.ts";

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

interface TracesMessage {
  readonly resourceSpans: readonly {
    readonly resource: {
      readonly attributes: readonly { readonly key: string; readonly value: { readonly stringValue: string } }[];
    };
    readonly scopeSpans: readonly { readonly spans: readonly { readonly name: string; readonly parentSpanId: string }[] }[];
  }[];
}

const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
const headers = [{ key: "traceparent", value: `00-${traceId}-${spanId}-01` }];

/** Names of the spans by instance, as they come, until that is enough. */
async function spansOf(
  collector: OtlpCollector,
  isEnough: (found: Map<string, string[]>) => boolean,
): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>();
  while (!isEnough(found)) {
    const { path, message } = await collector.next();
    if (path !== "/v1/traces") continue;
    for (const { resource, scopeSpans } of (message as TracesMessage).resourceSpans) {
      const instance = resource.attributes.find(({ key }) => key === "service.instance.id")?.value.stringValue ?? "";
      const spans = scopeSpans.flatMap((scope) => scope.spans);
      assert.ok(spans.every(({ parentSpanId }) => parentSpanId === spanId));
      found.set(instance, [...(found.get(instance) ?? []), ...spans.map(({ name }) => name)].sort());
    }
  }
  return found;
}

test("a node has spans for records whose trace is kept, whichever way they come, and for no others", async () => {
  await using collector = await OtlpCollector.open();
  const node = await startTestNode({ flags: { "otlp-endpoint": collector.url, "otlp-traces": "true" } });
  const records = `/v1/topics/a/records`;
  const json = { "content-type": "application/json" };
  assert.equal((await node.post(records, JSON.stringify({ value: "1", headers }), json)).status, 200);
  assert.equal((await node.post(records, JSON.stringify({ value: "2" }), json)).status, 200);
  {
    await using client = connect(`127.0.0.1:${node.port}`);
    await using producer = client.producer({ topic: "a" });
    await producer.send({ value: "3", headers });
    await assert.rejects(client.append([{ value: "4", headers }], { topic: "a", expectedOffset: 0 }), {
      code: "CONDITION_FAILED",
    });
  }
  await node.node.close();
  const spans = await spansOf(collector, (found) => [...found.values()].flat().length === 5);
  assert.deepEqual(spans, new Map([[node.node.storageId, ["append a", "append a", "append a", "write a", "write a"]]]));
});

test("in a cluster the leader has a span for the append, and every replica for its write", async () => {
  await using collector = await OtlpCollector.open();
  {
    await using cluster = await ThreeNodes.start({ "otlp-endpoint": collector.url, "otlp-traces": "true" });
    await cluster.client.createTopic("a", { replicationFactor: 3 });
    await using producer = cluster.client.producer({ topic: "a" });
    await producer.send({ value: "1", headers });
    // A quorum has it; the third may be on its way.
    for (const name of cluster.names)
      await cluster.until(
        async () =>
          (await cluster.node(name).metric('proglog_partition_appended_records_total{topic="a",partition="0"}')) === 1,
      );
  }
  // Where leaders change meanwhile, there may be more.
  const isEnough = (found: Map<string, string[]>): boolean =>
    ["n1", "n2", "n3"].every((name) => found.get(name)?.includes("write a")) && [...found.values()].flat().includes("append a");
  assert.deepEqual([...(await spansOf(collector, isEnough)).keys()].sort(), ["n1", "n2", "n3"]);
});

test("traces are pushed to nobody where no collector is named", () => {
  assert.throws(() => parseConfig({ flags: { "otlp-traces": "true" } }), {
    code: "INVALID_CONFIG",
    message: "Cannot use --otlp-traces: there is no collector to push them to",
  });
});
