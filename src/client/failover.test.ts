import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../sim/clock.ts";
import { createSeededRandom, type SeededRandom } from "../../sim/random.ts";
import { ProglogError } from "../base/error.ts";
import { clientDamageMaxMs } from "../base/limits.ts";
import { Client } from "./client.ts";
import type { ConsumeOptions } from "./consumer.ts";
import { FakeCluster } from "./fake-cluster.ts";
import type { FakeNode } from "./fake-node.ts";
import type { Producer, ProducerOptions } from "./producer.ts";

interface World {
  readonly cluster: FakeCluster;
  readonly clock: VirtualClock;
  readonly client: Client;
  readonly random: SeededRandom;
}

interface WorldOptions {
  readonly partitionCount?: number;
  readonly addresses?: readonly string[];
  readonly readFrom?: "leader" | "follower";
  readonly seed?: number;
}

function makeWorld({ partitionCount = 1, addresses, readFrom, seed = 1 }: WorldOptions = {}): World {
  const cluster = new FakeCluster("orders", { nodeCount: 3, partitionCount, later: setImmediate });
  const clock = createVirtualClock();
  const random = createSeededRandom(seed);
  const client = new Client(addresses ?? cluster.addresses, {
    connect: (address) => cluster.connect(address),
    clock,
    random: random.fork("client"),
    readFrom,
  });
  return { cluster, clock, client, random };
}

async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
}

/** Lets time pass, a little at a time, until the promise is settled. */
async function passUntil<Value>(clock: VirtualClock, promise: Promise<Value>, limitMs = 60_000): Promise<Value> {
  const noted = note(promise);
  for (let passedMs = 0; passedMs < limitMs && !noted.isSettled; passedMs += 20) {
    await settle(3);
    if (!noted.isSettled) clock.advance(20);
  }
  assert.ok(noted.isSettled, `it isn't settled after ${limitMs} ms`);
  return promise;
}

/** Whether it is settled, well or not, for who asks now and then. */
function note(promise: Promise<unknown>): { readonly isSettled: boolean } {
  const noted = { isSettled: false };
  const settled = (): void => void (noted.isSettled = true);
  promise.then(settled, settled);
  return noted;
}

function nodeAt(cluster: FakeCluster, number: number): FakeNode {
  const node = cluster.nodes[number];
  assert.ok(node !== undefined);
  return node;
}

function kill(node: FakeNode): void {
  node.isReachable = false;
  node.breakOff();
}

function valuesOf(cluster: FakeCluster, partition = 0): readonly string[] {
  return cluster.partitions[partition]?.values() ?? [];
}

describe("a producer of a cluster", () => {
  function openProducer({ client }: World, options: ProducerOptions = {}): Producer {
    return client.producer({ topic: "orders", partition: 0, ...options });
  }

  test('finds the leader from any address, and follows "not the leader" at once to one that it was never told of', async () => {
    const world = makeWorld({ addresses: ["n1:1"] });
    const { cluster, clock } = world;
    const producer = openProducer(world);
    assert.equal((await producer.send({ value: "a" })).offset, 0);
    assert.equal(nodeAt(cluster, 0).arrived.length, 1);
    cluster.moveLeader(0, 2);
    cluster.hear(0);
    // No time passes: the hint is enough.
    assert.equal((await producer.send({ value: "b" })).offset, 1);
    assert.deepEqual([nodeAt(cluster, 0).arrived.length, nodeAt(cluster, 2).arrived.length], [2, 1]);
    await producer.close();
    assert.equal(clock.timerCount, 0);
  });

  test("two nodes that each name the other don't keep it busy", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    cluster.moveLeader(0, 1);
    cluster.hear(0);
    cluster.moveLeader(0, 2);
    cluster.hear(1);
    cluster.moveLeader(0, 0);
    // 0 says 1, 1 says 2, and 2 knows of itself only that it led; none has heard that it is 0 again.
    nodeAt(cluster, 0).refusals.push(...Array.from({ length: 10 }, () => named("n1:1")));
    nodeAt(cluster, 1).refusals.push(...Array.from({ length: 10 }, () => named("n0:1")));
    const before = cluster.nodes.reduce((sum, { arrived }) => sum + arrived.length, 0);
    const sent = producer.send({ value: "b" });
    await settle(200);
    const tried = cluster.nodes.reduce((sum, { arrived }) => sum + arrived.length, 0) - before;
    assert.ok(tried > 1 && tried <= 5, `${tried} tries without a pause`);
    for (const node of cluster.nodes) node.refusals.length = 0;
    for (const number of cluster.nodes.keys()) cluster.hear(number);
    await passUntil(clock, sent);
    assert.deepEqual(valuesOf(cluster), ["a", "b"]);
  });

  function named(leaderRpcAddr: string): ProglogError {
    return new ProglogError("NOT_LEADER", "This node doesn't lead it", { details: { leaderRpcAddr } });
  }

  for (const fate of ["kept", "dropped"] as const) {
    test(`a batch whose leader lost leadership is there once at the new one (it was ${fate})`, async () => {
      const world = makeWorld();
      const { cluster, clock } = world;
      const producer = openProducer(world);
      await producer.send({ value: "a" });
      cluster.fates.push(fate);
      const sends = ["b", "c", "d"].map((value) => producer.send({ value }));
      const sent = await passUntil(clock, Promise.all(sends));
      assert.deepEqual(
        sent.map(({ offset }) => offset),
        [1, 2, 3],
      );
      assert.deepEqual(valuesOf(cluster), ["a", "b", "c", "d"]);
    });
  }

  test("when the leader dies the others are asked, and what it had under way goes to the new one in order", async () => {
    const world = makeWorld({ addresses: ["n0:1"] });
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    kill(nodeAt(cluster, 0));
    const sends: Promise<unknown>[] = [];
    for (const value of ["b", "c", "d"]) {
      sends.push(producer.send({ value }));
      await settle(2);
    }
    clock.advance(100);
    await settle();
    cluster.moveLeader(0, 1);
    await passUntil(clock, Promise.all(sends), 2_000);
    assert.deepEqual(valuesOf(cluster), ["a", "b", "c", "d"]);
  });

  test("a leader that stands still is left once the others say that another leads, and not before", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    nodeAt(cluster, 0).isStuck = true;
    const sent = producer.send({ value: "b" });
    for (let i = 0; i < 150; i += 1) {
      await settle(2);
      clock.advance(20);
    }
    assert.equal(nodeAt(cluster, 1).arrived.length + nodeAt(cluster, 2).arrived.length, 0);
    cluster.moveLeader(0, 1);
    await passUntil(clock, sent, 3_000);
    assert.deepEqual(valuesOf(cluster), ["a", "b"]);
  });

  test("partitions of a node that is gone don't hold up those of others, and ask together who leads", async () => {
    const world = makeWorld({ partitionCount: 30 });
    const { cluster, clock, client } = world;
    const producers = Array.from({ length: 30 }, (_, partition) => client.producer({ topic: "orders", partition }));
    await Promise.all(producers.map((producer) => producer.send({ value: "a" })));
    kill(nodeAt(cluster, 0));
    const before = cluster.nodes.reduce((sum, { asked }) => sum + asked.length, 0);
    const sends = producers.map((producer) => producer.send({ value: "b" }));
    await settle(50);
    const isLed = (partition: number): boolean => cluster.leaderOf(partition) !== nodeAt(cluster, 0);
    for (const [partition, log] of cluster.partitions.entries()) assert.equal(log.endOffset, isLed(partition) ? 2 : 1);
    // One question for ten partitions, and one more try where the node was asked first.
    assert.ok(cluster.nodes.reduce((sum, { asked }) => sum + asked.length, 0) - before <= 2);
    for (const partition of cluster.partitions.keys()) if (!isLed(partition)) cluster.moveLeader(partition, 1);
    await passUntil(clock, Promise.all(sends), 2_000);
    assert.ok(cluster.partitions.every((log) => log.values().join("") === "ab"));
  });

  test("without idempotence what may be there isn't sent to the new leader, and the caller hears so", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world, { isIdempotent: false });
    await producer.send({ value: "a" });
    cluster.fates.push("kept");
    const isUnknown = ({ code, details }: ProglogError) => code === "LEADERSHIP_LOST" && details["outcome"] === "unknown";
    await assert.rejects(producer.send({ value: "b" }), isUnknown);
    await passUntil(clock, producer.send({ value: "c" }));
    assert.deepEqual(valuesOf(cluster), ["a", "b", "c"]);
    // Nothing was done where it isn't led: that is sent on, numbered or not.
    cluster.moveLeader(0, 0);
    cluster.hear(1);
    await producer.send({ value: "d" });
    assert.deepEqual(valuesOf(cluster), ["a", "b", "c", "d"]);
  });

  test("a deposed leader's \"it doesn't follow\" isn't believed of what may be there already", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    const old = nodeAt(cluster, 0);
    cluster.moveLeader(0, 1);
    cluster.hear(0);
    await producer.send({ value: "b" });
    // The answer is lost, and the way back leads to a node that knows nothing since "a", and believes that it leads.
    const next = nodeAt(cluster, 1);
    next.isPrompt = false;
    const sent = producer.send({ value: "c" });
    await settle();
    next.step();
    assert.deepEqual(valuesOf(cluster), ["a", "b", "c"]);
    next.refusals.length = 0;
    next.breakOff();
    next.isPrompt = true;
    for (const node of cluster.nodes) {
      node.refusals.push(new ProglogError("OUT_OF_ORDER_SEQUENCE", "The number doesn't follow"));
    }
    const { offset } = await passUntil(clock, sent);
    assert.equal(offset, 2);
    assert.deepEqual(valuesOf(cluster), ["a", "b", "c"]);
    assert.ok(old.arrived.length > 0);
  });

  test("a batch that may be there is refused at the next try: its outcome stays unknown", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    cluster.fates.push("kept");
    nodeAt(cluster, 1).refusals.push(new ProglogError("RECORD_TOO_LARGE", "Too large since the topic was changed"));
    const refused = passUntil(clock, producer.send({ value: "b" }));
    await assert.rejects(refused, { code: "RECORD_TOO_LARGE", details: { outcome: "unknown" } });
    assert.deepEqual(valuesOf(cluster), ["a", "b"]);
    assert.equal((await passUntil(clock, producer.send({ value: "c" }))).offset, 2);
  });

  test("a refused batch says nothing of the one before it, whose answer was lost", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const isRetrying = ({ code }: ProglogError): boolean => code !== "OVERLOADED";
    const producer = openProducer(world, { isRetrying });
    await producer.send({ value: "a" });
    const [first, second] = [nodeAt(cluster, 0), nodeAt(cluster, 1)];
    first.isPrompt = false;
    const before = producer.send({ value: "b" });
    await settle();
    const refused = assert.rejects(producer.send({ value: "c" }), {
      code: "RECORD_TOO_LARGE",
      details: { outcome: "not-appended" },
    });
    await settle();
    cluster.fates.push("kept");
    assert.ok(first.step());
    first.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Too large"));
    while (first.arrived.length < 3) assert.ok(first.step());
    first.isPrompt = true;
    second.refusals.push(new ProglogError("OVERLOADED", "Too much"));
    while (first.step()) await settle(1);
    await assert.rejects(passUntil(clock, before), { code: "OVERLOADED", details: { outcome: "unknown" } });
    await refused;
    assert.deepEqual(valuesOf(cluster), ["a", "b"]);
  });

  test("when that is said for good, the batch fails and its outcome is unknown; those behind it go on", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    const leader = nodeAt(cluster, 0);
    leader.isPrompt = false;
    const sent = producer.send({ value: "b" });
    sent.catch(() => {});
    await settle();
    leader.breakOff();
    leader.isPrompt = true;
    leader.refusals.push(
      ...Array.from({ length: 1_000 }, () => new ProglogError("OUT_OF_ORDER_SEQUENCE", "It doesn't follow")),
    );
    await assert.rejects(passUntil(clock, sent), { code: "OUT_OF_ORDER_SEQUENCE", details: { outcome: "unknown" } });
    leader.refusals.length = 0;
    await passUntil(clock, producer.send({ value: "c" }));
    assert.deepEqual(valuesOf(cluster), ["a", "c"]);
  });

  test("a replica whose disk failed is passing in a cluster", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    const producer = openProducer(world);
    await producer.send({ value: "a" });
    nodeAt(cluster, 0).refusals.push(
      new ProglogError("DISK_FAILED", "Cannot sync"),
      new ProglogError("LOG_POISONED", "Cannot"),
    );
    const sent = producer.send({ value: "b" });
    await passUntil(clock, sent);
    assert.deepEqual(valuesOf(cluster), ["a", "b"]);
  });

  test("an append on condition follows who leads, and never tries again by itself", async () => {
    const { cluster, client } = makeWorld();
    const append = (value: string) => client.append([{ value }], { topic: "orders", expectedOffset: 0 });
    nodeAt(cluster, 0).unary = () => named("n2:1");
    nodeAt(cluster, 2).unary = () => undefined;
    assert.equal((await append("a")).baseOffset, 0);
    nodeAt(cluster, 2).unary = () => new ProglogError("LEADERSHIP_LOST", "Another node leads now");
    await assert.rejects(append("b"), { code: "LEADERSHIP_LOST" });
    assert.deepEqual(valuesOf(cluster), ["a"]);
  });
});

describe("a consumer of a cluster", () => {
  function fill(cluster: FakeCluster, ...values: readonly string[]): void {
    for (const value of values) cluster.partitions[0]?.appendValues(value);
  }

  function followAll(cluster: FakeCluster): void {
    for (const number of cluster.nodes.keys()) cluster.follow(number);
  }

  /** Reads so many, and leaves. */
  async function read({ client }: World, count: number, options: ConsumeOptions = {}): Promise<readonly string[]> {
    const values: string[] = [];
    for await (const { value } of client.consume({ topic: "orders", partition: 0, ...options })) {
      values.push(String(value));
      if (values.length === count) break;
    }
    return values;
  }

  test("reads from the leader, or from those that follow it in turn, as the client or the consumer says", async () => {
    const byDefault = makeWorld();
    fill(byDefault.cluster, "a");
    followAll(byDefault.cluster);
    for (let i = 0; i < 4; i += 1) await read(byDefault, 1);
    assert.deepEqual(
      byDefault.cluster.nodes.map(({ consumed }) => consumed.length),
      [4, 0, 0],
    );
    const world = makeWorld({ readFrom: "follower" });
    fill(world.cluster, "a");
    followAll(world.cluster);
    for (let i = 0; i < 4; i += 1) await read(world, 1);
    await read(world, 1, { readFrom: "leader" });
    assert.deepEqual(
      world.cluster.nodes.map(({ consumed }) => consumed.length),
      [1, 2, 2],
    );
  });

  test("goes over to another replica without gap or repeat, though that one is behind, and to the leader at last", async () => {
    const world = makeWorld({ readFrom: "follower" });
    const { cluster, clock, client } = world;
    fill(cluster, "a", "b", "c");
    cluster.follow(1);
    cluster.follow(2);
    const iterator = client.consume({ topic: "orders", partition: 0 })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => String((await passUntil(clock, iterator.next())).value?.value);
    assert.deepEqual([await next(), await next(), await next()], ["a", "b", "c"]);
    fill(cluster, "d");
    const first = cluster.nodes.findIndex(({ consumed }) => consumed.length > 0);
    cluster.follow(first);
    assert.equal(await next(), "d");
    kill(nodeAt(cluster, first));
    const second = 3 - first;
    fill(cluster, "e");
    const fifth = next();
    await settle();
    // The other follower hasn't got there: it says nothing, rather than that there is no such offset.
    assert.equal(nodeAt(cluster, second).consumed.length, 1);
    cluster.follow(second);
    assert.equal(await fifth, "e");
    kill(nodeAt(cluster, second));
    fill(cluster, "f");
    assert.equal(await next(), "f");
    assert.equal(nodeAt(cluster, 0).consumed.length, 1);
    await iterator.return();
  });

  test("atLeastOffset makes a follower wait until it has what was just produced", async () => {
    const world = makeWorld({ readFrom: "follower" });
    const { cluster, client } = world;
    const { offset } = await client.producer({ topic: "orders", partition: 0 }).send({ value: "mine" });
    const reading = read(world, 9, { stopsAtEnd: true, atLeastOffset: offset + 1 });
    await settle();
    followAll(cluster);
    assert.deepEqual(await reading, ["mine"]);
    fill(cluster, "more");
    const byPartition = read(world, 9, { stopsAtEnd: true, atLeastOffset: { 0: 2, 7: 9 } });
    await settle();
    followAll(cluster);
    assert.deepEqual(await byPartition, ["mine", "more"]);
  });

  test("ends where it ended at first, though the replica it goes over to is behind", async () => {
    const world = makeWorld({ readFrom: "follower" });
    const { cluster, clock, client } = world;
    fill(cluster, "a", "b", "c", "d", "e");
    const [, one, other] = cluster.nodes;
    cluster.follow(1);
    cluster.follow(2);
    fill(cluster, "f");
    const values: string[] = [];
    const consumer = client.consume({ topic: "orders", partition: 0, stopsAtEnd: true });
    const reading = (async () => {
      for await (const { value } of consumer) {
        values.push(String(value));
        if (values.length === 2)
          for (const node of [one, other]) if ((node?.consumed.length ?? 0) > 0 && node !== undefined) kill(node);
      }
    })();
    await passUntil(clock, reading);
    assert.deepEqual(values, ["a", "b", "c", "d", "e"]);
  });

  test("a leader that isn't one any more ends the stream, and the next one goes on at the next offset", async () => {
    const world = makeWorld();
    const { cluster, clock, client } = world;
    const retries: unknown[] = [];
    fill(cluster, "a");
    const consumer = client.consume({ topic: "orders", partition: 0, onRetry: (event) => retries.push(event) });
    const iterator = consumer[Symbol.asyncIterator]();
    assert.equal(String((await iterator.next()).value?.value), "a");
    const next = iterator.next();
    await settle();
    cluster.moveLeader(0, 1);
    cluster.hear(0);
    fill(cluster, "b");
    assert.equal(String((await next).value?.value), "b");
    assert.deepEqual([retries, clock.timerCount], [[], 0]);
    await iterator.return();
  });

  const damaged = (): ProglogError => new ProglogError("LOG_CORRUPT", "Cannot read offset 0: it is damaged");

  test("what is damaged on one replica is read from another, and thrown when all have said so for 30 s", async () => {
    const world = makeWorld({ readFrom: "follower" });
    const { cluster, clock } = world;
    fill(cluster, "a");
    followAll(cluster);
    for (const node of cluster.nodes.slice(1)) node.readRefusals.push(damaged(), damaged());
    assert.deepEqual(await passUntil(clock, read(world, 1)), ["a"]);
    await checkThrownAfterDamageMax(world);
  });

  test("a leader whose log is damaged is asked again, until another leads, and its word taken after 30 s", async () => {
    const world = makeWorld();
    const { cluster, clock } = world;
    fill(cluster, "a");
    followAll(cluster);
    const poisoned = (): ProglogError => new ProglogError("LOG_POISONED", "Cannot wait for offset 1: an earlier write failed");
    nodeAt(cluster, 0).readRefusals.push(...Array.from({ length: 1_000 }, poisoned));
    const reading = read(world, 1);
    await assert.rejects(passUntil(clock, reading, clientDamageMaxMs / 2), { code: "ERR_ASSERTION" });
    cluster.moveLeader(0, 1);
    for (const number of cluster.nodes.keys()) cluster.hear(number);
    assert.deepEqual(await passUntil(clock, reading), ["a"]);
    await checkThrownAfterDamageMax(world);
  });

  /** Whoever is asked, and though it answers at first. */
  async function checkThrownAfterDamageMax(world: World): Promise<void> {
    const { cluster, clock } = world;
    for (const isLate of [false, true]) {
      for (const node of cluster.nodes) {
        node.readRefusals.push(...Array.from({ length: 2_000 }, damaged));
        node.isRefusingLate = isLate;
      }
      const beginMs = clock.monotonic();
      await assert.rejects(passUntil(clock, read(world, 1)), { code: "LOG_CORRUPT" });
      assert.ok(clock.monotonic() - beginMs >= clientDamageMaxMs);
      for (const node of cluster.nodes) node.readRefusals.length = 0;
    }
  }
});

// One seed is one run: leaders move, nodes don't hear of it or are gone, batches come to nothing, answers are lost.
describe("whatever happens in a cluster, every record is there once and in order, and read so", () => {
  for (let seed = 1; seed <= 25; seed += 1) {
    test(`seed ${seed}`, async () => {
      const world = makeWorld({ partitionCount: 2, seed });
      const { cluster, clock, client, random } = world;
      for (const node of cluster.nodes) node.isPrompt = false;
      const producer = client.producer({ topic: "orders", batchMaxBytes: 300, deliveryTimeoutMs: 10_000_000 });
      const keys = ["a", "b", "c"];
      const expected = new Map(keys.map((key) => [key, [] as string[]]));
      const sends: Promise<unknown>[] = [];
      const readings = (["leader", "follower"] as const).flatMap((readFrom) =>
        cluster.partitions.map((_, partition) => follow(client, { topic: "orders", partition, readFrom })),
      );
      const codes = ["APPEND_QUEUE_FULL", "SHUTTING_DOWN", "OVERLOADED", "DISK_FULL"] as const;
      for (let i = 0; i < 500; i += 1) {
        if (random.chance(0.4) && sends.length < 120) {
          const key = random.pick(keys);
          const value = `${key}${sends.length}`;
          expected.get(key)?.push(value);
          sends.push(producer.send({ key, value }));
        }
        const number = random.integer(3);
        const node = nodeAt(cluster, number);
        if (random.chance(0.02)) cluster.moveLeader(random.integer(2), number);
        if (random.chance(0.1)) cluster.hear(number);
        if (random.chance(0.2)) cluster.follow(number);
        if (random.chance(0.02)) node.breakOff();
        if (random.chance(0.02)) node.isReachable = !node.isReachable;
        if (random.chance(0.02)) cluster.fates.push(random.pick(["kept", "dropped"]));
        if (random.chance(0.02)) node.refusals.push(new ProglogError(random.pick(codes), "Cannot now"));
        if (random.chance(0.02)) cluster.isHinting = !cluster.isHinting;
        if (random.chance(0.2)) clock.advance(random.integer(100));
        if (random.chance(0.7)) cluster.step((count) => random.integer(Math.max(1, count)));
        if (random.chance(0.5)) await new Promise(setImmediate);
      }
      for (const [number, node] of cluster.nodes.entries()) {
        node.isReachable = true;
        node.refusals.length = 0;
        cluster.hear(number);
      }
      cluster.fates.length = 0;
      const all = Promise.all(sends);
      const noted = note(all);
      await passUntilTrue(world, () => noted.isSettled);
      await all;
      const values = cluster.partitions.flatMap((partition) => partition.values());
      assert.equal(values.length, sends.length);
      for (const [key, sent] of expected) {
        assert.deepEqual(
          values.filter((value) => value.startsWith(key)),
          sent,
        );
      }
      for (const number of cluster.nodes.keys()) cluster.follow(number);
      const isRead = ({ values: seen, partition }: Reading): boolean =>
        seen.length >= (cluster.partitions[partition]?.endOffset ?? 0);
      await passUntilTrue(world, () => readings.every(isRead));
      for (const { values: seen, partition } of readings) assert.deepEqual(seen, cluster.partitions[partition]?.values());
      for (const { stop } of readings) stop();
      await Promise.all(readings.map(({ over }) => over));
    });
  }

  interface Reading {
    readonly partition: number;
    readonly values: string[];
    readonly stop: () => void;
    readonly over: Promise<void>;
  }

  function follow(client: Client, options: ConsumeOptions & { readonly partition: number }): Reading {
    const stopping = new AbortController();
    const values: string[] = [];
    const over = (async () => {
      for await (const { value } of client.consume({ ...options, signal: stopping.signal })) values.push(String(value));
    })();
    over.catch(() => {});
    return { partition: options.partition, values, stop: () => stopping.abort(), over };
  }

  async function passUntilTrue({ cluster, clock }: World, isDone: () => boolean): Promise<void> {
    for (let i = 0; i < 20_000 && !isDone(); i += 1) {
      if (!cluster.step()) clock.advance(20);
      await new Promise(setImmediate);
    }
    assert.ok(isDone(), "it comes to rest");
  }
});
