import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { applyChange, type Mutant, readMutants } from "./mutant.ts";
import { argumentsOf, isSuite, suites, worldSuites } from "./suites.ts";

/**
 * Tests the tests: `run.ts [--only L03,S01] [--seeds 300] [--all]`. Each mutant is put into a copy of the tree and shown to the suites
 * that should notice, until one does; with --all to each of them. Ends with 1 when one isn't noticed, or when a suite fails on the tree
 * as it is: it would be taken for a finder of everything. Two canaries say that this command can tell: a change of nothing must stay
 * unnoticed, and a simulated world whose disks all lie must be found out. docs/testing.md has what came of it.
 */
const suiteTimeoutMs = 120_000;
/** Worlds are many, and end by themselves. */
const worldsTimeoutMs = 900_000;

const root = join(import.meta.dirname, "../..");

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: "string", default: "" },
      seeds: { type: "string", default: "300" },
      all: { type: "boolean", default: false },
    },
  });
  const seedCount = Number(values.seeds);
  if (!Number.isSafeInteger(seedCount) || seedCount < 1) return usage(`--seeds is a whole number: ${values.seeds}`);
  const only = values.only === "" ? undefined : values.only.split(",");
  const mutants = readMutants().filter(({ id }) => only?.includes(id) ?? true);
  if (mutants.length === 0) return usage(`there is no mutant ${values.only}`);

  const directory = mkdtempSync(join(tmpdir(), "proglog-mutants-"));
  const stop = (): void => {
    rmSync(directory, { recursive: true, force: true });
    process.exit(130);
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    copyTree(directory);
    const runner = new Runner(directory, seedCount);
    const sound = await runner.checkSound(new Set(mutants.flatMap(({ by }) => by)));
    if (!sound) return 1;
    console.log("| | broken | noticed by | seeds | s |\n|---|---|---|---:|---:|");
    let missedCount = 0;
    for (const mutant of mutants) if (!(await runner.show(mutant, values.all))) missedCount += 1;
    const canary = await runner.checkCanary();
    console.log(`\n${mutants.length - missedCount} of ${mutants.length} noticed; canaries ${canary ? "sound" : "NOT sound"}`);
    return missedCount > 0 || !canary ? 1 : 0;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What tests of core, log and simulated world need. */
function copyTree(directory: string): void {
  for (const name of ["src", "sim", "test", "package.json", "tsconfig.json"])
    cpSync(join(root, name), join(directory, name), { recursive: true });
  for (const name of ["node_modules", "tools", "proto", "docs", "bin"]) symlinkSync(join(root, name), join(directory, name));
}

interface Noticed {
  readonly by: string;
  readonly seeds: string;
}

class Runner {
  readonly #directory: string;
  readonly #seedCount: number;

  constructor(directory: string, seedCount: number) {
    this.#directory = directory;
    this.#seedCount = seedCount;
  }

  async checkSound(names: ReadonlySet<string>): Promise<boolean> {
    let isSound = true;
    for (const name of names) {
      const noticed = await this.#run(name);
      if (noticed === undefined) continue;
      console.error(`${name} fails on the tree as it is (${noticed.by})`);
      isSound = false;
    }
    return isSound;
  }

  /** True when it was noticed. */
  async show(mutant: Mutant, isAll: boolean): Promise<boolean> {
    const startMs = performance.now();
    const found: Noticed[] = [];
    const files = [...new Set(mutant.changes.map(({ file }) => file))];
    const before = files.map((file) => readFileSync(join(this.#directory, file), "utf8"));
    try {
      for (const change of mutant.changes) {
        const path = join(this.#directory, change.file);
        writeFileSync(path, applyChange(readFileSync(path, "utf8"), change));
      }
      for (const name of mutant.by) {
        if (found.length > 0 && !isAll) break;
        const noticed = await this.#run(name);
        if (noticed !== undefined) found.push(noticed);
      }
    } finally {
      for (const [position, file] of files.entries()) writeFileSync(join(this.#directory, file), before[position] ?? "");
    }
    const by = found.length === 0 ? "**nobody**" : found.map((noticed) => noticed.by).join(", ");
    const seeds = found.flatMap((noticed) => (noticed.seeds === "" ? [] : [noticed.seeds])).join(", ");
    const seconds = ((performance.now() - startMs) / 1_000).toFixed(1);
    console.log(`| ${mutant.id} | ${mutant.title} | ${by} | ${seeds} | ${seconds} |`);
    return found.length > 0;
  }

  /** Nothing changed is nothing noticed; and what nobody could survive is found out. */
  async checkCanary(): Promise<boolean> {
    const change = {
      file: "src/raft/commit.ts",
      search: ["/** What a leader may count of itself: what its disk has, and nothing while it is damaged. */"],
    };
    const isIdle = !(await this.show(
      {
        id: "C1",
        title: "canary: a comment is another (nobody may notice)",
        by: ["scripts"],
        changes: [{ ...change, replace: ["/** Another. */"] }],
      },
      false,
    ));
    const { isFailed } = await this.#spawn(["sim/run.ts", "--seed", "1", "--lying-disks"]);
    console.log(`| C2 | canary: all disks lie about syncs | ${isFailed ? suites.sim.what : "**nobody**"} | 1 | |`);
    return isIdle && isFailed;
  }

  async #run(by: string): Promise<Noticed | undefined> {
    const { isFailed, isLate, output } = await this.#spawn(
      argumentsOf(by, this.#seedCount),
      worldSuites[by] === undefined ? suiteTimeoutMs : worldsTimeoutMs,
    );
    if (!isFailed) return undefined;
    // A mutant that isn't a program is found by everybody, and says nothing.
    const fault = /^.*(?:SyntaxError|ReferenceError): .*$/m.exec(output);
    if (fault !== null) throw new Error(`${by} can't run: ${fault[0].trim()}`);
    const what = isSuite(by) ? suites[by].what : by;
    // A run of tests that found none to run is no finder.
    const isWorld = worldSuites[by] !== undefined;
    if (!isLate && !isWorld && !/^ℹ fail [1-9]/m.test(output)) throw new Error(`${by} didn't run:\n${output.slice(-2_000)}`);
    if (isLate) return { by: `${what} (it doesn't end)`, seeds: "" };
    const seeds = isWorld ? /^seeds (\d+): (\w+)/m.exec(output) : /Error: seed (\d+)/.exec(output);
    if (isWorld && seeds === null) throw new Error(`the ${what} didn't run:\n${output.slice(-2_000)}`);
    return { by: isWorld ? `${what} (${seeds?.[2]})` : what, seeds: seeds?.[1] ?? "" };
  }

  async #spawn(
    args: readonly string[],
    timeoutMs = suiteTimeoutMs,
  ): Promise<{ isFailed: boolean; isLate: boolean; output: string }> {
    const { PROVE: _, ...env } = process.env;
    const child = spawn(process.execPath, args, { cwd: this.#directory, env, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const add = (chunk: Buffer): void => {
      output = (output + chunk.toString()).slice(-1_000_000);
    };
    child.stdout.on("data", add);
    child.stderr.on("data", add);
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    const [code] = (await once(child, "close")) as [number | null];
    clearTimeout(timer);
    return { isFailed: code !== 0, isLate, output };
  }
}

function usage(why: string): number {
  console.error(`mutants: ${why}: make mutants [ONLY=L03,S01] [SEEDS=300] [ALL=1]`);
  return 2;
}

process.exitCode = await main();
