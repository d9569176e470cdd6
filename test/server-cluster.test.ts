import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect } from "../src/client/index.ts";
import { startTestNode } from "./test-node.ts";

describe("log.v1.Cluster on a node that is in no cluster", () => {
  test("status tells of the node itself and its partitions", async () => {
    await using node = await startTestNode();
    await using client = connect(`127.0.0.1:${node.port}`);
    await client.createTopic("orders", { partitionCount: 2, replicationFactor: 1 });
    const { nodes, groups, ...counts } = await client.cluster.status();
    const [self] = await client.getServers();
    assert.deepEqual(nodes, [{ ...self, replicaCount: 2, leaderCount: 2 }]);
    assert.deepEqual([self?.isLeader, self?.state, self?.storageId], [true, "up", node.node.storageId]);
    assert.deepEqual(
      groups.map(({ topic, partition, leaderId, isUnderReplicated }) => [topic, partition, leaderId, isUnderReplicated]),
      [
        ["orders", 0, self?.id, false],
        ["orders", 1, self?.id, false],
      ],
    );
    assert.deepEqual(counts, { clusterId: "", groupCount: 2, leaderlessCount: 0, underReplicatedCount: 0, movingCount: 0 });
    assert.deepEqual((await client.cluster.status({ troubledOnly: true })).groups, []);
  });

  test("what needs other nodes is NOT_CLUSTERED, and so is a topic of several replicas", async () => {
    await using node = await startTestNode();
    await using client = connect(`127.0.0.1:${node.port}`);
    const { cluster } = client;
    for (const asked of [
      cluster.removeNode("a"),
      cluster.transferLeadership({ to: "a" }),
      cluster.movePartition({ replicas: ["a"] }),
      client.createTopic("orders", { replicationFactor: 3 }),
    ]) {
      await assert.rejects(asked, { code: "NOT_CLUSTERED" });
    }
    assert.deepEqual(await client.listTopics(), []);
    const { replicationFactor, partitions } = await client.createTopic("orders");
    assert.deepEqual([replicationFactor, partitions[0]?.replicas, partitions[0]?.term], [1, [], 0]);
  });
});
