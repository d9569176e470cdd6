import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { TestResult } from "./reporter.ts";

/**
 * Runs the tests: `run.ts [--floor COUNT] [--name TEXT] [--file GLOB] [--debug] [--inspect]`.
 *
 * Node's own runner does the work, all files in one process: a process a file costs 130 ms each. A run of everything takes two side by
 * side: half of its time goes to simulated disks and worlds, which need a processor and nothing else, while the rest waits for real ones.
 * What Node's runner doesn't notice makes the run fail here: no test ran at all, fewer than there were, a file without a test, a test that
 * ended the process with 0. In one process a hook outside of a suite is everybody's, so test/house-rules.test.ts allows none.
 */
const everything = ["src/**/*.test.ts", "sim/**/*.test.ts", "test/**/*.test.ts"];

/** What needs a processor and nothing else. */
const simulated = /^(sim\/|test\/(crash|fault|rot|model|compaction-model)\b)/;

/** Longer than the slowest test takes on a busy machine. A test past it fails, and the others still run. */
const testTimeoutMs = 180_000;

process.exitCode = await main();

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      floor: { type: "string", default: "1" },
      name: { type: "string", default: "" },
      file: { type: "string", default: "" },
      debug: { type: "boolean", default: false },
      inspect: { type: "boolean", default: false },
    },
  });
  const files = globSync(values.file === "" ? everything : values.file).sort();
  if (files.length === 0) return fail(`no test file matches ${values.file || everything.join(", ")}`);

  const isWhole = values.file === "" && values.name === "" && !values.debug && !values.inspect;
  const parts = isWhole
    ? [files.filter((file) => !simulated.test(file)), files.filter((file) => simulated.test(file))]
    : [files];
  const directory = mkdtempSync(join(tmpdir(), "proglog-test-run-"));
  try {
    const runs = parts.filter(({ length }) => length > 0).map((part, index) => runPart(part, index, directory, values));
    let ended = 0;
    for (const run of runs) {
      const { code, output } = await run;
      process.stdout.write(output);
      ended = Math.max(ended, code);
    }
    const results = runs.map((_, index) => readResult(join(directory, `${index}.json`)));
    if (results.includes(undefined)) return fail(`the run ended before its summary (${endOf(ended)})`);
    if (ended !== 0) return 1;
    const told = results.filter((result) => result !== undefined);
    const whole: TestResult = {
      ranCount: told.reduce((sum, { ranCount }) => sum + ranCount, 0),
      skipped: told.flatMap(({ skipped }) => skipped),
      files: told.flatMap((result) => result.files),
    };
    if (runs.length > 1) process.stdout.write(`\n${whole.ranCount} tests ran, ${whole.skipped.length} were skipped.\n`);
    return check(whole, values.name === "" ? files : [], Number(values.floor));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

interface RunOptions {
  readonly name: string;
  readonly debug: boolean;
  readonly inspect: boolean;
}

/** The first part shows its output as it comes; that of any other is shown when the ones before are over. */
async function runPart(
  files: readonly string[],
  index: number,
  directory: string,
  { name, debug, inspect }: RunOptions,
): Promise<{ readonly code: number; readonly output: Buffer }> {
  const child = spawn(
    process.execPath,
    [
      "--test",
      "--test-isolation=none",
      ...(debug ? [] : [`--test-timeout=${testTimeoutMs}`]),
      ...(inspect ? ["--inspect-brk"] : []),
      ...(name === "" ? [] : [`--test-name-pattern=${patternOf(name)}`]),
      `--test-reporter=${join(import.meta.dirname, "reporter.ts")}`,
      "--test-reporter-destination=stdout",
      ...files,
    ],
    {
      stdio: index === 0 ? "inherit" : ["ignore", "pipe", "pipe"],
      env: environment(join(directory, `${index}.json`), debug),
    },
  );
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => output.push(chunk));
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code: code ?? 128 + (constants.signals[signal ?? "SIGTERM"] ?? 0), output: Buffer.concat(output) };
}

function endOf(code: number): string {
  const signal = Object.entries(constants.signals).find(([, number]) => 128 + number === code)?.[0];
  return signal ?? `exit code ${code}`;
}

function check(result: TestResult, files: readonly string[], floor: number): number {
  const empty = files.filter((file) => !result.files.includes(file));
  if (empty.length > 0) return fail(`no test stands in ${empty.join(", ")}`);
  if (result.ranCount === 0) return fail("no test ran: check the name");
  if (!(result.ranCount >= floor))
    return fail(`only ${result.ranCount} tests ran, and the floor is ${floor} (see the Makefile)`);
  return 0;
}

/** A name is plain text that stands anywhere in a test's title or its suites'; /…/ is a regular expression. */
function patternOf(name: string): string {
  return /^\/.+\/[a-z]*$/.test(name) ? name : name.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function environment(resultFile: string, isDebug: boolean): NodeJS.ProcessEnv {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env; // so that a test can run the runner
  return { ...inherited, TEST_RUN_RESULT: resultFile, ...(isDebug ? { PROGLOG_LOG_LEVEL: "debug", TEST_RUN_DEBUG: "1" } : {}) };
}

function readResult(resultFile: string): TestResult | undefined {
  try {
    return JSON.parse(readFileSync(resultFile, "utf8")) as TestResult;
  } catch {
    return undefined; // never written: the caller says so
  }
}

function fail(what: string): number {
  process.stderr.write(`\nThe tests failed: ${what}.\n`);
  return 1;
}
