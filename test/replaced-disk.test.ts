import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { QuietCluster } from "../sim/cluster/quiet-cluster.ts";
import type { Machine } from "../sim/cluster/machine.ts";
import type { ClusterCatalog } from "../src/replica/cluster/index.ts";

describe("a node that comes again under its name with another disk", () => {
  test("and leads group 0 is heard by one that only knows the earlier disk, which then knows it", async () => {
    const cluster = await replaceDisk("renewed leads");
    const [old, renewed] = [cluster.machine("n2"), cluster.machine("n3")];
    await handTo(cluster, renewed);
    assert.notEqual(old.served?.clusterCatalog?.state.nodes.get("n3")?.storageId, renewed.served?.storageId);
    cluster.world.network.healAll();
    await cluster.until("it has caught up", () => old.served?.clusterCatalog?.findTopic("since") !== undefined);
    assert.equal(old.served?.clusterCatalog?.state.nodes.get("n3")?.storageId, renewed.served?.storageId);
    await cluster.until("they are connected", () => old.served?.facts?.presenceOf("n3").isConnected === true);
    assert.equal(cluster.world.findCatalogLeader(), renewed, "nobody else had to lead for it");
  });
});

/** Of five nodes n2 is cut off while n3 is removed and comes again with an empty disk. */
async function replaceDisk(name: string): Promise<QuietCluster> {
  const cluster = await QuietCluster.form(name, { nodes: 5 });
  await cluster.until("five vote", () => votersOf(cluster).length === 5);
  await handTo(cluster, cluster.machine("n1"));
  for (const other of ["n1", "n3", "n4", "n5"]) {
    cluster.world.network.cut("n2", other);
    cluster.world.network.cut(other, "n2");
  }
  const renewed = cluster.machine("n3");
  const before = renewed.served?.storageId;
  renewed.kill();
  await cluster.answered((await catalogOf(cluster)).propose({ kind: "remove-node", name: "n3", isForced: true }));
  renewed.wipe();
  renewed.start();
  await cluster.until("it serves", () => renewed.served !== undefined);
  assert.notEqual(renewed.served?.storageId, before);
  await cluster.until("it votes", () =>
    votersOf(cluster).some(({ storageId }) => storageId.startsWith(renewed.served?.storageId ?? "?")),
  );
  await cluster.answered((await catalogOf(cluster)).createTopic({ name: "since", partitions: 1 }));
  return cluster;
}

async function catalogOf(cluster: QuietCluster): Promise<ClusterCatalog> {
  const { served } = await cluster.leader();
  assert.ok(served?.clusterCatalog !== undefined);
  return served.clusterCatalog;
}

async function handTo(cluster: QuietCluster, to: Machine): Promise<void> {
  const { world } = cluster;
  await cluster.until(`${to.name} leads group 0`, () => {
    const leader = world.findCatalogLeader();
    if (leader === to) return true;
    const group = leader?.served?.groups?.find(leader.served.clusterId ?? "");
    group?.transferLeadership(to.nodeName);
    return false;
  });
}

function votersOf(cluster: QuietCluster) {
  const { served } = cluster.world.findCatalogLeader() ?? {};
  return served?.groups?.find(served.clusterId ?? "")?.membership.voters ?? [];
}
