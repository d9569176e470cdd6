import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { outcomeOf, TestGroup } from "../../../test/test-group.ts";
import { KiB } from "../../base/units.ts";

describe("a damaged replica", () => {
  test("that leads and whose sync fails refuses appends, hands leadership over, and is read from", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    await group.done(leader.append([{ value: "a" }]));
    const node = group.node("n1");
    node.disk.fail({ kind: "datasync", path: ".store", code: "EIO", times: Number.POSITIVE_INFINITY });
    const under = outcomeOf(leader.append([{ value: "b" }]));
    await group.settle();
    const { code, details } = await outcomeOf(leader.append([{ value: "c" }]));
    assert.ok(code === "LOG_POISONED" || details["leaderId"] !== undefined);
    await group.tick(5);
    assert.equal((await under).code, undefined, "a quorum of the others has it");
    const next = group.leader();
    assert.notEqual(next, leader);
    assert.deepEqual(
      node.damages.map((reason) => reason?.code),
      ["LOG_POISONED"],
    );
    assert.equal(leader.status().damage?.code, "LOG_POISONED");
    await group.done(next.append([{ value: "d" }]));
    const named = await outcomeOf(leader.append([{ value: "e" }]));
    assert.deepEqual([named.code, named.details["leaderId"]], ["NOT_LEADER", next.self.nodeId]);
    assert.deepEqual(await node.values(), ["a"]);
    assert.equal(leader.isEnded, false);
    const again = await node.restart();
    await group.tick(10);
    assert.equal(again.status().damage, undefined);
    assert.deepEqual(await node.values(), ["a", "b", "d"]);
    await group.close();
  });

  test("says why while nobody leads, and votes for nobody", async () => {
    const group = await TestGroup.open(["n1"]);
    const leader = await group.elect("n1");
    group.node("n1").disk.fail({ kind: "datasync", path: ".store", code: "EIO", times: Number.POSITIVE_INFINITY });
    assert.equal((await outcomeOf(leader.append([{ value: "a" }]))).code, "LEADERSHIP_LOST");
    assert.equal((await outcomeOf(leader.append([{ value: "b" }]))).code, "LOG_POISONED");
    await group.tick(60);
    assert.equal(leader.isLeader, false);
    await group.close();
  });

  test("whose failing write was in a follower acknowledges nothing more, and the group goes on", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.node("n3").disk.fail({ kind: "datasync", path: ".store", code: "EIO", times: Number.POSITIVE_INFINITY });
    for (const value of ["a", "b"]) await group.done(leader.append([{ value }]));
    assert.equal(group.replica("n3").status().damage?.code, "LOG_POISONED");
    assert.equal(leader.status().peers.find(({ nodeId }) => nodeId === "n3")?.matchIndex, 1);
    assert.equal(group.replica("n3").log.highWatermark, 0);
    await group.node("n3").restart();
    await group.tick(10);
    assert.deepEqual(await group.node("n3").values(), ["a", "b"]);
    await group.close();
  });

  test("without room hands leadership over, and comes back by itself when there is some", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const { disk } = group.node("n1");
    const full = disk.fail({ kind: "write", path: ".store", code: "ENOSPC", times: Number.POSITIVE_INFINITY });
    const under = outcomeOf(leader.append([{ value: "a" }]));
    // Nobody else may take over yet.
    group.loses = ({ message }) => message.kind === "timeout-now";
    await group.settle();
    assert.equal((await outcomeOf(leader.append([{ value: "b" }]))).code, "DISK_FULL");
    group.loses = () => false;
    await group.tick(6);
    assert.equal((await under).code, undefined);
    const next = group.leader();
    assert.notEqual(next, leader);
    assert.equal((await outcomeOf(leader.append([{ value: "c" }]))).code, "NOT_LEADER");
    full.cancel();
    group.clock.advance(500);
    await group.tick(10);
    assert.deepEqual(
      group.node("n1").damages.map((reason) => reason?.code),
      ["DISK_FULL", undefined],
    );
    assert.deepEqual(await group.node("n1").values(), ["a"]);
    next.transferLeadership("n1");
    await group.tick(6);
    assert.equal((await group.done(leader.append([{ value: "d" }]))).baseOffset, 1);
    await group.close();
  });

  test("by rot in what a reader finds doesn't lead, and takes part again when it is repaired", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    group.refuses = () => true;
    const leader = await group.elect("n1");
    for (let count = 0; count < 20; count += 1) await group.done(leader.append([{ value: `value ${count}` }]));
    const node = group.node("n1");
    const store = "/log/00000000000000000001.store";
    const position = node.disk.contentOf(store).indexOf("value 2");
    node.disk.flipBit(store, position, 1);
    await assert.rejects(leader.log.read(2), { code: "LOG_CORRUPT" });
    await group.tick(6);
    const next = group.leader();
    assert.notEqual(next, leader);
    assert.equal(leader.status().damage?.code, "LOG_CORRUPT");
    assert.equal((await leader.log.read(15)).offset, 15, "what isn't hit is read");
    assert.equal(next.transferLeadership("n1").outcome, "begun");
    await group.tick(15);
    assert.equal(leader.isLeader, false);
    node.disk.flipBit(store, position, 1);
    leader.repaired();
    await group.done(group.leader().append([{ value: "more" }]));
    assert.equal(leader.status().damage, undefined);
    assert.equal(leader.log.highWatermark, 21);
    await group.close();
  });

  test("by rot in what it has to send is told so by nobody else, and the peer gets it from who leads next", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    group.refuses = () => true;
    const leader = await group.elect("n1");
    group.isolate("n3");
    for (let count = 0; count < 20; count += 1) await group.done(leader.append([{ value: `value ${count}` }]));
    const node = group.node("n1");
    const store = "/log/00000000000000000001.store";
    node.disk.flipBit(store, node.disk.contentOf(store).indexOf("value 2"), 1);
    group.heal();
    await group.tick(10);
    assert.equal(leader.status().damage?.code, "LOG_CORRUPT");
    assert.equal(group.leader().self.nodeId, "n2");
    await group.tick(10);
    assert.equal(group.replica("n3").log.highWatermark, 20);
    await group.close();
  });

  test("that is alone goes on where it isn't hit: there is nobody to take over", async () => {
    const group = await TestGroup.open(["n1"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    for (let count = 0; count < 20; count += 1) await group.done(leader.append([{ value: `value ${count}` }]));
    const { disk } = group.node("n1");
    const store = "/log/00000000000000000001.store";
    disk.flipBit(store, disk.contentOf(store).indexOf("value 2"), 1);
    await assert.rejects(leader.log.read(2), { code: "LOG_CORRUPT" });
    assert.equal((await group.done(leader.append([{ value: "more" }]))).baseOffset, 20);
    await group.close();
  });
});
