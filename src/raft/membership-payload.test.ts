import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AssertionError } from "../base/assert.ts";
import { decodeMembership, encodeMembership } from "./membership-payload.ts";
import type { Membership } from "./membership.ts";

describe("a membership's payload", () => {
  const membership: Membership = {
    voters: [member("n1"), member("knoten-zwölf")],
    outgoing: [member("n1"), member("n3")],
    learners: [member("n3")],
  };

  test("is what docs/raft.md draws", () => {
    const one: Membership = { voters: [{ nodeId: "n1", storageId: "ab" }], outgoing: [], learners: [] };
    assert.equal(encodeMembership(one).toString("hex"), "0100000000000000" + "026e31" + "026162");
  });

  test("brings back what was written", () => {
    assert.deepEqual(decodeMembership(encodeMembership(membership)), membership);
  });

  test("cut, lengthened or with another version's bits is none", () => {
    const bytes = encodeMembership(membership);
    for (let length = 0; length < bytes.length; length += 1)
      assert.equal(decodeMembership(bytes.subarray(0, length)), undefined);
    assert.equal(decodeMembership(Buffer.concat([bytes, Buffer.of(0)])), undefined);
    const later = Buffer.from(bytes);
    later.writeUInt16LE(1, 6);
    assert.equal(decodeMembership(later), undefined);
  });

  test("of an unsound membership is none", () => {
    assert.equal(decodeMembership(encodeMembership({ ...membership, voters: [] })), undefined);
    assert.equal(decodeMembership(encodeMembership({ ...membership, learners: [member("n1")] })), undefined);
  });

  test("holds names of 1 to 255 bytes", () => {
    const named = (nodeId: string): Membership => ({ ...membership, learners: [{ nodeId, storageId: "s" }] });
    assert.deepEqual(decodeMembership(encodeMembership(named("x".repeat(255)))), named("x".repeat(255)));
    assert.throws(() => encodeMembership(named("x".repeat(256))), AssertionError);
    assert.throws(() => encodeMembership(named("")), AssertionError);
  });
});

function member(nodeId: string) {
  return { nodeId, storageId: `disk-of-${nodeId}` };
}
