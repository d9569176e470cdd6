import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { dataPath, type Machine } from "../sim/cluster/machine.ts";
import { QuietCluster } from "../sim/cluster/quiet-cluster.ts";

describe("a directory that was put back to an earlier state", () => {
  test("is refused also when it was started once since, and again: the count is the same, and the process another", async () => {
    const cluster = await QuietCluster.form("rolled back");
    const machine = cluster.machine("n3");
    const isThere = (): boolean =>
      ["n1", "n2"].every((name) => cluster.node(name).facts?.presenceOf("n3").isConnected === true);
    await cluster.until("all are connected", isThere);
    machine.kill();
    const before = readRecord(machine);
    machine.start();
    await cluster.until("it is there again", () => machine.served !== undefined && isThere());
    const { storageId } = cluster.node("n3");
    machine.kill();
    await cluster.until("it is gone", () => !isThere());
    writeRecord(machine, before);
    machine.start();
    await cluster.pass(10_000);
    assert.equal(machine.served?.storageId, storageId);
    for (const name of ["n1", "n2"]) assert.equal(cluster.node(name).facts?.presenceOf("n3").isConnected, false);
  });

  test("isn't what a start that ended before it said a word looks like", async () => {
    const cluster = await QuietCluster.form("ended early");
    const machine = cluster.machine("n3");
    for (let count = 0; count < 3; count += 1) {
      machine.kill();
      machine.start();
    }
    await cluster.until("it is there again", () =>
      ["n1", "n2"].every((name) => cluster.node(name).facts?.presenceOf("n3").isConnected === true),
    );
  });
});

function readRecord({ disk }: Machine): Buffer {
  const bytes = Buffer.alloc(disk.size(recordPath) ?? 0);
  const file = disk.open(recordPath, "read");
  file.readSync(bytes, 0);
  file.close();
  return bytes;
}

function writeRecord({ disk }: Machine, bytes: Buffer): void {
  disk.remove(recordPath);
  const file = disk.open(recordPath, "create");
  file.writeSync([bytes], 0);
  file.close();
}

const recordPath = `${dataPath}/node-record`;
