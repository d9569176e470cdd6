import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { ProglogError } from "../../base/error.ts";
import {
  catalogAppendMaxBytes,
  catalogProposalsMaxCount,
  catalogTurnMaxCount,
  catalogWaitsMaxCount,
} from "../../base/cluster-limits.ts";
import { silentLogger } from "../../base/logger.ts";
import type { TopicSettingChanges } from "../../base/topic-settings.ts";
import type { PeerAddress } from "../peer-network.ts";
import { encodeCommand } from "./catalog-command.ts";
import { decodeRequest, encodeRequest } from "./catalog-request.ts";
import { encodeState } from "./catalog-snapshot.ts";
import { ClusterCatalog, proposeQuestion } from "./cluster-catalog.ts";
import { FakeCatalogLog } from "./fake-catalog-group.ts";

const stopping = new ProglogError("SHUTTING_DOWN", "Cannot go on: the test is over");

describe("the catalog of a cluster", () => {
  test("is changed from any node, and who changed it sees it at once", async () => {
    await using world = await World.form(3);
    const created = await world.run(
      world.of("n2").createTopic({ name: "orders", partitions: 4, settings: { retentionMs: 5 } }),
    );
    assert.equal(created.replicationFactor, 3);
    assert.deepEqual(created.settings, { retentionMs: 5 });
    assert.equal(world.of("n2").findTopic("orders"), created);
    assert.deepEqual(
      created.partitions.map(({ partition, replicas }) => [
        partition,
        replicas
          .map(({ node }) => node)
          .sort()
          .join(" "),
      ]),
      [0, 1, 2, 3].map((partition) => [partition, "n1 n2 n3"]),
    );
    const changed = await world.run(
      world.of("n3").changeTopic("orders", { partitions: 6, settings: { retentionMs: null, deepCheck: true } }),
    );
    assert.deepEqual([changed.partitions.length, changed.settings], [6, { deepCheck: true }]);
    assert.deepEqual(
      (await world.of("n1").listTopics()).map(({ name }) => name),
      ["orders"],
    );
    await world.run(world.of("n2").deleteTopic("orders"));
    await assert.rejects(world.of("n3").describeTopic("orders"), { code: "TOPIC_NOT_FOUND" });
    world.assertSame();
  });

  test("refuses what a manifest's refuses, and what needs more nodes than there are", async () => {
    await using world = await World.form(2);
    const catalog = world.of("n2");
    await world.run(catalog.createTopic({ name: "orders" }));
    const refusals: readonly (readonly [call: () => Promise<unknown>, code: string, message: RegExp])[] = [
      [() => catalog.createTopic({ name: "a b" }), "INVALID_TOPIC_NAME", /as a topic's name/],
      [
        () => catalog.createTopic({ name: "orders" }),
        "TOPIC_ALREADY_EXISTS",
        /^Cannot create topic orders: it is there already$/,
      ],
      [() => catalog.createTopic({ name: "x", partitions: 0 }), "INVALID_ARGUMENT", /0 is no number of partitions/],
      [() => catalog.createTopic({ name: "x", partitions: 20_001 }), "TOO_MANY_PARTITIONS", /its 2 nodes may have 20000/],
      [() => catalog.createTopic({ name: "x", replicationFactor: 0 }), "INVALID_ARGUMENT", /0 is no number of replicas/],
      [
        () => catalog.createTopic({ name: "x", replicationFactor: 3 }),
        "INVALID_ARGUMENT",
        /with 3 replicas: there are 2 nodes/,
      ],
      [() => catalog.createTopic({ name: "x", settings: { retentionMs: 0 } }), "INVALID_ARGUMENT", /retentionMs/],
      [() => catalog.changeTopic("none", {}), "TOPIC_NOT_FOUND", /there is none of that name/],
      [() => catalog.changeTopic("orders", { partitions: -1 }), "INVALID_ARGUMENT", /-1 is no number of partitions/],
      [() => catalog.deleteTopic("none"), "TOPIC_NOT_FOUND", /there is none of that name/],
      [() => catalog.propose({ kind: "remove-node", name: "n9", isForced: false }), "NODE_NOT_FOUND", /no node n9/],
      [
        () => catalog.propose({ kind: "remove-node", name: "n2", isForced: false }),
        "CHANGE_IN_PROGRESS",
        /replicas of 1 partitions/,
      ],
      [
        () => catalog.moveReplicas({ topic: "orders", partition: 1, nodes: ["n1"] }),
        "PARTITION_NOT_FOUND",
        /none of that number/,
      ],
      [() => catalog.moveReplicas({ topic: "orders", partition: 0, nodes: ["n9"] }), "NODE_NOT_FOUND", /no node n9/],
      [() => catalog.moveReplicas({ topic: "orders", partition: 0, nodes: [] }), "INVALID_ARGUMENT", /its nodes are none/],
      [
        () => catalog.moveReplicas({ topic: "orders", partition: 0, nodes: ["n1"] }),
        "INVALID_ARGUMENT",
        /it is to have 2 replicas, not 1/,
      ],
    ];
    for (const [call, code, message] of refusals) await assert.rejects(world.run(call()), { code, message });
    await world.run(catalog.changeTopic("orders", { partitions: 3 }));
    await assert.rejects(world.run(catalog.changeTopic("orders", { partitions: 2 })), {
      message: "Cannot give topic orders 2 partitions: it has 3, and its records would have no place",
    });
    // Those that were refused by the leader wrote nothing.
    assert.deepEqual(
      world.log.values.map((value) => decodeRequest(value).wish.kind).filter((kind) => kind.includes("topic")),
      ["create-topic", "alter-topic"],
    );
  });

  test("a topic with more than one replica always syncs", async () => {
    await using world = await World.form(3);
    const settings = { sync: "interval" } as unknown as TopicSettingChanges;
    await assert.rejects(world.run(world.of("n1").createTopic({ name: "x", settings })), {
      code: "INVALID_ARGUMENT",
      message: `Cannot create topic x with sync "interval": a topic with more than one replica always syncs`,
      details: { setting: "sync" },
    });
    await assert.rejects(world.run(world.of("n1").createTopic({ name: "x", replicationFactor: 1, settings })), {
      message: /topics have no such setting/,
    });
  });

  test("a change whose answer was lost is made once, whoever is asked again", async () => {
    await using world = await World.form(3);
    let losses = 0;
    world.log.afterAppend = () => {
      world.log.leader = ["n2", "n3", "n1"][losses % 3];
      losses += 1;
      if (losses < 4) throw new ProglogError("LEADERSHIP_LOST", "Cannot say what became of it");
    };
    const topic = await world.run(world.of("n2").createTopic({ name: "orders", partitions: 2 }));
    world.log.afterAppend = () => {};
    assert.ok(losses >= 1);
    assert.equal(topic.partitions.length, 2);
    const text = world.log.values.map(String).filter((value) => value.includes("create-topic"));
    assert.equal(text.length, 1, "the fold had it before it was proposed again");
    world.assertSame();
  });

  test("one that the leader never heard of goes to the next", async () => {
    await using world = await World.form(3);
    let questions = 0;
    world.beforeAsk = () => {
      questions += 1;
      if (questions === 1) throw new ProglogError("UNAVAILABLE", "Cannot ask n1: there is no way");
      if (questions === 2) world.log.leader = "n3";
    };
    await world.run(world.of("n2").createTopic({ name: "orders" }));
    assert.equal(questions, 3, "the second was refused: n1 led no more");
    world.assertSame();
  });

  test("what is known of a topic is told when nobody leads; of one that isn't known, that it can't be told", async () => {
    await using world = await World.form(2);
    await world.run(world.of("n1").createTopic({ name: "orders" }));
    await world.run(world.of("n2").describeTopic("orders"));
    world.log.leader = undefined;
    assert.equal((await world.run(world.of("n2").describeTopic("orders"))).name, "orders");
    await assert.rejects(world.run(world.of("n2").describeTopic("payments")), { code: "UNAVAILABLE" });
  });

  test("where nobody leads, it is not made; where the answer never came, that isn't known", async () => {
    await using world = await World.form(3);
    world.log.leader = undefined;
    await assert.rejects(world.run(world.of("n2").createTopic({ name: "orders" })), {
      code: "NOT_LEADER",
      message: "Cannot change the catalog: nobody is known to lead group 0",
    });
    await assert.rejects(world.run(world.of("n2").listTopics()), { code: "UNAVAILABLE" });
    world.log.leader = "n1";
    world.log.beforeAppend = () => new Promise(() => {});
    await assert.rejects(world.run(world.of("n2").createTopic({ name: "orders" })), {
      code: "TIMEOUT",
      message:
        "Cannot say what became of the attempt to create topic orders: Cannot go on with the catalog: no answer came in time",
    });
  });

  test("an append that is known to have failed fails the change at once", async () => {
    await using world = await World.form(1);
    world.log.beforeAppend = () => {
      throw new ProglogError("DISK_FULL", "Cannot append: the disk is full");
    };
    await assert.rejects(world.run(world.of("n1").createTopic({ name: "orders" })), { code: "DISK_FULL" });
    world.log.beforeAppend = () => {};
    await world.run(world.of("n1").createTopic({ name: "orders" }));
  });

  test("many at once are spread evenly, and share their appends", async () => {
    await using world = await World.form(3);
    const before = world.appendCount;
    const names = Array.from({ length: 60 }, (_, number) => `t${number}`);
    await world.run(
      Promise.all(names.map((name, at) => world.of(`n${1 + (at % 3)}`).createTopic({ name, replicationFactor: 1 + (at % 2) }))),
    );
    const { state } = world.of("n1");
    const leads = [...state.nodes.keys()].map((name) => {
      return [...state.topics.values()].filter(({ partitions }) => partitions[0]?.leader === name).length;
    });
    assert.deepEqual(leads, [20, 20, 20]);
    assert.ok(world.appendCount - before < 30, `${world.appendCount - before}`);
  });

  test("an append takes so many changes and bytes, and no more", async () => {
    await using world = await World.form(1);
    const catalog = world.of("n1");
    const appends: { readonly count: number; readonly bytes: number }[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    world.log.beforeAppend = (values) => {
      appends.push({ count: values.length, bytes: values.reduce((sum, value) => sum + value.length, 0) });
      return appends.length === 1 ? promise : undefined;
    };
    const set = (policy: string): Promise<void> => catalog.propose({ kind: "set-policy", policy });
    const calls = [set("first")];
    await drain();
    for (let count = 0; count < 2 * catalogTurnMaxCount; count += 1) calls.push(set("small"));
    for (let count = 0; count < 4; count += 1) calls.push(set("p".repeat(600_000)));
    resolve();
    await world.run(Promise.all(calls));
    assert.deepEqual(
      appends.filter(({ bytes }) => bytes < 600_000).map(({ count }) => count),
      [1, catalogTurnMaxCount, catalogTurnMaxCount],
    );
    assert.ok(appends.every(({ count, bytes }) => count === 1 || bytes <= catalogAppendMaxBytes));
  });

  test("two that add partitions at once both get theirs", async () => {
    await using world = await World.form(3);
    await world.run(world.of("n1").createTopic({ name: "orders" }));
    await world.run(
      Promise.all([
        world.of("n1").changeTopic("orders", { partitions: 3 }),
        world.of("n2").changeTopic("orders", { partitions: 4, settings: { deepCheck: true } }),
        world.of("n3").changeTopic("orders", { settings: { maxRecordBytes: 5 } }),
      ]).catch((error: unknown) => assert.match(String(error), /it has 4, and its records/)),
    );
    const topic = await world.of("n3").describeTopic("orders");
    assert.equal(topic.partitions.length, 4);
    assert.deepEqual(topic.settings, { deepCheck: true, maxRecordBytes: 5 });
  });

  test("a node that lags knows later, and says so to nobody who must know now", async () => {
    await using world = await World.form(2);
    const view = world.log.views[1];
    assert.ok(view !== undefined);
    view.show(world.log.values.length);
    await world.run(world.of("n1").createTopic({ name: "orders" }));
    assert.equal(world.of("n2").findTopic("orders"), undefined);
    const described = world.of("n2").describeTopic("orders");
    view.show();
    assert.equal((await described).name, "orders");
  });

  test("a reader that can't be told in time gives up, and past a number of them they are told at once", async () => {
    await using world = await World.form(2);
    const [, view] = world.log.views;
    const catalog = world.of("n2");
    assert.ok(view !== undefined);
    // It shows the record, and can't read it.
    const error = new ProglogError("LOG_CORRUPT", "Cannot read the log");
    Object.defineProperty(view, "readError", { get: () => error, set: () => {} });
    await world.run(world.of("n1").createTopic({ name: "orders" }));
    const waits = Array.from({ length: catalogWaitsMaxCount }, () => catalog.refresh());
    const settled = Promise.allSettled(waits);
    await drain();
    await assert.rejects(catalog.refresh(), { code: "OVERLOADED" });
    const outcomes = await world.run(settled);
    assert.ok(outcomes.every((outcome) => outcome.status === "rejected" && /in time/.test(String(outcome.reason))));
  });

  test("a log that can't be read for a while is read on", async () => {
    await using world = await World.form(2);
    const view = world.log.views[1];
    assert.ok(view !== undefined);
    view.readError = new ProglogError("DISK_FAILED", "Cannot read");
    await world.run(world.of("n1").createTopic({ name: "a" }));
    await world.run(world.of("n2").createTopic({ name: "b" }));
    world.assertSame();
  });

  test("snapshots keep the log short, and who comes behind its start begins with one", async () => {
    await using world = await World.form(2);
    const late = world.log.views[1];
    assert.ok(late !== undefined);
    const stop = world.log.values.length;
    late.show(stop);
    const policy = "p".repeat(300_000);
    for (let count = 0; count < 30; count += 1)
      await world.run(world.of("n1").propose({ kind: "set-policy", policy: `${policy}${count}` }));
    assert.ok(world.log.startOffset > stop);
    const kept = world.log.values.slice(world.log.startOffset).reduce((sum, value) => sum + value.length, 0);
    assert.ok(kept < 3_000_000, `${kept}`);
    late.show();
    await world.run(world.of("n2").refresh());
    assert.equal(world.of("n2").state.policy, `${policy}29`);
    world.assertSame();
    // One that starts now.
    world.start("n3");
    await world.run(world.of("n3").refresh());
    world.assertSame();
    assert.equal(world.of("n3").divergenceCount, 0);
  });

  test("a snapshot that was cut short, or couldn't be trimmed to, is made good by the next leader", async () => {
    await using world = await World.form(2);
    const policy = "p".repeat(600_000);
    let cutCount = 0;
    world.log.beforeAppend = (values) => {
      if (!String(values[0]).includes("snapshot-part")) return;
      // Some of it gets out, and then somebody else leads.
      cutCount += 1;
      world.log.append(...values.slice(0, 2));
      world.log.leader = "n2";
      throw new ProglogError("LEADERSHIP_LOST", "Cannot say what became of it");
    };
    for (let count = 0; count < 5; count += 1)
      await world.run(world.of("n1").propose({ kind: "set-policy", policy: `${count}${policy}` }));
    assert.ok(cutCount >= 1);
    assert.equal(world.log.startOffset, 0);
    world.log.beforeAppend = () => {};
    await world.run(world.of("n1").propose({ kind: "set-policy", policy: "small" }));
    for (let count = 0; count < 3; count += 1) await world.run(world.of("n1").propose({ kind: "set-policy", policy }));
    assert.ok(world.log.startOffset > 0);
    world.assertSame();
  });

  test("a format of a later version ends it: it keeps what it has and takes no changes", async () => {
    await using world = await World.form(1);
    await world.run(world.of("n1").createTopic({ name: "orders" }));
    world.log.append(
      encodeCommand({
        kind: "update-node",
        id: "u1",
        node: { name: "n1", storageId: "1".repeat(32), address: "n1:8000", version: 2 },
        isRenewed: false,
      }),
      encodeCommand({ kind: "raise-version", id: "r1", version: 2 }),
    );
    await drain();
    assert.equal(world.of("n1").endReason?.code, "UNSUPPORTED_FORMAT");
    assert.equal(world.of("n1").findTopic("orders")?.name, "orders");
    await assert.rejects(world.run(world.of("n1").createTopic({ name: "more" })), { code: "UNSUPPORTED_FORMAT" });
  });

  test("watchers hear of changes, once for many", async () => {
    await using world = await World.form(2);
    let count = 0;
    const stop = world.of("n2").watch(() => {
      count += 1;
    });
    await world.run(Promise.all(["a", "b", "c"].map((name) => world.of("n1").createTopic({ name }))));
    await drain();
    assert.ok(count >= 1 && count <= 3, `${count}`);
    const before = count;
    stop();
    await world.run(world.of("n1").createTopic({ name: "d" }));
    assert.equal(count, before);
  });

  test("past so many changes that wait, the next is refused", async () => {
    await using world = await World.form(1);
    const catalog = world.of("n1");
    world.log.beforeAppend = () => new Promise(() => {});
    const body = (number: number): Buffer =>
      encodeRequest({ id: `w${number}`, wish: { kind: "set-policy", policy: `${number}` } });
    for (let number = 0; number < catalogProposalsMaxCount; number += 1) catalog.answer(body(number)).catch(() => {});
    await assert.rejects(catalog.answer(body(-1)), { code: "OVERLOADED" });
    // One of them asked again is the same one.
    let isRefused = false;
    catalog.answer(body(5)).catch(() => {
      isRefused = true;
    });
    await drain();
    assert.equal(isRefused, false);
  });

  test("a question that can't be read is refused, and so is a change that nobody could read", async () => {
    await using world = await World.form(1);
    const catalog = world.of("n1");
    await assert.rejects(catalog.answer(Buffer.from("{")), { code: "INVALID_ARGUMENT" });
    await assert.rejects(catalog.answer(Buffer.from(`{"kind":"make-tea","id":"1"}`)), { code: "INVALID_ARGUMENT" });
    const node = { name: "a\nb", storageId: "9".repeat(32), address: "x:1", version: 1 };
    await assert.rejects(catalog.propose({ kind: "add-node", node }), { code: "INVALID_ARGUMENT" });
    const wish = { kind: "wish-topic", name: "x", uuid: "nonsense", partitions: 1, settings: {} } as const;
    await assert.rejects(catalog.answer(encodeRequest({ id: "w1", wish })), { code: "INVALID_ARGUMENT" });
    assert.equal(world.log.values.length, 1);
  });

  test("what waits when it closes is told so", async () => {
    const world = await World.form(2);
    world.log.beforeAppend = () => new Promise(() => {});
    const here = world.of("n1").createTopic({ name: "a" });
    const there = world.of("n2").createTopic({ name: "b" });
    const outcomes = Promise.allSettled([here, there]);
    await drain();
    await world[Symbol.asyncDispose]();
    for (const outcome of await outcomes) {
      assert.ok(outcome.status === "rejected");
      assert.ok(["SHUTTING_DOWN", "TIMEOUT"].includes((outcome.reason as ProglogError).code), String(outcome.reason));
    }
    await assert.rejects(world.of("n1").listTopics(), { code: "SHUTTING_DOWN" });
  });
});

class World implements AsyncDisposable {
  readonly log = new FakeCatalogLog();
  readonly clock = createVirtualClock();
  readonly #catalogs = new Map<string, ClusterCatalog>();
  beforeAsk: () => void = () => {};
  appendCount = 0;

  static async form(nodeCount: number): Promise<World> {
    const world = new World();
    const names = Array.from({ length: nodeCount }, (_, number) => `n${number + 1}`);
    world.log.leader = "n1";
    for (const name of names) world.start(name);
    const nodes = names.map((name) => ({ name, storageId: name.slice(1).repeat(32), address: `${name}:8000`, version: 1 }));
    await world.run(world.of("n1").propose({ kind: "form-cluster", version: 1, clusterId: "c".repeat(32), nodes }));
    return world;
  }

  start(name: string): void {
    const view = this.log.view(name);
    const append = view.append.bind(view);
    view.append = (values) => {
      this.appendCount += 1;
      return append(values);
    };
    const ask = async (to: PeerAddress, kind: string, body: Buffer): Promise<Buffer> => {
      this.beforeAsk();
      assert.equal(kind, proposeQuestion);
      return this.of("nodeId" in to ? to.nodeId : "").answer(body);
    };
    const options = { clock: this.clock, random: createSeededRandom(name), logger: silentLogger, peers: { ask } };
    this.#catalogs.set(name, new ClusterCatalog(view, options));
  }

  of(name: string): ClusterCatalog {
    const catalog = this.#catalogs.get(name);
    assert.ok(catalog !== undefined);
    return catalog;
  }

  /** Lets time pass until there is an outcome. */
  async run<Result>(call: Promise<Result>): Promise<Result> {
    const progress = { isOver: false };
    const over = call.finally(() => {
      progress.isOver = true;
    });
    over.catch(() => {});
    for (let turn = 0; !progress.isOver; turn += 1) {
      await drain();
      if (!progress.isOver && !this.clock.runNext()) assert.ok(turn < 10, "somebody waits for what never comes");
    }
    return over;
  }

  assertSame(): void {
    const states = [...this.#catalogs.values()].map(({ state }) => encodeState(state));
    assert.equal(new Set(states).size, 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const catalog of this.#catalogs.values()) await catalog.close(stopping);
    assert.equal(this.clock.timerCount, 0);
  }
}

async function drain(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => void setImmediate(resolve));
}
