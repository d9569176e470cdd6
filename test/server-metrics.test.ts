import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { metricPartitionsMaxCount } from "../src/base/limits.ts";
import { Metrics } from "../src/server/metrics.ts";
import { PartitionTraffic } from "../src/replica/partition-traffic.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const json = { "content-type": "application/json" };

async function produce(node: TestNode, topic: string, values: readonly string[]): Promise<void> {
  const answer = await node.post(
    `/v1/topics/${topic}/records`,
    values.map((value) => ({ value })),
    json,
  );
  assert.equal(answer.status, 200, answer.text);
}

describe("the metrics of a node", () => {
  test("count what goes into and out of each partition", async () => {
    await using node = await startTestNode();
    await produce(node, "a", ["1", "2", "3"]);
    await produce(node, "b", ["1"]);
    assert.equal((await node.get("/v1/topics/a/records?from=start")).status, 200);
    const of = (name: string, topic: string) => node.metric(`proglog_partition_${name}_total{topic="${topic}",partition="0"}`);
    assert.equal(await of("appended_records", "a"), 3);
    assert.equal(await of("appended_batches", "a"), 1);
    assert.equal(await of("appended_records", "b"), 1);
    assert.equal(await of("read_batches", "a"), 1);
    assert.equal(await of("read_batches", "b"), 0);
    const bytes = (await of("appended_bytes", "a")) + (await of("appended_bytes", "b"));
    assert.ok(bytes > 0);
    assert.equal(await node.metric("proglog_log_appended_bytes_total"), bytes);
    assert.equal((await node.send("DELETE", "/v1/topics/b")).status, 204);
    assert.ok(Number.isNaN(await of("appended_records", "b")), "what is deleted isn't told of any more");
  });

  test("time an append, its writing, its sync and its reading", async () => {
    await using node = await startTestNode();
    await produce(node, "a", ["1"]);
    await produce(node, "a", ["2"]);
    await node.get("/v1/topics/a/records?from=start");
    assert.equal(await node.metric('proglog_produce_duration_seconds_count{acks="quorum"}'), 2);
    assert.equal(await node.metric('proglog_produce_duration_seconds_count{acks="leader"}'), 0);
    assert.equal(await node.metric("proglog_log_write_duration_seconds_count"), 2);
    assert.equal(await node.metric("proglog_log_sync_duration_seconds_count"), 2);
    assert.equal(await node.metric("proglog_log_read_age_seconds_count"), 1);
  });

  test("count errors by their code", async () => {
    await using node = await startTestNode();
    assert.equal((await node.get("/v1/topics/gone/records")).status, 404);
    assert.equal((await node.get("/v1/topics/gone/records")).status, 404);
    assert.equal((await node.get("/v1/nowhere")).status, 404);
    assert.equal(await node.metric('proglog_errors_total{code="TOPIC_NOT_FOUND"}'), 2);
    assert.equal(await node.metric('proglog_errors_total{code="ROUTE_NOT_FOUND"}'), 1);
  });

  test("count how logs were opened, and what recoveries did", async () => {
    const disk = createMemoryDisk();
    const first = await startTestNode({ disk });
    await produce(first, "a", ["1"]);
    assert.equal(await first.metric('proglog_log_opens_total{kind="created"}'), 1);
    await first.node.close();
    await using second = await startTestNode({ disk });
    assert.equal(await second.metric('proglog_log_opens_total{kind="clean"}'), 1);
    assert.equal(await second.metric("proglog_log_open_duration_seconds_count"), 1);
    assert.equal(await second.metric("proglog_log_recovery_cut_bytes_total"), 0);
  });

  test("tell of the process", async () => {
    await using node = await startTestNode();
    for (const name of [
      ...["process_resident_memory_bytes", "proglog_heap_used_bytes", "proglog_heap_limit_bytes"],
      ...["process_start_time_seconds", "process_cpu_seconds_total"],
    ])
      assert.ok((await node.metric(name)) > 0, name);
    assert.equal(await node.metric(`proglog_build_info{version="unreleased",node="${process.versions.node}"}`), 1);
    assert.ok((await node.metric("proglog_event_loop_utilization_ratio")) <= 1);
  });
});

test("partitions are told of one by one up to a limit, and the rest is counted", async () => {
  const replicas = (count: number) =>
    Array.from({ length: count }, (_, partition) => ({
      identity: { topic: "t", partition, uuid: `${partition}` },
      traffic: new PartitionTraffic(),
      status: () => ({ topic: "t", partition, uuid: `${partition}`, state: "open", damages: 0, segments: 1 }),
    }));
  for (const beyond of [0, 1]) {
    const all = replicas(metricPartitionsMaxCount + beyond);
    const metrics = new Metrics();
    const storage = { replicas: { values: () => all.values() }, orphans: [], openFileCount: 0 };
    metrics.watch({ ...nothing, storage } as unknown as Parameters<Metrics["watch"]>[0]);
    const lines = (await metrics.text()).split("\n");
    assert.equal(lines.filter((line) => line.startsWith("proglog_log_segments{")).length, metricPartitionsMaxCount);
    assert.equal(
      lines.filter((line) => line.startsWith("proglog_partition_read_bytes_total{")).length,
      metricPartitionsMaxCount,
    );
    assert.ok(lines.includes(`proglog_partitions_unlisted ${beyond}`));
    assert.ok(lines.includes(`proglog_logs{state="open"} ${metricPartitionsMaxCount + beyond}`));
    metrics.close();
  }
});

/** A node without connections, requests and tails. */
const nothing = {
  listener: { connectionCount: 0 },
  door: {
    connectionCount: 0,
    callCount: 0,
    consumeStreamCount: 0,
    heldBytes: 0,
    consumeStreamBytes: 0,
    produceRoom: { bytes: 0, waitingCount: 0 },
  },
  bodies: { held: { bytes: 0 }, liveCount: 0 },
  answers: { bytes: 0 },
  consume: { waitCount: 0 },
  tails: { count: 0, unsentBytes: 0, sentBytes: 0 },
};
