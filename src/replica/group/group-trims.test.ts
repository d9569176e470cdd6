import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { outcomeOf, TestGroup } from "../../../test/test-group.ts";
import { catchUpRetryMaxMs, peerRetentionMs, peerStuckMs } from "../../base/cluster-limits.ts";
import { dayMs, hourMs, KiB, minuteMs } from "../../base/units.ts";
import type { GroupReplica } from "./group-replica.ts";
import { PeerLags } from "./peer-lags.ts";

describe("a trim of a group", () => {
  test("moves the log start of every replica to the same offset, and removes files of each", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 30);
    const before = leader.log.status().segments;
    assert.equal(await group.done(leader.trim(21)), 21);
    for (const name of ["n1", "n2", "n3"]) {
      const { log } = group.replica(name);
      assert.deepEqual([log.logStartOffset, log.highWatermark], [21, 30]);
      assert.ok(log.status().segments < before);
      assert.equal(group.replica(name).status().firstIndex, log.status().firstIndex, "the core knows");
    }
    await group.done(leader.append([{ value: "behind" }]));
    assert.equal(await group.done(leader.trim(5)), 21, "it never moves back");
    await group.close();
  });

  test("is for the leader to decide, and not beyond what is committed", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    await fill(group, leader, 3);
    assert.equal((await outcomeOf(group.replica("n2").trim(1))).code, "NOT_LEADER");
    const beyond = await outcomeOf(leader.trim(4));
    assert.deepEqual([beyond.code, beyond.details["highWatermark"]], ["OFFSET_OUT_OF_RANGE", 3]);
    assert.equal((await outcomeOf(leader.trim(-1))).code, "INVALID_ARGUMENT");
    await group.replica("n2").applyRetention();
    await group.close();
  });

  test("keeps what a member still has to be sent, until that one hasn't been heard of for very long", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 10);
    group.isolate("n3");
    await fill(group, leader, 20);
    assert.equal(await group.done(leader.trim(25)), 10);
    group.clock.advance(peerRetentionMs);
    await group.tick(3);
    assert.equal(await group.done(leader.trim(25)), 25);
    await group.close();
  });

  test("keeps nothing for a member that answers and gets no further for long, as one whose disk is full", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 10);
    const { disk } = group.node("n3");
    disk.capacityBytes = disk.usedBytes;
    await fill(group, leader, 50);
    const lagging = await group.done(leader.trim(55));
    assert.ok(lagging < 55, "it may find room soon");
    for (let minutes = 0; minutes < 55; minutes += 5) {
      group.clock.advance(5 * minuteMs);
      await group.tick(4);
      assert.equal(await group.done(leader.trim(55)), lagging);
    }
    group.clock.advance(peerStuckMs);
    await group.tick(4);
    assert.equal(await group.done(leader.trim(55)), 55);
    disk.capacityBytes = Number.POSITIVE_INFINITY;
    group.clock.advance(catchUpRetryMaxMs);
    await group.tick(60);
    assert.deepEqual(starts(group), [55, 55, 55]);
    assert.equal(group.replica("n3").log.highWatermark, 60, "it is given files");
    await group.close();
  });

  test("waits for a member that is behind and gets on, by what it fetches, too", () => {
    const lags = new PeerLags();
    const look = (matchIndex: number, nowMs: number): number => {
      lags.look([{ nodeId: "b", matchIndex }], { lastIndex: 10, nowMs });
      return nowMs - lags.sinceMs("b", nowMs);
    };
    assert.deepEqual([look(3, 100), look(3, 150), look(4, 200), look(4, 300)], [0, 50, 0, 100]);
    lags.fetched("b", 310);
    lags.fetched("c", 310);
    assert.deepEqual([look(4, 320), look(10, 330), look(10, 400)], [10, 0, 0]);
    assert.deepEqual([look(9, 500), look(9, 600)], [0, 100]);
    lags.look([], { lastIndex: 10, nowMs: 700 });
    assert.equal(look(9, 800), 0, "who came back is another");
    lags.clear();
    assert.equal(lags.sinceMs("b", 900), 900);
  });

  test("is carried out by who missed it while it was down, and after a crash before it was", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 30);
    // It has the entry on its disk, and not heard yet that it is committed.
    group.loses = ({ message }) => message.to === "n3" && (message.kind === "commit-notice" || message.kind === "heartbeat");
    const trimmed = leader.trim(20);
    await group.settle();
    await trimmed;
    assert.equal(group.replica("n3").log.logStartOffset, 0);
    group.loses = () => false;
    await group.node("n3").restart();
    // Closed in order, too, it knows of the entry that is still to be carried out.
    await group.node("n3").stop();
    const again = await group.node("n3").start();
    assert.equal(again.log.logStartOffset, 0);
    await group.tick(6);
    assert.equal(again.log.logStartOffset, 20);
    await group.close();
  });

  test("that a full disk stops is carried out when there is room", async () => {
    const group = await TestGroup.open(["n1"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 30);
    group.node("n1").disk.fail({ kind: "write", path: /base-/, code: "ENOSPC" });
    await group.done(leader.trim(20));
    assert.equal(leader.log.logStartOffset, 0);
    group.clock.advance(500);
    await group.settle();
    assert.equal(leader.log.logStartOffset, 20);
    await group.close();
  });

  test("has an unknown outcome when leadership is lost before it is committed", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    await fill(group, leader, 3);
    group.isolate("n1");
    const trim = outcomeOf(leader.trim(2));
    await group.tick(25);
    assert.equal((await trim).code, "LEADERSHIP_LOST");
    assert.equal(leader.log.logStartOffset, 0);
    await group.close();
  });

  test("follows from the retention options of the leader, and from no replica's own", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 30);
    for (const name of ["n1", "n2", "n3"]) group.replica(name).log.configure({ retentionMaxBytes: 2 * KiB });
    group.clock.advance(1 * hourMs);
    await group.settle();
    assert.deepEqual(starts(group), [0, 0, 0], "a log's own job is none here");
    await group.done(leader.applyRetention());
    const [start = 0] = starts(group);
    assert.ok(start > 0);
    assert.deepEqual(starts(group), [start, start, start]);
    await group.close();
  });

  test("that retention asks for moves nothing before it is committed", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    await fill(group, leader, 30);
    leader.log.configure({ retentionMaxBytes: 2 * KiB });
    group.isolate("n1");
    const retention = outcomeOf(leader.applyRetention());
    await group.tick(25);
    assert.equal((await retention).code, "LEADERSHIP_LOST");
    assert.deepEqual(starts(group), [0, 0, 0]);
    await group.close();
  });

  test("by age seals the segment that is written to, and takes it when its time has come", async () => {
    const group = await TestGroup.open(["n1"], { log: { retentionMaxAgeMs: 1 * dayMs } });
    const leader = await group.elect("n1");
    await fill(group, leader, 5);
    await group.done(leader.applyRetention());
    assert.deepEqual([leader.log.status().segments, leader.log.logStartOffset], [1, 0]);
    group.clock.advance(1 * dayMs + 1);
    await group.done(leader.applyRetention());
    assert.deepEqual([leader.log.status().segments, leader.log.logStartOffset], [2, 0]);
    await group.done(leader.applyRetention());
    assert.deepEqual([leader.log.status().segments, leader.log.logStartOffset], [1, 5]);
    const { lastIndex } = leader.status();
    group.clock.advance(2 * dayMs);
    for (let count = 0; count < 3; count += 1) await group.done(leader.applyRetention());
    assert.equal(leader.status().lastIndex, lastIndex, "where no records are, nothing is proposed for ever");
    await group.close();
  });

  test("a segment is begun by age with the next entry, wherever the leader says so", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxAgeMs: 1 * hourMs } });
    const leader = await group.elect("n1");
    await fill(group, leader, 2);
    group.clock.advance(1 * hourMs);
    await fill(group, leader, 2);
    assert.deepEqual(
      [...group.nodes.values()].map(({ replica }) => replica?.log.status().segments),
      [2, 2, 2],
    );
    await group.close();
  });
});

async function fill(group: TestGroup, leader: GroupReplica, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) {
    const append = leader.append([{ value: "x" }]);
    await group.settle();
    await append;
  }
  await group.tick(2);
}

function starts(group: TestGroup): number[] {
  return [...group.nodes.values()].map(({ replica }) => replica?.log.logStartOffset ?? -1);
}
