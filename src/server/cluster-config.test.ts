import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { initialNodesMaxCount, nodeNameMaxChars } from "../base/cluster-limits.ts";
import { joinAddressesMaxCount } from "../base/limits.ts";
import { advertisedAddress, checkClusterSync, clusterFlags, clusterWarnings, defaultNodeName } from "./cluster-config.ts";
import { parseConfig } from "./config.ts";

describe("the flags of a cluster", () => {
  test("are none unless given", () => {
    const none = { nodeName: undefined, startJoinAddrs: [], initialNodes: undefined, isBootstrapping: false };
    assert.deepEqual(clusterFlags(parseConfig()), none);
  });

  test("come from flags, environment and file alike, a list as one text or as several", () => {
    const expected = {
      nodeName: "n-1.a",
      startJoinAddrs: ["a:8000", "[::1]:9000", "b.c:1"],
      initialNodes: 3,
      isBootstrapping: false,
    };
    const list = "a, [::1]:9000,b.c:1,a:8000";
    const flags = { "node-name": "n-1.a", "start-join-addrs": list, "initial-nodes": "3" };
    assert.deepEqual(clusterFlags(parseConfig({ flags })), expected);
    const env = { PROGLOG_NODE_NAME: "n-1.a", PROGLOG_START_JOIN_ADDRS: list, PROGLOG_INITIAL_NODES: "3" };
    assert.deepEqual(clusterFlags(parseConfig({ env })), expected);
    const values = { "node-name": "n-1.a", "start-join-addrs": ["a", "[::1]:9000", "b.c:1"], "initial-nodes": 3 };
    assert.deepEqual(clusterFlags(parseConfig({ file: { path: "p", values } })), expected);
  });

  const wrong: readonly (readonly [Record<string, unknown>, RegExp])[] = [
    [{ bootstrap: true, "initial-nodes": 3, "start-join-addrs": "a" }, /--initial-nodes 3 with --bootstrap: the one forms/],
    [{ "initial-nodes": 3 }, /--initial-nodes 3: there is no address/],
    [{ bootstrap: true, sync: "interval" }, /--sync interval in a cluster/],
    [{ "start-join-addrs": "a", sync: "never" }, /--sync never in a cluster/],
    [{ "start-join-addrs": "a", "bind-addr": "0.0.0.0" }, /--bind-addr 0.0.0.0 in a cluster: it doesn't say where/],
    [{ bootstrap: true, "bind-addr": "::" }, /--bind-addr :: in a cluster/],
  ];
  for (const [flags, text] of wrong)
    test(`${JSON.stringify(flags)} makes no sense together`, () => {
      assert.throws(
        () => parseConfig({ flags }),
        (error) => isProglogError(error, "INVALID_CONFIG") && text.test(error.message) && error.hint !== undefined,
      );
    });

  test("make sense in these", () => {
    for (const flags of [
      { bootstrap: true },
      { bootstrap: true, "start-join-addrs": "a" },
      { "start-join-addrs": "a" },
      { "initial-nodes": 3, "start-join-addrs": "a" },
      { bootstrap: true, "bind-addr": "0.0.0.0", "advertise-addr": "a" },
      { "bind-addr": "0.0.0.0", sync: "never", "node-name": "a" },
    ])
      parseConfig({ flags });
  });

  const values: readonly (readonly [string, string, boolean])[] = [
    ["node-name", "a".repeat(nodeNameMaxChars), true],
    ["node-name", "a".repeat(nodeNameMaxChars + 1), false],
    ["node-name", "a/b", false],
    ["node-name", "a b", false],
    ["node-name", "", false],
    ["node-name", "n1:8000", true],
    ["advertise-addr", "a", true],
    ["advertise-addr", "a:0", false],
    ["advertise-addr", "a:65536", false],
    ["advertise-addr", "http://a:1", false],
    ["advertise-addr", "::1", false],
    ["advertise-addr", "auto", true],
    ["start-join-addrs", Array.from({ length: joinAddressesMaxCount }, (_, number) => `a${number}`).join(), true],
    ["start-join-addrs", Array.from({ length: joinAddressesMaxCount + 1 }, (_, number) => `a${number}`).join(), false],
    ["start-join-addrs", "a,", false],
    ["start-join-addrs", "", false],
    ["start-join-addrs", "none", true],
    ["initial-nodes", "0", false],
    ["initial-nodes", String(initialNodesMaxCount), true],
    ["initial-nodes", String(initialNodesMaxCount + 1), false],
  ];
  for (const [key, value, isFine] of values)
    test(`--${key} ${value.slice(0, 20)} (${value.length} characters) is ${isFine ? "taken" : "refused"}`, () => {
      const parse = (): unknown => parseConfig({ flags: { "start-join-addrs": "a", [key]: value } });
      if (isFine) parse();
      else
        assert.throws(
          parse,
          (error) => isProglogError(error, "INVALID_CONFIG") && error.message.startsWith(`Cannot use --${key}`),
        );
    });

  test("a directory that belongs to a cluster is synced, without any of them", () => {
    checkClusterSync({ sync: "always" });
    assert.throws(() => checkClusterSync({ sync: "never" }), { code: "INVALID_CONFIG" });
  });

  test("an even number of first nodes is odd", () => {
    assert.deepEqual(clusterWarnings({ initialNodes: null }), []);
    assert.deepEqual(clusterWarnings({ initialNodes: 3 }), []);
    assert.match(clusterWarnings({ initialNodes: 2 }).join(), /needs 2 of them, and stands still when either is down$/);
    assert.match(clusterWarnings({ initialNodes: 4 }).join(), /needs 3 of them, and bears no more than 3 would$/);
  });

  test("a node is reached where it listens unless it says otherwise, and called after its host", () => {
    assert.equal(advertisedAddress({ advertiseAddr: null, bindAddr: "10.0.0.1" }, 8000), "10.0.0.1:8000");
    assert.equal(advertisedAddress({ advertiseAddr: null, bindAddr: "::1" }, 1), "[::1]:1");
    assert.equal(advertisedAddress({ advertiseAddr: "a:1", bindAddr: "0.0.0.0" }, 8000), "a:1");
    assert.equal(defaultNodeName("host.example", 8000), "host.example:8000");
    assert.equal(defaultNodeName("hö st", 1), "h--st:1");
    assert.equal(defaultNodeName("", 1), "node:1");
    assert.equal(defaultNodeName("a".repeat(300), 65_535).length, nodeNameMaxChars);
  });
});
