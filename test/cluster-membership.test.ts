import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { describe, test } from "node:test";
import { nodeDisk } from "../src/base/node-disk.ts";
import { makeFolder } from "./command-process.ts";
import { readReplicas, RecordedClients } from "./recorded-clients.ts";
import { checkSameFiles } from "./replica-files.ts";
import { TestCluster, type TestMember } from "./test-cluster.ts";
import { waitUntil } from "./wait-until.ts";

describe("a cluster whose members change under load loses nothing, and has nothing twice", () => {
  test("a fourth node comes, has replicas and leads; another is drained and leaves; a third is replaced on an empty disk", async () => {
    using folder = makeFolder();
    await using cluster = await TestCluster.make(4, { disk: nodeDisk, directory: folder.path });
    const [a, b, c, d] = cluster.members as readonly [TestMember, TestMember, TestMember, TestMember];
    const joinAddresses = { "start-join-addrs": [a, b, c].map(({ address }) => address).join(",") };
    await Promise.all([a, b, c].map((member) => member.start({ ...joinAddresses, "initial-nodes": 3 })));
    await cluster.untilServing();
    const client = cluster.connect("a");
    await client.createTopic("kept", { partitionCount: 1, replicationFactor: 3 });
    await using clients = new RecordedClients(cluster.addresses, "kept");
    for (let writer = 0; writer < 3; writer += 1) clients.startWriter();
    clients.startReader("leader");
    clients.startReader("follower");
    await clients.untilAcknowledged(50);

    await d.start(joinAddresses);
    await cluster.untilServing();
    await waitUntil("it is moved", () =>
      client.cluster.movePartition({ topic: "kept", replicas: ["d", "a", "b"] }).then(() => true),
    );
    await untilOn(cluster, ["a", "b", "d"]);
    assert.equal((await cluster.findLeader("kept", { among: [d] })).name, "d");
    await clients.untilAcknowledged(50);

    await waitUntil("the lead goes to a", async () => {
      return (await client.cluster.transferLeadership({ topic: "kept", to: "a" })).leaderId === "a";
    });
    await clients.untilAcknowledged(50);

    await client.cluster.removeNode("b");
    await waitUntil("b has left", async () => (await client.getServers()).every(({ id }) => id !== "b"));
    await b.stop();
    await untilOn(cluster, ["a", "c", "d"]);
    await clients.untilAcknowledged(50);

    await c.stop();
    rmSync(c.directory, { recursive: true });
    await client.cluster.removeNode("c", { force: true });
    await c.start(joinAddresses);
    await untilOn(cluster, ["a", "c", "d"]);
    await clients.untilAcknowledged(50);
    await cluster.untilWell();
    await clients.finish();
    clients.check(await readReplicas([a, c, d], "kept"));
    for (const member of [a, c, d]) await member.stop();
    await checkSameFiles([a, c, d]);
  });
});

async function untilOn(cluster: TestCluster, names: readonly string[]): Promise<void> {
  await cluster.untilServing();
  await waitUntil(`the partition is on ${names.join(", ")}`, async () => {
    const { partitions } = await cluster.connect("a").describeTopic("kept");
    const replicas = partitions[0]?.replicas ?? [];
    if (
      replicas
        .map(({ nodeId }) => nodeId)
        .sort()
        .join() !== names.join()
    )
      throw new Error(JSON.stringify(replicas));
    return true;
  });
  await cluster.untilWell();
}
