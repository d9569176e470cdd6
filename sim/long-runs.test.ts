import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { type Chunk, LongRuns } from "./long-runs.ts";

const chunk: Chunk = {
  ...{ size: "cluster", base: "b", first: 1, last: 20, sources: "s1", failures: 0 },
  ...{ simulatedMs: 1_000, processorMs: 10, faults: 3, acknowledged: 5 },
};

describe("a long proof", () => {
  test("goes on behind what was run, under the same base, by size", () =>
    withFile((path) => {
      const runs = new LongRuns(path, () => "b");
      assert.deepEqual(runs.next("cluster"), { base: "b", first: 1 });
      runs.add(chunk);
      runs.add({ ...chunk, first: 21, last: 30 });
      for (const it of [runs, new LongRuns(path, () => "another")])
        assert.deepEqual(it.next("cluster"), { base: "b", first: 31 });
      assert.deepEqual(new LongRuns(path, () => "another").next("full"), { base: "another", first: 1 });
      assert.equal(readFileSync(path, "utf8").split("\n").length, 3);
    }));

  test("counts what was run of these sources, and of any", () =>
    withFile((path) => {
      const runs = new LongRuns(path, () => "b");
      runs.add(chunk);
      runs.add({ ...chunk, first: 21, last: 25, sources: "s2", failures: 1 });
      runs.add({ ...chunk, size: "full", first: 1, last: 2 });
      const each = { simulatedMs: 1_000, processorMs: 10, faults: 3, acknowledged: 5 };
      assert.deepEqual(runs.sum("cluster", "s2"), { runs: 5, failures: 1, ...each });
      const twice = { simulatedMs: 2_000, processorMs: 20, faults: 6, acknowledged: 10 };
      assert.deepEqual(runs.sum("cluster"), { runs: 25, failures: 1, ...twice });
      assert.deepEqual(runs.sum("lite").runs, 0);
    }));

  test("refuses a file of something else", () =>
    withFile((path) => {
      const { last: _, ...half } = chunk;
      for (const line of ["cluster 4711", "{}", "null", JSON.stringify(half), JSON.stringify({ ...chunk, size: "huge" })]) {
        writeFileSync(path, `${JSON.stringify(chunk)}\n${line}\n`);
        const message = `Cannot go on behind ${path}: no chunk of runs is ${line.slice(0, 80)}`;
        assert.throws(() => new LongRuns(path, () => "b"), { message });
      }
    }));
});

function withFile(run: (path: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), "proglog-long-"));
  try {
    run(join(directory, "runs.jsonl"));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
