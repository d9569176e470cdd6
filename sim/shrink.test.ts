import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { RunFault, RunResult, runSeed } from "./run-seed.ts";
import { shrink } from "./shrink.ts";
import { Violation } from "./violation.ts";

describe("what of a plan a failure needs", () => {
  test("is what fails by the same check, for the same reason", async () => {
    // The third and the sixth together leave a group without a leader; the fifth alone keeps another one awake.
    const run = fakeRun((ids) => {
      if (ids.has(3) && ids.has(6)) return new Violation("I20", `the cluster isn't at rest: nobody leads t${ids.size}/0`);
      return ids.has(5) ? new Violation("I20", "a cluster at rest doesn't sleep") : undefined;
    });
    const failed = await run("1", {});
    const small = await shrink(failed, {}, run);
    assert.deepEqual(
      small.faults.map(({ id }) => id),
      [3, 6],
    );
  });

  test("may be less where another one breaks the same rule", async () => {
    const run = fakeRun((ids) => (ids.has(2) || ids.has(7) ? new Violation("I4", [...ids].join(" is lost, and ")) : undefined));
    const small = await shrink(await run("1", {}), {}, run);
    assert.deepEqual(
      small.faults.map(({ id }) => id),
      [7],
    );
  });
});

/** Runs of eight faults that fail as `findFault` says. */
function fakeRun(findFault: (ids: ReadonlySet<number>) => Violation | undefined): typeof runSeed {
  const all = Array.from({ length: 8 }, (_, id): RunFault => ({ id, atMs: id, kind: "kill", node: 0, durationMs: 1 }));
  const noFigures = {} as RunResult["figures"];
  return async (seed, options) => {
    const left = all.filter(({ id }) => options?.faults?.has(id) ?? true);
    const violation = findFault(new Set(left.map(({ id }) => id)));
    return { seed, size: "cluster", traceHash: "", violation, story: [], faults: left, figures: noFigures };
  };
}
