import { randomInt } from "node:crypto";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runSeed, runSizes } from "./run-seed.ts";

/**
 * Runs fresh worlds of one size for a long time, and goes on behind one that fails: `run-long.ts --minutes 60 [--size cluster]`. Seeds that fail
 * are kept in sim/seeds.txt with what failed, for `make sim SEED=…` to tell their story. Every few minutes it says how far it is, and in
 * the end how many hours were simulated. Ends with 1 when a check failed.
 */
const chunkMinutes = 5;

process.on("unhandledRejection", (error) => {
  console.error("I19: a promise was rejected, and nobody heard it", error);
  process.exit(1);
});

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { minutes: { type: "string", default: "60" }, size: { type: "string", default: "cluster" } },
  });
  const minutes = Number(values.minutes);
  const size = runSizes.find((known) => known === values.size);
  if (!(minutes > 0) || size === undefined) {
    console.error("sim: make sim-long MINUTES=60 [SIZE=cluster]");
    return 2;
  }
  const endMs = performance.now() + minutes * 60_000;
  const sums = { runs: 0, failures: 0, simulatedMs: 0, acknowledged: 0, faults: 0 };
  const tell = (): void => {
    const { runs, failures, simulatedMs, acknowledged, faults } = sums;
    const hours = (simulatedMs / 3_600_000).toFixed(2);
    console.log(
      `${size}: ${runs} runs, ${failures} failed, ${hours} h simulated, ${faults} faults, ${acknowledged} appends acknowledged`,
    );
  };
  while (performance.now() < endMs) {
    const chunkEndMs = Math.min(endMs, performance.now() + chunkMinutes * 60_000);
    while (performance.now() < chunkEndMs) {
      const seed = String(randomInt(2 ** 47));
      const { violation, figures } = await runSeed(seed, { size });
      sums.runs += 1;
      sums.simulatedMs += figures.simulatedMs;
      sums.acknowledged += figures.acknowledged;
      sums.faults += figures.faults;
      if (violation === undefined) continue;
      sums.failures += 1;
      const [what = ""] = violation.message.split("\n");
      console.log(`seed ${seed} fails: ${what}`);
      appendFileSync(join(import.meta.dirname, "seeds.txt"), `${size} ${seed}   # to be mended: ${what.slice(0, 160)}\n`);
    }
    tell();
  }
  return sums.failures === 0 ? 0 : 1;
}
