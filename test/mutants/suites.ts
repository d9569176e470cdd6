import { globSync } from "node:fs";

/** What a mutant is shown to, cheapest first. */
export type SuiteName = keyof typeof suites;

export const suites = {
  scripts: { files: ["src/raft/scripts.test.ts"], what: "text scripts" },
  units: {
    files: globSync("src/raft/*.test.ts").filter((file) => !/(?:scripts|search|random-world)\.test\.ts$/.test(file)),
    what: "unit tests of the core",
  },
  worlds: { files: ["src/raft/random-world.test.ts"], what: "random worlds" },
  search: { files: ["src/raft/search.test.ts"], what: "search" },
  sim: { files: [], what: "simulated world" },
  nodes: { files: [], what: "world of whole nodes" },
} as const;

/** Runs of simulated worlds by seed, a world of whole nodes for so many of one group. */
export const worldSuites: Readonly<Record<string, string>> = { sim: "lite", nodes: "cluster" };
const groupsPerNodes = 10;

export function isSuite(name: string): name is SuiteName {
  return Object.hasOwn(suites, name);
}

/** Arguments for Node, in the folder of a copy. */
export function argumentsOf(by: string, seedCount: number): string[] {
  const size = worldSuites[by];
  const count = by === "nodes" ? Math.ceil(seedCount / groupsPerNodes) : seedCount;
  if (size !== undefined) return ["test/mutants/sim-seeds.ts", String(count), size];
  const files = isSuite(by) ? suites[by].files : globSync(by);
  return ["--test", "--test-isolation=none", ...files];
}
