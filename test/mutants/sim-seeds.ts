import { runSeed, runSizes } from "../../sim/run-seed.ts";

/** Runs of a simulated world, as many as are asked for and of the size that is, seeds m1, m2, …, until one fails: prints how many it took and which check it was. */
const count = Number(process.argv[2]);
const size = runSizes.find((known) => known === process.argv[3]) ?? "lite";
for (let seed = 1; seed <= count; seed += 1) {
  const { violation } = await runSeed(`m${seed}`, { size });
  if (violation === undefined) continue;
  console.log(`seeds ${seed}: ${violation.message.split(/[: ]/)[0]}`);
  process.exit(1);
}
