import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { dayMs, KiB, MiB } from "../base/units.ts";
import { type ConfigSources, configKeys, parseConfig } from "./config.ts";

test("without sources every key has its default", () => {
  const config = parseConfig();
  assert.equal(config.bindAddr, "127.0.0.1");
  assert.equal(config.rpcPort, 8000);
  assert.equal(config.sync, "always");
  assert.equal(config.insecure, false);
  assert.equal(config.autoCreateTopics, true);
  assert.equal(config.retentionMaxBytes, null);
  assert.deepEqual(Object.keys(config).sort(), configKeys.map(({ property }) => property).sort());
});

test("every default is a value that its key takes", () => {
  for (const key of configKeys) {
    const text = key.default === null ? (key.nullWord ?? "") : String(key.default);
    assert.equal(parseConfig({ flags: { [key.name]: text } })[key.property], key.default, key.name);
  }
});

test("every key has a text, a name in kebab-case and one in the environment", () => {
  for (const { name, environment, help } of configKeys) {
    assert.match(name, /^[a-z]+(-[a-z]+)*$/);
    assert.match(environment, /^PROGLOG_[A-Z_]+$/);
    assert.match(help, /\.$/);
  }
  assert.deepEqual(
    configKeys.slice(0, 3).map(({ name, environment }) => [name, environment]),
    [
      ["data-dir", "PROGLOG_DATA_DIR"],
      ["bind-addr", "PROGLOG_BIND_ADDR"],
      ["rpc-port", "PROGLOG_RPC_PORT"],
    ],
  );
});

test("flags go before the environment, and the environment before defaults", () => {
  const env = { PROGLOG_RPC_PORT: "9000", PROGLOG_SYNC: "never", HOME: "/root", PATH: undefined };
  const config = parseConfig({ env, flags: { "rpc-port": "9001" } });
  assert.equal(config.rpcPort, 9001);
  assert.equal(config.sync, "never");
});

test("flags may be named as properties, be typed, and be undefined", () => {
  const config = parseConfig({ flags: { rpcPort: 1, autoCreateTopics: false, dataDir: undefined, insecure: true } });
  assert.equal(config.rpcPort, 1);
  assert.equal(config.autoCreateTopics, false);
  assert.equal(config.dataDir, "./data");
  assert.equal(config.insecure, true);
});

test("bytes and durations take units", () => {
  const bytes = (text: string): number => parseConfig({ flags: { "segment-max-bytes": text } }).segmentMaxBytes;
  assert.equal(bytes("64MiB"), 64 * MiB);
  assert.equal(bytes("4096"), 4 * KiB);
  assert.equal(bytes("4096B"), 4 * KiB);
  assert.equal(bytes("64 kB"), 64_000);
  const duration = (text: string): number => parseConfig({ flags: { "segment-max-age-ms": text } }).segmentMaxAgeMs;
  assert.equal(duration("7d"), 7 * dayMs);
  assert.equal(duration("1500"), 1500);
  assert.equal(duration("1500ms"), 1500);
  assert.equal(duration("90m"), 5_400_000);
  assert.equal(parseConfig({ flags: { "retention-max-age-ms": "unlimited" } }).retentionMaxAgeMs, null);
  assert.equal(parseConfig({ flags: { "retention-max-bytes": "1TiB" } }).retentionMaxBytes, 1024 ** 4);
  assert.equal(parseConfig({ flags: { "scrub-interval-ms": "off" } }).scrubIntervalMs, null);
});

test("origins are a list of sites as browsers write them", () => {
  const origins = (text: string): string | null => parseConfig({ flags: { "allow-origin": text } }).allowOrigin;
  assert.equal(origins("https://a.example, http://localhost:5173"), "https://a.example,http://localhost:5173");
  assert.equal(origins("off"), null);
});

const wrong: readonly (readonly [string, unknown])[] = [
  ["rpc-port", "65536"],
  ["rpc-port", "-1"],
  ["rpc-port", "80.5"],
  ["rpc-port", "0x50"],
  ["rpc-port", ""],
  ["rpc-port", 1.5],
  ["rpc-port", true],
  ["data-dir", ""],
  ["data-dir", " "],
  ["sync", "sometimes"],
  ["sync", "Always"],
  ["insecure", "yes"],
  ["segment-max-bytes", "1023"],
  ["segment-max-bytes", "64M"],
  ["segment-max-bytes", "64mib"],
  ["segment-max-bytes", "1.5GiB"],
  ["segment-max-bytes", "unlimited"],
  ["segment-max-bytes", "99999999999999999999"],
  ["segment-max-bytes", "1constructor"],
  ["segment-max-age-ms", "7days"],
  ["retention-max-bytes", "0"],
  ["allow-origin", "*"],
  ["allow-origin", ""],
  ["allow-origin", "https://a.example,"],
  ["allow-origin", "a.example"],
  ["allow-origin", "https://a.example/"],
  ["allow-origin", "HTTPS://a.example"],
  ["allow-origin", "https://a.example:443"],
  ["allow-origin", "null"],
];

for (const [name, value] of wrong) {
  test(`${name} ${JSON.stringify(value)} is refused, naming the flag`, () => {
    assertRefused({ flags: { [name]: value } }, (message) => message.startsWith(`Cannot use --${name} `));
  });
}

test("a wrong value from the environment is refused, naming the variable", () => {
  assertRefused({ env: { PROGLOG_RPC_PORT: "x" } }, (message) => message.startsWith("Cannot use PROGLOG_RPC_PORT "));
});

test("an unknown key is refused, and the nearest known one named", () => {
  assertRefused({ flags: { "rcp-port": "1" } }, (_, hint) => hint === "Did you mean --rpc-port?");
  assertRefused({ env: { PROGLOG_DATADIR: "x" } }, (_, hint) => hint === "Did you mean PROGLOG_DATA_DIR?");
  assertRefused({ env: { PROGLOG_RCP_PORT: "1" } }, (_, hint) => hint === "Did you mean PROGLOG_RPC_PORT?");
  assertRefused({ flags: { zzzzzzzzzzzzzzzz: "1" } }, (_, hint) => hint === "See proglog serve --help.");
  assertRefused({ flags: { constructor: "1" } }, () => true);
});

test("how fast replicas catch up has a default, a unit and a least value", () => {
  assert.equal(parseConfig().catchUpBytesPerSecond, 50 * MiB);
  assert.equal(parseConfig({ flags: { "catch-up-bytes-per-second": "10MiB" } }).catchUpBytesPerSecond, 10 * MiB);
  assertRefused({ flags: { "catch-up-bytes-per-second": "1KiB" } }, (message) =>
    message.includes("--catch-up-bytes-per-second"),
  );
});

test("variables of the client and of Kubernetes' services are not ours to refuse", () => {
  const env = {
    PROGLOG_SERVER: "127.0.0.1:8000",
    PROGLOG_SERVICE_HOST: "10.0.0.1",
    PROGLOG_SERVICE_PORT: "8000",
    PROGLOG_SERVICE_PORT_RPC: "8000",
    PROGLOG_PORT: "tcp://10.0.0.1:8000",
    PROGLOG_PORT_8000_TCP: "tcp://10.0.0.1:8000",
    PROGLOG_PORT_8000_TCP_PROTO: "tcp",
    PROGLOG_PORT_8000_TCP_ADDR: "10.0.0.1",
    PROGLOG_0_SERVICE_HOST: "10.0.0.2",
  };
  assert.deepEqual(parseConfig({ env }), parseConfig());
});

function assertRefused(sources: ConfigSources, isRight: (message: string, hint: string | undefined) => boolean): void {
  assert.throws(
    () => parseConfig(sources),
    (error) => isProglogError(error, "INVALID_CONFIG") && isRight(error.message, error.hint),
  );
}
