import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import type { Membership } from "./membership.ts";
import { electionResult, quorumValue } from "./quorum.ts";

/** The dumb twins count every subset of voters, as the definition of a quorum has it. */
describe("quorum arithmetic", () => {
  test("is what trying every set of voters finds", () => {
    fc.assert(
      fc.property(membership(5), fc.array(fc.nat({ max: 4 }), { minLength: 7, maxLength: 7 }), (members, values) => {
        const valueOf = (nodeId: string): number => values[Number(nodeId)] ?? 0;
        assert.equal(quorumValue(members, valueOf), dumbQuorumValue(members, valueOf));
      }),
      { numRuns: 2_000 },
    );
  });

  test("says how an election stands as trying every way to go on from it does", () => {
    const vote = fc.option(fc.boolean(), { nil: undefined });
    fc.assert(
      fc.property(membership(4), fc.array(vote, { minLength: 7, maxLength: 7 }), (members, votes) => {
        assert.equal(
          electionResult(members, (nodeId) => votes[Number(nodeId)]),
          dumbElectionResult(members, votes),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  test("lets nobody win and nothing commit in a membership that isn't known", () => {
    const nobody: Membership = { voters: [], outgoing: [], learners: [] };
    assert.equal(
      electionResult(nobody, () => true),
      "lost",
    );
    assert.equal(
      quorumValue(nobody, () => 9),
      0,
    );
  });

  test("two quorums of a membership always meet, and so do those of two that follow each other", () => {
    const isQuorum = (members: Membership, voters: ReadonlySet<string>): boolean =>
      electionResult(members, (nodeId) => voters.has(nodeId)) === "won";
    const sets = subsets(["0", "1", "2", "3", "4"]).map((set) => new Set(set));
    for (const [old, next] of [
      [
        ["0", "1", "2"],
        ["0", "3", "4"],
      ],
      [
        ["0", "1", "2"],
        ["0", "1"],
      ],
      [["0"], ["1", "2", "3", "4"]],
    ] as const) {
      const steps = [
        { voters: named(old), outgoing: [], learners: [] },
        { voters: named(next), outgoing: named(old), learners: [] },
        { voters: named(next), outgoing: [], learners: [] },
      ];
      for (const [position, step] of steps.entries())
        for (const other of [step, steps[position + 1] ?? step])
          for (const one of sets.filter((set) => isQuorum(step, set)))
            for (const two of sets.filter((set) => isQuorum(other, set)))
              assert.ok(
                [...one].some((nodeId) => two.has(nodeId)),
                `${[...one].join(" ")} and ${[...two].join(" ")}`,
              );
    }
  });
});

function named(nodeIds: readonly string[]) {
  return nodeIds.map((nodeId) => ({ nodeId, storageId: nodeId }));
}

function membership(size: number): fc.Arbitrary<Membership> {
  const voters = fc.uniqueArray(fc.nat({ max: 6 }).map(String), { minLength: 1, maxLength: size });
  const outgoing = fc.uniqueArray(fc.nat({ max: 6 }).map(String), { maxLength: size });
  return fc.record({ voters: voters.map(named), outgoing: outgoing.map(named), learners: fc.constant([]) });
}

function subsets(nodeIds: readonly string[]): string[][] {
  const [first, ...rest] = nodeIds;
  if (first === undefined) return [[]];
  return subsets(rest).flatMap((subset) => [subset, [first, ...subset]]);
}

/** The best that any majority has reached, all of it; in each half. */
function dumbQuorumValue({ voters, outgoing }: Membership, valueOf: (nodeId: string) => number): number {
  const halves = [voters, outgoing].filter((half) => half.length > 0).map((half) => half.map(({ nodeId }) => nodeId));
  return Math.min(
    ...halves.map((half) =>
      Math.max(
        ...subsets(half)
          .filter((subset) => subset.length * 2 > half.length)
          .map((subset) => Math.min(...subset.map(valueOf))),
      ),
    ),
  );
}

/** Won when however the rest votes it is won; lost when however the rest votes it isn't. */
function dumbElectionResult({ voters, outgoing }: Membership, votes: readonly (boolean | undefined)[]): string {
  const everyone = [...new Set([...voters, ...outgoing].map(({ nodeId }) => nodeId))];
  const open = everyone.filter((nodeId) => votes[Number(nodeId)] === undefined);
  const isWon = (granted: readonly string[]): boolean =>
    [voters, outgoing].every(
      (half) => half.length === 0 || half.filter(({ nodeId }) => granted.includes(nodeId)).length * 2 > half.length,
    );
  const yes = everyone.filter((nodeId) => votes[Number(nodeId)] === true);
  const ends = subsets(open).map((more) => isWon([...yes, ...more]));
  if (ends.every((end) => end)) return "won";
  return ends.some((end) => end) ? "open" : "lost";
}
