import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { silentLogger } from "../base/logger.ts";
import type { Disk } from "../base/disk.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import type { InspectedItem } from "../log/inspect.ts";
import { NodeRecord } from "./cluster/node-record.ts";
import { hardStateHeadBytes } from "./group/hard-state-file.ts";
import { HardStateLog } from "./group/hard-state-log.ts";
import { inspectNode, inspectNodeFile, isNodeFile } from "./inspect.ts";

const storageId = "5".repeat(32);
const group = "00000000-0000-4000-8000-000000000001";
const vote = { nodeId: "n1", storageId: `${storageId}/0` };
const recordPath = "/n/node-record";
const statePath = "/n/hard-state";

/** A node with one replica, which has voted in terms 1 and 2; its log is there. */
async function makeNode(): Promise<Disk> {
  const disk = createMemoryDisk();
  await disk.makeDirectory(`/n/logs/${group}`);
  const record = await NodeRecord.open(disk, "/n", () => storageId);
  await record.setName("n1");
  await record.noteStart("6".repeat(32), { bootCounter: 3, life: "1234567890abcdef" });
  await record.setPeers([{ nodeId: "n2", address: "n2:8000" }]);
  await record.addReplicas([{ groupId: group, incarnation: 4, logId: "7".repeat(32), firstMembers: [vote] }]);
  const states = await HardStateLog.open(disk, statePath, { storageId, logger: silentLogger });
  for (const term of [1, 2]) await states.slot(group).write({ term, vote });
  await states.close();
  return disk;
}

describe("a cluster's node, looked at from outside", () => {
  test("says who it is, and of each replica its term and vote", async () => {
    const disk = await makeNode();
    const { record, hardStates, lost, faults } = inspectNode("/n", { disk });
    assert.deepEqual([record?.nodeName, hardStates?.get(group), lost, faults], ["n1", { term: 2, vote }, [], []]);
    assert.deepEqual(
      itemsOf(recordPath, disk).map(({ item, position }) => [item, position]),
      [
        ["node-record", 0],
        ["peer", 32],
        ["heard", 32],
        ["replica", 32],
      ],
    );
    const states = itemsOf(statePath, disk);
    assert.deepEqual([...new Set(states.map(({ item }) => item))], ["head", "round", "zeros", "hard-states", "state"]);
    assert.equal(states.at(-1)?.["votedFor"], `n1 (${vote.storageId})`);
    assert.deepEqual([isNodeFile(recordPath), isNodeFile("/n/manifest")], [true, false]);
  });

  test("a replica that has voted and has no files is lost", async () => {
    const disk = await makeNode();
    disk.removeDirectory(`/n/logs/${group}`);
    assert.deepEqual(inspectNode("/n", { disk }).lost, [group]);
  });

  test("of a damaged node record what is wrong is told, and what it says all the same", async () => {
    const disk = await makeNode();
    change(disk, recordPath, 60);
    const [damage, unchecked] = itemsOf(recordPath, disk);
    assert.deepEqual([damage?.item, damage?.["code"]], ["damage", "MANIFEST_CORRUPT"]);
    assert.match(String(damage?.["reason"]), /its checksum doesn't match/);
    assert.match(String(unchecked?.["text"]), new RegExp(group));
    const { record, faults } = inspectNode("/n", { disk });
    assert.deepEqual([record, faults.map(({ name }) => name)], [undefined, ["node-record"]]);
  });

  test("what is bad in one copy of the hard states is shown, and no damage", async () => {
    const disk = await makeNode();
    change(disk, statePath, hardStateHeadBytes + 30);
    const states = itemsOf(statePath, disk);
    assert.deepEqual(
      states.filter(({ item }) => item === "fault").map(({ position, copy }) => [position, copy]),
      [[hardStateHeadBytes + 24, 1]],
    );
    const verdict = states.find(({ item }) => item === "hard-states");
    assert.deepEqual([verdict?.["badInOneCopy"], verdict?.["groups"]], [1, 1]);
    assert.equal(states.filter(({ item, copy }) => item === "round" && copy === 1).length > 0, true, "and what lies behind");
    assert.deepEqual(inspectNode("/n", { disk }).faults, []);
  });

  test("what is bad in both is damage, and so is a file of another directory, or none", async () => {
    const both = await makeNode();
    const half = (both.size(statePath) ?? 0) / 2;
    for (const start of [0, half]) change(both, statePath, start + hardStateHeadBytes + 30);
    const verdict = itemsOf(statePath, both).at(-1);
    assert.match(String(verdict?.["reason"]), /round 2 is bad in both copies, and copy 1 has a later one/);
    const heads = await makeNode();
    for (const start of [0, half]) change(heads, statePath, start + 2);
    assert.match(String(itemsOf(statePath, heads).at(-1)?.["reason"]), /it doesn't begin as one, in neither copy/);
    const foreign = await makeNode();
    foreign.remove(recordPath);
    await NodeRecord.open(foreign, "/n", () => "9".repeat(32));
    assert.match(
      String(itemsOf(statePath, foreign).at(-1)?.["reason"]),
      /it belongs to the directory with the storage id 5555/,
    );
    const missing = await makeNode();
    missing.remove(statePath);
    const [fault] = inspectNode("/n", { disk: missing }).faults;
    assert.match(fault?.error.message ?? "", /it is missing, and this node had groups/);
  });
});

function itemsOf(path: string, disk: Disk): readonly InspectedItem[] {
  return [...inspectNodeFile(path, { disk })];
}

function change(disk: Disk, path: string, position: number): void {
  const bytes = Buffer.alloc(1);
  const file = disk.open(path, "write");
  file.readSync(bytes, position);
  bytes.writeUInt8(bytes.readUInt8(0) ^ 1, 0);
  file.writeSync([bytes], position);
  file.close();
}
