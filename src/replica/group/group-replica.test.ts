import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { memberOf, isCode, outcomeOf, TestGroup, testGroupId } from "../../../test/test-group.ts";
import { AssertionError } from "../../base/assert.ts";
import { ProglogError } from "../../base/error.ts";
import { KiB } from "../../base/units.ts";
import { readBaseRecord, writeBaseRecord } from "../../log/base-record.ts";
import { openCommitLog } from "../../log/open-log.ts";
import { openReplicaLog } from "../../log/replica-log.ts";

describe("a group's replica", () => {
  test("elects a leader, which replicates what is appended, and every replica shows it", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const appends = ["a", "b", "c"].map((value) => leader.append([{ value }]));
    const answers = await group.done(Promise.all(appends));
    assert.deepEqual(
      answers.map(({ baseOffset, count, isDurable, isDuplicate }) => [baseOffset, count, isDurable, isDuplicate]),
      [
        [0, 1, true, false],
        [1, 1, true, false],
        [2, 1, true, false],
      ],
    );
    assert.deepEqual(await group.values(), [
      ["a", "b", "c"],
      ["a", "b", "c"],
      ["a", "b", "c"],
    ]);
    assert.deepEqual(
      [...group.nodes.values()].map(({ replica }) => [replica?.role, replica?.leader, replica?.term]),
      [
        ["leader", "n1", 1],
        ["follower", "n1", 1],
        ["follower", "n1", 1],
      ],
    );
    await group.close();
  });

  test("shows what a quorum committed as soon as its own disk has it", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const hold = group.node("n1").hold({ kind: "datasync" });
    const append = leader.append([{ value: "a" }]);
    await group.settle();
    await append;
    assert.equal(leader.log.highWatermark, 0, "committed by the other two");
    hold.release();
    await group.settle();
    assert.equal(leader.log.highWatermark, 1);
    await group.close();
  });

  test("alone in its group it leads at once, and commits on its own disk", async () => {
    const group = await TestGroup.open(["n1"]);
    const leader = group.replica("n1");
    assert.equal(leader.isLeader, true);
    assert.equal((await leader.append([{ value: "a" }])).baseOffset, 0);
    await group.settle();
    assert.equal(leader.log.highWatermark, 1);
    await group.close();
  });

  test("goes on after a restart with what it had, and in no earlier term", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    for (let count = 0; count < 30; count += 1) await group.done(leader.append([{ value: `${count}` }]));
    for (const name of ["n1", "n2", "n3"]) await group.node(name).restart();
    assert.deepEqual(
      [...group.nodes.values()].map(({ replica }) => [replica?.role, replica?.term, replica?.log.highWatermark]),
      [
        ["follower", 1, 0],
        ["follower", 1, 0],
        ["follower", 1, 0],
      ],
    );
    const next = await group.elect("n2");
    assert.deepEqual([next.term, next.log.highWatermark], [2, 30]);
    await group.close();
  });

  test("brings a follower up to date that was away, across segments", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    group.isolate("n3");
    const values = Array.from({ length: 40 }, (_, count) => `value ${count}`);
    for (const value of values) await group.done(leader.append([{ value }]));
    group.heal();
    await group.tick(10);
    assert.deepEqual(await group.node("n3").values(), values);
    await group.close();
  });

  test("a node that joins learns the members from their leader, and votes once it is promoted", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    await group.done(leader.append([{ value: "a" }]));
    const joined = await group.add("n4");
    assert.equal(leader.changeMembership([{ kind: "add-learner", member: memberOf("n4") }]).outcome, "appended");
    await group.tick(5);
    assert.equal(leader.changeMembership([{ kind: "promote", nodeId: "n4" }]).outcome, "appended");
    await group.tick(5);
    assert.deepEqual(
      joined.replica?.membership.voters.map(({ nodeId }) => nodeId),
      ["n1", "n2", "n3", "n4"],
    );
    assert.deepEqual(await joined.values(), ["a"]);
    assert.deepEqual(
      leader.status().peers.map(({ nodeId, flow, isActive }) => [nodeId, flow, isActive]),
      ["n2", "n3", "n4"].map((nodeId) => [nodeId, "replicate", true]),
    );
    // Nothing of the log is read for its memberships when it opens again.
    const again = await joined.restart();
    assert.deepEqual(
      again.membership.voters.map(({ nodeId }) => nodeId),
      ["n1", "n2", "n3", "n4"],
    );
    assert.equal(again.membership.outgoing.length, 0);
    await group.close();
  });

  test("knows its members after a trim and a restart", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    leader.changeMembership([{ kind: "remove", nodeId: "n3" }]);
    await group.tick(5);
    for (let count = 0; count < 30; count += 1) await group.done(leader.append([{ value: `${count}` }]));
    await group.done(leader.trim(25));
    for (const name of ["n1", "n2"]) {
      const replica = await group.node(name).restart();
      assert.deepEqual(
        replica.membership.voters.map(({ nodeId }) => nodeId),
        ["n1", "n2"],
      );
      assert.ok(replica.status().firstIndex > 10);
    }
    await group.close();
  });

  test("opens the log of a single node as that of a group of one, with its records and its producers", async () => {
    const group = await TestGroup.open([]);
    const node = group.make("n1", { voters: [memberOf("n1")], outgoing: [], learners: [] });
    const { disk } = node;
    const { clock } = group;
    const plain = await openCommitLog("/log", { disk, clock, index: "heap", takesLock: false, logId: testGroupId });
    const producer = { id: 7, epoch: 0, baseSequence: 0 };
    for (const value of ["a", "b"])
      await plain.append([{ value }], { producer: { ...producer, baseSequence: value === "a" ? 0 : 1 } });
    await plain.close();
    const leader = await node.start();
    await group.settle();
    assert.equal(leader.isLeader, true);
    assert.deepEqual([leader.term, leader.log.highWatermark], [2, 2]);
    assert.equal((await group.done(leader.append([{ value: "a" }], { producer }))).isDuplicate, true);
    await group.done(leader.append([{ value: "c" }]));
    assert.deepEqual(await node.values(), ["a", "b", "c"]);
    const other = await group.add("n2");
    leader.changeMembership([{ kind: "add-learner", member: memberOf("n2") }]);
    await group.tick(5);
    assert.deepEqual(await other.values(), ["a", "b", "c"], "entries of term 1 travel as any");
    await group.close();
  });

  test("reads a log for its memberships that was written before their places were kept", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    leader.changeMembership([{ kind: "remove", nodeId: "n3" }]);
    await group.tick(5);
    const node = group.node("n2");
    await node.stop();
    // As an older version leaves it: the membership, and not where it stands.
    const read = readBaseRecord(node.disk, "/log");
    assert(read.state === "valid");
    const older = { ...read.record, controls: { fromIndex: read.record.describedIndex + 1, entries: [] } };
    for (const slot of [0, 1] as const)
      await writeBaseRecord(node.disk, "/log", { slot, generation: read.generation + 1 + slot }, older);
    const replica = await node.start();
    assert.deepEqual(
      replica.membership.voters.map(({ nodeId }) => nodeId),
      ["n1", "n2"],
    );
    await group.close();
  });

  test("and where all was trimmed up to the last membership, goes by that one", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    leader.changeMembership([{ kind: "remove", nodeId: "n3" }]);
    await group.tick(5);
    for (let count = 0; count < 30; count += 1) await group.done(leader.append([{ value: `${count}` }]));
    await group.done(leader.trim(25));
    const node = group.node("n2");
    await node.stop();
    const read = readBaseRecord(node.disk, "/log");
    assert(read.state === "valid");
    const older = { ...read.record, controls: { fromIndex: read.record.describedIndex + 1, entries: [] } };
    for (const slot of [0, 1] as const)
      await writeBaseRecord(node.disk, "/log", { slot, generation: read.generation + 1 + slot }, older);
    const replica = await node.start();
    assert.deepEqual(
      replica.membership.voters.map(({ nodeId }) => nodeId),
      ["n1", "n2"],
    );
    await group.close();
  });

  test("drops what is no entry of its group, and goes on", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const { disk } = group.node("n1");
    const foreign = await openReplicaLog(join("/", "foreign"), {
      disk,
      clock: group.clock,
      index: "heap",
      logId: Buffer.alloc(16, 1),
    });
    const frame = foreign.encodeForPeer({
      kind: "no-op",
      index: 9,
      term: 1,
      span: 0,
      baseOffset: 0,
      appendTime: 1,
      flags: 0,
      payload: Buffer.alloc(0),
    });
    await foreign.close();
    const envelope = { from: "n1", fromStorage: memberOf("n1").storageId, to: "n2", term: leader.term };
    const message = {
      kind: "append",
      ...envelope,
      prevIndex: leader.status().lastIndex,
      prevTerm: 1,
      entries: [],
      commitIndex: 0,
    } as const;
    const before = group.replica("n2").status().lastIndex;
    group.replica("n2").receive({ message, frames: [frame] });
    assert.equal(group.replica("n2").status().lastIndex, before);
    await group.done(leader.append([{ value: "a" }]));
    assert.deepEqual(await group.node("n2").values(), ["a"]);
    await group.close();
  });

  test("stops itself where something isn't as it believed, tells who runs it, and answers all with that", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "append";
    const lost = outcomeOf(leader.append([{ value: "a" }]));
    const { failures } = group.node("n1");
    // A report that can't be: of what was never handed out.
    group.node("n1").hardState.failures.push(new AssertionError("Assertion failed: of a test"));
    group.node("n1").replica?.receive({
      message: { kind: "newer-term", from: "n2", fromStorage: memberOf("n2").storageId, to: "n1", term: leader.term + 5 },
      frames: [],
    });
    await group.settle();
    assert.equal(failures.length, 1);
    assert.ok(failures[0] instanceof AssertionError);
    assert.equal((await lost).code, "LEADERSHIP_LOST");
    const refused = await outcomeOf(leader.append([{ value: "b" }]));
    assert.equal(refused.code, "INTERNAL");
    await assert.rejects(leader.confirm(), isCode("INTERNAL"));
    assert.equal(leader.isEnded, true);
    group.loses = () => false;
    const next = await group.elect("n2");
    assert.equal((await group.done(next.append([{ value: "c" }]))).isDurable, true, "the others go on");
    await group.close();
  });

  test("is out of the write path when its vote can't be written, is read from still, and the others go on", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    await group.done(leader.append([{ value: "a" }]));
    const node = group.node("n2");
    node.hardState.failures.push(Object.assign(new Error("EIO: i/o error, write"), { code: "EIO" }));
    const envelope = { from: "n1", fromStorage: memberOf("n1").storageId, to: "n2", term: leader.term + 1 };
    group.replica("n2").receive({
      message: { kind: "heartbeat", ...envelope, commitIndex: 0, matchIndex: 0, round: 0 },
      frames: [],
    });
    await group.settle();
    assert.deepEqual(node.failures, []);
    assert.equal(group.replica("n2").status().damage?.code, "LOG_POISONED");
    assert.equal((await outcomeOf(group.replica("n2").append([{ value: "b" }]))).code, "NOT_LEADER");
    assert.deepEqual(await node.values(), ["a"]);
    assert.equal((await group.done(leader.append([{ value: "c" }]))).baseOffset, 1);
    await group.close();
  });

  test("waits for room for its vote", async () => {
    const group = await TestGroup.open(["n1"]);
    await group.node("n1").stop();
    group.node("n1").hardState.failures.push(new ProglogError("DISK_FULL", "Cannot write: the disk is full"));
    const replica = await group.node("n1").start();
    assert.equal(replica.isLeader, false);
    group.clock.advance(500);
    await group.settle();
    assert.equal(replica.isLeader, true);
    await group.close();
  });

  test("tells its listener of roles, and one that throws harms nobody", async () => {
    const group = await TestGroup.open();
    let calls = 0;
    group.node("n1").options = {
      listener: {
        roleChanged() {
          calls += 1;
          throw new Error("of a test");
        },
      },
    };
    await group.node("n1").restart();
    const leader = await group.elect("n1");
    assert.ok(calls >= 3);
    assert.equal(leader.isEnded, false);
    assert.deepEqual(group.node("n2").roles.at(-1), { kind: "follower", term: 1, leader: "n1" });
    await group.close();
  });

  test("tells for metrics what is committed, sent and elected", async () => {
    const group = await TestGroup.open();
    const told: string[] = [];
    group.node("n1").options = {
      observer: {
        committed: ({ entries, waitedMs }) => told.push(`committed ${entries}, waited for ${waitedMs.length}`),
        sent: ({ to, entries, bytes }) => told.push(`sent ${entries} to ${to}${bytes > 56 ? "" : ", empty"}`),
        elected: ({ term }) => told.push(`elected in ${term}`),
      },
    };
    await group.node("n1").restart();
    const leader = await group.elect("n1");
    assert.deepEqual(told.splice(0), [
      "elected in 1",
      "sent 1 to n2, empty",
      "sent 1 to n3, empty",
      "committed 1, waited for 0",
    ]);
    await group.done(Promise.all(["a", "b"].map((value) => leader.append([{ value }]))));
    assert.deepEqual(told, ["sent 2 to n2", "sent 2 to n3", "committed 2, waited for 2"]);
    assert.deepEqual([leader.traffic.appendedRecords, group.replica("n2").traffic.appendedRecords], [2, 2]);
    await group.close();
  });

  test("lets its writes and syncs happen when it is their turn", async () => {
    const group = await TestGroup.open(["n1"]);
    const turns: (() => void)[] = [];
    group.node("n1").options = {
      writeTurn: async (write) => {
        await new Promise<void>((resolve) => turns.push(resolve));
        await write();
      },
    };
    const leader = await group.node("n1").restart();
    turns.shift()?.();
    await group.settle();
    const append = outcomeOf(leader.append([{ value: "a" }]));
    await group.settle();
    assert.deepEqual([leader.log.logEndOffset, turns.length], [0, 1]);
    turns.shift()?.();
    assert.equal((await append).code, undefined);
    await group.close();
  });

  test("asks for a catch-up of who lacks what was trimmed, and goes on with what it was given", async () => {
    const group = await TestGroup.open(["n1", "n2"], { log: { segmentMaxBytes: 1 * KiB } });
    const orders: string[] = [];
    group.node("n1").options = {
      ask: async (to, kind) => {
        orders.push(`${kind} ${"nodeId" in to ? to.nodeId : to.address}`);
        throw new ProglogError("UNAVAILABLE", "Cannot ask n3: not in this test");
      },
    };
    await group.node("n1").restart();
    const leader = await group.elect("n1");
    for (let count = 0; count < 30; count += 1) await group.done(leader.append([{ value: `${count}` }]));
    await group.done(leader.trim(25));
    await group.add("n3");
    leader.changeMembership([{ kind: "add-learner", member: memberOf("n3") }]);
    await group.tick(10);
    assert.deepEqual(orders, ["group/catch-up n3"]);
    await group.tick(20);
    assert.equal(orders.length, 2, "asked again when it failed, and not at once");
    assert.equal(leader.isEnded, false);
    await group.close();
  });

  test("closes twice, and everything that waits is told", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.isolate("n1");
    const waiting = [outcomeOf(leader.confirm()), outcomeOf(leader.log.waitForOffset(5))];
    await group.settle();
    await Promise.all([leader.close(), leader.close()]);
    assert.deepEqual(
      (await Promise.all(waiting)).map(({ code }) => code),
      ["LOG_CLOSED", "LOG_CLOSED"],
    );
    assert.equal(leader.changeMembership([]).outcome, "not-leader");
    await group.close();
  });
});
