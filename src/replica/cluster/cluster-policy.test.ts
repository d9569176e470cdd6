import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { writeManifest } from "../../log/manifest.ts";
import { ClusterCatalog } from "./cluster-catalog.ts";
import { ClusterPolicy } from "./cluster-policy.ts";
import { FakeCatalogLog } from "./fake-catalog-group.ts";
import { NodeRecord } from "./node-record.ts";

const clusterId = "c".repeat(32);
const storageId = "a".repeat(32);

describe("a cluster's policy, as a node knows it", () => {
  test("isn't known after a start until a leader of group 0 was heard of, unless one is found", async () => {
    await using world = await World.open({ wasInCluster: true });
    assert.equal(world.policy.text, undefined);
    world.log.leader = undefined;
    world.follow();
    await world.pass();
    assert.equal(world.policy.text, undefined);
    world.log.leader = "a";
    await world.form();
    await world.pass();
    assert.equal(world.policy.text, "");
  });

  test("of a node that never was in one is its own, until the catalog has one", async () => {
    await using world = await World.open({ own: "mine" });
    assert.equal(world.policy.text, "mine");
    world.follow();
    await world.form();
    await world.pass();
    assert.equal(world.policy.text, "mine");
    await world.run(world.catalog.propose({ kind: "set-policy", policy: "ours" }));
    assert.equal(world.policy.text, "ours");
  });

  test("of a node that joins isn't what it brings along", async () => {
    await using world = await World.open({ own: "mine" });
    world.follow({ hasJoined: true });
    await world.form();
    await world.pass();
    assert.equal(world.policy.text, "");
  });

  test("of a node that joined isn't what it once brought along, when it starts again either", async () => {
    await using world = await World.open({ own: "mine", wasInCluster: true });
    assert.equal(world.policy.text, undefined);
  });

  test("is replaced on its basis, and who watches is told", async () => {
    await using world = await World.open();
    world.follow();
    await world.form();
    let told = 0;
    const stop = world.policy.watch(() => (told += 1));
    await world.run(world.policy.replace("", "first"));
    assert.equal(world.policy.text, "first");
    assert.ok(told > 0);
    await assert.rejects(world.run(world.policy.replace("", "second")), { code: "CHANGE_IN_PROGRESS" });
    assert.equal(world.policy.text, "first");
    stop();
    const before = told;
    await world.run(world.policy.replace("first", "third"));
    assert.equal(told, before);
  });

  test("can't be changed before the catalog is there", async () => {
    await using world = await World.open();
    await assert.rejects(world.policy.replace("", "x"), { code: "UNAVAILABLE" });
  });
});

class World implements AsyncDisposable {
  readonly clock = createVirtualClock();
  readonly log = new FakeCatalogLog();
  readonly catalog: ClusterCatalog;
  readonly policy: ClusterPolicy;
  readonly #closing = new AbortController();

  private constructor(disk: ReturnType<typeof createMemoryDisk>) {
    this.log.leader = "a";
    const { clock } = this;
    const logger = silentLogger;
    const peers = { ask: () => Promise.reject(new ProglogError("UNAVAILABLE", "Cannot ask: there is nobody")) };
    this.catalog = new ClusterCatalog(this.log.view("a"), { clock, random: createSeededRandom("policy"), logger, peers });
    this.policy = new ClusterPolicy({ disk, path: "/data", clock, logger });
  }

  static async open({ own, wasInCluster = false }: { own?: string; wasInCluster?: boolean } = {}): Promise<World> {
    const disk = createMemoryDisk();
    await disk.makeDirectory("/data");
    if (own !== undefined)
      await writeManifest(disk, "/data/manifest", { generation: 1, storageId, topics: [], deleted: [], policy: own });
    if (wasInCluster) await (await NodeRecord.open(disk, "/data", () => storageId)).join(clusterId, 0);
    return new World(disk);
  }

  follow({ hasJoined = false } = {}): void {
    this.policy.follow(this.catalog, { hasJoined, signal: this.#closing.signal });
  }

  async form(): Promise<void> {
    const nodes = [{ name: "a", storageId, address: "a:1", version: 1 }];
    await this.run(this.catalog.propose({ kind: "form-cluster", version: 1, clusterId, nodes }));
  }

  /** Lets some time pass. */
  async pass(): Promise<void> {
    for (let turn = 0; turn < 40; turn += 1) {
      for (let passed = 0; passed < 5; passed += 1) await new Promise((resolve) => void setImmediate(resolve));
      this.clock.runNext();
    }
  }

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
    this.#closing.abort();
    await this.catalog.close(new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over"));
    assert.equal(this.clock.timerCount, 0);
  }
}
