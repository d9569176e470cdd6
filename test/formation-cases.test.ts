import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { isProglogError } from "../src/base/error.ts";
import { formationReminderMs } from "../src/base/cluster-limits.ts";
import { writeManifest } from "../src/log/manifest.ts";
import type { ClusterFlags } from "../src/replica/cluster/cluster-identity.ts";
import { FormationWorld, type WorldNode } from "./formation-world.ts";

describe("a cluster begins", () => {
  for (const order of permutations(["a", "b", "c"]))
    test(`with three nodes, started in the order ${order.join(", ")}`, async () => {
      const world = makeWorld();
      const nodes = addCandidates(world, ["a", "b", "c"]);
      for (const name of order) {
        nodes.find((node) => node.name === name)?.start();
        assert.equal(
          await world.run(3_000, () => name !== order[2] && nodes.some(({ clusterId }) => clusterId !== undefined)),
          false,
        );
      }
      await allIn(world);
      assert.deepEqual(nodes.map(roleOf), ["voter", "voter", "voter"]);
      assert.equal(nodes[0]?.identity?.waitsFor, undefined);
    });

  test("with the number of nodes that is asked for, of which three or five vote", async () => {
    for (const [count, voters] of [
      [1, 1],
      [2, 2],
      [4, 3],
      [6, 5],
    ] as const) {
      const world = makeWorld();
      const nodes = addCandidates(world, ["a", "b", "c", "d", "e", "f"].slice(0, count));
      startAll(world);
      await allIn(world);
      assert.equal(nodes.map(roleOf).filter((role) => role === "voter").length, voters);
      assert.equal(nodes.map(roleOf).filter((role) => role === "learner").length, count - voters);
      const members = nodes.map(({ identity }) => identity?.membership?.members);
      for (const each of members) assert.deepEqual(each, members[0]);
    }
  });

  test("when the power of any node goes before any call to its disk", async () => {
    let cutCount = 0;
    for (const victim of [0, 1, 2])
      for (let call = 1; ; call += 1) {
        const world = makeWorld(`cut ${victim} ${call}`);
        const nodes = addCandidates(world, ["a", "b", "c"]);
        const node = at(nodes, victim);
        node.cutBeforeCall = call;
        startAll(world);
        await world.run(10_000, () => !node.isUp || areAllIn(world));
        if (node.isUp) break;
        cutCount += 1;
        startAll(world);
        await allIn(world);
      }
    assert.ok(cutCount > 40, String(cutCount));
  });

  test("by way of a name that is found late, and means many", async () => {
    const world = makeWorld();
    addCandidates(world, ["a", "b", "c"], { startJoinAddrs: ["all:8000"] });
    world.names.set("all:8000", []);
    startAll(world);
    await world.run(5_000);
    world.names.set("all:8000", ["a:8000", "b:8000", "c:8000", "gone:8000"]);
    await allIn(world);
  });

  test("when all name only one of them, which is somewhere else after a restart", async () => {
    const world = makeWorld();
    const [, , c] = addCandidates(world, ["a", "b", "c"], { startJoinAddrs: ["a:8000"] });
    assert.ok(c !== undefined);
    for (const name of ["a:8000", "b:8000"]) world.cuts.add(`${name}>c:8000`);
    startAll(world);
    await world.run(3_000);
    c.kill();
    world.cuts.clear();
    c.address = "c2:8000";
    c.start();
    await allIn(world);
  });

  test("at once by --bootstrap alone", async () => {
    const world = makeWorld();
    const a = world.add("a", { isBootstrapping: true });
    a.start();
    await allIn(world, 0);
    assert.equal(roleOf(a), "voter");
  });

  test("by --bootstrap with topics of a single node, which comes with its storage id", async () => {
    const world = makeWorld();
    const a = world.add("a", { isBootstrapping: true });
    await giveTopics(a);
    a.start();
    await allIn(world, 0);
    assert.equal(a.state?.storageId, storageId);
  });

  test("by --bootstrap once all join addresses said that they know none", async () => {
    const world = makeWorld();
    const a = world.add("a", { isBootstrapping: true, startJoinAddrs: ["a:8000", "b:8000"] });
    a.start();
    await world.run(20_000);
    assert.equal(a.clusterId, undefined);
    const b = world.add("b", { startJoinAddrs: ["a:8000"] });
    b.start();
    await allIn(world);
    assert.deepEqual([roleOf(a), roleOf(b)], ["voter", "joined"]);
  });

  test("once, when two bootstrap that name each other", async () => {
    for (let seed = 0; seed < 10; seed += 1) {
      const world = makeWorld(`two ${seed}`);
      for (const name of ["a", "b"]) world.add(name, { isBootstrapping: true, startJoinAddrs: ["a:8000", "b:8000"] });
      startAll(world);
      await allIn(world);
    }
  });
});

describe("nothing begins", () => {
  test("while nodes are missing", async () => {
    const world = makeWorld();
    const [a, b] = addCandidates(world, ["a", "b", "c"]);
    a?.start();
    b?.start();
    await world.run(2.5 * formationReminderMs);
    assert.equal(world.clusterIds.length, 0);
    assert.equal(a?.log.filter((line) => line.startsWith("info waiting for a cluster: 2 of 3")).length, 3, "now and then");
    assertTells(a, /2 of 3 nodes are there: /);
    assert.match(a?.identity?.waitsFor ?? "", /^2 of 3 nodes are there: /);
  });

  test("with a node too many, until one is stopped", async () => {
    const world = makeWorld();
    const nodes = addCandidates(world, ["a", "b", "c", "d"], { initialNodes: 3 });
    startAll(world);
    await world.run(20_000);
    assert.equal(world.clusterIds.length, 0);
    for (const node of nodes) assertTells(node, /4 nodes would form a cluster of 3, and nobody says who is too many: /);
    at(nodes, 3).kill();
    await allIn(world);
  });

  test("with two nodes of one name", async () => {
    const world = makeWorld();
    const [a, b, c] = addCandidates(world, ["a", "b", "c"]);
    assert.ok(c !== undefined);
    c.flags = { ...c.flags, nodeName: "b" };
    startAll(world);
    await world.run(20_000);
    assert.equal(world.clusterIds.length, 0);
    assertTells(a, /two nodes are called b: b at b:8000, b at c:8000/);
    assertTells(b, /two nodes are called b/);
    c.kill();
    c.flags = { ...c.flags, nodeName: "c" };
    c.start();
    await allIn(world);
  });

  test("with different numbers", async () => {
    const world = makeWorld();
    const [a, , c] = addCandidates(world, ["a", "b", "c"]);
    assert.ok(c !== undefined);
    c.flags = { ...c.flags, initialNodes: 5 };
    startAll(world);
    await world.run(20_000);
    assert.equal(world.clusterIds.length, 0);
    assertTells(a, /c at c:8000 was started with --initial-nodes 5, and this node with 3/);
    c.kill();
    c.flags = { ...c.flags, initialNodes: 3 };
    c.start();
    await allIn(world);
  });

  test("with a copy of a directory", async () => {
    const world = makeWorld();
    const [a, b, c] = addCandidates(world, ["a", "b", "c"]);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    a.start();
    await world.run(1_000);
    a.kill();
    a.copyTo(b);
    startAll(world);
    await world.run(20_000);
    assert.equal(world.clusterIds.length, 0);
    assertTells(c, /run from copies of one directory/);
    b.wipe();
    b.start();
    await allIn(world);
  });
});

describe("a promise", () => {
  test("is kept without any flag, and the cluster comes to be though who proposed it stays away", async () => {
    const world = makeWorld("promise");
    const nodes = addCandidates(world, ["a", "b", "c"]);
    startAll(world);
    assert.ok(await world.run(10_000, () => nodes.every(({ state }) => state?.promise !== undefined)));
    const { proposer } = nodes[0]?.state?.promise ?? assert.fail();
    for (const node of nodes) node.kill();
    const others = nodes.filter(({ state }) => state?.storageId !== proposer);
    assert.equal(world.clusterIds.length, 0);
    for (const node of others) {
      node.flags = { ...node.flags, initialNodes: undefined, startJoinAddrs: [] };
      node.start();
    }
    await allIn(world);
    startAll(world);
    await allIn(world);
    assert.deepEqual(nodes.map(roleOf), ["voter", "voter", "voter"]);
  });

  test("is fulfilled by the word of one who is in, though the others are down", async () => {
    const world = makeWorld("word");
    const nodes = addCandidates(world, ["a", "b", "c"]);
    startAll(world);
    assert.ok(await world.run(10_000, () => nodes.every(({ state }) => state?.promise !== undefined)));
    const [last, other] = nodes.filter(({ state }) => state?.promise?.proposer !== state?.storageId);
    assert.ok(last !== undefined && other !== undefined && last.state?.clusterId === undefined);
    last.kill();
    await allIn(world);
    // Whether the third one promised can be learnt from nobody but the one who counted.
    other.kill();
    last.start();
    await allIn(world);
  });

  test("whose member's directory is gone is told, with what to do", async () => {
    const world = makeWorld("gone");
    const nodes = addCandidates(world, ["a", "b", "c"]);
    startAll(world);
    const isOneFree = (): boolean => nodes.filter(({ state }) => state?.promise !== undefined).length === 1;
    assert.ok(await world.run(10_000, isOneFree));
    const proposer = nodes.find(({ state }) => state?.promise !== undefined);
    const free = nodes.find((node) => node !== proposer);
    assert.ok(free !== undefined && proposer !== undefined);
    free.wipe();
    free.start();
    await world.run(30_000);
    assert.equal(world.clusterIds.length, 0);
    assertTells(proposer, /runs on another directory now.*stop this node, remove its data directory, which is empty/);
    for (const node of nodes) if (node.state?.promise !== undefined) node.wipe();
    startAll(world);
    await allIn(world);
  });

  test("that can't be kept any more is dropped, with the storage id that gave it", async () => {
    const world = makeWorld("bound");
    const [a, b, c, d] = addCandidates(world, ["a", "b", "c", "d"], { initialNodes: 2 });
    assert.ok(a !== undefined && b !== undefined && c !== undefined && d !== undefined);
    // One of a and b proposes, and goes before the other is asked; that one then forms a cluster with c.
    a.start();
    b.start();
    assert.ok(await world.run(10_000, () => [a, b].some(({ state }) => state?.promise !== undefined)));
    const proposer = a.state?.promise === undefined ? b : a;
    const other = proposer === a ? b : a;
    proposer.kill();
    const { storageId: before } = proposer.state ?? assert.fail();
    other.kill();
    assert.equal(other.state?.promise, undefined);
    await world.run(1_000);
    other.start();
    c.start();
    assert.ok(await world.run(30_000, () => other.clusterId !== undefined && c.clusterId !== undefined));
    proposer.start();
    d.flags = { ...d.flags, initialNodes: undefined };
    startAll(world);
    await allIn(world);
    assert.notEqual(proposer.state?.storageId, before);
    assert.equal(roleOf(proposer), "joined");
    assert.ok(proposer.log.some((line) => line.includes("can't come to be")));
  });
});

describe("a node joins", () => {
  test("through any node, and once: also when it comes again, or from elsewhere", async () => {
    const world = await makeCluster();
    const d = world.add("d", { startJoinAddrs: ["b:8000"] });
    d.start();
    await allIn(world);
    assert.equal(roleOf(d), "joined");
    assert.equal(d.identity?.membership?.members.length, 0);
    d.kill();
    d.start();
    await allIn(world, 0);
    // Taken in, and not told: it asks again, from where it is then.
    const e = world.add("e", { startJoinAddrs: ["b:8000"] });
    const catalog = world.catalogs.get(d.clusterId ?? "");
    e.start();
    await world.run(10_000, () => world.catalogs.get(d.clusterId ?? "") !== catalog);
    e.cutPower();
    e.address = "e2:8000";
    e.start();
    await allIn(world);
    assert.equal(world.catalogs.get(d.clusterId ?? "")?.find(({ name }) => name === "e")?.address, "e2:8000");
  });

  test("a cluster that is there, though it was started to form one", async () => {
    const world = await makeCluster();
    const [d] = addCandidates(world, ["d"], { initialNodes: 3, startJoinAddrs: ["a:8000"] });
    d?.start();
    await allIn(world);
    assert.equal(world.clusterIds.length, 1);
  });

  test("after it waited for a node of the cluster to come", async () => {
    const world = makeWorld();
    const d = world.add("d", { startJoinAddrs: ["a:8000"] });
    d.start();
    await world.run(20_000);
    addCandidates(world, ["a", "b", "c"]);
    startAll(world);
    await allIn(world);
  });

  test("under a name that is taken: NODE_ALREADY_EXISTS", async () => {
    const world = await makeCluster();
    const d = world.add("b", { startJoinAddrs: ["a:8000"] }, { address: "d:8000" });
    d.start();
    await world.run(20_000, () => !d.isUp);
    assert.ok(isProglogError(d.failure, "NODE_ALREADY_EXISTS"), String(d.failure));
    assert.match(d.failure.hint ?? "", /proglog cluster remove b --force/);
  });

  test("none of two clusters that its addresses lead to", async () => {
    const world = await makeCluster();
    const x = world.add("x", { isBootstrapping: true });
    const d = world.add("d", { startJoinAddrs: ["a:8000", "x:8000"] });
    x.start();
    d.start();
    await world.run(10_000);
    assert.equal(d.clusterId, undefined);
    assertTells(d, /belongs to cluster .* and .* to .*: name one of them/);
  });

  test("when it is told to stop, it stops waiting", async () => {
    const world = makeWorld();
    const d = world.add("d", { startJoinAddrs: ["a:8000"] });
    d.start();
    await world.run(1_000);
    d.stop();
    await world.run(100);
    assert.ok(isProglogError(d.failure, "CANCELLED"));
  });
});

describe("a directory", () => {
  test("of a node without cluster flags stays a single node's, and gets no node record", async () => {
    const world = makeWorld();
    const a = world.add("a");
    a.start();
    await world.run(100);
    assert.equal(a.identity, undefined);
    assert.equal(a.failure, undefined);
    assert.deepEqual(a.disk.list("/data"), []);
  });

  test("of a cluster's node goes on as that, whatever the flags, and asks nobody", async () => {
    const world = await makeCluster();
    for (const node of world.nodes) node.kill();
    const a = at(world.nodes, 0);
    for (const flags of [{}, { isBootstrapping: true }, { initialNodes: 5, startJoinAddrs: ["z:8000"] }]) {
      a.flags = { nodeName: undefined, startJoinAddrs: [], initialNodes: undefined, isBootstrapping: false, ...flags };
      a.start();
      await world.run(0);
      assert.equal(roleOf(a), "voter");
      a.kill();
    }
    a.flags = { ...a.flags, nodeName: "z" };
    a.start();
    await world.run(0);
    assert.ok(isProglogError(a.failure, "INVALID_CONFIG"));
    assert.equal(a.failure.message, "Cannot start as z: this directory is that of a");
  });

  test("with topics of a single node is refused by clusters of others", async () => {
    const world = makeWorld();
    for (const flags of [{ initialNodes: 3, startJoinAddrs: ["b:8000"] }, { startJoinAddrs: ["b:8000"] }]) {
      const a = world.add(`a${world.nodes.length}`, flags);
      await giveTopics(a);
      a.start();
      await world.run(0);
      assert.ok(isProglogError(a.failure, "INVALID_CONFIG"), String(a.failure));
      assert.deepEqual(a.disk.list("/data"), ["logs", "manifest", "manifest.spare"]);
    }
  });

  test("with topics of a single node doesn't join a cluster that its --bootstrap finds", async () => {
    const world = await makeCluster();
    const d = world.add("d", { isBootstrapping: true, startJoinAddrs: ["a:8000"] });
    await giveTopics(d);
    d.start();
    await world.run(10_000, () => !d.isUp);
    assert.ok(isProglogError(d.failure, "INVALID_CONFIG"), String(d.failure));
    assert.equal(d.clusterId, undefined);
  });

  test("with logs that nobody names is refused: it may have lost its node record", async () => {
    const world = makeWorld();
    const a = world.add("a", { isBootstrapping: true });
    await a.disk.makeDirectory("/data/logs/00000000-0000-4000-8000-000000000001");
    a.start();
    await world.run(0);
    assert.ok(isProglogError(a.failure, "MANIFEST_CORRUPT"), String(a.failure));
  });
});

const storageId = "00112233445566778899aabbccddeeff";

async function giveTopics(node: WorldNode): Promise<void> {
  const uuid = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
  await node.disk.makeDirectory(`/data/logs/${uuid(2)}`);
  const topic = { name: "orders", uuid: uuid(1), createdAt: 1, partitions: [{ partition: 0, uuid: uuid(2) }], settings: {} };
  await writeManifest(node.disk, "/data/manifest", { generation: 1, storageId, topics: [topic], deleted: [] });
}

function makeWorld(seed = "cases"): FormationWorld {
  return new FormationWorld(createSeededRandom(seed));
}

async function makeCluster(): Promise<FormationWorld> {
  const world = makeWorld();
  addCandidates(world, ["a", "b", "c"]);
  startAll(world);
  await allIn(world);
  return world;
}

function addCandidates(world: FormationWorld, names: readonly string[], flags: Partial<ClusterFlags> = {}): WorldNode[] {
  const startJoinAddrs = names.map((name) => `${name}:8000`);
  return names.map((name) => world.add(name, { initialNodes: names.length, startJoinAddrs, ...flags }));
}

function startAll({ nodes }: FormationWorld): void {
  for (const node of nodes) node.start();
}

function areAllIn({ nodes }: FormationWorld): boolean {
  return nodes.every((node) => !node.isUp || node.clusterId !== undefined);
}

/** Everybody who is up is in one cluster, and that before long. */
async function allIn(world: FormationWorld, withinMs = 30_000): Promise<void> {
  const isDone = await world.run(withinMs, () => areAllIn(world));
  assert.ok(isDone, world.story.join("\n"));
  world.checkFormed();
  assert.equal(new Set(world.nodes.filter(({ isUp }) => isUp).map(({ clusterId }) => clusterId)).size, 1);
}

function roleOf(node: WorldNode): string | undefined {
  return node.identity?.membership?.role;
}

function assertTells(node: WorldNode | undefined, what: RegExp): void {
  assert.match(node?.log.filter((line) => !line.startsWith("debug")).join("\n") ?? "", what);
}

function at<Item>(items: readonly Item[], position: number): Item {
  return items[position] ?? assert.fail();
}

function permutations<Item>(items: readonly Item[]): Item[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, position) => permutations(items.toSpliced(position, 1)).map((rest) => [item, ...rest]));
}
