import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { MiB } from "../src/base/units.ts";
import { LongRuns, type LongSum } from "./long-runs.ts";
import { runSeed, runSizes } from "./run-seed.ts";

/**
 * Runs fresh worlds of one size for a long time, and goes on behind one that fails: `run-long.ts [--minutes 60] [--hours 100] [--size cluster]
 * [--file tmp/sim-long.jsonl]`. It ends after so many minutes, or when so many hours have been simulated of the sources as they are. What
 * has run is kept in the file, a chunk a line, and the next start goes on behind it. Seeds that fail go to sim/seeds.txt with what failed,
 * for `make sim SEED=…` to tell their story. Ends with 1 when a check failed.
 */
const chunkRuns = 20;
const tellMs = 60_000;

/** What runs now. */
let running = "";

process.on("unhandledRejection", (error) => {
  keepFailed(running, "I19: a promise was rejected, and nobody heard it");
  console.error(error);
  process.exit(1);
});

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      minutes: { type: "string", default: "60" },
      hours: { type: "string", default: "" },
      size: { type: "string", default: "cluster" },
      file: { type: "string", default: "" },
    },
  });
  const minutes = Number(values.minutes);
  const wantedHours = values.hours === "" ? Number.POSITIVE_INFINITY : Number(values.hours);
  const size = runSizes.find((known) => known === values.size);
  if (!(minutes > 0 && wantedHours > 0) || size === undefined) {
    console.error("sim: make sim-long [MINUTES=60] [HOURS=100] [SIZE=cluster] [FILE=tmp/sim-long.jsonl]");
    return 2;
  }
  const path = values.file === "" ? join(import.meta.dirname, "..", "tmp", "sim-long.jsonl") : values.file;
  const long = new LongRuns(path, () => String(randomInt(2 ** 31)));
  const sources = nameSources();
  const describe = (sum: LongSum): string =>
    `${sum.runs} runs, ${sum.failures} failed, ${describeHours(sum)}, ${sum.faults} faults, ${sum.acknowledged} appends acknowledged`;
  const tell = (): void => {
    const [now, all] = [long.sum(size, sources), long.sum(size)];
    const before = all.runs === now.runs ? "" : `; ${describeHours(all)} with those of other sources`;
    const heldMiB = process.memoryUsage.rss() / MiB;
    console.log(`${size}, sources ${sources}: ${describe(now)}${before}; ${heldMiB.toFixed(0)} MiB of memory`);
  };
  const endMs = performance.now() + minutes * 60_000;
  let toldMs = performance.now();
  let failures = 0;
  while (performance.now() < endMs && long.sum(size, sources).simulatedMs < wantedHours * 3_600_000) {
    const { base, first } = long.next(size);
    const chunk = { failures: 0, simulatedMs: 0, faults: 0, acknowledged: 0 };
    const cpuBefore = process.cpuUsage();
    const last = first + chunkRuns - 1;
    for (let number = first; number <= last; number += 1) {
      const seed = `${base}-${number}`;
      running = `${size} ${seed}`;
      const { violation, figures } = await runSeed(seed, { size });
      chunk.simulatedMs += figures.simulatedMs;
      chunk.acknowledged += figures.acknowledged;
      chunk.faults += figures.faults;
      if (violation === undefined) continue;
      chunk.failures += 1;
      keepFailed(running, violation.message.split("\n")[0] ?? "");
    }
    const { user, system } = process.cpuUsage(cpuBefore);
    long.add({ size, base, first, last, sources, ...chunk, processorMs: Math.round((user + system) / 1_000) });
    failures += chunk.failures;
    if (performance.now() - toldMs < tellMs) continue;
    toldMs = performance.now();
    tell();
  }
  tell();
  return failures === 0 ? 0 : 1;
}

function describeHours({ simulatedMs, processorMs }: LongSum): string {
  return `${(simulatedMs / 3_600_000).toFixed(2)} h simulated in ${(processorMs / 60_000).toFixed(1)} minutes of processor`;
}

function keepFailed(run: string, what: string): void {
  console.log(`${run} fails: ${what}`);
  appendFileSync(join(import.meta.dirname, "seeds.txt"), `${run}   # to be mended: ${what.slice(0, 160)}\n`);
}

/** What is under test, by name: the tree of src/, as it was committed or else. */
function nameSources(): string {
  try {
    const git = (...args: readonly string[]): string => execFileSync("git", args, { encoding: "utf8" }).trim();
    return `${git("rev-parse", "--short=10", "HEAD:src")}${git("status", "--porcelain", "--", "src") === "" ? "" : "-changed"}`;
  } catch {
    return "unknown";
  }
}
