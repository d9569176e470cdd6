import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../../sim/random.ts";
import { TestGroup } from "../../../test/test-group.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import type { PeerAddress } from "../peer-network.ts";
import { CatalogReplica } from "./catalog-replica.ts";
import { encodeState } from "./catalog-snapshot.ts";
import { ClusterCatalog } from "./cluster-catalog.ts";

describe("the catalog over a group's replicas", () => {
  test("is changed from a follower, and whoever leads next goes on with it", async () => {
    await using world = await World.open();
    await world.run(world.of("n2").createTopic({ name: "orders", partitions: 3 }));
    world.group.isolate("n1");
    await world.group.elect("n3", ["n2", "n3"]);
    await world.run(world.of("n2").createTopic({ name: "more" }));
    await assert.rejects(world.run(world.of("n1").describeTopic("more")), { code: "UNAVAILABLE" });
    world.group.heal();
    await world.group.tick(30);
    assert.deepEqual(
      (await world.run(world.of("n1").listTopics())).map(({ name }) => name),
      ["more", "orders"],
    );
    world.assertSame();
  });

  test("a change under way when the leader is lost is made once, or it is said that it isn't known", async () => {
    await using world = await World.open();
    const creating = world.of("n1").createTopic({ name: "orders" });
    // Its record is appended here, and gets nowhere.
    world.group.isolate("n1");
    creating.catch(() => {});
    await world.group.tick(3);
    await world.group.elect("n2", ["n2", "n3"]);
    world.group.heal();
    const topic = await world.run(creating);
    assert.equal((await world.run(world.of("n3").describeTopic("orders"))).uuid, topic.uuid);
    world.assertSame();
  });

  test("its log is trimmed to a snapshot, and a node that starts again begins there", async () => {
    await using world = await World.open();
    const policy = "p".repeat(300_000);
    for (let count = 0; count < 8; count += 1)
      await world.run(world.of("n2").propose({ kind: "set-policy", policy: `${policy}${count}` }));
    await world.group.tick(5);
    const { logStartOffset } = world.group.replica("n3").log;
    assert.ok(logStartOffset > 1, `${logStartOffset}`);
    await world.restart("n3");
    await world.run(world.of("n3").refresh());
    assert.equal(world.of("n3").state.policy, `${policy}7`);
    world.assertSame();
    await world.run(world.of("n3").createTopic({ name: "orders" }));
    world.assertSame();
  });
});

class World implements AsyncDisposable {
  readonly group: TestGroup;
  readonly #catalogs = new Map<string, ClusterCatalog>();

  constructor(group: TestGroup) {
    this.group = group;
  }

  static async open(): Promise<World> {
    const world = new World(await TestGroup.open());
    const names = [...world.group.nodes.keys()];
    for (const name of names) world.#start(name);
    await world.group.elect("n1");
    const nodes = names.map((name) => ({ name, storageId: name.slice(1).repeat(32), address: `${name}:8000`, version: 1 }));
    await world.run(world.of("n1").propose({ kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes }));
    return world;
  }

  of(name: string): ClusterCatalog {
    const catalog = this.#catalogs.get(name);
    assert.ok(catalog !== undefined);
    return catalog;
  }

  async restart(name: string): Promise<void> {
    await this.of(name).close(stopping);
    await this.group.node(name).stop();
    await this.group.node(name).start();
    this.#start(name);
    await this.group.tick(10);
  }

  /** Lets time pass until there is an outcome. */
  async run<Result>(call: Promise<Result>): Promise<Result> {
    const progress = { isOver: false };
    const over = call.finally(() => {
      progress.isOver = true;
    });
    over.catch(() => {});
    for (let ticks = 0; !progress.isOver; ticks += 1) {
      assert.ok(ticks < 1_000, "it comes to an end");
      await this.group.tick(1);
    }
    return over;
  }

  assertSame(): void {
    const states = [...this.#catalogs.values()].map(({ state }) => encodeState(state));
    assert.equal(new Set(states).size, 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const catalog of this.#catalogs.values()) await catalog.close(stopping);
    await this.group.close();
  }

  #start(name: string): void {
    const { clock } = this.group;
    const ask = async (to: PeerAddress, _: string, body: Buffer): Promise<Buffer> => {
      const other = "nodeId" in to ? to.nodeId : "";
      if (this.group.isCut(name, other)) throw new ProglogError("UNAVAILABLE", `Cannot ask ${other}: there is no way`);
      return this.of(other).answer(body);
    };
    const options = { clock, random: createSeededRandom(name), logger: silentLogger, peers: { ask } };
    this.#catalogs.set(name, new ClusterCatalog(new CatalogReplica(() => this.group.node(name).replica), options));
  }
}

const stopping = new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over");
