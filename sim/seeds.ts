import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { WorldSize } from "./world-settings.ts";

export interface NamedSeed {
  readonly seed: string;
  readonly size: WorldSize;
}

/** What failed once: the seeds of sim/seeds.txt. */
export function readSeeds(): NamedSeed[] {
  const lines = readFileSync(join(import.meta.dirname, "seeds.txt"), "utf8").split("\n");
  return lines.flatMap((line) => {
    const [size, seed] = line.replace(/#.*/, "").trim().split(/\s+/);
    return seed !== undefined && (size === "lite" || size === "full") ? [{ size, seed }] : [];
  });
}
