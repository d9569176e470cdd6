import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { exitCodes } from "./exit-codes.ts";
import { main } from "./main.ts";
import { MemoryIo } from "./memory-io.ts";

async function run(argv: readonly string[], env: Record<string, string> = {}) {
  const io = new MemoryIo({ env });
  const code = await main(["config", ...argv], io);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

test("config check says what a sound configuration is made of", async () => {
  const { code, stdout, stderr } = await run(["check", "--rpc-port", "9000"], { PROGLOG_SYNC: "never" });
  assert.equal(code, exitCodes.done);
  assert.match(stdout, /^The configuration is sound: \d+ keys, 1 by the environment, 1 by flags, the others by default\.\n$/);
  assert.equal(stderr, "");
});

test("config check tells each thing that is wrong in a line, and ends as a wrong command line does", async () => {
  const { code, stdout, stderr } = await run(["check", "--rpc-port", "x"], { PROGLOG_DATADIR: "y" });
  assert.equal(code, exitCodes.usage);
  assert.equal(stdout, "");
  assert.deepEqual(stderr.split("\n"), [
    "proglog: INVALID_CONFIG: Cannot use PROGLOG_DATADIR: there is no such key (Did you mean PROGLOG_DATA_DIR?)",
    'proglog: INVALID_CONFIG: Cannot use --rpc-port "x": it isn\'t a whole number',
    "",
  ]);
});

test("config check --json is one object, sound or not", async () => {
  assert.deepEqual(JSON.parse((await run(["check", "--json"])).stdout), { ok: true, problems: [] });
  const { code, stdout, stderr } = await run(["check", "--json", "--config-file", "/nowhere/at/all.yaml"]);
  assert.equal(code, exitCodes.usage);
  assert.equal(stderr, "");
  const { ok, problems } = JSON.parse(stdout) as { ok: boolean; problems: { code: string; message: string; hint: string }[] };
  assert.equal(ok, false);
  assert.deepEqual(
    problems.map(({ code: told, message }) => [told, message]),
    [["INVALID_CONFIG", "Cannot read the configuration /nowhere/at/all.yaml: there is no such file"]],
  );
});

test("config show names each key with its value and source", async () => {
  const folder = mkdtempSync(join(tmpdir(), "proglog-config-"));
  try {
    const path = join(folder, "proglog.yaml");
    writeFileSync(path, "segment-max-bytes: 64MiB\nrpc-port: 1\n");
    const all = await run(["show", "--config-file", path, "--rpc-port", "2"]);
    assert.equal(all.code, exitCodes.done);
    const lines = all.stdout.split("\n").map((line) => line.split(/ {2,}/));
    assert.deepEqual(lines[0], ["KEY", "VALUE", "SOURCE"]);
    assert.deepEqual(
      lines.find(([key]) => key === "segment-max-bytes"),
      ["segment-max-bytes", "64MiB", `segment-max-bytes in ${path}`],
    );
    assert.deepEqual(
      lines.find(([key]) => key === "sync"),
      ["sync", "always", "default"],
    );
    const set = await run(["show", "--set", "--json", "--config-file", path, "--rpc-port", "2"]);
    assert.deepEqual(
      set.stdout
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
      [
        { key: "rpc-port", value: 2, source: "flag", sourceName: "--rpc-port" },
        { key: "config-file", value: path, source: "flag", sourceName: "--config-file" },
        { key: "segment-max-bytes", value: 67_108_864, source: "file", sourceName: `segment-max-bytes in ${path}` },
      ],
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("config show tells what is wrong in the place of values", async () => {
  const { code, stdout, stderr } = await run(["show", "--sync", "sometimes"]);
  assert.equal(code, exitCodes.usage);
  assert.equal(stdout, "");
  assert.match(stderr, /^proglog: INVALID_CONFIG: Cannot use --sync "sometimes": it is none of [^\n]+\n$/);
});

test("a flag that isn't one is told with the nearest that is", async () => {
  const { code, stderr } = await run(["check", "--rcp-port", "1"]);
  assert.equal(code, exitCodes.usage);
  assert.match(stderr, /unknown option '--rcp-port' \(Did you mean --rpc-port\?\)\n$/);
});
