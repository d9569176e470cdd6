import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { configFileMaxBytes } from "../base/limits.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { parseConfigText, readConfigFile } from "./config-file.ts";
import { parseConfig } from "./config.ts";
import { loadConfig } from "./load-config.ts";

const path = "/etc/proglog.yaml";

describe("a configuration file", () => {
  test("is one key a line, with plain and quoted values, lists and comments", () => {
    const text = `\
---
# A node.
data-dir: /var/lib/proglog   # on its own disk
rpc-port: 8000
"bind-addr" : x`.replace('"bind-addr" : x', "bind-addr : 10.0.0.1");
    assert.deepEqual(
      { ...parseConfigText(`${text}\nlog-level: 'it''s'\nallow-origin: "a \\"b\\" #c" # d\n`, path) },
      {
        "data-dir": "/var/lib/proglog",
        "rpc-port": "8000",
        "bind-addr": "10.0.0.1",
        "log-level": "it's",
        "allow-origin": 'a "b" #c',
      },
    );
    const lists = 'a: [x:1, \'y, z\' , "w"] # flow\nb: # block\n  - x:1\n  - "y" # c\n\nc:\n- z#1\nd: []\r\ne: 1';
    assert.deepEqual(
      { ...parseConfigText(lists, path) },
      { a: ["x:1", "y, z", "w"], b: ["x:1", "y"], c: ["z#1"], d: [], e: "1" },
    );
    assert.deepEqual({ ...parseConfigText("", path) }, {});
  });

  test("may be JSON", () => {
    assert.deepEqual(parseConfigText(' {"rpc-port": 1, "insecure": true}', path), { "rpc-port": 1, insecure: true });
    assertRefused("{rpc-port: 1}", /begins as JSON, and isn't/);
  });

  const wrong: readonly (readonly [string, string, RegExp])[] = [
    ["a mapping in a mapping", "a: 1\nlog:\n  level: info", /line 3 should be the value of log, and is none/],
    ["a mapping in a line", "a: {b: 1}", /line 1 has a value that needs quotes/],
    ["a value that YAML takes for a mapping", "a: b: c", /line 1 has a value that needs quotes/],
    ["an anchor", "a: &x 1", /needs quotes/],
    ["an alias", "a: *x", /needs quotes/],
    ["a tag", "a: !!str 1", /needs quotes/],
    ["a text over several lines", "a: |\n  b", /line 1 .* needs quotes/],
    ["a line that goes on", "a: b\n  c", /line 2 isn't understood/],
    ["a second document", "a: 1\n---\nb: 2", /line 2 isn't understood/],
    ["a key twice", "a: 1\na: 2", /line 2 has a once more/],
    ["a key without a value", "a:\nb: 1", /line 2 should be the value of a/],
    ["a key without a value at the end", "a:", /a has no value/],
    ["null", "a: ~", /line 1 has no value/],
    ["a list of no key", "- a", /line 1 begins a list/],
    ["a list behind a value", "a: 1\n- b", /line 2 begins a list/],
    ["a list of lists", "a: [[b]]", /list that isn't understood/],
    ["a list that goes on", "a: [b,\n c]", /line 1 has a list that isn't understood/],
    ["text behind a list", "a: [b] c", /goes on behind its list/],
    ["a mapping in a list", "a:\n  - b: c", /needs quotes/],
    ["an open quote", 'a: "b', /needs quotes/],
    ["an unknown escape", 'a: "\\x41"', /isn't understood/],
    ["a tab in front", "a:\n\t- b", /tab/],
    ["no colon", "a", /line 1 isn't understood/],
    ["no room behind the colon", "a:1", /line 1 isn't understood/],
    ["a key that is a number", "1: a", /line 1 isn't understood/],
    ["the key of an object's prototype, unharmed", "constructor: 1\nconstructor: 2", /has constructor once more/],
  ];
  for (const [what, text, reason] of wrong)
    test(`with ${what} is refused, naming the line`, () => {
      assertRefused(text, reason);
    });

  test("that isn't there, is too large or no UTF-8 is refused", async () => {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/etc");
    const readable = (bytes: Buffer): void => {
      disk.remove(path);
      disk.open(path, "create").writeSync([bytes], 0);
      readConfigFile(disk, path);
    };
    assert.throws(() => readConfigFile(disk, path), isRefusal(/there is no such file/));
    assert.throws(() => readConfigFile(disk, "/etc"), isRefusal(/Cannot read the configuration/));
    assert.throws(() => readable(Buffer.from([0xff])), isRefusal(/isn't UTF-8/));
    readable(Buffer.alloc(configFileMaxBytes, "\n"));
    assert.throws(() => readable(Buffer.alloc(configFileMaxBytes + 1, "\n")), isRefusal(/at most/));
  });
});

describe("a configuration", () => {
  test("takes flags before the environment, that before the file, and that before defaults", async () => {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/etc");
    disk.open(path, "create").writeSync([Buffer.from("rpc-port: 1\nsync: never\nretention-max-age-ms: 7d\ndata-dir: /a\n")], 0);
    const env = { PROGLOG_RPC_PORT: "2", PROGLOG_DATA_DIR: "/b" };
    const config = loadConfig({ env, flags: { "config-file": path, "data-dir": "/c" } }, disk);
    assert.deepEqual([config.rpcPort, config.sync, config.dataDir, config.index], [2, "never", "/c", "auto"]);
    assert.equal(config.retentionMaxAgeMs, 7 * 86_400_000);
    assert.equal(config.configFile, path);
    assert.equal(loadConfig({ env: { PROGLOG_CONFIG_FILE: path } }, disk).dataDir, "/a");
    assert.deepEqual(loadConfig({}, disk), parseConfig());
    assert.throws(() => loadConfig({ flags: { "config-file": "/etc/none" } }, disk), isRefusal(/no such file/));
    assert.throws(() => loadConfig({ flags: { "config-file": "" } }, disk), isRefusal(/--config-file "": it is empty/));
  });

  test("refuses in a file what it refuses elsewhere, naming key and file", () => {
    const file =
      (values: Record<string, unknown>): (() => unknown) =>
      () =>
        parseConfig({ file: { path, values } });
    assert.throws(file({ "rcp-port": "1" }), isRefusal(/^Cannot use rcp-port in \/etc\/proglog.yaml: there is no such key/));
    assert.throws(
      file({ "rpc-port": "x" }),
      isRefusal(/^Cannot use rpc-port in \/etc\/proglog.yaml "x": it isn't a whole number/),
    );
    assert.throws(file({ "rpc-port": ["1"] }), isRefusal(/^Cannot use rpc-port in /));
    assert.throws(file({ insecure: "yes" }), isRefusal(/neither true nor false/));
    assert.throws(file({ "config-file": "/x" }), isRefusal(/a file can't name another/));
  });
});

function assertRefused(text: string, reason: RegExp): void {
  assert.throws(() => parseConfigText(text, path), isRefusal(reason));
}

function isRefusal(reason: RegExp): (error: unknown) => boolean {
  return (error) => isProglogError(error, "INVALID_CONFIG") && reason.test(error.message);
}
