import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { batchOf, outcomeOf, TestGroup } from "../../test/test-group.ts";
import { ProglogError } from "../base/error.ts";
import type { StoredBatch } from "../log/index.ts";
import { Replica } from "./replica.ts";

const wide = { limit: 1000, maxBytes: 1_000_000 };

describe("a replica of a group, as services use it", () => {
  test("appends, reads, finds and waits as one on a single node does", async () => {
    const { group, replicas } = await begin();
    const [leader, follower] = replicas;
    const waiting = follower.waitForOffset(0, new AbortController().signal);
    const answers = await group.done(Promise.all(["a", "b"].map((value) => leader.append([{ value }]))));
    assert.deepEqual(
      answers.map(({ baseOffset, count, isDurable }) => [baseOffset, count, isDurable]),
      [
        [0, 1, true],
        [1, 1, true],
      ],
    );
    await waiting;
    assert.equal((await group.done(leader.appendBatch(batchOf("c"), { expectedOffset: 2 }))).baseOffset, 2);
    assert.equal((await leader.append([{ value: "d" }], { acks: "none" })).isDurable, false);
    await group.tick(3);
    for (const replica of replicas) {
      const { records, nextOffset, highWatermark } = await replica.read(0, wide);
      assert.deepEqual(
        records.map(({ value }) => value?.toString()),
        ["a", "b", "c", "d"],
      );
      assert.deepEqual([nextOffset, highWatermark, await group.done(replica.findOffset("end"))], [4, 4, 4]);
      assert.deepEqual(replica.range(), { logStartOffset: 0, highWatermark: 4 });
    }
    await group.close();
  });

  test("packs the records of many callers into one batch", async () => {
    const { group, replicas } = await begin();
    const { length } = await group.done(Promise.all(Array.from({ length: 100 }, () => replicas[0].append([{ value: "x" }]))));
    assert.equal(length, 100);
    const batches: number[] = [];
    for await (const { recordCount } of group.replica("n1").log.batches()) batches.push(recordCount);
    assert.deepEqual(batches, [100]);
    await group.close();
  });

  test("refuses all callers of a batch alike where another leads", async () => {
    const { group, replicas } = await begin();
    const outcomes = await Promise.all([1, 2].map(() => outcomeOf(replicas[1].append([{ value: "x" }]))));
    assert.deepEqual(
      outcomes.map(({ code, details }) => [code, details["leaderId"]]),
      [
        ["NOT_LEADER", "n1"],
        ["NOT_LEADER", "n1"],
      ],
    );
    await group.close();
  });

  test("tells its role and who leads, in its status too", async () => {
    const { group, replicas } = await begin();
    const [leader, follower] = replicas;
    assert.deepEqual([leader.role, leader.leader, leader.isLeader], ["leader", "n1", true]);
    assert.deepEqual([follower.role, follower.leader, follower.isLeader], ["follower", "n1", false]);
    const { state, group: status, error } = leader.status();
    assert.deepEqual([state, status?.role, status?.term, status?.peers.length, error], ["open", "leader", 1, 2, undefined]);
    await group.close();
  });

  test("confirms what is there before it says that there is nothing", async () => {
    const { group, replicas } = await begin();
    await group.done(replicas[0].append([{ value: "a" }]));
    await group.done(Promise.all(replicas.map((replica) => replica.confirm())));
    group.isolate("n2");
    const cutOff = outcomeOf(replicas[1].confirm());
    await group.tick(25);
    assert.equal((await cutOff).code, "UNAVAILABLE");
    await group.close();
  });

  test("finds an end, a time and an offset by what is confirmed, where they rest on the end", async () => {
    for (const { from, found } of [
      { from: "end", found: 2 },
      { from: 1, found: 1 },
      { from: { timestamp: 20 }, found: 1 },
    ] as const) {
      const { group, replicas } = await begin();
      const [leader, , follower] = replicas;
      group.loses = ({ message }) => message.kind === "append" && message.to === "n3";
      for (const timestamp of [10, 20]) await group.done(leader.append([{ value: "a", timestamp }]));
      assert.deepEqual([follower.range().highWatermark, await follower.findOffset("start")], [0, 0]);
      const finding = follower.findOffset(from);
      await group.settle();
      group.loses = () => false;
      await group.tick(4);
      assert.equal(await finding, found);
      await assert.rejects(group.done(follower.findOffset(3)), { code: "OFFSET_OUT_OF_RANGE" });
      await group.close();
    }
  });

  test("packs what asks for other acks apart, in the order in which it came", async () => {
    const { group, replicas } = await begin();
    const [leader] = replicas;
    group.loses = ({ message }) => message.kind === "append";
    const asked = ["quorum", "leader", "leader", "quorum"] as const;
    const answers = asked.map((acks) => leader.append([{ value: "x" }], { acks }));
    const early = await group.done(Promise.all(answers.slice(1, 3)));
    assert.deepEqual(
      early.map(({ baseOffset, isDurable }) => [baseOffset, isDurable]),
      [
        [1, false],
        [2, false],
      ],
    );
    group.loses = () => false;
    await group.tick(4);
    const all = await Promise.all(answers);
    assert.deepEqual(
      all.map(({ baseOffset }) => baseOffset),
      [0, 1, 2, 3],
    );
    await group.close();
  });

  test("ends a tail that asked for the leader when another may lead, and no other", async () => {
    const { group, replicas } = await begin();
    const [leader, follower] = replicas;
    const { signal } = new AbortController();
    const options = { signal, maxBytes: 1_000_000 };
    await assert.rejects(consume(follower.tail(0, { ...options, leaderOnly: true })), { code: "NOT_LEADER" });
    const seen: number[] = [];
    const tail = outcomeOf(consume(leader.tail(0, { ...options, leaderOnly: true }), seen));
    const plain = consume(leader.tail(0, options)).catch(() => "ended");
    await group.done(leader.append([{ value: "a" }]));
    assert.deepEqual(seen, [0]);
    group.isolate("n1");
    await group.tick(25);
    assert.equal((await tail).code, "NOT_LEADER");
    const first = await Promise.race([plain, group.settle().then(() => "goes on")]);
    assert.equal(first, "goes on");
    await group.close();
  });

  test("answers with the reason when it was closed, and closes its group", async () => {
    const { group, replicas } = await begin();
    const reason = new ProglogError("TOPIC_NOT_FOUND", "Cannot use topic orders: it was deleted");
    const tail = outcomeOf(consume(replicas[1].tail(0, { signal: new AbortController().signal, maxBytes: 1_000_000 })));
    await group.settle();
    await replicas[1].close(reason);
    assert.equal((await tail).code, "TOPIC_NOT_FOUND");
    assert.equal((await outcomeOf(replicas[1].append([{ value: "a" }]))).code, "TOPIC_NOT_FOUND");
    assert.equal((await outcomeOf(replicas[1].confirm())).code, "TOPIC_NOT_FOUND");
    assert.equal(group.replica("n2").isEnded, true);
    assert.equal(replicas[1].status().state, "closed");
    await group.close();
  });

  test("whose log didn't open answers everything with why", async () => {
    const error = new ProglogError("LOG_CORRUPT", "Cannot open /log: of a test");
    const replica = Replica.failed({ topic: "orders", partition: 0, uuid: "u" }, error);
    assert.equal(replica.openError, error);
    assert.equal((await outcomeOf(replica.append([{ value: "a" }]))).code, "LOG_CORRUPT");
    assert.equal(replica.status().state, "failed");
  });
});

async function begin(): Promise<{ group: TestGroup; replicas: readonly [Replica, Replica, Replica] }> {
  const group = await TestGroup.open();
  await group.elect("n1");
  const identity = { topic: "orders", partition: 0, uuid: "u" };
  const of = (name: string): Replica => Replica.ofGroup(identity, group.replica(name), { clock: group.clock });
  return { group, replicas: [of("n1"), of("n2"), of("n3")] };
}

async function consume(pieces: AsyncIterable<readonly StoredBatch[]>, seen: number[] = []): Promise<void> {
  for await (const piece of pieces) for (const { baseOffset } of piece) seen.push(baseOffset);
}
