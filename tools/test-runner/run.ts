import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { TestResult } from "./reporter.ts";

/**
 * Runs the tests: `run.ts [--floor COUNT] [--name TEXT] [--file GLOB] [--debug] [--inspect]`.
 *
 * Node's own runner does the work, all files in one process: a process a file costs 130 ms each. What it doesn't notice makes
 * the run fail here: no test ran at all, fewer than there were, a file without a test, a test that ended the process with 0.
 * In one process a hook outside of a suite is everybody's, so test/house-rules.test.ts allows none.
 */
const everything = ["src/**/*.test.ts", "sim/**/*.test.ts", "test/**/*.test.ts"];

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

  const directory = mkdtempSync(join(tmpdir(), "proglog-test-run-"));
  try {
    const resultFile = join(directory, "result.json");
    const child = spawn(
      process.execPath,
      [
        "--test",
        "--test-isolation=none",
        ...(values.debug ? [] : [`--test-timeout=${testTimeoutMs}`]),
        ...(values.inspect ? ["--inspect-brk"] : []),
        ...(values.name === "" ? [] : [`--test-name-pattern=${patternOf(values.name)}`]),
        `--test-reporter=${join(import.meta.dirname, "reporter.ts")}`,
        "--test-reporter-destination=stdout",
        ...files,
      ],
      { stdio: "inherit", env: environment(resultFile, values.debug) },
    );
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
    await once(child, "exit");

    const result = readResult(resultFile);
    if (result === undefined)
      return fail(`the run ended before its summary (${child.signalCode ?? `exit code ${child.exitCode}`})`);
    if (child.exitCode !== 0) return child.exitCode ?? 1;
    return check(result, values.name === "" ? files : [], Number(values.floor));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
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
