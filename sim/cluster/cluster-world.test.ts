import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { describe, test } from "node:test";
import { promisify } from "node:util";
import { type RunResult, runSeed } from "../run-seed.ts";

const fixedSeeds = ["4", "a1", "a2"];

describe("a simulated world of whole nodes", () => {
  test("the same seed makes the same trace, in this process and in another", async () => {
    const { traceHash } = await runSeed("17", { size: "cluster" });
    assert.equal((await runSeed("17", { size: "cluster", storyLines: 10 })).traceHash, traceHash, "telling it changes it");
    const run = join(import.meta.dirname, "..", "run.ts");
    const flags = ["--max-semi-space-size=1", run, "--seed", "17", "--size", "cluster"];
    const { stdout } = await promisify(execFile)(process.execPath, flags);
    assert.equal(/trace ([0-9a-f]{16})/.exec(stdout)?.[1], traceHash);
  });

  test(`no check fails, seeds ${fixedSeeds.join(", ")}`, async () => {
    let [acknowledged, reads, changes, elections] = [0, 0, 0, 0];
    for (const seed of fixedSeeds) {
      const { figures } = await runSound(seed);
      acknowledged += figures.acknowledged;
      reads += figures.reads;
      changes += figures.changes ?? 0;
      elections += figures.elections;
    }
    // Worlds in which nothing happens are sound as well.
    assert.ok(acknowledged > 100 * fixedSeeds.length && reads > 20 * fixedSeeds.length, `${acknowledged}, ${reads}`);
    assert.ok(changes > fixedSeeds.length && elections > 5 * fixedSeeds.length, `${changes}, ${elections}`);
  });

  const fresh = Array.from({ length: process.env["PROVE"] === undefined ? 3 : 20 }, () => String(randomInt(2 ** 47)));
  for (const seed of fresh) test(`no check fails in a fresh run, seed ${seed}`, async () => void (await runSound(seed)));

  test("disks that lie about syncs are found out", async () => {
    for (let seed = 1; seed <= 12; seed += 1) {
      const { violation } = await runSeed(String(seed), { size: "cluster", hasLyingDisks: true });
      if (violation !== undefined) return;
    }
    assert.fail("12 worlds of lying disks seem sound");
  });
});

async function runSound(seed: string): Promise<RunResult> {
  const result = await runSeed(seed, { size: "cluster" });
  assert.equal(result.violation, undefined, `${result.violation?.message}: make sim SEED=${seed} SIZE=cluster tells the story`);
  return result;
}
