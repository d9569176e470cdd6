import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { diskStallMs, groupTickMs } from "../src/base/cluster-limits.ts";
import { isProglogError } from "../src/base/error.ts";
import { KiB } from "../src/base/units.ts";
import { defaultSettings } from "../src/raft/raft-settings.ts";
import { GroupNodes } from "./group-nodes.ts";
import { outcomeOf } from "./test-group.ts";

const groupIds = Array.from({ length: 100 }, (_, number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`);

describe("groups on three nodes", () => {
  test("a hundred elect, append, survive a killed node and take it in again", async () => {
    const world = new GroupNodes(["n1", "n2", "n3"]);
    await world.start();
    await world.create(groupIds);
    const areLed = (): boolean => groupIds.every((groupId) => world.findLeader(groupId) !== undefined);
    const electionTicks = await world.tickUntil(areLed, 60);
    await world.tick(5);

    // One sync of hard states for what all groups vote in a turn: not one for each of some 200 votes a node.
    for (const { running } of world.nodes)
      assert.ok(running.status.hardStateSyncCount < 2 * electionTicks, `${running.status.hardStateSyncCount} syncs`);
    for (const groupId of groupIds) {
      const leader = world.findLeader(groupId);
      const known = world.nodes.map(({ running }) => running.findLeader(groupId)?.leaderId);
      assert.deepEqual(
        known,
        Array.from({ length: 3 }, () => leader?.nodeId),
        "every node knows who leads",
      );
    }
    await appendAll(world, "before");

    const killed = world.nodes.toSorted((a, b) => ledBy(world, b.nodeId) - ledBy(world, a.nodeId))[0];
    assert.ok(killed !== undefined && ledBy(world, killed.nodeId) > 20);
    killed.kill();
    await world.tickUntil(areLed, 60);
    await appendAll(world, "without one");
    await killed.start();
    await world.tick(40);
    await appendAll(world, "again with all");
    await world.tick(10);

    for (const groupId of groupIds) {
      for (const { nodeId, running } of world.nodes) {
        const values: string[] = [];
        const replica = running.find(groupId);
        assert.ok(replica !== undefined);
        for await (const record of replica.log.records()) values.push(record.value?.toString() ?? "");
        assert.deepEqual(
          values,
          ["before", "without one", "again with all"].map((when) => `${groupId} ${when}`),
          nodeId,
        );
      }
    }
    for (const { running } of world.nodes) assert.equal(running.status.unsyncedBytes, 0);
    await world.close();
    assert.ok(world.nodes.every(({ disk }) => disk.openFileCount === 0));
  });

  test("groups in which nothing happens fall asleep, and a killed node wakes those that it led", async () => {
    const world = new GroupNodes(["n1", "n2", "n3"]);
    await world.start();
    await world.create(few);
    await world.tickUntil(() => few.every((groupId) => world.findLeader(groupId) !== undefined), 60);
    await appendAll(world, "before", few);
    const replicas = () => world.nodes.flatMap(({ set }) => few.flatMap((groupId) => set?.find(groupId) ?? []));
    await world.tickUntil(() => replicas().every(({ isAsleep }) => isAsleep), 2 * defaultSettings.sleepTicks);
    const killed = world.findLeader(few[0] ?? "");
    assert.ok(killed !== undefined);
    killed.kill();
    await world.tickUntil(() => few.every((groupId) => world.findLeader(groupId) !== undefined), 100);
    await appendAll(world, "after", few);
    await world.close();
  });

  test("a node that comes to a group whose log was trimmed is given what the leader's log begins with", async () => {
    const world = new GroupNodes(["n1", "n2", "n3"]);
    world.segmentMaxBytes = 1 * KiB;
    await world.start();
    const pair = ["n1", "n2"].map((nodeId) => world.node(nodeId));
    const firstMembers = pair.map(({ nodeId, storageId }) => ({ nodeId, storageId: `${storageId}/0` }));
    const [groupId = ""] = few;
    const group = { groupId, incarnation: 0, logId: groupId.replaceAll("-", "") };
    await Promise.all(pair.map(({ running }) => running.create({ ...group, firstMembers })));
    await world.tickUntil(() => world.findLeader(groupId) !== undefined, 60);
    for (let count = 0; count < 20; count += 1) await appendAll(world, `${count}`, [groupId]);
    const leader = world.findLeader(groupId)?.running.find(groupId);
    assert.ok(leader !== undefined);
    await Promise.all([leader.trim(15), world.tick(5)]);
    const late = await world.node("n3").running.create({ ...group, firstMembers: undefined });
    leader.changeMembership([{ kind: "add-learner", member: late.self }]);
    await world.tickUntil(() => late.log.highWatermark === 20, 100);
    assert.deepEqual([late.log.logStartOffset, leader.log.logStartOffset], [15, 15]);
    assert.ok(late.status().firstIndex > 5);
    assert.deepEqual(world.node("n3").disk.list("/data/logs"), [groupId]);
    const isRefused = async (body: object): Promise<string> => {
      const asked = Buffer.from(JSON.stringify(body));
      const { signal } = new AbortController();
      return (await outcomeOf(world.node("n3").running.answerCopy("n1", "group/fetch", asked, signal))).code ?? "";
    };
    assert.equal(await isRefused({ group: groupIds.at(-1), wants: "base" }), "NOT_A_REPLICA");
    assert.equal(await isRefused({ group: groupId, wants: "all" }), "INVALID_ARGUMENT");
    assert.equal(await isRefused({ group: groupId, wants: "entries", index: 1, lastIndex: 2 }), "OFFSET_OUT_OF_RANGE");
    await world.close();
    assert.ok(world.nodes.every(({ disk }) => disk.openFileCount === 0));
  });

  test("a node whose disk stalls hands over what it leads, and goes on when the disk does", async () => {
    const world = new GroupNodes(["n1", "n2", "n3"]);
    await world.start();
    await world.create(few);
    await world.tickUntil(() => few.every((groupId) => world.findLeader(groupId) !== undefined), 60);
    const stalled = world.findLeader(few[0] ?? "");
    assert.ok(stalled !== undefined);
    const hold = stalled.disk.holdSync();
    await appendAll(world, "committed by the others", few);
    assert.equal(stalled.running.status.unsyncedBytes > 0, true);
    const ticks = await world.tickUntil(() => few.every((groupId) => (world.findLeader(groupId) ?? stalled) !== stalled), 100);
    assert.ok(ticks >= diskStallMs / groupTickMs - 25 && ticks < diskStallMs / groupTickMs + 20, `${ticks} ticks`);
    assert.equal(stalled.running.status.isDiskStalled, true);
    await appendAll(world, "without it", few);
    hold.release();
    await world.tick(10);
    assert.deepEqual([stalled.running.status.isDiskStalled, stalled.running.status.unsyncedBytes], [false, 0]);
    for (const groupId of few) assert.equal(stalled.running.find(groupId)?.log.highWatermark, 2);
    await world.close();
  });

  test("a node that can't write hard states leads nothing, reads on, and is well again after another start", async () => {
    const world = new GroupNodes(["n1", "n2", "n3"]);
    await world.start();
    await world.create(few);
    const areLed = (): boolean => few.every((groupId) => world.findLeader(groupId) !== undefined);
    await world.tickUntil(areLed, 60);
    await appendAll(world, "before", few);
    await world.tick(4);
    const [groupId = ""] = few;
    const leading = world.findLeader(groupId);
    const broken = world.nodes.find((node) => node !== leading);
    const heir = world.nodes.find((node) => node !== leading && node !== broken);
    assert.ok(leading !== undefined && broken !== undefined && heir !== undefined);
    broken.disk.fail({ kind: "datasync", path: /hard-state/, code: "EIO" });
    leading.running.find(groupId)?.transferLeadership(heir.nodeId);
    await world.tickUntil(() => broken.running.status.hardStateError !== undefined, 20);
    await world.tickUntil(() => areLed() && few.every((id) => world.findLeader(id) !== broken), 40);
    await appendAll(world, "without it", few);
    const replica = broken.running.find(groupId);
    assert.equal(replica?.status().damage?.code, "LOG_POISONED");
    assert.ok((replica?.log.highWatermark ?? 0) >= 1, "what it showed it shows");

    broken.kill();
    await broken.start();
    await world.tick(20);
    await appendAll(world, "again with all", few);
    await world.tick(4);
    for (const id of few) assert.equal(broken.running.find(id)?.log.highWatermark, 3);
    await world.close();
  });

  test("past what a node's disk may owe appends are refused, and entries are dropped and come again", async () => {
    const world = new GroupNodes(["n1", "n2", "n3"], 64 * KiB);
    await world.start();
    await world.create(few);
    await world.tickUntil(() => few.every((groupId) => world.findLeader(groupId) !== undefined), 60);
    const [groupId = ""] = few;
    const leading = world.findLeader(groupId);
    const slow = world.nodes.find((node) => node !== leading);
    assert.ok(leading !== undefined && slow !== undefined);
    const value = Buffer.alloc(20 * KiB);
    const append = async (node: typeof slow): Promise<void> => {
      const [answer] = await Promise.allSettled([node.running.find(groupId)?.append([{ value }]), world.settle()]);
      if (answer.status === "rejected") throw answer.reason;
    };
    const slowHold = slow.disk.holdSync();
    for (let count = 0; count < 8; count += 1) await append(leading);
    await world.tick(4);
    const { unsyncedBytes, droppedCount } = slow.running.status;
    assert.ok(unsyncedBytes <= 64 * KiB && droppedCount > 0, `${unsyncedBytes} bytes, ${droppedCount} dropped`);
    slowHold.release();
    await world.tickUntil(() => slow.running.find(groupId)?.log.highWatermark === 8, 20);

    const hold = leading.disk.holdSync();
    for (let count = 0; count < 3; count += 1) await append(leading);
    await assert.rejects(append(leading), (error) => isProglogError(error, "OVERLOADED"));
    const other = few.find((id) => id !== groupId && world.findLeader(id) === leading);
    if (other !== undefined)
      await assert.rejects(
        async () => leading.running.find(other)?.append([{ value }]),
        (error) => isProglogError(error, "OVERLOADED"),
      );
    hold.release();
    await world.tick(2);
    await append(leading);
    await world.tick(4);
    for (const { running } of world.nodes) assert.equal(running.find(groupId)?.log.highWatermark, 12);
    assert.deepEqual(
      world.nodes.map(({ running }) => running.status.unsyncedBytes),
      [0, 0, 0],
    );
    await world.close();
  });
});

const few = groupIds.slice(0, 6);

/** One record to each group, at its leader. */
async function appendAll(world: GroupNodes, when: string, to: readonly string[] = groupIds): Promise<void> {
  const appends = to.map(async (groupId) => {
    const replica = world.findLeader(groupId)?.running.find(groupId);
    assert.ok(replica !== undefined, `${groupId} is led`);
    await replica.append([{ value: `${groupId} ${when}` }]);
  });
  await Promise.all([...appends, world.tick(10)]);
}

function ledBy(world: GroupNodes, nodeId: string): number {
  return groupIds.filter((groupId) => world.findLeader(groupId)?.nodeId === nodeId).length;
}
