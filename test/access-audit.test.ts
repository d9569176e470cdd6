import assert from "node:assert/strict";
import { test } from "node:test";
import { connect } from "../src/client/index.ts";
import { startTestNode } from "./test-node.ts";

test("what administrators do and who is refused what stand in the audit log, by whom and with what came of it", async () => {
  const node = await startTestNode();
  const json = { "content-type": "application/json" };
  {
    await using first = connect(`127.0.0.1:${node.port}`);
    const { token } = await first.access.createToken("root");
    await first.access.change({
      add: [
        { subject: "root", resource: "*", action: "admin" },
        { subject: "root", resource: "*", action: "cluster" },
      ],
    });
    await using root = connect(`127.0.0.1:${node.port}`, { token });
    const other = await root.access.createToken("bob");
    await root.createTopic("orders");
    await root.alterTopic("orders", { partitionCount: 2 });
    await assert.rejects(root.createTopic("orders"), { code: "TOPIC_ALREADY_EXISTS" });
    await assert.rejects(root.cluster.removeNode("n1"), { code: "NOT_CLUSTERED" });
    await assert.rejects(root.cluster.transferLeadership({ topic: "orders" }), { code: "NOT_CLUSTERED" });
    const authorization = `Bearer ${token}`;
    const level = await node.send("PUT", "/v1/log-level", { body: '{"level":"warn"}', headers: { ...json, authorization } });
    assert.equal(level.status, 200);
    await root.deleteTopic("orders");
    await root.access.revokeToken(other.id);
    assert.equal((await node.post("/v1/topics/orders/records", { value: "x" }, { ...json, authorization })).status, 403);
    assert.equal((await node.post("/v1/topics/orders/records", { value: "x" }, json)).status, 401);
    await using bob = connect(`127.0.0.1:${node.port}`, { token: other.token });
    await assert.rejects(bob.listTopics(), { code: "UNAUTHENTICATED" });
  }
  await node.node.close();
  const file = node.disk.open("/data/audit.log", "read");
  const bytes = Buffer.alloc(file.size());
  file.readSync(bytes, 0);
  file.close();
  const lines = bytes.toString().trimEnd().split("\n");
  const entries = lines.map((line) => JSON.parse(line) as Readonly<Record<string, string>>);
  for (const { time = "", address } of entries) {
    assert.match(time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assert.equal(address, "127.0.0.1");
  }
  const short = entries.map(({ event, principal, action, resource, outcome, change = "" }) =>
    [event, principal, action, resource, outcome, change.replaceAll(/[0-9a-f]{12}/g, "ID")].join(" ").trimEnd(),
  );
  assert.deepEqual(short, [
    "changed anonymous admin * ok create token ID of root",
    "changed anonymous admin * ok +root, *, admin; +root, *, cluster",
    "changed root admin * ok create token ID of bob",
    "changed root admin orders ok create topic",
    "changed root admin orders ok change topic",
    "changed root admin orders TOPIC_ALREADY_EXISTS create topic",
    "changed root cluster * NOT_CLUSTERED remove node n1",
    "changed root cluster orders NOT_CLUSTERED have another node lead partition 0",
    "changed root admin * ok log level warn",
    "changed root admin orders ok delete topic",
    "changed root admin * ok revoke token ID",
    "denied root produce orders PERMISSION_DENIED",
    "denied anonymous produce orders UNAUTHENTICATED",
    "bad-token    UNAUTHENTICATED",
  ]);
});
