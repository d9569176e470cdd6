import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type RunSize, runSizes } from "./run-seed.ts";

export interface NamedSeed {
  readonly seed: string;
  readonly size: RunSize;
}

/** What failed once: the seeds of sim/seeds.txt. */
export function readSeeds(): NamedSeed[] {
  const lines = readFileSync(join(import.meta.dirname, "seeds.txt"), "utf8").split("\n");
  return lines.flatMap((line) => {
    const [name, seed] = line.replace(/#.*/, "").trim().split(/\s+/);
    const size = runSizes.find((known) => known === name);
    return seed !== undefined && size !== undefined ? [{ size, seed }] : [];
  });
}
