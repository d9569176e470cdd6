import assert from "node:assert/strict";
import { cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { nodeDisk } from "../src/base/node-disk.ts";
import { makeFolder } from "./command-process.ts";
import { readReplica, readReplicas } from "./recorded-clients.ts";
import { TestCluster, type TestMember } from "./test-cluster.ts";
import { waitUntil } from "./wait-until.ts";

describe("nodes become a cluster", () => {
  test("in any order, one stopped and started again in the middle, and go on as that cluster without a flag", async () => {
    using folder = makeFolder();
    await using cluster = await TestCluster.make(3, { disk: nodeDisk, directory: folder.path });
    const [a, b, c] = three(cluster);
    const initial = { "initial-nodes": 3 };
    const first = a.start(initial);
    await waitUntil("it has made its directory", () => nodeDisk.isDirectory(a.directory));
    await Promise.all([assert.rejects(first), a.stop()]);
    const rest = Promise.all([c.start(initial), b.start(initial)]);
    await Promise.all([a.start(initial), rest]);
    await cluster.untilServing();
    const { clusterId } = await cluster.connect().cluster.status();
    await cluster.connect().createTopic("kept", { replicationFactor: 3 });
    const { offset } = await cluster.connect().producer({ topic: "kept" }).send({ value: "one" });
    assert.equal(offset, 0);

    await Promise.all(cluster.members.map((member) => member.stop()));
    for (const member of [c, a, b]) await member.start({ "start-join-addrs": undefined });
    await cluster.untilWell();
    assert.equal((await cluster.connect().cluster.status()).clusterId, clusterId);
    for (const [, records] of await readReplicas(cluster.members, "kept"))
      assert.deepEqual(records, [{ offset: 0, content: "one" }]);
  });

  test("by names that mean several addresses", async () => {
    await using cluster = await TestCluster.make(3);
    // On most systems it means ::1 as well, where nobody listens.
    const names = cluster.members.map(({ port }) => `localhost:${port}`).join(",");
    await Promise.all(cluster.members.map((member) => member.start({ "initial-nodes": 3, "start-join-addrs": names })));
    await cluster.untilServing();
  });

  test("from a single node with its topics and records, which then have replicas on all", async () => {
    using folder = makeFolder();
    await using cluster = await TestCluster.make(3, { disk: nodeDisk, directory: folder.path });
    const [a, b, c] = three(cluster);
    await a.start({ "node-name": undefined, "start-join-addrs": undefined });
    const single = cluster.connect("a");
    const { uuid } = await single.createTopic("kept", { partitionCount: 2, settings: { retentionMs: "7d" } });
    const values = Array.from({ length: 25 }, (_, number) => ({ value: `single:${number}` }));
    for (const partition of [0, 1]) await single.append(values, { topic: "kept", partition });
    const before = await readReplica(a.address, "kept");
    await a.stop();

    await a.start({ bootstrap: true, "start-join-addrs": undefined });
    // At once, as a client would that had been waiting: it must not make another topic of that name.
    const { offset } = await single.producer({ topic: "kept", partition: 0 }).send({ value: "cluster:0" });
    assert.equal(offset, before.length);
    const taken = await single.describeTopic("kept");
    assert.deepEqual([taken.uuid, taken.settings, taken.replicationFactor], [uuid, { retentionMs: "7d" }, 1]);

    await b.start({ "start-join-addrs": a.address });
    // By way of a node that follows.
    await c.start({ "start-join-addrs": b.address });
    await cluster.untilServing();
    await single.alterTopic("kept", { replicationFactor: 3 });
    await cluster.untilWell();
    for (const [, records] of await readReplicas(cluster.members, "kept"))
      assert.deepEqual(records, [...before, { offset: before.length, content: "cluster:0" }]);
    for (const [, records] of await readReplicas(cluster.members, "kept", 1)) assert.equal(records.length, 25);
  });
});

describe("a cluster keeps out", () => {
  test("who isn't whom it takes him for: other names, clusters, copies, old and empty directories", async (context) => {
    using folder = makeFolder();
    await using cluster = await TestCluster.make(4, { disk: nodeDisk, directory: folder.path });
    const [a, b, c, d] = cluster.members as readonly [TestMember, TestMember, TestMember, TestMember];
    await Promise.all(
      [a, b, c].map((member) => member.start({ "initial-nodes": 3, "start-join-addrs": joinAddressesOf([a, b, c]) })),
    );
    await cluster.untilServing();
    await cluster.connect("a").createTopic("kept", { replicationFactor: 3 });
    await cluster.connect("a").producer({ topic: "kept" }).send({ value: "one" });
    const isWell = async (): Promise<void> => {
      await cluster.untilWell();
      for (const [, records] of await readReplicas([a, b, c], "kept"))
        assert.deepEqual(records, [{ offset: 0, content: "one" }]);
    };

    await context.test("a second node of one name", async () => {
      await assert.rejects(d.start({ "node-name": "a", "start-join-addrs": b.address }), { code: "NODE_ALREADY_EXISTS" });
      rmSync(d.directory, { recursive: true });
      await isWell();
    });

    await context.test("a node of another cluster", async () => {
      const elsewhere = { "data-dir": join(folder.path, "elsewhere"), "node-name": "b", "start-join-addrs": undefined };
      await b.stop();
      await b.start({ ...elsewhere, bootstrap: true });
      await untilRefused(a, "cluster");
      assert.deepEqual(await waitUntil("it serves", () => cluster.connect("b").listTopics()), []);
      await b.stop();
      await b.start();
      await isWell();
    });

    await context.test("a copy of a directory, while the node itself runs", async () => {
      await b.stop();
      cpSync(b.directory, d.directory, { recursive: true });
      await b.start();
      await isWell();
      const copy = await d.start({ "node-name": "b" });
      await untilRefused(a, "copy");
      await copy.close();
      await d.stop();
      rmSync(d.directory, { recursive: true });
      await isWell();
    });

    await context.test("a directory as it was before", async () => {
      const kept = join(folder.path, "kept");
      await c.stop();
      cpSync(c.directory, kept, { recursive: true });
      for (let start = 0; start < 2; start += 1) {
        await c.start();
        await isWell();
        await c.stop();
      }
      rmSync(c.directory, { recursive: true });
      cpSync(kept, c.directory, { recursive: true });
      // The others may tell it while it starts, or a moment later.
      const started = await c.start().catch((error: unknown) => assert.match(String(error), /others have refused it/));
      await untilRefused(a, "rolled-back");
      await waitUntil("it has heard", () => c.diagnostics.includes("was put back to an earlier state"));
      if (started !== undefined) {
        assert.match(String(started.stopped.reason), /others have refused it/);
        assert.equal((await fetch(`${started.url}/readyz`)).status, 503);
      }
      await c.stop();
      await assert.rejects(c.start(), { code: "PEER_REFUSED" });
    });

    await context.test("an empty directory in the place of one, until the node was removed", async () => {
      rmSync(c.directory, { recursive: true });
      await assert.rejects(c.start({ "start-join-addrs": a.address }), { code: "NODE_ALREADY_EXISTS" });
      rmSync(c.directory, { recursive: true, force: true });
      await cluster.connect("a").cluster.removeNode("c", { force: true });
      await c.start({ "start-join-addrs": a.address });
      await waitUntil("it has a replica again", async () => (await readReplica(c.address, "kept")).length === 1);
      await isWell();
    });
  });
});

function three({ members }: TestCluster): readonly [TestMember, TestMember, TestMember] {
  return members as readonly [TestMember, TestMember, TestMember];
}

function joinAddressesOf(members: readonly TestMember[]): string {
  return members.map(({ address }) => address).join(",");
}

/** Until a node has written that it speaks with somebody no more, and why. */
async function untilRefused(member: TestMember, reason: string): Promise<void> {
  await waitUntil(`${member.name} refuses somebody: ${reason}`, () => {
    const last = member.lines.filter(({ level }) => level === "warn").map((line) => JSON.stringify(line));
    if (last.some((line) => line.includes(reasonTexts[reason] ?? ""))) return true;
    throw new Error(last.slice(-10).join("\n"));
  });
}

const reasonTexts: Readonly<Record<string, string>> = {
  cluster: "it belongs to cluster",
  copy: "runs on a copy of its directory",
  "rolled-back": "it is an old copy",
};
