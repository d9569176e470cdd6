import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { unreachable } from "../../base/assert.ts";
import { isProglogError } from "../../base/error.ts";
import { hex, makeProposal, makeView } from "./fake-view.ts";
import { type FormationSituation, type FormationStep, nextFormationStep, refusalOfPromise } from "./formation.ts";
import { faultOfProposal, firstVoters } from "./formation-proposal.ts";
import type { NodeView } from "./formation-view.ts";

const joiner = { initialNodes: undefined };
const bootstrapping = { initialNodes: undefined, isBootstrapping: true };

describe("what a node does next", () => {
  const cases: readonly (readonly [string, Partial<FormationSituation>, string | RegExp])[] = [
    ["in a cluster: nothing", { self: makeView(1, { clusterId: hex(9) }) }, "member"],
    ["with two of three: waits", { others: [makeView(2)] }, /2 of 3 nodes are there: n1 at n1:8000, n2 at n2:8000/],
    ["with three, the lowest: proposes", { others: [makeView(2), makeView(3)] }, "propose n1 n2 n3"],
    ["with three that only just came: looks around", { others: [makeView(2), makeView(3)], isSettled: false }, /all are there/],
    ["with three, not the lowest: waits", { self: makeView(4), others: [makeView(2), makeView(3)] }, /n2 is to propose/],
    ["with four of three: nothing", { others: [makeView(2), makeView(3), makeView(4)] }, /4 nodes would form a cluster of 3/],
    ["with another number: nothing", { others: [makeView(2, { initialNodes: 5 }), makeView(3)] }, /n2 at .* --initial-nodes 5/],
    ["with one name twice: nothing", { others: [makeView(2), makeView(3, { name: "n1" })] }, /two nodes are called n1/],
    [
      "with one address twice: nothing",
      { others: [makeView(2, { address: "n1:8000" })] },
      /reached at n1:8000: .*--advertise-addr/,
    ],
    [
      "with a copy of itself: nothing",
      { others: [makeView(2), makeView(3, { storageId: hex(1) })] },
      /copies of one directory/,
    ],
    ["with one that only joins: doesn't count it", { others: [makeView(2), makeView(3, joiner)] }, /2 of 3/],
    [
      "with one that bootstraps: leaves it to that",
      { others: [makeView(2), makeView(3, bootstrapping)] },
      /n3 at .* --bootstrap/,
    ],
    [
      "with one that has promised: waits to be asked",
      { others: [makeView(2, { promise: makeProposal(9, [2, 1, 3]) }), makeView(3)] },
      /n2 at .* has promised/,
    ],
    ["with a cluster: joins that", { others: [makeView(2), makeView(3, { clusterId: hex(9) })] }, `join ${hex(9)} n3`],
    ["with a cluster heard of just now: waits", { others: [makeView(3, { clusterId: hex(9) })], isSettled: false }, /n3 at/],
    [
      "with two clusters: none of them",
      { others: [makeView(2, { clusterId: hex(8) }), makeView(3, { clusterId: hex(9) })] },
      /name one of them/,
    ],
    [
      "with topics and a cluster: is refused",
      { hasTopics: true, others: [makeView(3, { clusterId: hex(9) })] },
      "INVALID_CONFIG",
    ],
    ["joining, without an answer: waits", { self: makeView(1, joiner), others: [] }, /no node answers/],
    ["joining, with no cluster: waits", { self: makeView(1, joiner), others: [makeView(2)] }, /no node that answers belongs/],
    ["bootstrapping alone: proposes itself", { self: makeView(1, bootstrapping), hasJoinAddresses: false }, "propose n1"],
    ["bootstrapping, all answered: proposes itself", { self: makeView(1, bootstrapping) }, "propose n1"],
    [
      "bootstrapping, not all answered: waits",
      { self: makeView(1, bootstrapping), haveAllAnswered: false },
      /not all join addresses/,
    ],
    ["bootstrapping, only just: waits", { self: makeView(1, bootstrapping), isSettled: false }, /not all join addresses/],
    [
      "bootstrapping beside a lower one: waits",
      { self: makeView(2, bootstrapping), others: [makeView(1, bootstrapping)] },
      /n1 at .* --bootstrap too/,
    ],
    [
      "bootstrapping beside a higher one: proposes itself",
      { self: makeView(1, bootstrapping), others: [makeView(2, bootstrapping)] },
      "propose n1",
    ],
    [
      "bootstrapping beside one that promised: waits",
      { self: makeView(1, bootstrapping), others: [makeView(2, { promise: makeProposal(9, [2, 3]) })] },
      /beginning of another cluster/,
    ],
  ];
  for (const [what, change, expected] of cases)
    test(what, () => {
      assertStep(nextFormationStep(situation(change)), expected);
    });
});

describe("a node that promised", () => {
  const promised = makeView(1, { promise: makeProposal(9, [2, 1, 3]) });
  const bonds = (of: Readonly<Record<number, number>>): FormationSituation["bondOf"] => {
    const byId = new Map(Object.entries(of).map(([storage, cluster]) => [hex(Number(storage)), hex(cluster)]));
    return (storageId) => byId.get(storageId);
  };
  const cases: readonly (readonly [string, Partial<FormationSituation>, string | RegExp])[] = [
    ["asks whose promise is missing; who proposed has given it", { others: [makeView(2), makeView(3)] }, "ask n3:8000"],
    ["asks it where it is now", { others: [makeView(3, { address: "x:1" })] }, "ask x:1"],
    ["adopts when all promised, whether they are there or not", { bondOf: bonds({ 3: 9 }) }, `adopt ${hex(9)}`],
    ["adopts when somebody is in", { isFormed: (clusterId) => clusterId === hex(9) }, `adopt ${hex(9)}`],
    ["becomes somebody else when a member is bound otherwise", { bondOf: bonds({ 3: 8 }) }, "renew"],
    ["also when that is who proposed", { bondOf: bonds({ 2: 8 }) }, "renew"],
    [
      "goes by its promise though a cluster is there",
      { others: [makeView(5, { clusterId: hex(8) })] },
      /waits for the promise of n3/,
    ],
    ["tells who doesn't answer", { others: [makeView(2)] }, /n3 doesn't answer.*remove its data directory, which is empty/],
    ["tells who runs on another directory", { others: [makeView(4, { name: "n3" })] }, /n3 runs on another directory now/],
    ["tells who refuses", { others: [makeView(3)], refusalOf: () => "it is odd" }, /n3 doesn't promise: it is odd/],
    [
      "does nothing beside a copy of itself",
      { others: [makeView(7, { storageId: hex(1) })], bondOf: bonds({ 3: 9 }) },
      /copies/,
    ],
  ];
  for (const [what, change, expected] of cases)
    test(what, () => {
      assertStep(nextFormationStep(situation({ self: promised, ...change })), expected);
    });

  test("and was started for nothing else has nothing to do when that can't be", () => {
    const self = makeView(1, joiner);
    assertStep(nextFormationStep(situation({ self, hasJoinAddresses: false })), "INVALID_CONFIG");
  });
});

describe("a node that is asked to promise", () => {
  const proposal = makeProposal(9, [1, 2, 3]);
  const cases: readonly (readonly [string, Partial<FormationSituation>, RegExp | undefined])[] = [
    ["does", { others: [makeView(2)] }, undefined],
    ["does again", { self: makeView(1, { promise: proposal }) }, undefined],
    ["doesn't in a cluster", { self: makeView(1, { clusterId: hex(9) }) }, /belongs to/],
    ["doesn't when it promised another", { self: makeView(1, { promise: makeProposal(8, [1, 2, 3]) }) }, /promised cluster/],
    ["doesn't when it isn't a member", { self: makeView(4) }, /isn't among the members/],
    ["doesn't under another name", { self: makeView(1, { name: "x" }) }, /called x, not n1/],
    ["does from another address", { self: makeView(1, { address: "x:1" }) }, undefined],
    ["doesn't with topics", { hasTopics: true }, /topics/],
    ["doesn't with another number", { self: makeView(1, { initialNodes: 5 }) }, /5, not 3/],
    ["doesn't without a number", { self: makeView(1, joiner) }, /without|wasn't started/],
    ["doesn't while it joins", { isJoining: true }, /take it in/],
    ["doesn't while it sees a cluster", { others: [makeView(5, { clusterId: hex(8) })] }, /n5 belongs to cluster/],
    ["doesn't while it sees another candidate", { others: [makeView(4)] }, /n4 at n4:8000 is there too/],
    [
      "doesn't while a member runs on another directory",
      { others: [makeView(4, { name: "n3" })] },
      /n3 at n4:8000 runs on another/,
    ],
    ["does beside one that only joins", { others: [makeView(4, joiner)] }, undefined],
    ["doesn't beside a copy", { others: [makeView(2), makeView(3, { storageId: hex(2) })] }, /copies/],
  ];
  for (const [what, change, expected] of cases)
    test(what, () => {
      const refusal = refusalOfPromise(situation(change), proposal);
      if (expected === undefined) assert.equal(refusal, undefined);
      else assert.match(refusal ?? "", expected);
    });
});

test("three of a cluster's first members vote in group 0, and five from five on", () => {
  const counts = [1, 2, 3, 4, 5, 6, 9].map((count) => {
    const numbers = Array.from({ length: count }, (_, number) => number + 1);
    return firstVoters(makeProposal(9, numbers)).length;
  });
  assert.deepEqual(counts, [1, 2, 3, 3, 5, 5, 5]);
});

test("a proposal with anything twice, or by a stranger, is none", () => {
  const good = makeProposal(9, [1, 2]);
  const [first] = good.members;
  assert.ok(first !== undefined);
  const withSecond = (change: object): string | undefined =>
    faultOfProposal({ ...good, members: [first, { name: "n2", storageId: hex(2), address: "n2:8000", ...change }] });
  assert.equal(withSecond({}), undefined);
  assert.match(withSecond({ name: "n1" }) ?? "", /the name n1/);
  assert.match(withSecond({ storageId: hex(1) }) ?? "", /the storage id/);
  assert.match(withSecond({ address: "n1:8000" }) ?? "", /the address n1:8000/);
  assert.match(faultOfProposal({ ...good, proposer: hex(5) }) ?? "", /isn't among/);
});

function situation(change: Partial<FormationSituation>): FormationSituation {
  const others: readonly NodeView[] = change.others ?? [];
  return {
    self: makeView(1),
    others,
    bondOf: () => undefined,
    isFormed: () => false,
    refusalOf: () => undefined,
    hasTopics: false,
    hasJoinAddresses: true,
    haveAllAnswered: true,
    isSettled: true,
    isJoining: false,
    ...change,
  };
}

function assertStep(step: FormationStep, expected: string | RegExp): void {
  if (typeof expected === "string") return assert.equal(describeStep(step), expected);
  assert.equal(step.kind, "wait");
  assert.match(step.kind === "wait" ? step.why : "", expected);
}

function describeStep(step: FormationStep): string {
  switch (step.kind) {
    case "member":
    case "renew":
      return step.kind;
    case "adopt":
      return `adopt ${step.proposal.clusterId}`;
    case "propose":
      return `propose ${step.members.map(({ name }) => name).join(" ")}`;
    case "join":
      return `join ${step.clusterId} ${step.through.map(({ name }) => name).join(" ")}`;
    case "wait":
      return step.asks.length === 0 ? step.why : `ask ${step.asks.map(({ address }) => address).join(" ")}`;
    case "refuse":
      return isProglogError(step.error) ? step.error.code : String(step.error);
    default:
      return unreachable(step);
  }
}
