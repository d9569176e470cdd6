import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { parseConfig, startNode } from "../src/server/index.ts";
import type { ClusterStatus } from "../src/wire/cluster-message.ts";
import { collectingLogger, startTestNode, type TestNode } from "./test-node.ts";
import { ThreeNodes } from "./three-nodes.ts";

interface HttpTopic {
  readonly replicationFactor: number;
  readonly partitions: readonly HttpPartition[];
}

interface HttpPartition {
  readonly leaderId?: string;
  readonly leaderRpcAddr?: string;
  readonly term: number;
  readonly replicas: readonly { readonly nodeId: string; readonly isVoter: boolean; readonly isInSync: boolean }[];
}

describe("a cluster of three nodes over HTTP", () => {
  let cluster: ThreeNodes;
  before(async () => {
    cluster = await ThreeNodes.start();
  });
  after(() => cluster[Symbol.asyncDispose]());

  const json = { "content-type": "application/json" };

  test("a topic is made with as many replicas as it is to have, and shows who has and leads it", async () => {
    const node = cluster.node("n1");
    const body = JSON.stringify({ name: "orders", partitions: 3, replicationFactor: 2 });
    const made = await node.json<HttpTopic>("POST", "/v1/topics", { body, headers: json, status: 201 });
    assert.equal(made.replicationFactor, 2);
    for (const { leaderId, leaderRpcAddr, term, replicas } of made.partitions) {
      assert.deepEqual([leaderRpcAddr, replicas.length], [`127.0.0.1:${cluster.node(leaderId ?? "").port}`, 2]);
      assert.ok(term > 0 && replicas.every(({ isVoter }) => isVoter));
    }
    const change = { body: '{"replicationFactor":3}', headers: json };
    assert.equal((await node.json<HttpTopic>("PATCH", "/v1/topics/orders", change)).replicationFactor, 3);
    await cluster.until(async () => {
      const { partitions } = await node.json<HttpTopic>("GET", "/v1/topics/orders");
      return partitions.every(({ replicas }) => replicas.filter(({ isVoter }) => isVoter).length === 3);
    });
    const refused = await node.post("/v1/topics", { name: "many", replicationFactor: 9 }, json);
    assert.equal(refused.status, 400, refused.text);
  });

  test("a produce and a consume are sent on to who can answer", async () => {
    const leader = await cluster.leaderOf("orders");
    const other = cluster.names.find((name) => name !== leader) ?? "";
    const answer = await cluster.node(other).post("/v1/topics/orders/records?partition=0", { value: "x" });
    assert.equal(answer.status, 307);
    const path = "/v1/topics/orders/records?partition=0";
    assert.equal(answer.headers["location"], `http://127.0.0.1:${cluster.node(leader).port}${path}`);
    const followed = await fetch(`http://127.0.0.1:${cluster.node(other).port}${path}`, {
      method: "POST",
      headers: json,
      body: '{"value":"x"}',
    });
    assert.equal(followed.status, 200);
    await cluster
      .node("n1")
      .json("POST", "/v1/topics", { body: '{"name":"alone","replicationFactor":1}', headers: json, status: 201 });
    const owner = await cluster.leaderOf("alone");
    const stranger = cluster.names.find((name) => name !== owner) ?? "";
    assert.equal((await cluster.node(stranger).get("/v1/topics/alone/records")).status, 307);
  });

  test("tells of nodes and groups, moves leadership and replicas, and refuses what makes no sense", async () => {
    const node = cluster.node("n2");
    const status = await node.json<{ nodes: { id: string }[]; groups: { topic: string }[] }>("GET", "/v1/cluster");
    assert.deepEqual(
      status.nodes.map(({ id }) => id),
      ["n1", "n2", "n3"],
    );
    assert.equal(status.groups[0]?.topic, "");
    await cluster.until(async () => {
      const { groups } = await node.json<{ groups: unknown[] }>("GET", "/v1/cluster?troubledOnly=true");
      return groups.length === 0;
    });
    const leader = await cluster.leaderOf("orders");
    const to = cluster.names.find((name) => name !== leader) ?? "";
    const path = "/v1/topics/orders/partitions/0";
    const transfer = { body: JSON.stringify({ node: to }), headers: json };
    assert.deepEqual(await node.json("POST", `${path}/leader`, transfer), { leaderId: to });
    assert.notDeepEqual(await node.json("POST", `${path}/leader`), { leaderId: to }, "without a node, to another");
    const moved = { body: '{"nodes":["n3"]}', headers: json };
    assert.equal((await node.send("PUT", "/v1/topics/alone/partitions/0/replicas", moved)).status, 204);
    await cluster.until(async () => {
      const { partitions } = await node.json<HttpTopic>("GET", "/v1/topics/alone");
      return partitions[0]?.leaderId === "n3" && partitions[0].replicas.length === 1;
    });
    const cases = [
      ["POST", `${path}/leader`, { node: "n9" }, "NOT_A_REPLICA"],
      ["POST", "/v1/topics/orders/partitions/9/leader", {}, "PARTITION_NOT_FOUND"],
      ["POST", "/v1/topics/orders/partitions/x/leader", {}, "INVALID_ARGUMENT"],
      ["POST", "/v1/topics/none/partitions/0/leader", {}, "TOPIC_NOT_FOUND"],
      ["PUT", `${path}/replicas`, { nodes: ["n3", "n1", "n9"] }, "NODE_NOT_FOUND"],
      ["PUT", `${path}/replicas`, { nodes: [] }, "INVALID_ARGUMENT"],
      ["DELETE", "/v1/cluster/nodes/n9", undefined, "NODE_NOT_FOUND"],
      ["PUT", "/v1/cluster/nodes/n9", undefined, "NODE_NOT_FOUND"],
    ] as const;
    for (const [method, where, body, code] of cases) {
      const { text } = await node.send(method, where, body === undefined ? {} : { body: JSON.stringify(body), headers: json });
      assert.equal((JSON.parse(text) as { code: string }).code, code, `${method} ${where}`);
    }
    const foreign = await node.send("DELETE", "/v1/cluster/nodes/n1", { headers: { origin: "http://evil.example" } });
    assert.equal(foreign.status, 403, "a page of another site removes nothing");
  });

  test("shows in status and metrics how its groups are", async () => {
    const node = cluster.node("n1");
    const { cluster: self, partitions } = await node.json<{
      cluster: { nodeName: string; reachedCount: number; groups: Record<string, number> };
      partitions: { group: { role: string } }[];
    }>("GET", "/v1/status");
    assert.deepEqual([self.nodeName, self.reachedCount, self.groups["lost"], self.groups["leaderless"]], ["n1", 3, 0, 0]);
    assert.ok(partitions.every(({ group }) => ["leader", "follower"].includes(group.role)));
    const values = await Promise.all(
      ['proglog_groups{role="failed"}', "proglog_groups_leaderless", "proglog_peers_reached", "proglog_unsynced_bytes"].map(
        (line) => node.metric(line),
      ),
    );
    assert.deepEqual(values, [0, 0, 2, 0]);
    for (const line of ["proglog_hard_state_syncs_total", "proglog_catalog_offset", "proglog_group_committed_entries_total"])
      assert.ok((await node.metric(line)) > 0, line);
    const leader = await cluster.leaderOf("orders");
    const { text } = await cluster.node(leader).get("/metrics");
    assert.match(text, /proglog_group_follower_lag_entries\{topic="orders",partition="0",node="n[123]"\} 0/);
    assert.match(text, /proglog_group_term\{topic="orders",partition="0"\} [1-9]/);
  });

  // The last one: one of them is gone from then on, and with it a quorum of those who would stay.
  test("has a node stay that can't be taken out yet", async () => {
    const node = cluster.node("n1");
    assert.deepEqual(await node.json("PUT", "/v1/cluster/nodes/n2"), { wasDraining: false });
    cluster.isolate("n3");
    await cluster.until(async () => (await stateOf(node, "n3")) === "down");
    // What only a node has that is gone is led by nobody, though nobody has said so.
    const { groups } = await node.json<{ groups: { topic: string; leaderId: string; isUnderReplicated: boolean }[] }>(
      "GET",
      "/v1/cluster?troubledOnly=true",
    );
    const alone = groups.find(({ topic }) => topic === "alone");
    assert.deepEqual([alone?.leaderId, alone?.isUnderReplicated], ["", true]);
    assert.deepEqual(await node.json("DELETE", "/v1/cluster/nodes/n2"), { isRemoved: false });
    assert.equal(await stateOf(node, "n2"), "draining");
    assert.deepEqual(await node.json("PUT", "/v1/cluster/nodes/n2"), { wasDraining: true });
    assert.equal(await stateOf(node, "n2"), "up");
  });
});

test("a node that waits for its cluster is alive, not ready, and says what it waits for", async () => {
  const stop = new AbortController();
  const other = await startTestNode();
  const port = other.port;
  await other[Symbol.asyncDispose]();
  const flags = {
    "data-dir": "/data",
    "rpc-port": port,
    "node-name": "n1",
    "initial-nodes": 3,
    "start-join-addrs": "127.0.0.1:1",
  };
  const starting = startNode(parseConfig({ flags }), {
    ...{ disk: createMemoryDisk(), logger: collectingLogger([]), signal: stop.signal },
  });
  const url = `http://127.0.0.1:${port}`;
  for (;;) {
    const answer = await fetch(`${url}/v1/status`).catch(() => undefined);
    const status = (await answer?.json()) as { phase: string; cluster: { nodeName: string; waitsFor?: string } } | undefined;
    if (status?.cluster.waitsFor === undefined) continue;
    assert.deepEqual([status.phase, status.cluster.nodeName], ["starting", "n1"]);
    assert.match(status.cluster.waitsFor, /1 of 3|no node answers/);
    break;
  }
  assert.equal((await fetch(`${url}/livez`)).status, 200);
  assert.equal((await fetch(`${url}/readyz`)).status, 503);
  stop.abort();
  await assert.rejects(starting, { code: "CANCELLED" });
});

async function stateOf(node: TestNode, name: string): Promise<string | undefined> {
  const { nodes } = await node.json<ClusterStatus>("GET", "/v1/cluster?troubledOnly=true");
  return nodes.find(({ id }) => id === name)?.state;
}
