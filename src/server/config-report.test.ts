import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { configKeys } from "./config.ts";
import { formatConfigValue, reportConfig } from "./config-report.ts";
import { parseConfigValue } from "./config-value.ts";
import { inspectConfig } from "./load-config.ts";

function keyOf(name: string) {
  const key = configKeys.find((one) => one.name === name);
  assert.ok(key !== undefined, name);
  return key;
}

test("every key is there, with its value and where that comes from; the last of several sources counts", () => {
  const { entries, problems } = reportConfig({
    file: { path: "/etc/proglog.yaml", values: { "rpc-port": "1", sync: "never", index: "heap" } },
    env: { PROGLOG_RPC_PORT: "2", PROGLOG_SYNC: "interval", HOME: "/root", PROGLOG_SERVER: "a:1" },
    flags: { rpcPort: "3", dataDir: undefined },
  });
  assert.deepEqual(problems, []);
  assert.deepEqual(
    entries.map(({ key }) => key.name),
    configKeys.map(({ name }) => name),
  );
  const told = (name: string) => {
    const entry = entries.find(({ key }) => key.name === name);
    return [entry?.value, entry?.source, entry?.sourceName];
  };
  assert.deepEqual(told("rpc-port"), [3, "flag", "--rpc-port"]);
  assert.deepEqual(told("sync"), ["interval", "environment", "PROGLOG_SYNC"]);
  assert.deepEqual(told("index"), ["heap", "file", "index in /etc/proglog.yaml"]);
  assert.deepEqual(told("data-dir"), ["./data", "default", undefined]);
});

test("all that is wrong is told, each with what was meant, and no value then", () => {
  const { entries, problems } = reportConfig({
    file: { path: "f.yaml", values: { "segment-max-byte": "1MiB", "config-file": "g.yaml", sync: "always" } },
    env: { PROGLOG_RCP_PORT: "1", PROGLOG_SYNC: "sometimes" },
    flags: { dataDirr: "x", "max-connections": "0" },
  });
  assert.deepEqual(entries, []);
  assert.deepEqual(
    problems.map(({ message, hint = "" }) => `${message} ${hint}`.trim()),
    [
      "Cannot use segment-max-byte in f.yaml: there is no such key Did you mean segment-max-bytes?",
      "Cannot use config-file in f.yaml: a file can't name another",
      "Cannot use PROGLOG_RCP_PORT: there is no such key Did you mean PROGLOG_RPC_PORT?",
      'Cannot use PROGLOG_SYNC "sometimes": it is none of always, interval, never',
      "Cannot use --dataDirr: there is no such key Did you mean --data-dir?",
      'Cannot use --max-connections "0": it is less than 1',
    ],
  );
});

test("what contradicts each other, and an address that a start would refuse, are told", () => {
  const wrongTogether = reportConfig({ flags: { "initial-nodes": "3" } });
  assert.match(wrongTogether.problems[0]?.message ?? "", /^Cannot use --initial-nodes 3: there is no address/);
  const open = reportConfig({ flags: { "bind-addr": "0.0.0.0" } });
  assert.deepEqual(
    open.problems.map(({ code }) => code),
    ["INSECURE_ADDRESS"],
  );
});

test("a file that isn't there or isn't understood is a problem like others", () => {
  const disk = createMemoryDisk();
  const { problems } = inspectConfig({ flags: { "config-file": "/gone.yaml" } }, disk);
  assert.deepEqual(
    problems.map(({ code, message }) => [code, message]),
    [["INVALID_CONFIG", "Cannot read the configuration /gone.yaml: there is no such file"]],
  );
  assert.equal(inspectConfig({ flags: { "config-file": "" } }, disk).problems.length, 1);
});

test("values are shown with their units and words", () => {
  assert.equal(formatConfigValue(keyOf("segment-max-bytes"), 64 * 2 ** 20), "64MiB");
  assert.equal(formatConfigValue(keyOf("retention-max-age-ms"), null), "unlimited");
  assert.equal(formatConfigValue(keyOf("retention-interval-ms"), 90_000), "90s");
  assert.equal(formatConfigValue(keyOf("rpc-port"), 8000), "8000");
  assert.equal(formatConfigValue(keyOf("insecure"), false), "false");
});

test("a secret is shown to nobody, also where it is wrong", () => {
  const secret = { ...keyOf("node-name"), isSecret: true };
  assert.equal(formatConfigValue(secret, "hunter2"), "********");
  assert.equal(formatConfigValue(secret, null), "auto");
  assert.throws(
    () => parseConfigValue(secret, "hunter 2", "--node-name"),
    (error) =>
      error instanceof Error && !error.message.includes("hunter") && error.message.startsWith("Cannot use --node-name: "),
  );
});

test("an address beyond this machine is fine with TLS, and in a cluster with those of nodes", () => {
  const codes = (flags: Record<string, unknown>): readonly string[] =>
    reportConfig({ flags: { "bind-addr": "10.0.0.1", ...flags } }).problems.map(({ code }) => code);
  const files = (plane: string) =>
    Object.fromEntries(["cert", "key", "ca"].map((part) => [`${plane}-tls-${part}-file`, `/tls/${part}.pem`]));
  assert.deepEqual(codes(files("server")), []);
  assert.deepEqual(codes({ ...files("server"), "server-tls-client-auth": "optional" }), []);
  assert.deepEqual(codes({}), ["INSECURE_ADDRESS"]);
  assert.deepEqual(codes({ ...files("server"), bootstrap: true }), ["INSECURE_ADDRESS"]);
  assert.deepEqual(codes({ insecure: true, bootstrap: true }), ["INSECURE_ADDRESS"]);
  assert.deepEqual(codes({ ...files("server"), ...files("peer"), bootstrap: true }), []);
});
