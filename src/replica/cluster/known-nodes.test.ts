import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { formationFreshMs, formationNodesMaxCount } from "../../base/cluster-limits.ts";
import { hex, makeProposal, makeView } from "./fake-view.ts";
import { KnownNodes } from "./known-nodes.ts";

describe("what is known of other nodes", () => {
  test("who is there ages, what somebody is bound to doesn't", () => {
    const known = new KnownNodes();
    known.hear(makeView(2, { promise: makeProposal(9, [1, 2]) }), 100);
    known.hear(makeView(3, { clusterId: hex(8) }), 100);
    assert.deepEqual(namesAt(known, 100 + formationFreshMs), ["n2", "n3"]);
    assert.deepEqual(namesAt(known, 101 + formationFreshMs), []);
    assert.equal(known.bondOf(hex(2)), hex(9));
    assert.equal(known.bondOf(hex(3)), hex(8));
    assert.equal(known.isFormed(hex(8)), true);
    assert.equal(known.isFormed(hex(9)), false);
  });

  test("only what is new is news", () => {
    const known = new KnownNodes();
    assert.equal(known.hear(makeView(2), 0), true);
    assert.equal(known.hear(makeView(2), 1_000), false);
    assert.equal(known.hear(makeView(2, { addresses: ["x:1"] }), 1_001), true);
    assert.equal(known.hear(makeView(2, { addresses: ["x:1"], generation: 5 }), 1_002), true);
    assert.equal(known.hear(makeView(2, { addresses: ["x:1"], generation: 5 }), 1_003 + formationFreshMs), true);
    assert.equal(known.hear(makeView(3, { clusterId: hex(9), bootCounter: 0 }), 0), true);
  });

  test("an older view of a run, and one of an earlier start, don't stand for the newer one", () => {
    const known = new KnownNodes();
    known.hear(makeView(2, { generation: 5, initialNodes: 3 }), 0);
    known.hear(makeView(2, { generation: 4, initialNodes: 5 }), 1);
    assert.deepEqual(
      known.fresh(1).map(({ initialNodes }) => initialNodes),
      [3],
    );
    known.hear(makeView(2, { run: hex(50), bootCounter: 2, address: "new:1" }), 2);
    known.hear(makeView(2, { generation: 5 }), 3);
    assert.deepEqual(
      known.fresh(3).map(({ address }) => address),
      ["new:1"],
    );
  });

  test("a run that becomes somebody else is one node; two runs of one start are two", () => {
    const known = new KnownNodes();
    known.hear(makeView(2), 0);
    known.hear(makeView(2, { storageId: hex(7), generation: 9 }), 0);
    known.hear(makeView(3), 0);
    known.hear(makeView(3, { run: hex(50) }), 0);
    assert.deepEqual(
      known.fresh(0).map(({ storageId }) => storageId),
      [hex(3), hex(3), hex(7)],
    );
  });

  test("of too many, the one not heard of for longest is forgotten", () => {
    const known = new KnownNodes();
    for (let number = 1; number <= formationNodesMaxCount; number += 1) known.hear(makeView(number), 0);
    known.hear(makeView(1), 0);
    assert.equal(known.fresh(0).length, formationNodesMaxCount);
    known.hear(makeView(formationNodesMaxCount + 1), 0);
    const names = namesAt(known, 0);
    assert.equal(names.length, formationNodesMaxCount);
    assert.ok(names.includes("n1") && !names.includes("n2"));
  });
});

function namesAt(known: KnownNodes, nowMs: number): string[] {
  return known.fresh(nowMs).map(({ name }) => name);
}
