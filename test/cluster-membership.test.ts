import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { describe, test } from "node:test";
import { nodeDisk } from "../src/base/node-disk.ts";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { makeFolder } from "./command-process.ts";
import { readReplicas, RecordedClients } from "./recorded-clients.ts";
import { checkSameFiles } from "./replica-files.ts";
import { TestCluster, type TestMember } from "./test-cluster.ts";
import { waitUntil } from "./wait-until.ts";

/** With PROVE=1 over and over, in any order: what changes is drawn. */
const rounds = process.env["PROVE"] === undefined ? 0 : 40;

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

  if (rounds > 0)
    test("whoever is moved, drained, removed and comes again", { timeout: rounds * 180_000 }, async (context) => {
      using folder = makeFolder();
      await using cluster = await TestCluster.form(4, { disk: nodeDisk, directory: folder.path });
      await cluster.connect().createTopic("kept", { partitionCount: 1, replicationFactor: 3 });
      await using clients = new RecordedClients(cluster.addresses, "kept");
      for (let writer = 0; writer < 2; writer += 1) clients.startWriter();
      clients.startWriter({ isIdempotent: false });
      clients.startReader("leader");
      clients.startReader("follower");
      for (let round = 0; round < rounds; round += 1) {
        const random = createSeededRandom(`cluster-membership/${round}`);
        const { title, change } = random.pick(changes);
        await context.test(title, async () => {
          await clients.untilAcknowledged(1 + random.integer(50));
          await change(cluster, random);
          await cluster.untilWell();
          await clients.untilAcknowledged(50);
        });
      }
      await clients.finish();
      const { partitions } = await cluster.connect().describeTopic("kept");
      const replicas = (partitions[0]?.replicas ?? []).map(({ nodeId }) => cluster.member(nodeId));
      assert.equal(replicas.length, 3);
      clients.check(await readReplicas(replicas, "kept"));
      for (const member of cluster.members) await member.stop();
      await checkSameFiles(cluster.members);
    });
});

interface Change {
  readonly title: string;
  readonly change: (cluster: TestCluster, random: SeededRandom) => Promise<void>;
}

const changes: readonly Change[] = [
  {
    title: "the partition is moved",
    change: async (cluster, random) => {
      const left = cluster.members.map(({ name }) => name);
      left.splice(random.integer(left.length), 1);
      const replicas = random.integer(2) === 0 ? left : left.toReversed();
      await waitUntil("it is to be moved", () =>
        cluster
          .connect()
          .cluster.movePartition({ topic: "kept", replicas })
          .then(() => true),
      );
      await untilOn(cluster, left);
    },
  },
  {
    title: "the lead is handed over",
    change: async (cluster) => {
      await waitUntil("another leads", () => cluster.connect().cluster.transferLeadership({ topic: "kept" }));
    },
  },
  {
    title: "the leader is drained, leaves, and comes again on an empty disk",
    change: async (cluster) => drain(cluster, await cluster.findLeader("kept")),
  },
  {
    title: "any node is drained, leaves, and comes again on an empty disk",
    change: async (cluster, random) => drain(cluster, random.pick(cluster.members)),
  },
  {
    title: "a node's disk is lost, and it is replaced",
    change: async (cluster, random) => {
      const member = random.pick(cluster.members);
      await member.stop();
      rmSync(member.directory, { recursive: true });
      await waitUntil("it is removed", () => removeNode(cluster, member, { force: true }));
      await member.start();
    },
  },
];

async function drain(cluster: TestCluster, member: TestMember): Promise<void> {
  await waitUntil("it is to leave", () => removeNode(cluster, member));
  const [other] = cluster.others(member.name) as readonly [TestMember];
  await waitUntil(`${member.name} has left`, async () => {
    const servers = await cluster.connect(other.name).getServers();
    return servers.every(({ id }) => id !== member.name);
  });
  await member.stop();
  rmSync(member.directory, { recursive: true });
  await member.start();
}

/** Asked of one that stays. */
async function removeNode(cluster: TestCluster, { name }: TestMember, options: { force?: boolean } = {}): Promise<boolean> {
  const [other] = cluster.others(name) as readonly [TestMember];
  await cluster.connect(other.name).cluster.removeNode(name, options);
  return true;
}

async function untilOn(cluster: TestCluster, names: readonly string[]): Promise<void> {
  await cluster.untilServing();
  await waitUntil(`the partition is on ${names.join(", ")}`, async () => {
    const { partitions } = await cluster.connect().describeTopic("kept");
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
