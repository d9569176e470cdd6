import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { openLog } from "../../log/index.ts";
import { type Manifest, readManifest, writeManifest } from "../../log/manifest.ts";
import { ClusterCatalog } from "./cluster-catalog.ts";
import type { ClusterIdentity } from "./cluster-identity.ts";
import { FakeCatalogLog } from "./fake-catalog-group.ts";
import { formCatalog, topicsToTake } from "./form-catalog.ts";

const clusterId = "c".repeat(32);
const storageId = "a".repeat(32);
const member = { name: "a", storageId, address: "a:1" };
const uuidOf = (number: number): string => `00000000-0000-4000-8000-00000000000${number}`;

describe("a single node's topics become a cluster's", () => {
  test("with the uuids that they have, and then its manifest names them no more", async () => {
    await using world = await World.open("orders", "bills");
    await world.run(world.form());
    assert.deepEqual(world.uuids, { orders: uuidOf(1), bills: uuidOf(3) });
    assert.deepEqual(world.manifest?.topics, []);
    assert.equal(world.manifest?.generation, 2);
    await world.run(world.catalog.deleteTopic("orders"));
    await world.run(world.form());
    assert.deepEqual(world.uuids, { bills: uuidOf(3) }, "what is deleted doesn't come again");
  });

  test("with its access policy, before the topics; one that the cluster has already stays", async () => {
    await using world = await World.open("orders");
    const { manifest } = world;
    assert.ok(manifest !== undefined);
    await writeManifest(world.disk, "/data/manifest", { ...manifest, policy: "mine" });
    const seen: string[] = [];
    world.catalog.watch(() => seen.push(`${world.catalog.state.policy} ${world.catalog.state.topics.size}`));
    await world.run(world.form());
    assert.equal(world.catalog.state.policy, "mine");
    assert.ok(!seen.includes(" 1"), seen.join());
    assert.deepEqual({ topics: world.manifest?.topics, policy: world.manifest?.policy }, { topics: [], policy: undefined });
    await writeManifest(world.disk, "/data/manifest", { ...manifest, topics: [], policy: "another" });
    await world.run(world.form());
    assert.equal(world.catalog.state.policy, "mine");
    assert.equal(world.manifest?.policy, undefined);
  });

  test("nobody makes another of the name, or deletes one, before all of them are there", async () => {
    await using world = await World.open("orders", "bills");
    const reserved = topicsToTake(world.disk, "/data", world.identity);
    assert.deepEqual([...reserved], ["orders", "bills"]);
    world.reserved = reserved;
    // Somebody who wants to append asks as soon as the node listens.
    const early = world.catalog.createTopic({ name: "bills" });
    const forming = world.form().then(() => (world.reserved = new Set()));
    await assert.rejects(world.run(early), { code: "TOPIC_ALREADY_EXISTS" });
    await world.run(forming);
    assert.deepEqual(world.uuids, { orders: uuidOf(1), bills: uuidOf(3) });
    world.reserved = new Set(["orders"]);
    await assert.rejects(world.run(world.catalog.deleteTopic("orders")), { code: "TIMEOUT" });
    assert.equal(world.catalog.findTopic("orders")?.uuid, uuidOf(1));
  });

  test("what it had deleted and not removed yet goes, also of the manifest", async () => {
    await using world = await World.open("orders");
    const deleted = [uuidOf(7), uuidOf(8)];
    await (await openLog(`/data/logs/${uuidOf(7)}`, { disk: world.disk, takesLock: false })).close();
    const manifest = world.manifest;
    assert.ok(manifest !== undefined);
    await writeManifest(world.disk, "/data/manifest", { ...manifest, deleted });
    await world.run(world.form());
    assert.deepEqual(world.manifest?.deleted, []);
    assert.equal(world.disk.isDirectory(`/data/logs/${uuidOf(7)}`), false);
    assert.deepEqual(world.uuids, { orders: uuidOf(1) });
    assert.equal(world.disk.list("/data/logs").length, 2, "those of the topic stay");
  });

  test("one whose name is another's by now stays in the manifest", async () => {
    await using world = await World.open("orders", "bills");
    await world.run(world.catalog.propose({ kind: "form-cluster", version: 1, clusterId, nodes: [{ ...member, version: 1 }] }));
    const { uuid } = await world.run(world.catalog.createTopic({ name: "bills" }));
    await world.run(world.form());
    assert.deepEqual(world.uuids, { orders: uuidOf(1), bills: uuid });
    assert.deepEqual(
      world.manifest?.topics.map(({ name }) => name),
      ["bills"],
    );
  });
});

/** A node that begins a cluster in the directory of a single node, and leads its group 0. */
class World implements AsyncDisposable {
  readonly clock = createVirtualClock();
  readonly disk = createMemoryDisk();
  reserved: ReadonlySet<string> = new Set();
  readonly catalog: ClusterCatalog;
  readonly identity = {
    name: "a",
    peer: { clusterId, nodeId: "a", storageId, bootCounter: 1, life: "1234567890abcdef", address: "a:1" },
    membership: { clusterId, members: [member], firstVoters: [member], role: "voter" },
  } as unknown as ClusterIdentity;
  readonly #stopping = new AbortController();

  private constructor() {
    const log = new FakeCatalogLog();
    log.leader = "a";
    this.catalog = new ClusterCatalog(log.view("a"), {
      clock: this.clock,
      random: createSeededRandom("form"),
      logger: silentLogger,
      peers: { ask: () => assert.fail("there is nobody to ask") },
      reservedTopics: () => this.reserved,
    });
  }

  /** Each topic has two partitions. */
  static async open(...names: readonly string[]): Promise<World> {
    const world = new World();
    const topics = names.map((name, at) => ({
      name,
      uuid: uuidOf(2 * at + 1),
      createdAt: 5,
      partitions: [0, 1].map((partition) => ({ partition, uuid: `${uuidOf(2 * at + 1).slice(0, -2)}a${2 * at + partition}` })),
      settings: {},
    }));
    for (const { partitions } of topics)
      for (const { uuid } of partitions)
        await (await openLog(`/data/logs/${uuid}`, { disk: world.disk, takesLock: false })).close();
    await writeManifest(world.disk, "/data/manifest", { generation: 1, storageId, topics, deleted: [] });
    return world;
  }

  form(): Promise<void> {
    const { catalog, identity, disk, clock } = this;
    const signal = this.#stopping.signal;
    return formCatalog({ catalog, identity, disk, directory: "/data", clock, logger: silentLogger, signal });
  }

  get manifest(): Manifest | undefined {
    return readManifest(this.disk, "/data/manifest");
  }

  get uuids(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.catalog.state.topics.values()].map(({ name, uuid }) => [name, uuid]));
  }

  /** Lets time pass until there is an outcome. */
  async run<Result>(call: Promise<Result>): Promise<Result> {
    const progress = { isOver: false };
    const over = call.finally(() => {
      progress.isOver = true;
    });
    over.catch(() => {});
    for (let turn = 0; !progress.isOver && turn < 1_000; turn += 1) {
      for (let passed = 0; passed < 5; passed += 1) await new Promise((resolve) => void setImmediate(resolve));
      if (!progress.isOver) this.clock.runNext();
    }
    return over;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over");
    this.#stopping.abort(reason);
    await this.catalog.close(reason);
  }
}
