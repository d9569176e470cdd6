import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { exitCodes } from "./exit-codes.ts";
import { main } from "./main.ts";
import { MemoryIo } from "./memory-io.ts";

describe("doctor", () => {
  let folder = "";
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "proglog-doctor-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function run(argv: readonly string[]) {
    const io = new MemoryIo();
    const code = await main(["doctor", "--data-dir", folder, ...argv], io);
    return { code, stdout: io.stdout.text, stderr: io.stderr.text };
  }

  test("looks at this machine, a line for each finding, and leaves nothing in the directory", async () => {
    const { stdout, stderr } = await run(["--rpc-port", "0"]);
    assert.equal(stderr, "");
    assert.match(stdout, /^ok {7}configuration {2}sound: \d+ keys\n/);
    assert.match(stdout, new RegExp(`disk {11}.*${folder}`));
    assert.match(stdout, /\n\d+ problems?, \d+ warnings?\.\n$/);
    assert.deepEqual(readdirSync(folder), []);
  });

  test("--json is an object a line, and its exit code says whether there is a problem", async () => {
    const { code, stdout } = await run(["--rpc-port", "0", "--json"]);
    const findings = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { area: string; level: string; finding: string; advice?: string });
    const isProblem = findings.some(({ level }) => level === "problem");
    assert.equal(code, isProblem ? exitCodes.failed : exitCodes.done);
    assert.ok(findings.every(({ level, advice }) => (level === "ok") === (advice === undefined)));
  });

  test("a problem ends with 1, and one of the configuration as a wrong command line does; --quiet tells only of these", async () => {
    const failed = await run(["--quiet", "--bind-addr", "203.0.113.1", "--insecure"]);
    assert.equal(failed.code, exitCodes.failed);
    assert.match(failed.stdout, /PROBLEM {2}network {8}203\.0\.113\.1 is no address of this machine\n {24}-> Set --bind-addr /);
    assert.doesNotMatch(failed.stdout, /^ok/m);
    const wrong = await run(["--quiet", "--sync", "sometimes"]);
    assert.equal(wrong.code, exitCodes.usage);
    assert.match(wrong.stdout, /^PROBLEM {2}configuration {2}Cannot use --sync "sometimes": it is none of /);
  });
});
