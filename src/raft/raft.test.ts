import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../sim/random.ts";
import { AssertionError } from "../base/assert.ts";
import { heldMessagesMaxCount, probeMaxBytes } from "../base/cluster-limits.ts";
import { windowCount } from "./byte-window.ts";
import type { Entry, Proposal } from "./entry.ts";
import type { Member } from "./member.ts";
import type { Membership } from "./membership.ts";
import type { AppendMessage } from "./message.ts";
import { findViolations } from "./invariants.ts";
import { createRaft, type Raft } from "./raft.ts";
import { defaultSettings } from "./raft-settings.ts";
import { emptyStart } from "./raft-state.ts";
import type { Ready } from "./ready.ts";

const members = ["n1", "n2", "n3"].map((nodeId): Member => ({ nodeId, storageId: `${nodeId}-disk` }));
const random = { float: () => 0 };
const record: Proposal = { kind: "data", span: 3, bytes: 100 };

/** What the caller of the core may rely on, and what it owes (docs/raft.md). What Raft itself promises is in the scripts. */
describe("the raft core", () => {
  test("draws an election timeout from electionTicks to twice that, anew for each term, from the generator it is given", () => {
    const drawn = new Set<number>();
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, createSeededRandom("timeouts"));
    for (let count = 0; count < 300; count += 1) {
      const { electionTimeout, electionElapsed } = raft.state;
      drawn.add(electionTimeout);
      for (let left = electionTimeout - electionElapsed; left > 0; left -= 1) raft.tick();
      assert.equal(raft.state.electionElapsed, 0, "it campaigned when its timer had run out");
    }
    const expected = Array.from({ length: defaultSettings.electionTicks }, (_, i) => defaultSettings.electionTicks + i);
    assert.deepEqual(
      [...drawn].sort((a, b) => a - b),
      expected,
    );
  });

  test("asks for votes at once where it is told to, and nobody is known to lead", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
    const asked = (): string[] => drive(raft).flatMap(({ messages }) => messages.map(({ kind, to }) => `${kind} ${to}`));
    for (let count = 0; count < 2; count += 1) {
      raft.campaign();
      assert.deepEqual(asked(), ["pre-vote-request n2", "pre-vote-request n3"]);
    }
    raft.step({ ...envelope("n2", 1), kind: "heartbeat", commitIndex: 0, matchIndex: 0, round: 0 });
    drive(raft);
    raft.campaign();
    assert.deepEqual([asked(), raft.state.role.kind], [[], "follower"], "it disturbs nobody who leads");
    const learner = createRaft(emptyStart({ nodeId: "n9", storageId: "n9-disk" }, groupOf(3)), defaultSettings, random);
    learner.campaign();
    assert.equal(learner.ready(), undefined);
  });

  test("two of the same start, generator and events say the same", () => {
    const run = (): string => {
      const raft = createRaft(emptyStart(members[0]!, groupOf(1)), defaultSettings, createSeededRandom("same"));
      const said: unknown[] = [drive(raft)];
      for (let count = 0; count < 5; count += 1) said.push(raft.propose([record]), drive(raft));
      return JSON.stringify(said);
    };
    assert.equal(run(), run());
  });

  test("has nothing to say when nothing happened", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
    assert.equal(raft.ready(), undefined);
    raft.tick();
    assert.equal(raft.ready(), undefined);
  });

  test("starts with the memberships that what is known committed leaves", () => {
    const [, second, third] = members;
    const others: Membership = { voters: [second!, third!], outgoing: [], learners: [] };
    const start = {
      ...emptyStart(members[0]!, groupOf(3)),
      term: 1,
      lastIndex: 2,
      termHistory: [{ term: 1, firstIndex: 1, firstOffset: 0 }],
      memberships: [
        { index: 0, membership: groupOf(3) },
        { index: 2, membership: others },
      ],
      durableIndex: 2,
    };
    const leaving = createRaft(start, defaultSettings, random);
    for (let left = leaving.state.electionTimeout; left > 0; left -= 1) leaving.tick();
    assert.equal(leaving.state.role.kind, "pre-candidate", "it may be needed as long as that isn't committed");
    const removed = createRaft({ ...start, commitIndex: 2 }, defaultSettings, random);
    assert.deepEqual(removed.state.log.memberships, [{ index: 2, membership: others }]);
    for (let left = 3 * removed.state.electionTimeout; left > 0; left -= 1) removed.tick();
    assert.equal(removed.state.role.kind, "follower", "a removed replica doesn't campaign");
  });

  test("counts its own vote when that is durable, not when an older hard state is", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
    const fromSecond = { from: "n2", fromStorage: "n2-disk", to: "n1" } as const;
    raft.step({ ...fromSecond, kind: "vote-request", term: 1, lastIndex: 0, lastTerm: 0, isTransfer: false });
    const older = raft.ready()?.hardState?.sequence ?? 0;
    for (let left = raft.state.electionTimeout; left > 0; left -= 1) raft.tick();
    raft.step({ ...fromSecond, kind: "pre-vote-response", term: 2, isGranted: true });
    const newer = raft.ready()?.hardState?.sequence ?? 0;
    raft.step({ ...fromSecond, kind: "vote-response", term: 2, isGranted: true });
    assert.ok(newer > older);
    raft.hardStateDurable(older);
    assert.deepEqual(raft.state.role.kind === "candidate" && raft.state.role.votes, [{ nodeId: "n2", isGranted: true }]);
    const fromThird = { from: "n3", fromStorage: "n3-disk", to: "n1" } as const;
    raft.step({ ...fromThird, kind: "vote-response", term: 2, isGranted: true });
    assert.equal(raft.state.role.kind, "candidate", "others' votes alone don't make it lead a term that isn't durable");
    raft.hardStateDurable(newer);
    assert.equal(raft.state.role.kind, "leader");
  });

  test("gives index, term and base offset once, control entries taking no offsets", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(1)), defaultSettings, random);
    drive(raft);
    const outcome = raft.propose([record, { kind: "trim", span: 0, bytes: 8 }, record]);
    assert.ok(outcome.outcome === "appended");
    assert.deepEqual(
      outcome.entries.map(({ index, term, baseOffset, span }) => [index, term, baseOffset, span]),
      [
        [2, 1, 0, 3],
        [3, 1, 3, 0],
        [4, 1, 3, 3],
      ],
    );
    assert.equal(raft.state.log.nextOffset, 6);
    assert.throws(() => raft.propose([{ kind: "data", span: 0, bytes: 1 }]), AssertionError);
    assert.throws(() => raft.propose([{ kind: "trim", span: 1, bytes: 1 }]), AssertionError);
  });

  test("passes entries through as the objects they are", () => {
    const leader = createRaft(emptyStart(members[0]!, groupOf(1)), defaultSettings, random);
    drive(leader);
    const outcome = leader.propose([record]);
    assert.ok(outcome.outcome === "appended");
    assert.equal(leader.ready()?.write?.entries[0], outcome.entries[0]);

    const follower = createRaft(emptyStart(members[1]!, groupOf(3)), defaultSettings, random);
    const entry: Entry & { frame: string } = { ...entryOf(1, 1), frame: "bytes" };
    follower.step(append(1, 0, 0, [entry]));
    assert.equal(follower.ready()?.write?.entries[0], entry);
  });

  test("makes one write order of what came since the last, and cuts only what it handed out", () => {
    const raft = createRaft(emptyStart(members[1]!, groupOf(3)), defaultSettings, random);
    raft.step(append(1, 0, 0, [entryOf(1, 1), entryOf(2, 1), entryOf(3, 1)]));
    assert.equal(raft.ready()?.write?.entries.length, 3);
    raft.step(append(1, 3, 1, [entryOf(4, 1)]));
    raft.step(append(2, 3, 1, [entryOf(4, 2)]));
    raft.step(append(3, 1, 1, [entryOf(2, 3)]));
    const write = raft.ready()?.write;
    assert.deepEqual(
      [write?.truncateTo, write?.generation, write?.entries.map(({ index, term }) => `${index}@${term}`)],
      [1, 3, ["2@3"]],
    );
    assert.equal(raft.ready()?.write, undefined);
  });

  test("takes no report of what it never handed out", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(1)), defaultSettings, random);
    assert.throws(() => raft.hardStateDurable(1), AssertionError);
    drive(raft);
    raft.propose([record]);
    assert.throws(() => raft.durable({ index: 2, generation: 1 }), AssertionError);
    assert.throws(() => raft.durable({ index: 1, generation: 2 }), AssertionError);
    assert.throws(() => raft.trimmed({ index: 2, nextOffset: 3 }), AssertionError);
  });

  test("a newer hard state stands for those before it", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
    raft.step({ ...envelope("n2", 3), kind: "vote-request", lastIndex: 0, lastTerm: 0, isTransfer: false });
    const first = raft.ready()?.hardState;
    raft.step({ ...envelope("n3", 4), kind: "vote-request", lastIndex: 0, lastTerm: 0, isTransfer: false });
    const second = raft.ready();
    assert.deepEqual([first?.term, second?.hardState?.term, second?.messages.length], [3, 4, 0]);
    raft.hardStateDurable(second?.hardState?.sequence ?? 0);
    assert.deepEqual(
      raft.ready()?.messages.map(({ to, term }) => [to, term]),
      [
        ["n2", 3],
        ["n3", 4],
      ],
    );
    raft.hardStateDurable(first?.sequence ?? 0);
    assert.equal(raft.state.hardState.durableSequence, second?.hardState?.sequence);
  });

  test("lets go with a hard state's report what was made under it, and nothing newer", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
    const sequences = ["n2", "n3"].map((from, i) => {
      raft.step({ ...envelope(from, 3 + i), kind: "vote-request", lastIndex: 0, lastTerm: 0, isTransfer: false });
      return raft.ready()?.hardState?.sequence ?? 0;
    });
    const left = sequences.map((sequence) => {
      raft.hardStateDurable(sequence);
      return raft.ready()?.messages.map(({ to }) => to);
    });
    assert.deepEqual(left, [["n2"], ["n3"]]);
  });

  test("asks for a little when it probes, for a whole piece once it knows", () => {
    const { raft, ready } = lead();
    assert.deepEqual(
      ready.sends.map(({ to, prevIndex, maxBytes }) => [to, prevIndex, maxBytes]),
      [
        ["n2", 0, probeMaxBytes],
        ["n3", 0, probeMaxBytes],
      ],
    );
    raft.propose([record]);
    assert.equal(raft.ready()?.sends.length, 0, "one order is out for each");
    raft.sent({ to: "n2", order: ready.sends[0]?.id ?? 0, lastIndex: 1, bytes: 0 });
    assert.equal(raft.ready()?.sends, undefined, "a probe is out, and isn't answered");
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 1, agreedIndex: 1 });
    assert.deepEqual(
      raft.ready()?.sends.map(({ to, prevIndex, maxBytes }) => [to, prevIndex, maxBytes]),
      [["n2", 1, defaultSettings.sendMaxBytes]],
    );
  });

  test("an order that was given up counts for nothing when it is carried out", () => {
    const { raft, ready } = lead();
    const [order] = ready.sends;
    raft.unreachable("n2");
    raft.sent({ to: "n2", order: order?.id ?? 0, lastIndex: 1, bytes: 9 });
    const { role } = raft.state;
    assert.ok(role.kind === "leader");
    assert.deepEqual([role.peers[0]?.nextIndex, role.peers[0]?.order], [1, 0]);
  });

  test("holds back so many messages for a hard state, and loses what is beyond", () => {
    const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
    const beat = { ...envelope("n2", 1), kind: "heartbeat", commitIndex: 0, matchIndex: 0, round: 0 } as const;
    for (let count = 0; count <= heldMessagesMaxCount; count += 1) raft.step(beat);
    const ready = raft.ready();
    assert.equal(ready?.messages.length, 0);
    raft.hardStateDurable(ready?.hardState?.sequence ?? 0);
    assert.equal(raft.ready()?.messages.length, heldMessagesMaxCount);
    raft.step(beat);
    assert.equal(raft.ready()?.messages.length, 1);
  });

  test("is quiet when everybody has everything and knows it committed", () => {
    const { raft, ready } = lead();
    assert.equal(raft.isQuiet, false);
    raft.durable({ index: 1, generation: 1 });
    for (const { to, id } of ready.sends) {
      raft.sent({ to, order: id, lastIndex: 1, bytes: 0 });
      raft.step({ ...envelope(to, 1), kind: "append-accepted", matchIndex: 1, agreedIndex: 1 });
      assert.equal(raft.isQuiet, false);
    }
    assert.equal(raft.ready()?.messages.length, 2, "the commit is told");
    assert.equal(raft.isQuiet, true);
    raft.readIndex(1);
    assert.equal(raft.isQuiet, false);
  });

  test("a follower is quiet when it has everything and knows it committed", () => {
    const raft = createRaft(emptyStart(members[1]!, groupOf(3)), defaultSettings, random);
    assert.equal(raft.isQuiet, false, "it knows no leader");
    raft.step(append(1, 0, 0, [entryOf(1, 1)]));
    drive(raft);
    assert.equal(raft.isQuiet, false);
    raft.step({ ...envelope("n1", 1, "n2"), kind: "commit-notice", commitIndex: 1 });
    assert.equal(raft.isQuiet, true);
    raft.step(append(1, 1, 1, [entryOf(2, 1)]));
    assert.equal(raft.isQuiet, false);
  });

  test("tells how far a trim cuts nobody off, but for members on lost nodes", () => {
    const { raft, ready } = lead();
    raft.durable({ index: 1, generation: 1 });
    assert.equal(raft.trimMaxIndex, 0);
    for (const { to, id } of ready.sends) raft.sent({ to, order: id, lastIndex: 1, bytes: 0 });
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 1, agreedIndex: 1 });
    assert.deepEqual([raft.commitIndex, raft.trimMaxIndex], [1, 0], "n3 may need it");
    raft.peerLost("n3");
    assert.equal(raft.trimMaxIndex, 1);
    raft.trimmed({ index: 1, nextOffset: 0 });
    raft.propose([record]);
    drive(raft);
    raft.peerFound("n3");
    raft.step({ ...envelope("n3", 1), kind: "append-rejected", prevIndex: 1, hintIndex: 0, hintTerm: 0 });
    raft.unreachable("n3");
    raft.step({ ...envelope("n3", 1), kind: "heartbeat-response", round: 0, hasForgotten: false });
    const [order] = raft.ready()?.catchUps ?? [];
    assert.deepEqual(order, { id: 1, to: "n3", term: 1, baseIndex: 1, matchIndex: 0 });
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 2, agreedIndex: 2 });
    assert.deepEqual([raft.commitIndex, raft.trimMaxIndex], [2, 1], "what was ordered is there to be shipped");
    raft.caughtUp({ to: "n3", id: 7, index: 2 });
    const flowOf = (): string | undefined =>
      raft.state.role.kind === "leader" ? raft.state.role.peers.find(({ nodeId }) => nodeId === "n3")?.flow.kind : undefined;
    assert.equal(flowOf(), "catch-up", "that was of another order");
    raft.catchUpFailed({ to: "n3", id: 1 });
    raft.peerLost("n3");
    assert.equal(raft.trimMaxIndex, 2);
  });

  test("isn't moved by reports of what an earlier core of the process had ordered", () => {
    const start = emptyStart(members[0]!, groupOf(1));
    const first = createRaft({ ...start, life: 0 }, defaultSettings, random);
    const second = createRaft({ ...start, life: 1 }, defaultSettings, random);
    const [early, late] = [first.ready(), second.ready()];
    assert.ok(early?.hardState !== undefined && late?.hardState !== undefined);
    second.hardStateDurable(early.hardState.sequence);
    assert.equal(second.ready(), undefined, "its own term isn't on the disk");
    first.hardStateDurable(early.hardState.sequence);
    second.hardStateDurable(late.hardState.sequence);
    const writes = [first.ready()?.write, second.ready()?.write];
    assert.ok(writes[0] !== undefined && writes[1] !== undefined);
    second.durable({ index: 1, generation: writes[0].generation });
    assert.equal(second.commitIndex, 0);
    second.durable({ index: 1, generation: writes[1].generation });
    assert.equal(second.commitIndex, 1);
    assert.deepEqual(findViolations(second.state), []);
    assert.throws(() => createRaft({ ...start, life: 2 ** 21 }, defaultSettings, random), /lives are counted/);
  });

  test("tells what is in flight, and waits for an order that is held back", () => {
    const { raft, ready } = lead();
    for (const { to, id } of ready.sends) {
      raft.sent({ to, order: id, lastIndex: 1, bytes: 10 });
      raft.step({ ...envelope(to, 1), kind: "append-accepted", matchIndex: 1, agreedIndex: 1 });
    }
    raft.propose([record]);
    const orders = raft.ready()?.sends ?? [];
    assert.deepEqual([orders.length, raft.inflightBytes], [2, 0]);
    // Its node has sent enough for now. More comes meanwhile; the order stays, and brings that too when it is carried out.
    raft.propose([record]);
    raft.tick();
    raft.tick();
    assert.deepEqual(raft.ready()?.sends, []);
    for (const { to, id } of orders) raft.sent({ to, order: id, lastIndex: 3, bytes: 70 });
    assert.equal(raft.inflightBytes, 140);
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 3, agreedIndex: 3 });
    assert.equal(raft.inflightBytes, 70);
    raft.step({ ...envelope("n2", 2), kind: "newer-term" });
    assert.equal(raft.inflightBytes, 0);
  });

  test("says once that it sleeps, isn't moved by ticks, and says once that it wakes", () => {
    const alone = createRaft(emptyStart(members[0]!, groupOf(1)), defaultSettings, random);
    drive(alone);
    for (let left = defaultSettings.sleepTicks - 1; left > 0; left -= 1) alone.tick();
    assert.equal(alone.ready(), undefined);
    alone.tick();
    alone.tick();
    assert.equal(alone.isAsleep, true);
    assert.equal(alone.ready()?.isAsleep, true);
    const before = JSON.stringify(alone.state);
    for (let left = 1_000; left > 0; left -= 1) alone.tick();
    assert.equal(alone.ready(), undefined);
    assert.equal(JSON.stringify(alone.state), before);
    alone.wake();
    assert.equal(alone.ready()?.isAsleep, false);
    assert.equal(alone.ready(), undefined);
  });

  test("nor does it count in the place of the order that followed it", () => {
    const { raft, ready } = lead();
    raft.propose([record, record]);
    raft.unreachable("n2");
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 1, agreedIndex: 1 });
    const order = raft.ready()?.sends.find(({ to }) => to === "n2");
    assert.equal(order?.prevIndex, 1);
    raft.sent({ to: "n2", order: ready.sends[0]?.id ?? 0, lastIndex: 3, bytes: 9 });
    const { role } = raft.state;
    assert.ok(role.kind === "leader");
    assert.deepEqual([role.peers[0]?.nextIndex, role.peers[0]?.order], [2, order?.id]);
  });

  test("a send order that is reported after its entries were acknowledged puts nothing in flight", () => {
    const { raft, ready } = lead();
    raft.durable({ index: 1, generation: 1 });
    raft.sent({ to: "n2", order: ready.sends.find(({ to }) => to === "n2")?.id ?? 0, lastIndex: 1, bytes: 9 });
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 1, agreedIndex: 1 });
    raft.propose([record]);
    const order = raft.ready()?.sends.find(({ to }) => to === "n2");
    // The answer to one that brought the same before the connection broke.
    raft.step({ ...envelope("n2", 1), kind: "append-accepted", matchIndex: 2, agreedIndex: 2 });
    raft.sent({ to: "n2", order: order?.id ?? 0, lastIndex: 2, bytes: 9 });
    const { role } = raft.state;
    assert.ok(role.kind === "leader");
    const { flow, ...peer } = role.peers[0]!;
    assert.deepEqual([peer.matchIndex, peer.nextIndex, peer.order], [2, 3, 0]);
    assert.ok(flow.kind === "replicate" && windowCount(flow.inflight) === 0);
  });

  test("a start that can't be is a programmer's error", () => {
    const start = emptyStart(members[0]!, groupOf(3));
    const starting = (changed: object) => () => createRaft({ ...start, ...changed }, defaultSettings, random);
    assert.throws(starting({ durableIndex: 1 }), AssertionError);
    assert.throws(starting({ commitIndex: 1 }), AssertionError);
    assert.throws(starting({ base: { index: 1, term: 1, nextOffset: 0 } }), AssertionError);
    assert.throws(starting({ memberships: [] }), AssertionError);
    assert.throws(() => createRaft(start, { ...defaultSettings, electionTicks: 0 }, random), AssertionError);
    assert.throws(() => createRaft(start, { ...defaultSettings, heartbeatTicks: 11 }, random), AssertionError);
  });
});

function groupOf(count: number): Membership {
  return { voters: members.slice(0, count), outgoing: [], learners: [] };
}

function entryOf(index: number, term: number): Entry {
  return { index, term, kind: "data", span: 1, baseOffset: index - 1, bytes: 10 };
}

function envelope(from: string, term: number, to = "n1") {
  return { from, fromStorage: `${from}-disk`, to, term };
}

/** From n1 in terms 1 and 3, from n3 in term 2. */
function append(term: number, prevIndex: number, prevTerm: number, entries: Entry[]): AppendMessage {
  return { ...envelope(term === 2 ? "n3" : "n1", term, "n2"), kind: "append", prevIndex, prevTerm, entries, commitIndex: 0 };
}

/** Reports everything durable at once, until nothing is left to do. */
function drive(raft: Raft): Ready[] {
  const readies: Ready[] = [];
  for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
    readies.push(ready);
    if (ready.hardState !== undefined) raft.hardStateDurable(ready.hardState.sequence);
    const last = ready.write?.entries.at(-1);
    if (ready.write !== undefined && last !== undefined)
      raft.durable({ index: last.index, generation: ready.write.generation });
  }
  return readies;
}

/** n1 of three, just elected, with what it then wants. */
function lead(): { readonly raft: Raft; readonly ready: Ready } {
  const raft = createRaft(emptyStart(members[0]!, groupOf(3)), defaultSettings, random);
  for (let left = defaultSettings.electionTicks; left > 0; left -= 1) raft.tick();
  raft.step({ ...envelope("n2", 1), kind: "pre-vote-response", isGranted: true });
  drive(raft);
  raft.step({ ...envelope("n2", 1), kind: "vote-response", isGranted: true });
  const ready = raft.ready();
  assert.ok(ready !== undefined && raft.leader === "n1");
  return { raft, ready };
}
