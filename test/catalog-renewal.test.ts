import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { QuietCluster } from "../sim/cluster/quiet-cluster.ts";
import { dataPath, type Machine } from "../sim/cluster/machine.ts";
import { replicaLostAfterMs } from "../src/base/cluster-limits.ts";
import { removeTree } from "../src/replica/replica-set.ts";

describe("a node that lost its replica of group 0", () => {
  test("gets it anew, votes under another storage id, and makes what it was given meanwhile", async () => {
    const cluster = await QuietCluster.form("catalog lost");
    const lost = await follower(cluster);
    lost.kill();
    removeTree(lost.disk, logPath(cluster));
    lost.start();
    await cluster.until("it serves", () => lost.served !== undefined);
    assert.equal(catalogState(lost), "lost");
    await createTopic(cluster, "meanwhile");
    await cluster.pass(replicaLostAfterMs / 2);
    assert.equal(catalogState(lost), "lost", "it may be that somebody puts it back");
    await cluster.until("it has the catalog again", () => lost.served?.clusterCatalog?.findTopic("meanwhile") !== undefined);
    await cluster.until("it votes", () => voters(cluster).some(({ nodeId }) => nodeId === lost.nodeName));
    const storageId = voters(cluster).find(({ nodeId }) => nodeId === lost.nodeName)?.storageId;
    assert.match(storageId ?? "", /^[0-9a-f]{32}\/[1-9]/);
    await cluster.until("it has its replica of the topic", () => replicasOf(lost) === 2);
  });

  for (let sync = 1; sync <= 12; sync += 1)
    test(`where its log is rotten, too, and when the power goes in sync ${sync} of it`, async () => {
      const cluster = await QuietCluster.form(`catalog rotten ${sync}`);
      const lost = await follower(cluster);
      await createTopic(cluster, "before");
      lost.kill();
      await cluster.answered(rot(lost, logPath(cluster)));
      lost.start();
      await cluster.until("it serves", () => lost.served !== undefined);
      assert.equal(catalogState(lost), "failed");
      await cluster.pass(replicaLostAfterMs - 1_000);
      let isCut = false;
      lost.cutPowerInSync(sync, () => {
        isCut = true;
      });
      await cluster.until("the power goes", () => isCut);
      lost.start();
      await cluster.until("it has the catalog again", () => lost.served?.clusterCatalog?.findTopic("before") !== undefined);
      await cluster.until("it votes", () => voters(cluster).some(({ nodeId }) => nodeId === lost.nodeName));
      await cluster.until("nothing is left of the other", () => replicasOf(lost) === 2);
    });

  test("is replaced as well when its log is whole again after all, and the group is without it by now", async () => {
    const cluster = await QuietCluster.form("catalog whole");
    const lost = await follower(cluster);
    lost.kill();
    const store = storeOf(lost, logPath(cluster));
    lost.disk.rename(store, `${store}.away`);
    lost.start();
    const own = (): string | undefined => voters(cluster).find(({ nodeId }) => nodeId === lost.nodeName)?.storageId;
    const before = own();
    await cluster.until("the members are without it", () => own() === undefined);
    lost.kill();
    lost.disk.rename(`${store}.away`, store);
    lost.start();
    await cluster.until("another one votes", () => own() !== undefined);
    assert.notEqual(own(), before);
    await createTopic(cluster, "since");
    await cluster.until("it has the catalog", () => lost.served?.clusterCatalog?.findTopic("since") !== undefined);
  });

  test("has another node vote in its place, where there is one", async () => {
    const cluster = await QuietCluster.form("catalog vote", { nodes: 4 });
    await cluster.until("three vote", () => voters(cluster).length === 3);
    const lost = await follower(cluster);
    const learner = cluster.machines.find(({ nodeName }) => !voters(cluster).some(({ nodeId }) => nodeId === nodeName));
    lost.kill();
    removeTree(lost.disk, logPath(cluster));
    lost.start();
    await cluster.until("the other one votes", () => voters(cluster).some(({ nodeId }) => nodeId === learner?.nodeName));
    await cluster.until("it is there again", () => catalogState(lost) === "open");
    assert.deepEqual(voters(cluster).length, 3);
    assert.ok(!voters(cluster).some(({ nodeId }) => nodeId === lost.nodeName));
  });

  test("waits for room, where its disk is full, and is the same one then", async () => {
    const cluster = await QuietCluster.form("catalog full");
    const lost = await follower(cluster);
    lost.kill();
    const full = lost.disk.fail({ kind: "write", path: /logs/, code: "ENOSPC", times: Number.POSITIVE_INFINITY });
    lost.start();
    await cluster.until("it serves", () => lost.served !== undefined);
    assert.equal(catalogState(lost), "failed");
    await cluster.pass(3 * replicaLostAfterMs);
    assert.equal(catalogState(lost), "failed");
    full.cancel();
    await cluster.until("it is there again", () => catalogState(lost) === "open");
  });

  test("keeps what it has while the others are no quorum", async () => {
    const cluster = await QuietCluster.form("catalog alone", { nodes: 2 });
    const lost = await follower(cluster);
    lost.kill();
    await cluster.answered(rot(lost, logPath(cluster)));
    lost.start();
    await cluster.until("it serves", () => lost.served !== undefined);
    await cluster.pass(5 * replicaLostAfterMs);
    assert.equal(catalogState(lost), "failed");
    assert.ok(lost.disk.isDirectory(logPath(cluster)));
  });
});

const logPath = (cluster: QuietCluster): string => `${dataPath}/logs/${clusterIdOf(cluster)}`;

function clusterIdOf(cluster: QuietCluster): string {
  const id = cluster.machines.flatMap(({ served }) => served?.clusterId ?? [])[0];
  assert.ok(id !== undefined);
  return id;
}

async function follower(cluster: QuietCluster): Promise<Machine> {
  const leader = await cluster.leader();
  const found = cluster.machines.find(
    (machine) => machine !== leader && voters(cluster).some(({ nodeId }) => nodeId === machine.nodeName),
  );
  assert.ok(found !== undefined);
  return found;
}

function voters(cluster: QuietCluster) {
  const id = clusterIdOf(cluster);
  return cluster.world.findCatalogLeader()?.served?.groups?.find(id)?.membership.voters ?? [];
}

function catalogState({ served }: Machine): string | undefined {
  return served?.groups?.stateOf(served.clusterId ?? "")?.kind;
}

function replicasOf({ served }: Machine): number {
  return [...(served?.groups?.states() ?? [])].filter(({ state }) => state.kind === "open").length;
}

async function createTopic(cluster: QuietCluster, name: string): Promise<void> {
  const leader = await cluster.leader();
  const catalog = leader.served?.clusterCatalog;
  assert.ok(catalog !== undefined);
  await cluster.answered(catalog.createTopic({ name, partitions: 1 }));
}

/** The process is gone, and in the middle of the log is something else. */
async function rot({ disk }: Machine, path: string): Promise<void> {
  const file = disk.open(storeOf({ disk }, path), "write");
  file.writeSync([Buffer.alloc(64, 0xee)], 100);
  await file.datasync();
  file.close();
}

function storeOf({ disk }: Pick<Machine, "disk">, path: string): string {
  const [name = ""] = disk.list(path).filter((entry) => entry.endsWith(".store"));
  return `${path}/${name}`;
}
