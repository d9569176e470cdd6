import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { batchOf, isCode, outcomeOf, TestGroup } from "../../../test/test-group.ts";
import { answersWaitingMaxCount, heldAppendsMaxCount } from "../../base/cluster-limits.ts";
import { KiB } from "../../base/units.ts";

describe("an append to a group", () => {
  test("is refused by who doesn't lead, and the leader is named", async () => {
    const group = await TestGroup.open();
    const follower = group.replica("n2");
    const nobody = await outcomeOf(follower.append([{ value: "a" }]));
    assert.deepEqual([nobody.code, nobody.details], ["NOT_LEADER", {}]);
    await group.elect("n1");
    const refused = await outcomeOf(follower.appendBatch(batchOf("a")));
    assert.deepEqual(refused.details, { leaderId: "n1", leaderRpcAddr: "n1.test:8000", term: 1 });
    assert.throws(() => follower.prepare([{ value: "a" }]), isCode("NOT_LEADER"));
    await group.close();
  });

  test("is checked as the log checks it, before anything is proposed", async () => {
    const group = await TestGroup.open(["n1"], { log: { recordMaxBytes: 10 } });
    const leader = await group.elect("n1");
    const before = leader.status().lastIndex;
    const codes = await Promise.all([
      outcomeOf(leader.append([{ value: "12345678901" }])),
      outcomeOf(leader.append([])),
      outcomeOf(leader.appendBatch(Buffer.alloc(80))),
      outcomeOf(leader.append([{ value: "a" }], { expectedOffset: -1 })),
    ]);
    assert.deepEqual(
      codes.map(({ code }) => code),
      ["RECORD_TOO_LARGE", "INVALID_BATCH", "INVALID_BATCH", "INVALID_ARGUMENT"],
    );
    assert.equal(leader.status().lastIndex, before);
    await group.close();
  });

  test("gets the time at which its leader took it, where the topic says so, and that never goes back", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { timestampType: "append" } });
    const leader = await group.elect("n1");
    const hold = group.node("n1").hold({ kind: "datasync" });
    const first = leader.append([{ value: "a", timestamp: 5 }]);
    group.clock.jumpWall(-1_000);
    const times = await group.done(Promise.all([first, leader.appendBatch(batchOf("b")), leader.append([{ value: "c" }])]));
    hold.release();
    await group.tick(2);
    const seen: number[] = [];
    for await (const { timestamp } of group.replica("n2").log.records()) seen.push(timestamp);
    assert.deepEqual(
      seen,
      times.map(({ appendTime }) => appendTime),
    );
    assert.deepEqual(seen, [seen[0], seen[0], seen[0]]);
    await group.close();
  });

  test("has an unknown outcome when leadership is lost, and when the node stops", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.isolate("n1");
    const lost = outcomeOf(leader.append([{ value: "a" }]));
    await group.tick(25);
    assert.equal((await lost).code, "LEADERSHIP_LOST");
    assert.equal((await outcomeOf(leader.append([{ value: "b" }]))).code, "NOT_LEADER");
    group.heal();
    const next = await group.elect("n2");
    group.isolate("n2");
    const stopped = outcomeOf(next.append([{ value: "c" }]));
    await group.node("n2").stop();
    assert.equal((await stopped).code, "LEADERSHIP_LOST");
    assert.equal((await outcomeOf(next.append([{ value: "d" }]))).code, "LOG_CLOSED");
    await group.close();
  });

  test("that was overwritten by another leader's is never acknowledged", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.isolate("n1");
    const lost = outcomeOf(leader.append([{ value: "lost" }]));
    await group.settle();
    const next = await group.elect("n2");
    await group.done(next.append([{ value: "kept" }]));
    group.heal();
    await group.tick(5);
    assert.equal((await lost).code, "LEADERSHIP_LOST");
    assert.deepEqual(await group.values(), [["kept"], ["kept"], ["kept"]]);
    await group.close();
  });

  test("is refused while leadership is handed over, with where to", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "timeout-now";
    assert.equal(leader.transferLeadership("n3").outcome, "begun");
    const refused = await outcomeOf(leader.append([{ value: "a" }]));
    assert.deepEqual([refused.code, refused.details["leaderId"]], ["NOT_LEADER", "n3"]);
    assert.equal(leader.status().handingOverTo, "n3");
    group.loses = () => false;
    await group.tick(3);
    assert.equal(group.leader().self.nodeId, "n3");
    await group.close();
  });

  test("beyond what may be proposed and not committed is refused, and taken again when that is", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { settings: { uncommittedMaxBytes: 4 * KiB } });
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "append";
    const value = Buffer.alloc(1 * KiB);
    const appends = Array.from({ length: 6 }, () => outcomeOf(leader.append([{ value }])));
    await group.settle();
    assert.deepEqual(
      (await Promise.all(appends.slice(3))).map(({ code }) => code),
      ["OVERLOADED", "OVERLOADED", "OVERLOADED"],
    );
    group.loses = () => false;
    await group.tick(4);
    assert.deepEqual(
      (await Promise.all(appends.slice(0, 3))).map(({ code }) => code),
      [undefined, undefined, undefined],
    );
    assert.equal((await group.done(leader.append([{ value }]))).baseOffset, 3);
    await group.close();
  });

  test("with acks none is answered at once, with leader by this disk, with quorum by most", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "append";
    const hold = group.node("n1").hold({ kind: "datasync" });
    const answered: string[] = [];
    for (const acks of ["quorum", "leader", "none"] as const)
      leader.append([{ value: acks }], { acks }).then(
        ({ isDurable }) => answered.push(`${acks} ${isDurable}`),
        () => answered.push(`${acks} failed`),
      );
    await group.settle();
    assert.deepEqual(answered, ["none false"]);
    hold.release();
    await group.settle();
    assert.deepEqual(answered, ["none false", "leader false"]);
    assert.equal(leader.log.highWatermark, 0, "readers are shown what is committed alone");
    group.loses = () => false;
    await group.tick(4);
    assert.deepEqual(answered, ["none false", "leader false", "quorum true"]);
    await group.close();
  });

  test("in one turn with others is one write, one sync and one message to each peer, however many there are", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    let messages = 0;
    group.loses = ({ frames }) => {
      if (frames.length > 0) messages += 1;
      return false;
    };
    const { syncs } = group.node("n1");
    syncs.length = 0;
    const appends = Array.from({ length: 50 }, (_, count) => leader.append([{ value: `${count}` }]));
    await group.settle();
    await Promise.all(appends);
    assert.deepEqual([messages, syncs], [2, [50]]);
    await group.close();
  });

  test("sent again waits for its original, and is answered as that", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "append";
    const batch = batchOf("once", { producerId: 7, baseSequence: 0 });
    const answered: (number | boolean)[][] = [];
    for (let tries = 0; tries < 3; tries += 1)
      void leader.appendBatch(batch).then(({ baseOffset, isDuplicate }) => answered.push([baseOffset, isDuplicate]));
    await group.settle();
    assert.deepEqual(answered, []);
    group.loses = () => false;
    await group.tick(4);
    assert.deepEqual(answered, [
      [0, false],
      [0, true],
      [0, true],
    ]);
    assert.deepEqual((await group.done(leader.appendBatch(batch))).isDuplicate, true, "and when it is committed");
    assert.equal(leader.log.highWatermark, 1);
    await group.close();
  });

  test("sent again to the next leader is found there, committed or not", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const first = batchOf("first", { producerId: 7, baseSequence: 0 });
    const second = batchOf("second", { producerId: 7, baseSequence: 1 });
    await group.done(leader.appendBatch(first));
    // The others have it, and n1 never hears of that.
    group.loses = ({ message }) => message.kind === "append-accepted";
    const unknown = outcomeOf(leader.appendBatch(second));
    await group.settle();
    group.node("n1").kill();
    assert.equal((await unknown).code, "LEADERSHIP_LOST");
    group.loses = () => false;
    const next = await group.elect("n2");
    const answers = await group.done(Promise.all([first, second].map((batch) => next.appendBatch(batch))));
    assert.deepEqual(
      answers.map(({ baseOffset, isDuplicate }) => [baseOffset, isDuplicate]),
      [
        [0, true],
        [1, true],
      ],
    );
    await group.close();
  });

  test("sent again after it was lost with its leader is appended", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.isolate("n1");
    const batch = batchOf("again", { producerId: 7, baseSequence: 0 });
    // Far behind where the next leader's log ends, and not even written here.
    const hold = group.node("n1").hold({ kind: "datasync" });
    const first = outcomeOf(leader.append([{ value: "lost" }]));
    await group.settle();
    const others = Array.from({ length: 5 }, () => outcomeOf(leader.append([{ value: "lost" }])));
    const unknown = outcomeOf(leader.appendBatch(batch));
    await group.settle();
    const next = await group.elect("n3");
    await group.done(next.append([{ value: "first" }]));
    assert.equal((await group.done(next.appendBatch(batch))).isDuplicate, false);
    group.heal();
    await group.tick(5);
    hold.release();
    await group.tick(5);
    for (const outcome of [first, unknown, ...others]) assert.equal((await outcome).code, "LEADERSHIP_LOST");
    // Back as the leader, n1 knows of the other's, and nothing of its own.
    group.loses = () => false;
    next.transferLeadership("n1");
    await group.tick(5);
    const answer = await group.done(group.leader().appendBatch(batch));
    assert.deepEqual([group.leader().self.nodeId, answer.baseOffset, answer.isDuplicate], ["n1", 1, true]);
    assert.deepEqual(await group.node("n1").values(), ["first", "again"]);
    await group.close();
  });

  test("on a condition that fails against an uncommitted end isn't answered before that is committed", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "append";
    const first = outcomeOf(leader.append([{ value: "a" }], { expectedOffset: 0 }));
    let isAnswered = false;
    const second = outcomeOf(leader.append([{ value: "b" }], { expectedOffset: 0 })).finally(() => (isAnswered = true));
    await group.settle();
    assert.equal(isAnswered, false);
    group.loses = () => false;
    await group.tick(4);
    assert.equal((await first).code, undefined);
    const refused = await second;
    assert.deepEqual([refused.code, refused.details], ["CONDITION_FAILED", { expectedOffset: 0, logEndOffset: 1 }]);
    await group.close();
  });

  test("on a condition that fails against what is lost with its leader has an unknown outcome", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.isolate("n1");
    const outcomes = [
      outcomeOf(leader.append([{ value: "a" }])),
      outcomeOf(leader.append([{ value: "b" }], { expectedOffset: 0 })),
    ];
    await group.tick(25);
    assert.deepEqual(
      (await Promise.all(outcomes)).map(({ code }) => code),
      ["LEADERSHIP_LOST", "LEADERSHIP_LOST"],
    );
    await group.close();
  });

  test("that a replaced leader would refuse isn't refused by it: it may have gone on elsewhere", async () => {
    const group = await TestGroup.open();
    const old = await group.elect("n1");
    const batches = ["a", "b", "c"].map((value, baseSequence) => batchOf(value, { producerId: 7, baseSequence }));
    await group.done(old.appendBatch(batches[0]!));
    group.isolate("n1");
    const others = ["n2", "n3"];
    const next = await group.elect("n2", others);
    await group.done(next.appendBatch(batches[1]!), others);
    assert.equal(old.isLeader, true, "as far as it knows");
    const outcomes = [outcomeOf(old.appendBatch(batches[2]!)), outcomeOf(old.append([{ value: "d" }], { expectedOffset: 2 }))];
    await group.tick(25, ["n1"]);
    assert.deepEqual(
      (await Promise.all(outcomes)).map(({ code }) => code),
      ["LEADERSHIP_LOST", "LEADERSHIP_LOST"],
    );
    assert.equal((await group.done(next.appendBatch(batches[2]!), others)).baseOffset, 2);
    await group.close();
  });

  test("of a producer is refused as a log refuses it, by what is proposed too", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const append = (baseSequence: number, producerEpoch = 0) =>
      outcomeOf(leader.appendBatch(batchOf("x", { producerId: 7, baseSequence, producerEpoch })));
    const outcomes = [append(0), append(2), append(1), append(0, 1), append(2)];
    await group.tick(3);
    assert.deepEqual(
      (await Promise.all(outcomes)).map(({ code }) => code),
      [undefined, "OUT_OF_ORDER_SEQUENCE", undefined, undefined, "PRODUCER_FENCED"],
    );
    await group.close();
  });

  test("to a leader that hasn't written what came before it waits until it has, and then is judged by it", async () => {
    const group = await TestGroup.open(["n1", "n2", "n3"], { log: { appendQueueMaxBytes: 200 } });
    const leader = await group.elect("n1");
    const batch = batchOf("once", { producerId: 7, baseSequence: 0 });
    // While it syncs the first, the second waits to be written.
    const hold = group.node("n2").hold({ kind: "datasync" });
    await group.done(leader.append([{ value: "zero" }]));
    await group.done(leader.appendBatch(batch));
    group.node("n1").kill();
    const next = await group.elect("n2");
    assert.equal(next.log.logEndOffset, 1, "it leads with an entry that is in its memory alone");
    const again = next.appendBatch(batch);
    const other = next.append([{ value: "two" }]);
    const beyond = await outcomeOf(next.append([{ value: "three" }]));
    assert.equal(beyond.code, "APPEND_QUEUE_FULL");
    assert.ok(next.status().queuedBytes > batch.length);
    hold.release();
    assert.deepEqual(
      (await group.done(Promise.all([again, other]))).map(({ baseOffset, isDuplicate }) => [baseOffset, isDuplicate]),
      [
        [1, true],
        [2, false],
      ],
    );
    await group.close();
  });

  test("beyond so many that wait to be judged is refused, and the last one before isn't", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const hold = group.node("n2").hold({ kind: "datasync" });
    for (const value of ["a", "b"]) await group.done(leader.append([{ value }]));
    group.node("n1").kill();
    const next = await group.elect("n2");
    const batch = batchOf("x");
    const outcomes = Array.from({ length: heldAppendsMaxCount + 1 }, () => outcomeOf(next.appendBatch(batch)));
    assert.equal((await outcomes.at(-1)!).code, "APPEND_QUEUE_FULL");
    hold.release();
    await group.tick(4);
    assert.equal((await outcomes.at(-2)!).code, undefined);
    await group.close();
  });

  test("that waits to be judged hasn't happened when leadership is lost", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    const hold = group.node("n2").hold({ kind: "datasync" });
    for (const value of ["a", "b"]) await group.done(leader.append([{ value }]));
    group.node("n1").kill();
    const next = await group.elect("n2");
    const waiting = outcomeOf(next.append([{ value: "c" }]));
    group.isolate("n2");
    await group.tick(25, ["n2"]);
    assert.equal((await waiting).code, "NOT_LEADER");
    hold.release();
    await group.close();
  });

  test("refused or sent again beyond so many is told to come later", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    group.loses = ({ message }) => message.kind === "append";
    const batch = batchOf("once", { producerId: 7, baseSequence: 0 });
    const outcomes = Array.from({ length: answersWaitingMaxCount + 2 }, () => outcomeOf(leader.appendBatch(batch)));
    await group.settle();
    assert.equal((await outcomes.at(-1)!).code, "OVERLOADED");
    group.loses = () => false;
    await group.tick(4);
    const codes = (await Promise.all(outcomes)).filter(({ code }) => code !== undefined);
    assert.equal(codes.length, 1);
    await group.close();
  });
});
