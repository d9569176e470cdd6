import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { outcomeOf, TestGroup, testGroupId } from "../../../test/test-group.ts";
import { peerRetentionMs, repairRetryMaxMs, repairRetryMinMs } from "../../base/cluster-limits.ts";
import { KiB, MiB } from "../../base/units.ts";
import { logSeed } from "../../log/frame.ts";
import { decodeFromPeer, encodeForPeer } from "../../log/stamped-entry.ts";
import type { NodeId } from "../../raft/member.ts";
import { decodeEntriesAnswer, encodeCopyQuestion, encodeEntriesAnswer } from "./copy-questions.ts";
import { CopyShare } from "./log-copies.ts";

const names = ["n1", "n2", "n3"];
const count = 40;

describe("rot in a replica's log", () => {
  for (const name of names) {
    test(`of ${name === "n1" ? "the leader" : "a follower"} that a reader finds is repaired from its peers (${name})`, async () => {
      const group = await filled();
      rot(group, name, 7);
      group.refuses = () => true;
      assert.equal((await outcomeOf(group.replica(name).log.read(7))).code, "LOG_CORRUPT");
      await group.settle();
      assert.equal(group.replica(name).status().damage?.code, "LOG_CORRUPT");
      assert.equal((await group.replica(name).log.read(20)).offset, 20, "what isn't hit is read");
      group.refuses = () => false;
      await wait(group, repairRetryMinMs);
      assert.equal(await valueAt(group, name, 7), "value 7");
      assert.equal(group.replica(name).status().damage, undefined);
      assert.equal(group.replica(name).log.status().damages, 0);
      assert.deepEqual(group.node(name).repairs, [{ entries: 1, bytes: group.node(name).repairs[0]?.bytes }]);
      await group.tick(20);
      await group.done(group.leader().append([{ value: "more" }]));
      await assertSame(group);
      await group.close();
    });
  }

  test("that a scrub finds in every segment is repaired in all of them", async () => {
    const group = await filled();
    for (const offset of [2, 12, 22, 30]) rot(group, "n2", offset);
    const { damages } = await group.replica("n2").log.scrub();
    assert.equal(damages.length, 4);
    await group.settle();
    await wait(group, repairRetryMaxMs);
    assert.equal(group.node("n2").repairs.length, 4);
    assert.equal(group.replica("n2").status().damage, undefined);
    assert.deepEqual((await group.replica("n2").log.scrub()).damages, []);
    await assertSame(group);
    await group.close();
  });

  test("on different places of every node heals each from the others", async () => {
    const group = await filled();
    names.forEach((name, position) => {
      for (let offset = position; offset < 33; offset += 3) rot(group, name, offset);
    });
    await Promise.all(names.map((name) => group.replica(name).log.scrub()));
    await group.settle();
    for (let rounds = 0; rounds < 8; rounds += 1) await wait(group, repairRetryMaxMs);
    for (const name of names) {
      assert.equal(group.replica(name).status().damage, undefined, name);
      assert.deepEqual((await group.replica(name).log.scrub()).damages, []);
    }
    await group.tick(60);
    await assertSame(group);
    await group.done(group.leader().append([{ value: "more" }]));
    await group.close();
  });

  test("is asked of one peer after the other, and again later when nobody has it", async () => {
    const group = await filled();
    for (const name of names) rot(group, name, 7);
    assert.equal((await outcomeOf(group.replica("n2").log.read(7))).code, "LOG_CORRUPT");
    await group.settle();
    const fetches = (): string[] => group.questions.filter((question) => question.startsWith("n2 asks"));
    assert.equal(fetches().length, 2);
    assert.deepEqual(new Set(fetches().map((question) => question.slice(8, 10))), new Set(["n1", "n3"]));
    assert.equal(group.replica("n2").status().damage?.code, "LOG_CORRUPT");
    await wait(group, repairRetryMinMs);
    assert.equal(fetches().length, 4, "both again");
    await wait(group, repairRetryMinMs);
    assert.equal(fetches().length, 4, "not as soon the next time");
    await wait(group, repairRetryMinMs);
    assert.equal(fetches().length, 6);
    rot(group, "n3", 7);
    for (let rounds = 0; rounds < 4; rounds += 1) await wait(group, repairRetryMaxMs);
    for (const name of names) {
      await outcomeOf(group.replica(name).log.read(7));
      await wait(group, repairRetryMaxMs);
      assert.equal(await valueAt(group, name, 7), "value 7", name);
    }
    await group.close();
  });

  test("takes nothing that was altered, or isn't what was asked for", async () => {
    const group = await filled();
    rot(group, "n2", 7);
    const { signal } = new AbortController();
    const asked = { group: "group", wants: "entries", index: 9, lastIndex: 10 } as const;
    const other = await group.replica("n1").answerCopy("n2", "group/fetch", encodeCopyQuestion(asked), signal);
    let alteredCount = 0;
    group.alters = (_kind, answer) => {
      alteredCount += 1;
      if (alteredCount === 3) return other;
      if (alteredCount === 4) return ofAnotherTerm(answer);
      const altered = Buffer.from(answer);
      if (alteredCount === 1) altered[answer.length - 3] = (altered[answer.length - 3] ?? 0) ^ 1;
      return alteredCount === 2 ? altered.subarray(0, -1) : altered;
    };
    assert.equal((await outcomeOf(group.replica("n2").log.read(7))).code, "LOG_CORRUPT");
    await group.settle();
    assert.equal(alteredCount, 2);
    assert.equal(group.replica("n2").status().damage?.code, "LOG_CORRUPT");
    await wait(group, repairRetryMinMs);
    assert.equal(alteredCount, 4);
    assert.equal(group.replica("n2").status().damage?.code, "LOG_CORRUPT");
    await wait(group, 2 * repairRetryMinMs);
    assert.equal(await valueAt(group, "n2", 7), "value 7");
    await group.close();
  });

  test("in the segment that is written to is repaired, and appends go on behind it", async () => {
    const group = await filled(1 * MiB);
    for (const name of ["n1", "n2"]) {
      rot(group, name, 7);
      assert.equal((await outcomeOf(group.replica(name).log.read(7))).code, "LOG_CORRUPT");
      await group.settle();
      assert.equal(await valueAt(group, name, 7), "value 7");
      assert.equal(group.replica(name).log.status().segments, 2, "it was sealed for that");
    }
    await group.tick(20);
    await group.done(group.leader().append([{ value: "more" }]));
    await assertSame(group);
    await group.close();
  });

  test("in entries that all others have trimmed meanwhile goes with them", async () => {
    const group = await filled();
    rot(group, "n3", 7);
    group.refuses = () => true;
    await outcomeOf(group.replica("n3").log.read(7));
    await group.settle();
    const leader = group.replica("n1");
    group.clock.advance(peerRetentionMs);
    group.loses = ({ message }) => message.to === "n3";
    await group.tick(3);
    // It isn't sent what would tell it of the trim.
    assert.equal(await group.done(leader.trim(30), ["n1", "n2"]), 30);
    assert.equal(group.replica("n3").log.logStartOffset, 0);
    group.refuses = () => false;
    await wait(group, repairRetryMaxMs);
    assert.equal(group.replica("n3").log.logStartOffset, 30);
    assert.equal(group.replica("n3").status().damage, undefined);
    group.loses = () => false;
    await group.tick(30);
    await group.done(group.leader().append([{ value: "more" }]));
    await assertSame(group, 10);
    await group.close();
  });

  test("in what a truncation has to read is repaired first", async () => {
    const group = await filled();
    const node = group.node("n1");
    group.isolate("n1");
    for (let more = 0; more < 2; more += 1) {
      void outcomeOf(group.replica("n1").append([{ value: `lost ${more}` }]));
      await group.tick(1, ["n1"]);
    }
    const last = group.replica("n1").status().lastIndex;
    await group.tick(25, ["n1", "n2", "n3"]);
    await group.elect("n2", ["n2", "n3"]);
    const newest =
      node.disk
        .list("/log")
        .filter((file) => file.endsWith(".store"))
        .at(-1) ?? "";
    const first = Number(newest.slice(0, 20)) - 2;
    assert.ok(first < count, "something of the newest segment stays");
    rot(group, "n1", first);
    for (let more = 0; more < 3; more += 1) await group.done(group.replica("n2").append([{ value: "kept" }]), ["n2", "n3"]);
    group.heal();
    await group.tick(10);
    for (let rounds = 0; rounds < 3; rounds += 1) await wait(group, repairRetryMinMs);
    await group.tick(20);
    assert.ok(group.replica("n1").status().lastIndex > last);
    assert.equal(group.replica("n1").status().damage, undefined);
    assert.ok(node.repairs.length > 0);
    await assertSame(group);
    await group.close();
  });

  test("of a group without peers waits for one, and what isn't hit goes on", async () => {
    const group = await TestGroup.open(["n1"], { log: { segmentMaxBytes: 1 * KiB } });
    const leader = await group.elect("n1");
    for (let offset = 0; offset < 20; offset += 1) await group.done(leader.append([{ value: `value ${offset}.` }]));
    rot(group, "n1", 2);
    assert.equal((await outcomeOf(leader.log.read(2))).code, "LOG_CORRUPT");
    await wait(group, repairRetryMaxMs);
    assert.deepEqual(group.questions, []);
    assert.equal((await group.done(leader.append([{ value: "more" }]))).baseOffset, 20);
    await group.close();
  });

  test("goes with the log when that is replaced by the leader's", async () => {
    const group = await filled();
    rot(group, "n3", 2);
    group.refuses = () => true;
    await outcomeOf(group.replica("n3").log.read(2));
    await group.settle();
    group.isolate("n3");
    const leader = group.replica("n1");
    for (let more = 0; more < 20; more += 1) await group.done(leader.append([{ value: `more ${more}` }]), ["n1", "n2"]);
    group.clock.advance(peerRetentionMs);
    await group.tick(3, ["n1", "n2"]);
    assert.equal(await group.done(leader.trim(55), ["n1", "n2"]), 55);
    group.refuses = () => false;
    group.heal();
    await group.tick(60);
    assert.equal(group.replica("n3").log.logStartOffset, 55);
    assert.equal(group.replica("n3").status().damage, undefined);
    await group.close();
  });
});

/** Three replicas of forty entries each, led by n1. */
async function filled(segmentMaxBytes = 1 * KiB): Promise<TestGroup> {
  const group = await TestGroup.open(names, { log: { segmentMaxBytes } });
  for (const name of names) {
    const node = group.node(name);
    node.options = {
      copies: new CopyShare(group.clock, { pieceBytes: 512 }),
      observer: { repaired: (event) => node.repairs.push(event) },
    };
    await node.restart();
  }
  const leader = await group.elect("n1");
  for (let offset = 0; offset < count; offset += 1) await group.done(leader.append([{ value: `value ${offset}.` }]));
  await group.tick(5);
  return group;
}

/** A bit flips in the batch of an offset; twice is none. */
function rot(group: TestGroup, name: NodeId, offset: number): void {
  const { disk } = group.node(name);
  const stores = disk.list("/log").filter((file) => file.endsWith(".store"));
  for (const store of stores) {
    const path = `/log/${store}`;
    const position = disk.contentOf(path).indexOf(`alue ${offset}.`);
    if (position < 0) continue;
    disk.flipBit(path, position - 1, 1);
    return;
  }
  throw new Error(`${name} has no offset ${offset}`);
}

/** The same entries, whole, as a log of another term has them. */
function ofAnotherTerm(answer: Buffer): Buffer {
  const { frames, baseIndex } = decodeEntriesAnswer(answer);
  const seed = logSeed(testGroupId);
  const others = frames.map((frame) => {
    const entry = decodeFromPeer(frame, seed);
    assert.ok(entry !== undefined);
    return encodeForPeer({ ...entry, term: entry.term + 1 }, seed);
  });
  return encodeEntriesAnswer({ frames: others, baseIndex });
}

async function valueAt(group: TestGroup, name: NodeId, offset: number): Promise<string | undefined> {
  return (await group.replica(name).log.read(offset)).value?.toString().replace(".", "");
}

async function wait(group: TestGroup, ms: number): Promise<void> {
  group.clock.advance(ms);
  await group.settle();
}

async function assertSame(group: TestGroup, minCount = count): Promise<void> {
  const [first, ...others] = await group.values();
  assert.ok(first !== undefined && first.length >= minCount);
  for (const other of others) assert.deepEqual(other, first);
}
