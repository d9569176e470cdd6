import { runSeed } from "../../sim/run-seed.ts";

/** Short runs of the simulated world, seeds m1, m2, …, until one fails: prints how many it took and which check it was. */
const count = Number(process.argv[2]);
for (let seed = 1; seed <= count; seed += 1) {
  const { violation } = await runSeed(`m${seed}`);
  if (violation === undefined) continue;
  console.log(`seeds ${seed}: ${violation.message.split(/[: ]/)[0]}`);
  process.exit(1);
}
