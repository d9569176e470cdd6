import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Member } from "./member.ts";
import {
  changeMembership,
  findMembershipFault,
  isJoint,
  leaveJoint,
  type Membership,
  type MembershipChange,
  membersOf,
} from "./membership.ts";

describe("a membership", () => {
  test("stays sound through any row of changes, and leaving the joint one ends where the changes wanted", () => {
    fc.assert(
      fc.property(fc.array(fc.array(change(), { minLength: 1, maxLength: 3 }), { maxLength: 12 }), (rows) => {
        let membership: Membership = { voters: [named("0")], outgoing: [], learners: [] };
        for (const changes of rows) {
          const next = changeMembership(membership, changes);
          if (typeof next === "string") continue;
          assert.equal(findMembershipFault(next), undefined);
          const voters = namesOf(membership.voters);
          assert.equal(isJoint(next), namesOf(next.voters) !== voters);
          if (isJoint(next)) assert.equal(namesOf(next.outgoing), voters);
          const addition: MembershipChange = { kind: "add-learner", member: named("new") };
          if (isJoint(next)) assert.equal(changeMembership(next, [addition]), "a change is under way");
          membership = leaveJoint(next);
          assert.equal(findMembershipFault(membership), undefined);
        }
      }),
    );
  });

  test("lets no change take the last voter, name a node twice, or change its disk on the way", () => {
    const membership: Membership = { voters: [named("0"), named("1")], outgoing: [], learners: [named("2")] };
    const refused = (...changes: MembershipChange[]): string => {
      const next = changeMembership(membership, changes);
      return typeof next === "string" ? next : "allowed";
    };
    assert.equal(refused(), "nothing is to change");
    assert.equal(refused({ kind: "remove", nodeId: "0" }, { kind: "demote", nodeId: "1" }), "no voter would be left");
    assert.equal(refused({ kind: "remove", nodeId: "2" }, { kind: "promote", nodeId: "2" }), "2 is named twice");
    assert.equal(refused({ kind: "add-learner", member: { nodeId: "1", storageId: "new" } }), "1 is a member already");
    assert.equal(refused({ kind: "promote", nodeId: "1" }), "1 is no learner");
    assert.equal(refused({ kind: "demote", nodeId: "2" }), "2 is no voter");
    assert.equal(refused({ kind: "remove", nodeId: "9" }), "9 is no member");
    assert.equal(refused({ kind: "promote", nodeId: "2" }), "allowed");
  });

  test("has each member once, a demoted voter too", () => {
    const joint = changeMembership({ voters: [named("0"), named("1")], outgoing: [], learners: [named("2")] }, [
      { kind: "demote", nodeId: "1" },
    ]);
    assert.ok(typeof joint !== "string");
    assert.equal(namesOf(membersOf(joint)), "0 1 2");
  });

  test("that can't be one is known by its fault", () => {
    const sound: Membership = { voters: [named("0")], outgoing: [named("1")], learners: [named("1"), named("2")] };
    assert.equal(findMembershipFault(sound), undefined);
    assert.equal(findMembershipFault({ ...sound, voters: [] }), "there is no voter");
    assert.equal(findMembershipFault({ ...sound, learners: [named("0")] }), "0 is voter and learner");
    assert.equal(findMembershipFault({ ...sound, voters: [named("0"), named("0")] }), "0 stands twice in a part");
    const otherDisk = { nodeId: "0", storageId: "other" };
    assert.equal(findMembershipFault({ ...sound, outgoing: [otherDisk] }), "0 has two storage ids");
    assert.equal(findMembershipFault({ ...sound, voters: [named("")] }), "a member has a name and a storage id");
  });
});

function named(nodeId: string): Member {
  return { nodeId, storageId: nodeId === "" ? "" : `disk-${nodeId}` };
}

function namesOf(members: readonly Member[]): string {
  return members
    .map(({ nodeId }) => nodeId)
    .sort()
    .join(" ");
}

function change(): fc.Arbitrary<MembershipChange> {
  const nodeId = fc.constantFrom("0", "1", "2", "3", "4");
  return fc.oneof(
    nodeId.map((name): MembershipChange => ({ kind: "add-learner", member: named(name) })),
    fc.record({ kind: fc.constantFrom("promote", "demote", "remove"), nodeId }),
  );
}
