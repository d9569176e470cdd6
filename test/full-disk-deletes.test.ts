import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dataPath } from "../sim/cluster/machine.ts";
import { QuietCluster } from "../sim/cluster/quiet-cluster.ts";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { ProglogError } from "../src/base/error.ts";
import { silentLogger } from "../src/base/logger.ts";
import { DataDirectory } from "../src/replica/data-directory.ts";

describe("a topic is deleted on a full disk, which is how room is made", () => {
  test("on a single node", async () => {
    const disk = createSimDisk();
    const parts = { disk, clock: createVirtualClock(), random: createSeededRandom("full"), logger: silentLogger, log: {} };
    const directory = await DataDirectory.open("/data", parts);
    await directory.openReplicas();
    for (const name of ["orders", "bills"]) await directory.catalog.createTopic({ name });
    disk.capacityBytes = disk.usedBytes;
    await directory.catalog.deleteTopic("orders");
    assert.ok(disk.usedBytes < disk.capacityBytes);
    await directory.close(new ProglogError("SHUTTING_DOWN", "over"));
  });

  test("in a cluster", async () => {
    const cluster = await QuietCluster.form("full");
    const { served } = await cluster.leader();
    const catalog = served?.clusterCatalog;
    assert.ok(catalog !== undefined);
    await cluster.answered(catalog.createTopic({ name: "orders", partitions: 3 }));
    const logsOf = (machine: (typeof cluster.machines)[number]): number => machine.disk.list(`${dataPath}/logs`).length;
    await cluster.until("all have their replicas", () => cluster.machines.every((machine) => logsOf(machine) === 4));
    for (const { disk } of cluster.machines) disk.capacityBytes = disk.usedBytes;
    await cluster.answered(catalog.deleteTopic("orders"));
    await cluster.until("the files are gone", () => cluster.machines.every((machine) => logsOf(machine) === 1));
  });
});
