import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { repository } from "./source-code.ts";

/** A suite that runs nothing and says that all is well is worse than none: the runner has to notice. */
describe("the test runner", () => {
  const passing = 'import { test } from "node:test"; test("one", () => {}); test("two", () => {});';

  test("succeeds when as many tests ran as the floor asks for, and ends with the summary", () => {
    const { status, output } = runTests({ "a.test.ts": passing }, ["--floor", "2"]);
    assert.equal(status, 0, output);
    assert.match(output, /ℹ tests 2\nℹ suites 0\nℹ pass 2\n(ℹ .*\n)+$/);
  });

  test("fails below the floor, and tells both counts", () => {
    const { status, output } = runTests({ "a.test.ts": passing }, ["--floor", "3"]);
    assert.equal(status, 1);
    assert.match(output, /only 2 tests ran, and the floor is 3/);
  });

  test("fails on a floor that is no number", () => {
    assert.equal(runTests({ "a.test.ts": passing }, ["--floor", "many"]).status, 1);
  });

  test("doesn't count a skipped test, and names it with its suite and the reason", () => {
    const source = `${passing} import { describe } from "node:test"; describe("s", () => { test("three", { skip: "no disk" }, () => {}); });`;
    const { status, output } = runTests({ "a.test.ts": source }, ["--floor", "3"]);
    assert.equal(status, 1);
    assert.match(output, /Skipped:\n {2}s > three \(no disk\)\n/);
    assert.match(output, /only 2 tests ran/);
  });

  test("fails when a test fails", () => {
    const source = 'import { test } from "node:test"; test("one", () => { throw new Error("no"); });';
    assert.equal(runTests({ "a.test.ts": source, "b.test.ts": passing }).status, 1);
  });

  test("fails when a file can't be loaded", () => {
    const { status } = runTests({ "a.test.ts": 'import "./absent.ts";', "b.test.ts": passing });
    assert.equal(status, 1);
  });

  test("fails when a file holds no test", () => {
    const { status, output } = runTests({ "a.test.ts": "export {};", "b.test.ts": passing });
    assert.equal(status, 1);
    assert.match(output, /no test stands in src\/a\.test\.ts/);
  });

  test("fails when there is no file", () => {
    const { status, output } = runTests({});
    assert.equal(status, 1);
    assert.match(output, /no test file matches/);
  });

  test("fails when a test ends the process as if all were well", () => {
    const source = 'import { test } from "node:test"; test("one", () => process.exit(0));';
    const { status, output } = runTests({ "a.test.ts": source });
    assert.equal(status, 1);
    assert.match(output, /the run ended before its summary \(exit code 0\)/);
  });

  test("tells what failed when the process doesn't end, a failed hook's tests included", () => {
    const source = `import { createServer } from "node:net"; import { before, describe, test } from "node:test";
      describe("s", () => {
        before(async () => { createServer().listen(0, "127.0.0.1"); throw new Error("no way"); });
        test("one", () => {});
      });`;
    const { status, output } = runTests({ "a.test.ts": source }, [], { TEST_RUN_QUIET_MS: "200" });
    assert.equal(status, 1);
    assert.match(output, /the process doesn't end: a test left something open \(TCPServerWrap.*\)/);
    assert.match(output, /✖ s: .*no way/s);
  });

  test("runs what its name asks for, taken as plain text, and fails when that is nothing", () => {
    const source = 'import { test } from "node:test"; test("a (b)", () => {}); test("a b", () => {});';
    assert.match(runTests({ "a.test.ts": source }, ["--name", "a (b)"]).output, /ℹ tests 1\n/);
    const { status, output } = runTests({ "a.test.ts": source }, ["--name", "a (c)"]);
    assert.equal(status, 1);
    assert.match(output, /no test ran/);
  });
});

function runTests(
  files: Readonly<Record<string, string>>,
  options: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): { status: number | null; output: string } {
  const folder = mkdtempSync(join(tmpdir(), "proglog-test-runner-"));
  try {
    mkdirSync(join(folder, "src"));
    for (const [name, source] of Object.entries(files)) writeFileSync(join(folder, "src", name), source);
    const runner = join(repository, "tools/test-runner/run.ts");
    const { status, stdout, stderr } = spawnSync(process.execPath, [runner, ...options], {
      cwd: folder,
      encoding: "utf8",
      env: { ...process.env, ...environment },
    });
    return { status, output: stdout + stderr };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
