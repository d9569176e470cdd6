import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { QuietCluster } from "../sim/cluster/quiet-cluster.ts";
import type { CatalogTopic } from "../src/replica/cluster/catalog-state.ts";

describe("a topic that is made while a node is down", () => {
  test("has its replicas on those that are up, and new partitions of another one, too", async () => {
    const cluster = await QuietCluster.form("placed up", { nodes: 4 });
    const before = await createTopic(cluster, "before", 4);
    assert.ok(nodesOf(before).has("n4"));
    cluster.machine("n4").kill();
    await cluster.until("that is known", () => isGone(cluster, "n4"));
    const made = await createTopic(cluster, "made", 8);
    assert.deepEqual([...nodesOf(made)].sort(), namesBut(cluster, "n4"));
    const catalog = (await cluster.leader()).served?.clusterCatalog;
    assert.ok(catalog !== undefined);
    const more = await cluster.answered(catalog.changeTopic("before", { partitions: 8 }));
    for (const partition of more.partitions.slice(4))
      assert.ok(!partition.replicas.some(({ node }) => node === "n4"), String(partition.partition));
  });

  test("has one on the node that is down where the others are too few, and is led by another", async () => {
    const cluster = await QuietCluster.form("placed down");
    const leader = (await cluster.leader()).nodeName;
    const down = cluster.machines.find(({ nodeName }) => nodeName !== leader);
    assert.ok(down !== undefined);
    down.kill();
    await cluster.until("that is known", () => isGone(cluster, down.nodeName));
    const made = await createTopic(cluster, "made", 6);
    for (const { replicas, leader: wished } of made.partitions) {
      assert.equal(replicas.length, 3);
      assert.notEqual(wished, down.nodeName);
    }
  });
});

async function createTopic(cluster: QuietCluster, name: string, partitions: number): Promise<CatalogTopic> {
  const { served } = await cluster.leader();
  assert.ok(served?.clusterCatalog !== undefined);
  return await cluster.answered(served.clusterCatalog.createTopic({ name, partitions }));
}

function isGone({ world }: QuietCluster, name: string): boolean {
  return world.findCatalogLeader()?.served?.facts?.presenceOf(name).isConnected === false;
}

function nodesOf({ partitions }: CatalogTopic): ReadonlySet<string> {
  return new Set(partitions.flatMap(({ replicas }) => replicas.map(({ node }) => node)));
}

function namesBut({ machines }: QuietCluster, name: string): readonly string[] {
  return machines.map(({ nodeName }) => nodeName).filter((other) => other !== name);
}
