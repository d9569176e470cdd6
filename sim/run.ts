import { execFileSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { type RunFigures, type RunOptions, type RunResult, type RunSize, runSeed, runSizes } from "./run-seed.ts";
import { shrink } from "./shrink.ts";
import { waitingChecks } from "./checks.ts";

/**
 * Runs simulated worlds: `run.ts --seed 123 [--size full]` one, `run.ts --minutes 5 [--size lite|full]` fresh ones, four short to one
 * long where no size is given. Ends with 1 when a check failed, and tells which seed it was, at which commit, what happened last, and
 * with which faults alone it still fails. docs/simulation.md says how to read it.
 */
const storyLines = 60;

/** Short runs to a long one. */
const litePerFull = 40;

process.on("unhandledRejection", (error) => {
  console.error("I19: a promise was rejected, and nobody heard it", error);
  process.exit(1);
});

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string", default: "" },
      size: { type: "string", default: "" },
      minutes: { type: "string", default: "" },
      story: { type: "boolean", default: false },
      "lying-disks": { type: "boolean", default: false },
    },
  });
  const named = runSizes.find((size) => size === values.size);
  if (values.size !== "" && named === undefined) return usage(`there is no size ${values.size}`);
  const hasLyingDisks = values["lying-disks"];
  if (values.seed !== "") {
    const options: RunOptions = { size: named ?? "lite", hasLyingDisks };
    const result = await runSeed(values.seed, values.story ? { ...options, storyLines } : options);
    if (values.story) console.log(result.story.join("\n"));
    console.log(`seed ${result.seed}, ${result.size}: trace ${result.traceHash}`);
    console.log(describeFigures(result.figures));
    return result.violation === undefined ? 0 : report(result, options);
  }
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) return usage("name a seed, or how many minutes");
  return runFresh(minutes, named, hasLyingDisks);
}

async function runFresh(minutes: number, onlySize: RunSize | undefined, hasLyingDisks: boolean): Promise<number> {
  const endMs = performance.now() + minutes * 60_000;
  const cpuBefore = process.cpuUsage();
  const noRuns = (): RunSums => ({ runs: 0, simulatedMs: 0, acknowledged: 0 });
  const sums: Record<RunSize, RunSums> = { lite: noRuns(), full: noRuns(), cluster: noRuns() };
  let toldMs = performance.now();
  for (let count = 1; performance.now() < endMs; count += 1) {
    const size = onlySize ?? (count % (litePerFull + 1) === 0 ? "full" : "lite");
    const result = await runSeed(String(randomInt(2 ** 47)), { size, hasLyingDisks });
    sums[size].runs += 1;
    sums[size].simulatedMs += result.figures.simulatedMs;
    sums[size].acknowledged += result.figures.acknowledged;
    if (result.violation !== undefined) {
      console.log(`run ${count} of fresh seeds fails`);
      return report(result, { size, hasLyingDisks });
    }
    if (performance.now() - toldMs < 60_000) continue;
    toldMs = performance.now();
    console.log(`${count} runs, no check failed`);
  }
  const { user, system } = process.cpuUsage(cpuBefore);
  for (const [size, { runs, simulatedMs, acknowledged }] of Object.entries(sums))
    if (runs > 0) console.log(`${size}: ${runs} runs, ${hours(simulatedMs)} simulated, ${acknowledged} appends acknowledged`);
  console.log(`${((user + system) / 60e6).toFixed(1)} minutes of processor; no check failed`);
  console.log(`waiting: ${Object.keys(waitingChecks).join(", ")}`);
  return 0;
}

interface RunSums {
  runs: number;
  simulatedMs: number;
  acknowledged: number;
}

/** Tells what is needed to have the failure again, and what of it matters. */
async function report(failed: RunResult, options: RunOptions): Promise<number> {
  const { size, seed, violation } = failed;
  console.log(`\n${violation?.message}\n`);
  console.log(`seed ${seed}, ${size}, at ${commit()}: make sim SEED=${seed} SIZE=${size}`);
  const small = await shrink(failed, options);
  const faults = new Set(small.faults.map(({ id }) => id));
  const told = await runSeed(seed, { ...options, faults, storyLines });
  console.log(`\n${small.faults.length} of its ${failed.faults.length} faults will do:`);
  for (const { id, atMs, kind, node, durationMs } of small.faults)
    console.log(`  ${id} at ${atMs.toFixed(0)} ms: ${kind}, n${node + 1}, ${durationMs.toFixed(0)} ms`);
  console.log(`\nwith these, the last of what happened:\n${told.story.join("\n")}\n\n${told.violation?.message}`);
  console.log(`\nOnce it is mended, a line "${size} ${seed}   # what it was" goes to sim/seeds.txt.`);
  return 1;
}

function commit(): string {
  try {
    const head = execFileSync("git", ["describe", "--always", "--dirty"], { encoding: "utf8" });
    return `commit ${head.trim()}`;
  } catch {
    return "an unknown commit";
  }
}

function describeFigures(figures: RunFigures): string {
  const { nodes, simulatedMs, events, messages, lostMessages, acknowledged, unknown, refused, reads } = figures;
  const { entries, elections, truncations, faults, changes, partitions, rotten = 0, trimmed = 0 } = figures;
  if (changes !== undefined)
    return [
      `${nodes} machines, ${(simulatedMs / 1_000).toFixed(1)} s simulated, ${events} events, ${faults} faults`,
      `${messages} messages, ${lostMessages} of them lost; ${elections} elections; ${changes} wishes of the operator done; ${rotten} places rotted, ${trimmed} segments trimmed`,
      `appends: ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown; ${reads} reads; ${partitions} partitions in the end`,
    ].join("\n");
  return [
    `${nodes} nodes, ${(simulatedMs / 1_000).toFixed(1)} s simulated, ${events} events, ${faults} faults`,
    `${messages} messages, ${lostMessages} of them lost; ${elections} elections, ${truncations} truncations`,
    `appends: ${acknowledged} acknowledged, ${refused} refused, ${unknown} unknown; ${reads} reads; ${entries} entries committed`,
  ].join("\n");
}

function hours(ms: number): string {
  return `${(ms / 3_600_000).toFixed(2)} h`;
}

function usage(why: string): number {
  console.error(`sim: ${why}: make sim SEED=123 [SIZE=full], or make sim MINUTES=5`);
  return 2;
}
