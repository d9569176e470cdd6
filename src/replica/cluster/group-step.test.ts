import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom, type SeededRandom } from "../../../sim/random.ts";
import { promotionMaxLag } from "../../base/cluster-limits.ts";
import { describeMembership } from "../../raft/describe.ts";
import type { Member } from "../../raft/member.ts";
import { changeMembership, findInMembership, leaveJoint, type Membership, membersOf } from "../../raft/membership.ts";
import type { GroupReport, PeerReport } from "./group-report.ts";
import { type GroupWish, planGroupStep } from "./group-step.ts";

describe("the next step of a group", () => {
  test("from any members to any others, when all are well, it gets there by changes that raft takes", () => {
    for (let seed = 0; seed < 400; seed += 1) {
      const random = createSeededRandom(`steps ${seed}`);
      const wish = randomWish(random);
      let membership = randomMembership(random);
      let leader = random.pick(membership.voters).nodeId;
      const story: string[] = [];
      for (let count = 0; ; count += 1) {
        const report = reportOf({ membership, leader });
        const step = planGroupStep(wish, report);
        story.push(`${describeMembership(membership)} led by ${leader}: ${JSON.stringify(step)}`);
        assert.ok(count < 30, `seed ${seed}\n${story.join("\n")}`);
        if (step.kind === "settled") break;
        if (step.kind === "wait") {
          // A replica in its successor's way, and too few others: the group has to be helped by hand, or by more replicas.
          assert.match(step.reason, /too few others|nobody can take over/, story.join("\n"));
          break;
        }
        if (step.kind === "transfer") {
          assert.ok(membership.voters.some(({ nodeId }) => nodeId === step.to) && step.to !== leader);
          leader = step.to;
          continue;
        }
        const next = changeMembership(membership, step.changes);
        assert.ok(typeof next !== "string", `${JSON.stringify(next)}\n${story.join("\n")}`);
        membership = leaveJoint(next);
        // A leader that is no voter any more hands over to one that is.
        if (!membership.voters.some(({ nodeId }) => nodeId === leader)) leader = random.pick(membership.voters).nodeId;
      }
      if (planGroupStep(wish, reportOf({ membership, leader })).kind === "settled") {
        assert.deepEqual(sorted(membership.voters), sorted(wish.voters), story.join("\n"));
        assert.deepEqual(sorted(membership.learners), sorted(wish.learners), story.join("\n"));
      }
    }
  });

  test("whatever is wrong with whom, no change leaves fewer that are well than before, or most that aren't", () => {
    const seen = new Map<string, number>();
    for (let seed = 0; seed < 5_000; seed += 1) {
      const random = createSeededRandom(`faults ${seed}`);
      const wish = randomWish(random);
      const membership = randomMembership(random);
      const leader = random.pick(membership.voters).nodeId;
      const bad = new Set(
        membersOf(membership)
          .filter(() => random.chance(0.3))
          .map(({ nodeId }) => nodeId),
      );
      const report = reportOf({ membership, leader, faults: (nodeId) => (bad.has(nodeId) ? random.pick(faults) : {}) });
      const step = planGroupStep(wish, report);
      seen.set(step.kind, (seen.get(step.kind) ?? 0) + 1);
      if (step.kind !== "change") continue;
      const next = changeMembership(membership, step.changes);
      assert.ok(typeof next !== "string", JSON.stringify(next));
      const isWell = ({ nodeId }: Member): boolean => nodeId === leader || !bad.has(nodeId);
      const before = membership.voters.filter(isWell).length;
      const after = next.voters.filter(isWell).length;
      if (next.outgoing.length === 0) continue;
      const context = `seed ${seed}: ${describeMembership(next)}, bad ${[...bad].join()}`;
      assert.ok(2 * after > next.voters.length, context);
      assert.ok(!step.changes.some((change) => change.kind === "remove" && change.nodeId === leader), context);
      const isInTheWay = step.changes.every((change) => {
        return change.kind === "remove" && wish.voters.some(({ nodeId }) => nodeId === change.nodeId);
      });
      if (!isInTheWay) assert.ok(after >= Math.min(before, wish.voters.length), context);
      for (const change of step.changes) if (change.kind === "promote") assert.ok(!bad.has(change.nodeId), context);
    }
    for (const kind of ["change", "transfer", "wait", "settled"])
      assert.ok((seen.get(kind) ?? 0) > 20, `${kind} ${[...seen].join()}`);
  });

  test("nothing is planned while a change is under way", () => {
    const membership = { voters: [n(1), n(2), n(3)], outgoing: [], learners: [] };
    const report = reportOf({ membership, leader: "n1" });
    const wish = { voters: [n(1), n(2), n(4)], learners: [], leader: "n1" };
    assert.equal(planGroupStep(wish, { ...report, isSettled: false }).kind, "wait");
    const joint = { ...membership, outgoing: [n(1)] };
    assert.equal(planGroupStep(wish, { ...report, membership: joint }).kind, "wait");
  });

  test("one copy is made at a time, but nobody waits for one that doesn't answer", () => {
    const wish = { voters: [n(1), n(4), n(5)], learners: [], leader: "n1" };
    const membership = { voters: [n(1), n(2), n(3)], outgoing: [], learners: [n(4)] };
    const lag = promotionMaxLag + 1;
    const copying = reportOf({ membership, leader: "n1", faults: (it) => (it === "n4" ? { lag } : {}) });
    assert.deepEqual(planGroupStep(wish, copying), { kind: "wait", reason: "n4 has to catch up" });
    const silent = reportOf({ membership, leader: "n1", faults: (it) => (it === "n4" ? { lag, isActive: false } : {}) });
    assert.deepEqual(planGroupStep(wish, silent), { kind: "change", changes: [{ kind: "add-learner", member: n(5) }] });
    const caughtUp = reportOf({ membership, leader: "n1", faults: (it) => (it === "n4" ? { lag: promotionMaxLag } : {}) });
    assert.deepEqual(planGroupStep(wish, caughtUp), {
      kind: "change",
      changes: [
        { kind: "promote", nodeId: "n4" },
        { kind: "remove", nodeId: "n2" },
      ],
    });
  });

  test("who is down gives up its vote first", () => {
    const wish = { voters: [n(1), n(2), n(4)], learners: [], leader: "n1" };
    const membership = { voters: [n(1), n(2), n(3), n(5)], outgoing: [], learners: [n(4)] };
    const report = reportOf({ membership, leader: "n1", faults: (it) => (it === "n5" ? { isActive: false } : {}) });
    assert.deepEqual(planGroupStep(wish, report), {
      kind: "change",
      changes: [
        { kind: "promote", nodeId: "n4" },
        { kind: "remove", nodeId: "n5" },
      ],
    });
  });

  test("a leader that is to go hands over first, to the wished one if that is well", () => {
    const wish = { voters: [n(2), n(3)], learners: [], leader: "n3" };
    const membership = { voters: [n(1), n(2), n(3)], outgoing: [], learners: [] };
    assert.deepEqual(planGroupStep(wish, reportOf({ membership, leader: "n1" })), { kind: "transfer", to: "n3" });
    const without = reportOf({ membership, leader: "n1", faults: (it) => (it === "n3" ? { isActive: false } : {}) });
    assert.deepEqual(planGroupStep(wish, without), { kind: "transfer", to: "n2" });
  });

  test("a lost replica goes before its successor on the same node comes, unless too few others are well", () => {
    const successor = { nodeId: "n3", storageId: "s3/9" };
    const wish = { voters: [n(1), n(2), successor], learners: [], leader: "n1" };
    const membership = { voters: [n(1), n(2), n(3)], outgoing: [], learners: [] };
    const lost = { isLost: true };
    const report = reportOf({ membership, leader: "n1", faults: (it) => (it === "n3" ? lost : {}) });
    assert.deepEqual(planGroupStep(wish, report), { kind: "change", changes: [{ kind: "remove", nodeId: "n3" }] });
    const worse = reportOf({ membership, leader: "n1", faults: (it) => (it === "n1" ? {} : { ...lost, isActive: false }) });
    assert.deepEqual(planGroupStep(wish, worse), { kind: "wait", reason: "n3 can't go: too few others have everything" });
    const two = { voters: [n(1), n(2)], outgoing: [], learners: [] };
    assert.deepEqual(planGroupStep(wish, reportOf({ membership: two, leader: "n1" })), {
      kind: "change",
      changes: [{ kind: "add-learner", member: successor }],
    });
  });

  test("in group 0 who votes no more goes on learning", () => {
    const wish = { voters: [n(1), n(2), n(4)], learners: [n(3)], leader: undefined };
    const membership = { voters: [n(1), n(2), n(3)], outgoing: [], learners: [n(4)] };
    assert.deepEqual(planGroupStep(wish, reportOf({ membership, leader: "n1" })), {
      kind: "change",
      changes: [
        { kind: "promote", nodeId: "n4" },
        { kind: "demote", nodeId: "n3" },
      ],
    });
  });
});

const faults: readonly Partial<PeerReport>[] = [{ isActive: false }, { isLost: true }, { lag: promotionMaxLag + 1 }];

function n(number: number): Member {
  return { nodeId: `n${number}`, storageId: `s${number}/1` };
}

function reportOf({
  membership,
  leader,
  faults: faultsOf = () => ({}),
}: {
  readonly membership: Membership;
  readonly leader: string;
  readonly faults?: (nodeId: string) => Partial<PeerReport>;
}): GroupReport {
  const peers = membersOf(membership)
    .filter(({ nodeId }) => nodeId !== leader)
    .map(({ nodeId }) => ({ nodeId, lag: 0, isActive: true, isLost: false, ...faultsOf(nodeId) }));
  assert.ok(findInMembership(membership, leader) !== undefined);
  return { leader, isLeaderDamaged: false, membership, isSettled: true, lastIndex: 5_000, peers };
}

/** Some of whom are begun anew on their node. */
function randomMembers(random: SeededRandom, count: number): Member[] {
  const numbers = new Set(Array.from({ length: count }, () => 1 + random.integer(6)));
  return [...numbers].map((number) => ({ nodeId: `n${number}`, storageId: `s${number}/${random.chance(0.85) ? 1 : 2}` }));
}

function randomWish(random: SeededRandom): GroupWish {
  const members = randomMembers(random, 1 + random.integer(6));
  const voterCount = random.chance(0.7) ? members.length : 1 + random.integer(members.length);
  const voters = members.slice(0, voterCount);
  return { voters, learners: members.slice(voterCount), leader: random.pick(voters).nodeId };
}

function randomMembership(random: SeededRandom): Membership {
  const members = randomMembers(random, 1 + random.integer(6));
  const voterCount = 1 + random.integer(members.length);
  return { voters: members.slice(0, voterCount), outgoing: [], learners: members.slice(voterCount) };
}

function sorted(members: readonly Member[]): readonly string[] {
  return members.map(({ nodeId, storageId }) => `${nodeId} ${storageId}`).sort();
}
