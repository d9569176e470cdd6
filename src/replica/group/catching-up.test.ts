import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memberOf, TestGroup } from "../../../test/test-group.ts";
import { peerRetentionMs } from "../../base/cluster-limits.ts";
import { KiB } from "../../base/units.ts";
import type { NodeId } from "../../raft/member.ts";
import type { GroupReplica } from "./group-replica.ts";
import { CopyShare } from "./log-copies.ts";

describe("a replica that lacks what its leader has trimmed", () => {
  test("gets base record and sealed segments in pieces, then the stream, while the leader goes on", async () => {
    const group = await behind();
    const leader = group.replica("n1");
    group.heal();
    for (let count = 0; count < 10; count += 1) await group.done(leader.append([{ value: `meanwhile ${count}` }]));
    await group.tick(20);
    const asked = fetched(group);
    assert.ok(asked.length > 4, "in pieces");
    assert.deepEqual(asked, ascending(asked), "each of them once");
    assert.ok((asked.at(-1)?.index ?? 0) <= sealedIndex(group), "what isn't sealed comes by the stream");
    await assertSame(group);
    assert.equal(group.replica("n3").log.logStartOffset, 40);
    assert.deepEqual(names(group, "n3"), ["log"]);
    assert.equal(group.replica("n3").status().damage, undefined);
    await group.close();
  });

  test("and has nothing at all gets it, too, and may vote then", async () => {
    const group = await behind();
    const leader = group.replica("n1");
    await group.add("n4");
    group.node("n4").options = group.node("n3").options;
    leader.changeMembership([{ kind: "add-learner", member: memberOf("n4") }]);
    await group.tick(20, ["n1", "n2", "n4"]);
    assert.equal(leader.changeMembership([{ kind: "promote", nodeId: "n4" }]).outcome, "appended");
    await group.tick(10, ["n1", "n2", "n4"]);
    assert.deepEqual(await group.node("n4").values(), await group.node("n1").values());
    assert.equal(group.replica("n4").membership.voters.length, 4);
    await group.close();
  });

  test("goes on where it stopped when the connection broke, and when it was started again", async () => {
    const group = await behind();
    for (const event of ["break", "restart"] as const) {
      letThrough(group, 3);
      group.heal();
      await group.tick(6);
      assert.deepEqual(names(group, "n3"), ["log", "log.incoming"]);
      if (event === "break") group.isolate("n3");
      else await group.node("n3").restart();
      await group.tick(3);
    }
    group.refuses = () => false;
    group.heal();
    await group.tick(40);
    const asked = fetched(group);
    assert.deepEqual(asked, ascending(asked));
    await assertSame(group);
    assert.deepEqual(names(group, "n3"), ["log"]);
    await group.close();
  });

  test("goes on with what it has when somebody else leads", async () => {
    const group = await behind();
    letThrough(group, 3);
    group.heal();
    await group.tick(6);
    group.refuses = () => false;
    group.replica("n1").transferLeadership("n2");
    await group.tick(40);
    assert.equal(group.leader().self.nodeId, "n2");
    const asked = fetched(group);
    assert.deepEqual([...new Set(asked.map(({ of }) => of))], ["n1", "n2"]);
    assert.deepEqual(asked, ascending(asked));
    await assertSame(group);
    await group.close();
  });

  test("keeps its leader from trimming further, and begins anew where that was trimmed all the same", async () => {
    const group = await behind();
    letThrough(group, 3);
    group.heal();
    await group.tick(6);
    const leader = group.replica("n1");
    assert.equal(await group.done(leader.trim(48)), 40);
    group.isolate("n3");
    await fill(group, leader, 40);
    group.clock.advance(peerRetentionMs);
    await group.tick(30, ["n1", "n2"]);
    assert.equal(await group.done(leader.trim(95), ["n1", "n2"]), 95);
    group.refuses = () => false;
    group.heal();
    await group.tick(40);
    await assertSame(group);
    assert.equal(group.replica("n3").log.logStartOffset, 95);
    await group.close();
  });

  test("is closed when nothing is done any more to what it was fetching", async () => {
    const group = await behind();
    const hold = group.node("n3").hold({ kind: "datasync", path: /incoming/ });
    group.heal();
    await group.tick(6);
    await hold.arrived;
    let isClosed = false;
    const closing = group
      .replica("n3")
      .close()
      .then(() => (isClosed = true));
    await group.settle();
    assert.equal(isClosed, false);
    hold.release();
    await closing;
    assert.equal(group.node("n3").disk.openFileCount, 0);
    await group.node("n3").restart();
    await group.tick(40);
    await assertSame(group);
    await group.close();
  });

  test("takes nothing of what was altered on its way", async () => {
    const group = await behind();
    let alteredCount = 0;
    group.alters = (kind, answer) => {
      const flipped = Buffer.from(answer);
      if (kind !== "group/fetch" || alteredCount >= 2 || answer.length < 400) return answer;
      alteredCount += 1;
      flipped[answer.length - 100] = (flipped[answer.length - 100] ?? 0) ^ 1;
      return flipped;
    };
    group.heal();
    await group.tick(60);
    assert.equal(alteredCount, 2);
    await assertSame(group);
    await group.close();
  });

  test("removes what it has fetched when it isn't behind any more", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    await group.node("n3").disk.makeDirectory("/log.incoming");
    await group.node("n3").restart();
    await group.done(leader.append([{ value: "a" }]));
    await group.tick(5);
    assert.deepEqual(names(group, "n3"), ["log"]);
    await group.close();
  });

  test("is sent no more in a second than the node may send", async () => {
    const group = await behind({ bytesPerSecond: 2 * KiB });
    group.heal();
    await group.tick(6);
    const soon = fetched(group).length;
    await group.tick(20);
    const later = fetched(group).length;
    assert.ok(soon <= 3 && later > soon && later <= soon + 5, `${soon} pieces, then ${later}`);
    await group.tick(150);
    await assertSame(group);
    await group.close();
  });
});

/** Three replicas, of which n3 missed so much that the others have trimmed what it would need. n1 leads. */
async function behind(options: { readonly bytesPerSecond?: number } = {}): Promise<TestGroup> {
  const group = await TestGroup.open(["n1", "n2", "n3"], { log: { segmentMaxBytes: 1 * KiB } });
  for (const name of ["n1", "n2", "n3"]) {
    group.node(name).options = { copies: new CopyShare(group.clock, { pieceBytes: 512, ...options }) };
    await group.node(name).restart();
  }
  const leader = await group.elect("n1");
  await fill(group, leader, 10, ["n1", "n2", "n3"]);
  group.isolate("n3");
  await fill(group, leader, 70);
  group.clock.advance(peerRetentionMs);
  await group.tick(3, ["n1", "n2"]);
  assert.equal(await group.done(leader.trim(40), ["n1", "n2"]), 40);
  assert.ok(group.replica("n1").status().firstIndex > 20);
  return group;
}

async function fill(group: TestGroup, leader: GroupReplica, count: number, among: NodeId[] = ["n1", "n2"]): Promise<void> {
  const from = leader.log.logEndOffset;
  for (let written = 0; written < count; written += 1)
    await group.done(leader.append([{ value: `value ${from + written}` }]), among);
}

/** So many more pieces of a log get through, and then none. */
function letThrough(group: TestGroup, count: number): void {
  let left = count;
  group.refuses = (kind) => {
    const isPiece = kind === "group/fetch" && group.questions.at(-1)?.includes("entries") === true;
    if (isPiece) left -= 1;
    if (isPiece && left < 0) group.questions.pop();
    return isPiece && left < 0;
  };
}

/** The entries that pieces were asked for from, and of whom. */
function fetched(group: TestGroup): { readonly of: string; readonly index: number }[] {
  return group.questions.flatMap((question) => {
    const [, of = "", index] = /asks (\w+): group\/fetch .*"index":(\d+)/.exec(question) ?? [];
    return index === undefined ? [] : [{ of, index: Number(index) }];
  });
}

function ascending<Asked extends { readonly index: number }>(asked: readonly Asked[]): Asked[] {
  return [...new Map(asked.map((one) => [one.index, one])).values()].sort((a, b) => a.index - b.index);
}

function sealedIndex(group: TestGroup): number {
  const stores = group
    .node("n1")
    .disk.list("/log")
    .filter((name) => name.endsWith(".store"));
  return Number(stores.at(-1)?.slice(0, 20)) - 1;
}

function names(group: TestGroup, name: NodeId): string[] {
  return group
    .node(name)
    .disk.list("/")
    .filter((entry) => entry.startsWith("log"));
}

async function assertSame(group: TestGroup): Promise<void> {
  const [first, ...others] = await group.values();
  assert.ok(first !== undefined && first.length > 0);
  for (const other of others) assert.deepEqual(other, first);
}
