import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { type RunFigures, type RunResult, type RunSize, runSeed } from "./run-seed.ts";
import { readSeeds } from "./seeds.ts";
import { shrink } from "./shrink.ts";

const fixedCount = 60;
const freshCount = 5;

describe("a simulated world", () => {
  test("the same seed makes the same trace, in this process and in two others", async () => {
    const { traceHash } = await runSeed("same");
    assert.equal((await runSeed("same")).traceHash, traceHash);
    assert.equal((await runSeed("same", { storyLines: 10 })).traceHash, traceHash, "telling it changes it");
    const others = [["--max-semi-space-size=1"], ["--stack-size=2000"]].map((flags) => traceInProcess(flags, "same"));
    assert.deepEqual(await Promise.all(others), [traceHash, traceHash]);
    assert.notEqual((await runSeed("another")).traceHash, traceHash);
  });

  test(`no check fails in short runs, seeds 1 to ${fixedCount}`, async () => {
    const seen: RunFigures[] = [];
    for (let seed = 1; seed <= fixedCount; seed += 1) seen.push((await runSound(String(seed))).figures);
    // Worlds in which nothing happens are sound as well.
    const sum = (of: (figures: RunFigures) => number): number => seen.reduce((total, figures) => total + of(figures), 0);
    assert.ok(sum(({ acknowledged }) => acknowledged) > 50 * fixedCount);
    assert.ok(sum(({ elections }) => elections) > 2 * fixedCount);
    assert.ok(sum(({ reads }) => reads) > 10 * fixedCount);
    assert.ok(sum(({ lostMessages }) => lostMessages) > 10 * fixedCount);
    assert.ok(sum(({ truncations }) => truncations) > fixedCount / 10);
    assert.ok(sum(({ unknown }) => unknown) > fixedCount / 2);
  });

  test("no check fails in a long run, seed 2", async () => {
    await runSound("2", "full");
  });

  test("what failed once doesn't fail any more", async () => {
    for (const { seed, size } of readSeeds()) await runSound(seed, size);
  });

  const fresh = Array.from({ length: freshCount }, () => String(randomInt(2 ** 47)));
  test(`no check fails in fresh runs, seeds ${fresh.join(", ")}`, async () => {
    for (const seed of fresh) await runSound(seed);
  });

  test("disks that lie about syncs are found out, and the shrinker leaves the power cuts that it takes", async () => {
    let failed: RunResult | undefined;
    let seed = 1;
    for (; seed <= 30 && failed?.violation === undefined; seed += 1)
      failed = await runSeed(String(seed), { hasLyingDisks: true });
    assert.ok(failed?.violation !== undefined, "30 worlds of lying disks seem sound");
    const small = await shrink(failed, { hasLyingDisks: true });
    assert.equal(small.violation?.check, failed.violation.check);
    assert.ok(small.faults.length <= failed.faults.length);
    const told = await runSeed(small.seed, {
      hasLyingDisks: true,
      faults: new Set(small.faults.map(({ id }) => id)),
      storyLines: 20,
    });
    assert.equal(told.traceHash, small.traceHash);
    assert.equal(told.story.length, 20);
  });
});

async function runSound(seed: string, size: RunSize = "lite"): Promise<RunResult> {
  const result = await runSeed(seed, { size });
  assert.equal(result.violation, undefined, `${result.violation?.message}: make sim SEED=${seed} SIZE=${size} tells the story`);
  return result;
}

async function traceInProcess(flags: readonly string[], seed: string): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)(process.execPath, [
    ...flags,
    join(import.meta.dirname, "run.ts"),
    "--seed",
    seed,
  ]);
  return /trace ([0-9a-f]{16})/.exec(stdout)?.[1];
}
