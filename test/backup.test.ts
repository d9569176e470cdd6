import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { backupPieceBytes } from "../src/base/backup-limits.ts";
import { nodeDisk } from "../src/base/node-disk.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { exitCodes } from "../src/cli/exit-codes.ts";
import { main } from "../src/cli/main.ts";
import { MemoryIo } from "../src/cli/memory-io.ts";
import { type Client, connect } from "../src/client/index.ts";
import { plain } from "./dumb-log.ts";
import { startTestNode, type TestNode } from "./test-node.ts";
import { ThreeNodes } from "./three-nodes.ts";
import { waitUntil } from "./wait-until.ts";

async function run(argv: readonly string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const io = new MemoryIo();
  const code = await main(argv, io);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

/** Of all partitions of a topic, as a consumer gets them. */
async function recordsOf(client: Client, topic: string): Promise<object[]> {
  const { partitions } = await client.describeTopic(topic);
  const all = partitions.map(async ({ partition }) => {
    const consumer = client.consume({ topic, partition, from: "start", stopsAtEnd: true });
    const records: object[] = [];
    for await (const record of consumer) records.push({ partition, ...plain(record) });
    return records;
  });
  return (await Promise.all(all)).flat();
}

describe("proglog backup and restore", () => {
  let scratch = "";
  let number = 0;
  before(() => {
    scratch = mkdtempSync(join(tmpdir(), "proglog-backup-"));
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));
  beforeEach(() => {
    number += 1;
  });
  const path = (name: string): string => join(scratch, `${number}-${name}`);

  function startNode(dataDir: string, flags: Readonly<Record<string, unknown>> = {}): Promise<TestNode> {
    return startTestNode({ disk: nodeDisk, flags: { "data-dir": dataDir, "segment-max-bytes": "4KiB", ...flags } });
  }

  /** Two topics with records, one of them with a setting, and by a producer that numbers its batches. */
  async function fill(client: Client, count: number): Promise<void> {
    const producer = client.producer({ topic: "orders" });
    // One after the other, so that each is a batch, and there are segments.
    for (let i = 0; i < count; i += 1)
      await producer.send({ key: `k${i}`, value: `${i}`.padEnd(200, "."), headers: [{ key: "h", value: `${i}` }] });
    await producer.close();
  }

  test("a running node is copied, again only with what is new, and restored with all that it had", async () => {
    const [dataDir, folder, target] = [path("data"), path("backup"), path("restored")];
    let expected: object[];
    let described: object;
    {
      await using node = await startNode(dataDir);
      const server = ["--server", `127.0.0.1:${node.port}`];
      await using client = connect(`127.0.0.1:${node.port}`);
      await client.createTopic("orders", { partitionCount: 2, settings: { retentionMs: "10d" } });
      await client.createTopic("empty", {});
      await fill(client, 100);
      const first = await run(["backup", "create", folder, ...server]);
      assert.deepEqual([first.code, first.stderr], [exitCodes.done, ""]);
      assert.match(first.stdout, /^Backup 1: 2 topics, 3 logs, \d+ segments, \S+ KiB; \S+ KiB copied, 0 B were there\.\n$/);
      await fill(client, 100);
      const second = JSON.parse((await run(["backup", "create", folder, "--json", ...server])).stdout);
      assert.ok(second.keptBytes > second.fetchedBytes / 3 && second.generation === 2, JSON.stringify(second));
      expected = await recordsOf(client, "orders");
      described = await client.describeTopic("orders");
    }
    assert.equal(expected.length, 200);
    const verified = await run(["backup", "verify", folder]);
    assert.equal(verified.code, exitCodes.done, verified.stdout);
    assert.match(
      verified.stdout,
      /^sound {3}empty\/0: [^\n]+\nsound {3}orders\/0: [^\n]+\nsound {3}orders\/1: [^]*: 3 logs; all sound\.\n$/,
    );
    const restored = await run(["restore", folder, target]);
    assert.match(restored.stdout, /^Restored to \S+: 2 topics, 3 logs, [^\n]+\n$/);
    assert.equal((await run(["verify", target])).code, exitCodes.done);
    await using node = await startNode(target);
    await using client = connect(`127.0.0.1:${node.port}`);
    assert.deepEqual(await recordsOf(client, "orders"), expected);
    const copied = await client.describeTopic("orders");
    const { uuid, createdAt, settings } = described as typeof copied;
    assert.deepEqual([copied.uuid, copied.createdAt, copied.settings], [uuid, createdAt, settings]);
    await fill(client, 3);
    assert.equal((await recordsOf(client, "orders")).length, 203);
  });

  test("a directory whose server doesn't run is copied, and one that does run isn't", async () => {
    const [dataDir, folder, target] = [path("data"), path("backup"), path("restored")];
    let expected: object[];
    {
      await using node = await startNode(dataDir);
      await using client = connect(`127.0.0.1:${node.port}`);
      await client.createTopic("orders", {});
      await fill(client, 50);
      expected = await recordsOf(client, "orders");
      const refused = await run(["backup", "create", folder, "--data-dir", dataDir]);
      assert.deepEqual([refused.code, /LOG_LOCKED/.test(refused.stderr)], [exitCodes.locked, true]);
    }
    const created = await run(["backup", "create", folder, "--data-dir", dataDir]);
    assert.deepEqual([created.code, created.stderr], [exitCodes.done, ""]);
    assert.equal((await run(["restore", folder, target])).code, exitCodes.done);
    await using node = await startNode(target);
    await using client = connect(`127.0.0.1:${node.port}`);
    assert.deepEqual(await recordsOf(client, "orders"), expected);
  });

  test("a cluster is copied through whoever leads, and begins anew from one restored directory", async () => {
    const [folder, target] = [path("backup"), path("restored")];
    let expected: object[];
    {
      await using nodes = await ThreeNodes.start({ "segment-max-bytes": "4KiB" });
      const { client } = nodes;
      await client.createTopic("orders", { partitionCount: 3, replicationFactor: 3 });
      await fill(client, 90);
      // So that terms and memberships stand in the logs, and others than the one asked lead.
      const leader = await nodes.leaderOf("orders", 1);
      await client.cluster.transferLeadership({
        topic: "orders",
        partition: 1,
        to: nodes.names.find((name) => name !== leader) ?? "",
      });
      await fill(client, 90);
      expected = await recordsOf(client, "orders");
      const created = await run(["backup", "create", folder, "--server", `127.0.0.1:${nodes.node("n2").port}`]);
      assert.deepEqual([created.code, created.stderr], [exitCodes.done, ""]);
      // Another node is asked, and the same folder goes on.
      const again = await run(["backup", "create", folder, "--json", "--server", `127.0.0.1:${nodes.node("n3").port}`]);
      assert.ok(JSON.parse(again.stdout).keptBytes > 0, again.stderr);
    }
    assert.equal((await run(["backup", "verify", folder])).code, exitCodes.done);
    assert.equal((await run(["restore", folder, target])).code, exitCodes.done);
    const sorted = (records: readonly object[]): string[] => records.map((record) => JSON.stringify(record)).sort();
    {
      await using node = await startNode(target);
      await using client = connect(`127.0.0.1:${node.port}`);
      assert.deepEqual(sorted(await recordsOf(client, "orders")), sorted(expected));
    }
    await using node = await startNode(target, { bootstrap: true, "node-name": "new-1" });
    await using second = await startTestNode({
      flags: { "data-dir": "/second", "node-name": "new-2", "start-join-addrs": `127.0.0.1:${node.port}` },
    });
    await using client = connect([`127.0.0.1:${node.port}`, `127.0.0.1:${second.port}`]);
    await waitUntil("the topics are the cluster's", async () => (await client.listTopics()).length === 1);
    await waitUntil("both nodes are there", async () => (await client.cluster.status()).nodes.length === 2);
    await client.alterTopic("orders", { replicationFactor: 2 });
    await waitUntil("both have all of it", async () => {
      const { partitions } = await client.describeTopic("orders");
      return partitions.every(
        ({ replicas }) => replicas.length === 2 && replicas.every(({ isInSync, isVoter }) => isInSync && isVoter),
      );
    });
    await fill(client, 10);
    assert.equal((await recordsOf(client, "orders")).length, expected.length + 10);
    const older = new Set(sorted(expected));
    assert.equal(sorted(await recordsOf(client, "orders")).filter((record) => older.has(record)).length, expected.length);
  });

  test("what is wrong with a folder, a server or a directory is said with a code", async () => {
    const [dataDir, folder, target] = [path("data"), path("backup"), path("restored")];
    assert.match(
      (await run(["backup", "verify", folder])).stderr,
      /^proglog: LOG_NOT_FOUND: Cannot verify \S+: there is no such folder\n$/,
    );
    const dead = await run(["backup", "create", folder, "--server", "127.0.0.1:1"]);
    assert.deepEqual(
      [dead.code, /UNAVAILABLE: Cannot read from 127\.0\.0\.1:1/.test(dead.stderr)],
      [exitCodes.unreachable, true],
    );
    assert.match((await run(["backup", "create", folder, "--data-dir", dataDir])).stderr, /LOG_NOT_FOUND: Cannot back up/);
    const both = await run(["backup", "create", folder, "--data-dir", dataDir, "--server", "127.0.0.1:1"]);
    assert.equal(both.code, exitCodes.usage);
    {
      await using node = await startNode(dataDir);
      await using client = connect(`127.0.0.1:${node.port}`);
      await client.createTopic("orders", {});
      await fill(client, 30);
      assert.equal((await run(["backup", "create", folder, "--server", `127.0.0.1:${node.port}`])).code, exitCodes.done);
    }
    const [uuid = ""] = readdirSync(join(folder, "logs"));
    const store = join(
      folder,
      "logs",
      uuid,
      readdirSync(join(folder, "logs", uuid)).find((name) => name.endsWith(".store")) ?? "",
    );
    const bytes = readFileSync(store);
    bytes[300] = (bytes[300] ?? 0) ^ 4;
    writeFileSync(store, bytes);
    const verified = await run(["backup", "verify", folder]);
    assert.deepEqual(
      [verified.code, /^DAMAGED orders\/0[^]*damage in 1\.\n$/.test(verified.stdout)],
      [exitCodes.damaged, true],
    );
    const restored = await run(["restore", folder, target]);
    assert.deepEqual([restored.code, /LOG_CORRUPT: Cannot restore/.test(restored.stderr)], [exitCodes.damaged, true]);
    // What is left of it isn't taken for a node's directory.
    await assert.rejects(startNode(target), { code: "MANIFEST_CORRUPT" });
  });

  test("a node refuses what a backup doesn't ask for", async () => {
    await using node = await startNode(path("data"), { "segment-max-bytes": "64MiB" });
    await using client = connect(`127.0.0.1:${node.port}`);
    await client.createTopic("orders", {});
    const base = "/v1/backup/topics/orders/partitions";
    const log = await node.json("GET", `${base}/0/log`);
    const version = String(log["version"]);
    assert.equal((await node.json("GET", `${base}/7/log`, { status: 404 }))["code"], "PARTITION_NOT_FOUND");
    assert.equal((await node.json("GET", `${base}/x/log`, { status: 400 }))["code"], "INVALID_ARGUMENT");
    assert.equal(
      (await node.json("GET", "/v1/backup/topics/users/partitions/0/log", { status: 404 }))["code"],
      "TOPIC_NOT_FOUND",
    );
    const stale = `${base}/0/store?version=old&baseIndex=1&position=0&endPosition=100`;
    assert.equal((await node.json("GET", stale, { status: 503 }))["code"], "CHANGE_IN_PROGRESS");
    assert.equal((await node.json("GET", `${base}/0/store?version=${version}`, { status: 400 }))["code"], "INVALID_ARGUMENT");
    const beyond = await node.get(
      `${base}/0/store?version=${version}&baseIndex=1&position=1000000&endPosition=9007199254740991`,
    );
    assert.deepEqual([beyond.status, beyond.text], [200, ""]);
    const whole = await node.get(`${base}/0/store?version=${version}&baseIndex=1&position=0&endPosition=9007199254740991`);
    assert.equal(whole.headers["content-length"], "128");
    for (let i = 0; i < 5; i += 1) await client.append([{ value: "x".repeat(MiB - KiB) }], { topic: "orders" });
    const { version: newer } = await node.json("GET", `${base}/0/log`);
    const store = `${base}/0/store?version=${String(newer)}&baseIndex=1&position=0&endPosition=9007199254740991`;
    const [large] = (
      await node.json<{ readonly segments: readonly { readonly bytes: number }[] }>(
        "GET",
        `${base}/0/segments?version=${String(newer)}&fromIndex=1&lastIndex=5`,
      )
    ).segments;
    assert.ok((large?.bytes ?? 0) > backupPieceBytes);
    assert.equal((await node.get(store)).headers["content-length"], String(backupPieceBytes));
    const elsewhere = await node.json("GET", `${base}/0/segments?version=${version}&fromIndex=5&lastIndex=9`, { status: 503 });
    assert.equal(elsewhere["code"], "CHANGE_IN_PROGRESS");
  });
});
