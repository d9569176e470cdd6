import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { addToWindow, type ByteWindow } from "./byte-window.ts";
import type { Entry } from "./entry.ts";
import { entryAt, type FakeReplica, viewOf } from "./fake-replica.ts";
import { newGroupWitness, type ReplicaView, witness, witnessMessage } from "./group-witness.ts";
import { findViolations, marksOf } from "./invariants.ts";
import type { Member } from "./member.ts";
import type { RaftState } from "./raft-state.ts";
import type { Follower, Leader } from "./role.ts";
import { ScriptWorld } from "./script-world.ts";

/** A check that can't fail proves nothing: each is shown a state that breaks it. */
describe("an invariant of a replica is seen to break:", () => {
  const cases: readonly (readonly [rule: string, what: string, change: (state: RaftState) => void])[] = [
    ["R1", "a commit index behind the log", (state) => (state.commitIndex = 99)],
    ["R1", "a durable index behind the log", (state) => (state.log.durableIndex = 99)],
    ["R3", "a term history that falls", ({ log }) => log.termHistory.push({ term: 0, firstIndex: 2, firstOffset: 0 })],
    ["R3", "a term history that begins too late", ({ log }) => log.termHistory.splice(0, 1)],
    ["R3", "an entry of a term ahead", ({ log }) => log.termHistory.push({ term: 9, firstIndex: 2, firstOffset: 0 })],
    [
      "R4",
      "an unsound membership",
      ({ log }) => log.memberships.push({ index: 2, membership: { voters: [], outgoing: [], learners: [] } }),
    ],
    ["R9", "a message held for what is durable", ({ effects }) => effects.held.push({ sequence: 0, message: heartbeat })],
  ];
  for (const [rule, what, change] of cases)
    for (const nodeId of ["n1", "n2"])
      test(`${rule} of ${nodeId}, ${what}`, () => {
        const { state } = settled().get(nodeId).raft;
        assert.deepEqual(findViolations(state), []);
        change(state);
        // Others may break with it: a commit index behind the log isn't agreed upon either.
        assert.ok(rulesOf(findViolations(state)).includes(rule));
      });

  const leaderCases: readonly (readonly [rule: string, what: string, change: (role: Leader, state: RaftState) => void])[] = [
    ["R5", "a leader with another's vote", (_, state) => (state.hardState.vote = { nodeId: "n2", storageId: "n2-disk" })],
    ["R5", "a leader whose vote isn't durable", (_, state) => (state.hardState.sequence += 1)],
    ["R6", "a peer too few", (role) => role.peers.pop()],
    ["R6", "a match at the next index", (role) => (role.peers[0]!.matchIndex = 99)],
    ["R7", "something in flight that is matched", (role) => addInflight(role, 1)],
    ["R7", "bytes in flight that don't add up", (role) => addToFlow(role, (inflight) => (inflight.bytes += 1))],
    ["R7", "more bytes in flight than there is room for", (role, state) => overfill(role, state)],
    ["R10", "a round of reads before the no-op", (role) => Object.assign(role, { noOpIndex: 9, reads: running(1) })],
    ["R10", "a read index that isn't committed", (role) => Object.assign(role, { reads: running(9) })],
  ];
  for (const [rule, what, change] of leaderCases)
    test(`${rule} of a leader, ${what}`, () => {
      const { state } = settled().get("n1").raft;
      assert.ok(state.role.kind === "leader");
      change(state.role, state);
      assert.deepEqual(rulesOf(findViolations(state)), [rule]);
    });

  const followerCases: readonly (readonly [what: string, change: (role: Follower) => void])[] = [
    ["agreement behind the log", (role) => (role.agreedIndex = 99)],
    ["agreement below the commit index", (role) => Object.assign(role, { agreedIndex: 0, toldIndex: 0 })],
    ["an acknowledgement of what isn't durable", (role) => (role.toldIndex = 99)],
  ];
  for (const [what, change] of followerCases)
    test(`R8 of a follower, ${what}`, () => {
      const { state } = settled().get("n2").raft;
      assert.ok(state.role.kind === "follower");
      change(state.role);
      assert.deepEqual(rulesOf(findViolations(state)), ["R8"]);
    });

  test("R11 of who sleeps with something under way, or by the word of a node that is lost", () => {
    for (const nodeId of ["n1", "n2"]) {
      const world = settled();
      const { state } = world.get(nodeId).raft;
      state.isAsleep = true;
      assert.deepEqual(findViolations(state), []);
      if (nodeId === "n1") {
        state.isDamaged = true;
        assert.deepEqual(rulesOf(findViolations(state)), ["R11"]);
      } else {
        state.lostNodes.add("n1");
        assert.deepEqual(rulesOf(findViolations(state)), ["R11"]);
      }
    }
  });

  test("R5 of a candidate, its vote counted before it is durable", () => {
    const world = settled();
    for (let left = world.get("n2").raft.state.electionTimeout; left > 0; left -= 1) world.act("n2", (raft) => raft.tick());
    world.act("n2", (raft) => raft.step({ ...envelope("n3", 2), kind: "pre-vote-response", isGranted: true }));
    const { state } = world.get("n2").raft;
    assert.ok(state.role.kind === "candidate");
    assert.deepEqual(findViolations(state), []);
    state.role.votes.push({ nodeId: "n2", isGranted: true });
    assert.deepEqual(rulesOf(findViolations(state)), ["R5"]);
  });

  test("R5 of a leader, a commit that its disk and a quorum's don't bear", () => {
    const { state } = settled().get("n1").raft;
    const before = { ...marksOf(state), commitIndex: 0 };
    assert.deepEqual(findViolations(state, before), []);
    assert.ok(state.role.kind === "leader");
    for (const peer of state.role.peers) peer.lostIndex = 1;
    assert.deepEqual(rulesOf(findViolations(state, before)), ["R5"]);
  });

  const steps: readonly (readonly [rule: string, what: string, change: (state: RaftState) => void])[] = [
    ["R1", "a commit index that falls", (state) => (state.commitIndex = 0)],
    ["R1", "a durable index that falls in its generation", (state) => (state.log.durableIndex = 0)],
    ["R2", "a term that falls", (state) => (state.hardState.term = 0)],
    ["R2", "a vote that is taken back", (state) => (state.hardState.vote = undefined)],
  ];
  for (const [rule, what, change] of steps)
    test(`${rule} from a step to the next, ${what}`, () => {
      const { state } = settled().get("n2").raft;
      const before = marksOf(state);
      assert.deepEqual(findViolations(state, before), []);
      change(state);
      assert.ok(rulesOf(findViolations(state, before)).includes(rule));
    });
});

describe("an invariant of a group is seen to break:", () => {
  test("G1, two leaders of a term", () => {
    const { group, views } = witnessed();
    views[1]!.state.role = { ...(views[0]!.state.role as Leader) };
    assert.match(witness(group, views, views[1]!).join(), /^G1: n1 and n2 lead term 1/);
  });

  test("G2, one index and term with two entries, or with different ones before it", () => {
    const { group, views } = witnessed();
    const other = withEntry(views[1]!, { index: 1, term: 1, kind: "no-op", span: 0, baseOffset: 0, bytes: 77 });
    assert.match(witness(group, [views[0]!, other], views[0]!).join(), /^G2: 1@1 of n1 and 1@1 of n2/);
  });

  test("G3, a leader without what was committed before", () => {
    const { group, views } = witnessed();
    const [first] = views;
    first!.state.hardState.term = 5;
    const missing = withEntry(first!, undefined);
    assert.match(witness(group, [missing], missing).join(), /G3: n1 leads term 5 without 1@1, committed in term 1/);
  });

  test("G4, another entry committed at an index, or one that isn't there", () => {
    const { group, views } = witnessed();
    const other = withEntry(views[1]!, { index: 1, term: 9, kind: "no-op", span: 0, baseOffset: 0, bytes: 0 });
    assert.match(witness(group, [other], other).join(), /^G4: n2 commits 1@9, but 1@1 was committed/);
    assert.match(witness(group, [], withEntry(views[1]!, undefined)).join(), /^G4: n2 committed 1 and doesn't have it/);
  });

  test("G5, a commit with too few disks, or by a follower before any leader", () => {
    const { views } = witnessed();
    const [first, second] = views;
    const lost = [first!, ...views.slice(1).map((view): ReplicaView => ({ ...view, durableEntryAt: () => undefined }))];
    assert.match(witness(newGroupWitness(), lost, first!).join(), /^G5: 1@1 is committed with 1 of 3 disks/);
    assert.match(witness(newGroupWitness(), views, second!).join(), /^G5: n2 commits 1@1 before any leader did/);
  });

  test("G6, an acknowledgement of what the disk hasn't got", () => {
    const { group, views } = witnessed();
    const second = views[1]!;
    assert.ok(second.state.role.kind === "follower" && second.state.role.toldIndex === 1);
    const lost: ReplicaView = { ...second, durableEntryAt: () => undefined };
    assert.match(witness(group, [lost], lost).join(), /^G6: n2 acknowledged 1@1, which its disk hasn't got/);
  });

  test("G8, a member that sleeps with less than its sleeping leader has", () => {
    const { group, views } = witnessed();
    for (const { state } of views) state.isAsleep = true;
    assert.deepEqual(witness(group, views, views[0]!), []);
    views[1]!.state.commitIndex = 0;
    assert.match(witness(group, views, views[1]!).join(), /G8: n1 sleeps at 1, and n2, which it leads, at 0/);
    views[0]!.state.lostNodes.add("n2");
    assert.deepEqual(witness(group, views, views[0]!), []);
  });

  test("R9, a word in a term or for a vote that the disk hasn't got", () => {
    const [one, two] = ["n1", "n2"].map((nodeId): Member => ({ nodeId, storageId: `${nodeId}-disk` }));
    const said = { ...envelope("n1", 4), to: "n2" };
    const grant = { ...said, kind: "vote-response", isGranted: true } as const;
    const request = { ...said, kind: "vote-request", lastIndex: 0, lastTerm: 0, isTransfer: false } as const;
    const ask = { ...request, kind: "pre-vote-request" } as const;
    assert.match(witnessMessage({ term: 3, vote: one }, { ...heartbeat, ...said }).join(), /^R9: n1 says heartbeat in term 4/);
    assert.match(witnessMessage({ term: 4, vote: one }, grant).join(), /vote n1/);
    assert.match(witnessMessage({ term: 4, vote: two }, request).join(), /vote n2/);
    for (const [vote, message] of [
      [one, { ...heartbeat, ...said }],
      [two, grant],
      [one, request],
    ] as const)
      assert.deepEqual(witnessMessage({ term: 4, vote }, message), []);
    assert.deepEqual(witnessMessage({ term: 3, vote: undefined }, ask), []);
  });

  test("G7, a read that is answered from before it was asked", () => {
    const world = settled();
    world.read("n1", 1);
    world.act("n1", (raft) => {
      const { role } = raft.state;
      assert.ok(role.kind === "leader" && role.reads.running !== undefined);
      Object.assign(role.reads, { running: { ...role.reads.running, index: 0 } });
    });
    assert.throws(() => world.settle(), /G7: read 1 of n1 is confirmed at 0, and 1 was committed when it was asked/);
  });
});

const heartbeat = { ...envelope("n1", 1), kind: "heartbeat", commitIndex: 0, matchIndex: 0, round: 0 } as const;

function envelope(from: string, term: number) {
  return { from, fromStorage: `${from}-disk`, to: "n2", term };
}

function running(index: number): Leader["reads"] {
  return { waiting: [], running: { round: 1, index, readers: [] }, lastRound: 1 };
}

function addToFlow(role: Leader, change: (inflight: ByteWindow) => void): void {
  const [peer] = role.peers;
  assert.ok(peer?.flow.kind === "replicate");
  change(peer.flow.inflight);
}

/** Two entries more than there are, each of them all that may be in flight. */
function overfill(role: Leader, { log, settings }: RaftState): void {
  log.lastIndex += 2;
  log.handedIndex += 2;
  const [peer] = role.peers;
  assert.ok(peer !== undefined);
  peer.nextIndex += 2;
  addToFlow(role, (inflight) => {
    addToWindow(inflight, log.lastIndex - 1, settings.inflightMaxBytes);
    addToWindow(inflight, log.lastIndex, 1);
  });
}

function addInflight(role: Leader, lastIndex: number): void {
  const [peer] = role.peers;
  assert.ok(peer?.flow.kind === "replicate");
  addToWindow(peer.flow.inflight, lastIndex, 1);
}

/** n1 leads three, and one entry is everywhere. */
function settled(): ScriptWorld {
  const world = new ScriptWorld();
  const voters = ["n1", "n2", "n3"].map((nodeId): Member => ({ nodeId, storageId: `${nodeId}-disk` }));
  for (const member of voters) world.add(member, { membership: { voters, outgoing: [], learners: [] } });
  for (let left = world.get("n1").raft.state.electionTimeout; left > 0; left -= 1) world.act("n1", (raft) => raft.tick());
  world.settle();
  assert.equal(world.get("n3").raft.commitIndex, 1);
  return world;
}

/** The same, with a witness that saw nothing wrong. */
function witnessed() {
  const world = settled();
  const views = [...world.replicas.values()].map((replica: FakeReplica) => viewOf(replica));
  const group = newGroupWitness();
  for (const view of views) assert.deepEqual(witness(group, views, view), []);
  assert.equal(entryAt(world.get("n1").written, 1), group.committed[0]?.entry);
  return { group, views };
}

function withEntry(view: ReplicaView, entry: Entry | undefined): ReplicaView {
  return { ...view, entryAt: () => entry };
}

function rulesOf(violations: readonly string[]): string[] {
  return [...new Set(violations.map((violation) => violation.split(":")[0] ?? ""))];
}
