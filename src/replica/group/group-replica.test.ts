import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBatch } from "../../batch/encode-batch.ts";
import { isProglogError, type ProglogError } from "../../base/error.ts";
import { TestGroup } from "../../../test/test-group.ts";

describe("a group's replica", () => {
  test("elects a leader, which replicates what is appended, and every replica shows it", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const appends = ["a", "b", "c"].map((value) => leader.append([{ value }]));
    await group.settle();
    const answers = await Promise.all(appends);
    assert.deepEqual(
      answers.map(({ baseOffset, count, isDurable, isDuplicate }) => [baseOffset, count, isDurable, isDuplicate]),
      [
        [0, 1, true, false],
        [1, 1, true, false],
        [2, 1, true, false],
      ],
    );
    await group.tick(2);
    for (const node of group.nodes.values()) assert.deepEqual(await node.values(), ["a", "b", "c"]);
    assert.deepEqual([group.replica("n2").leader, group.replica("n3").role], ["n1", "follower"]);
    await group.close();
  });

  test("what is appended in one turn is one write, one sync and one message to each peer", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    let appendMessages = 0;
    group.loses = ({ message, frames }) => {
      if (message.kind === "append" && frames.length > 0) appendMessages += 1;
      return false;
    };
    const syncs: string[] = [];
    const hold = group.node("n1").hold({ kind: "datasync" });
    const appends = Array.from({ length: 50 }, (_, count) => leader.append([{ value: `${count}` }]));
    await group.settle();
    syncs.push(...(await Promise.all(appends)).map(() => "committed by the other two"));
    assert.equal(syncs.length, 50);
    assert.equal(appendMessages, 2);
    assert.equal(leader.log.highWatermark, 0, "the leader's own disk hasn't synced it yet");
    hold.release();
    await group.settle();
    assert.equal(leader.log.highWatermark, 50);
    await group.close();
  });

  test("appends with acks leader are answered by this disk, with none at once, and both may be lost", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.isolate("n1");
    const quorum = leader.append([{ value: "quorum" }]);
    const onDisk = leader.append([{ value: "leader" }], { acks: "leader" });
    const none = leader.append([{ value: "none" }], { acks: "none" });
    assert.equal((await none).isDurable, false);
    await group.settle();
    assert.deepEqual([(await onDisk).baseOffset, (await onDisk).isDurable], [1, true]);
    assert.equal(leader.log.highWatermark, 0, "readers see what is committed alone");
    const failed = assert.rejects(quorum, isCode("LEADERSHIP_LOST"));
    await group.tick(25);
    await failed;
    await group.close();
  });

  test("who doesn't lead refuses appends and names the leader", async () => {
    const group = await TestGroup.open();
    await assert.rejects(group.replica("n2").append([{ value: "a" }]), (error: ProglogError) => {
      assert.deepEqual([error.code, error.details], ["NOT_LEADER", {}]);
      return true;
    });
    await group.elect("n1");
    await assert.rejects(group.replica("n2").append([{ value: "a" }]), (error: ProglogError) => {
      assert.deepEqual(error.details, { leaderId: "n1", leaderRpcAddr: "n1.test:8000" });
      return true;
    });
    await group.close();
  });

  test("a retry waits for its original, and finds it across a failover", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const batch = batchOf(0, "once");
    const losesAnswers = group.loses;
    group.loses = ({ message }) => message.kind === "append-accepted";
    const first = leader.appendBatch(batch);
    const again = leader.appendBatch(batch);
    let answered = 0;
    for (const append of [first, again])
      append.then(
        () => (answered += 1),
        () => {},
      );
    await group.settle();
    assert.equal(answered, 0);
    group.node("n1").kill();
    await assert.rejects(first, isCode("LEADERSHIP_LOST"));
    await assert.rejects(again, isCode("LEADERSHIP_LOST"));
    group.loses = losesAnswers;
    const next = await group.elect("n2");
    const retried = next.appendBatch(batch);
    await group.settle();
    assert.deepEqual([(await retried).baseOffset, (await retried).isDuplicate], [0, true]);
    assert.deepEqual(await group.node("n2").values(), ["once"]);
    await group.close();
  });
});

function batchOf(baseSequence: number, value: string): Buffer {
  return encodeBatch([{ value }], { now: 1, producerId: 7, producerEpoch: 0, baseSequence });
}

function isCode(code: Parameters<typeof isProglogError>[1]): (error: unknown) => boolean {
  return (error) => isProglogError(error, code);
}
