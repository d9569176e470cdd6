import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dataPath } from "../sim/cluster/machine.ts";
import { QuietCluster } from "../sim/cluster/quiet-cluster.ts";
import type { ClusterCatalog } from "../src/replica/cluster/index.ts";
import { readNodeRecord } from "../src/replica/cluster/node-record-state.ts";

const topicsCount = 1_000;
const atOnce = 100;

describe("topics that come and go", () => {
  test("leave nothing: not in the catalog, not in node records, not on disks, and a node that was away says so later", async () => {
    const cluster = await QuietCluster.form("a thousand");
    const catalog = await catalogOf(cluster);
    let largest = 0;
    for (let first = 0; first < topicsCount; first += atOnce) {
      const names = Array.from({ length: atOnce }, (_, at) => `t${first + at}`);
      await cluster.answered(
        Promise.all(names.map((name) => catalog.createTopic({ name, partitions: 1, replicationFactor: 1 }))),
      );
      await cluster.answered(Promise.all(names.map((name) => catalog.deleteTopic(name))));
      await cluster.until("nobody has anything of them", () => catalog.state.deleted.size === 0);
      largest = Math.max(largest, ...cluster.machines.map((machine) => recordOf(machine).bytes));
    }
    await cluster.until("nothing is listed any more", () =>
      cluster.machines.every((machine) => recordOf(machine).replicas === 1),
    );
    for (const { disk, served } of cluster.machines) assert.deepEqual(disk.list(`${dataPath}/logs`), [served?.clusterId]);
    assert.ok(largest < 8_192, `a record of ${largest} bytes, ${atOnce} topics at a time`);

    // Whoever is away is waited for, and told of all when it is back.
    const away = cluster.machines.find((machine) => machine.served?.clusterCatalog?.isLeader === false);
    assert.ok(away !== undefined);
    await cluster.answered(catalog.createTopic({ name: "kept", partitions: 1 }));
    await cluster.until("it has its replica", () => recordOf(away).replicas === 2);
    away.kill();
    await cluster.answered(catalog.deleteTopic("kept"));
    await cluster.until("the others have none", () => [...catalog.state.deleted.values()].every((nodes) => nodes.length === 1));
    assert.deepEqual([...catalog.state.deleted.values()], [[away.nodeName]]);
    away.start();
    await cluster.until("it has none either", () => catalog.state.deleted.size === 0 && recordOf(away).replicas === 1);
  });
});

function recordOf({ disk }: QuietCluster["machines"][number]): { readonly bytes: number; readonly replicas: number } {
  const path = `${dataPath}/node-record`;
  return { bytes: disk.size(path) ?? 0, replicas: readNodeRecord(disk, path)?.replicas.length ?? 0 };
}

async function catalogOf(cluster: QuietCluster): Promise<ClusterCatalog> {
  const { served } = await cluster.leader();
  assert.ok(served?.clusterCatalog !== undefined);
  return served.clusterCatalog;
}
