import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../sim/clock.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { Client } from "./client.ts";
import type { ConsumeOptions } from "./consumer.ts";
import { FakeNode } from "./fake-node.ts";
import { merge } from "./merge.ts";
import { topicMaxAgeMs } from "./routes.ts";

interface World {
  readonly node: FakeNode;
  readonly clock: VirtualClock;
  readonly client: Client;
}

function makeWorld(partitionCount = 1): World {
  const node = new FakeNode("orders", partitionCount, setImmediate);
  const clock = createVirtualClock();
  const client = new Client(["fake:1"], { connect: () => node.connect(), clock, random: createSeededRandom(1) });
  return { node, clock, client };
}

async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
}

async function readAll({ client }: World, options: ConsumeOptions): Promise<readonly string[]> {
  const values: string[] = [];
  for await (const { partition, offset, value } of client.consume({ topic: "orders", stopsAtEnd: true, ...options })) {
    values.push(`${partition}:${offset}:${String(value)}`);
  }
  return values;
}

describe("consumer", () => {
  test("reads from start, end or an offset inside a batch, up to the end", async () => {
    const world = makeWorld();
    world.node.partitions[0]?.appendValues("a", "b", "c");
    world.node.partitions[0]?.appendValues("d");
    assert.deepEqual(await readAll(world, {}), ["0:0:a", "0:1:b", "0:2:c", "0:3:d"]);
    assert.deepEqual(await readAll(world, { from: 1 }), ["0:1:b", "0:2:c", "0:3:d"]);
    assert.deepEqual(await readAll(world, { from: "end" }), []);
    assert.equal(world.node.openConnections, 0);
  });

  test("goes on at the next offset when the connection is lost: nothing left out, nothing twice", async () => {
    const { node, clock, client } = makeWorld();
    const partition = node.partitions[0];
    const errors: string[] = [];
    const values: string[] = [];
    const reading = (async () => {
      const consumer = client.consume({ topic: "orders", from: "start", onRetry: ({ error }) => errors.push(error.code) });
      for await (const { value } of consumer) {
        values.push(String(value));
        if (values.length === 50) break;
      }
    })();
    const random = createSeededRandom(3);
    for (let i = 0; i < 50; i += 2) {
      partition?.appendValues(`${i}`, `${i + 1}`);
      await settle(random.integer(4));
      if (random.chance(0.4)) node.breakOff();
      node.isReachable = random.chance(0.8);
      clock.advance(random.integer(200));
    }
    node.isReachable = true;
    for (let i = 0; i < 100 && values.length < 50; i += 1) {
      clock.advance(500);
      await settle(3);
    }
    await reading;
    assert.deepEqual(
      values,
      Array.from({ length: 50 }, (_, i) => String(i)),
    );
    assert.ok(errors.length > 3);
    assert.ok(errors.every((code) => code === "UNAVAILABLE"));
  });

  test("a tail from the end that breaks before anything came misses nothing that came meanwhile", async () => {
    const { node, clock, client } = makeWorld();
    node.partitions[0]?.appendValues("old");
    const iterator = client.consume({ topic: "orders", from: "end" })[Symbol.asyncIterator]();
    const next = iterator.next();
    await settle();
    node.isReachable = false;
    node.breakOff();
    node.partitions[0]?.appendValues("new");
    await settle();
    node.isReachable = true;
    clock.advance(2_000);
    assert.equal(String((await next).value?.value), "new");
    await iterator.return();
    await settle();
    assert.equal(node.openConnections, 0);
  });

  test("leaving the loop, the signal and closing the client end it and leave nothing behind", async () => {
    const { node, client } = makeWorld(2);
    for (const partition of node.partitions) partition.appendValues("a", "b");
    for await (const _ of client.consume({ topic: "orders" })) break;
    await settle();
    assert.equal(node.openConnections, 0);

    const abort = new AbortController();
    const values: unknown[] = [];
    for await (const record of client.consume({ topic: "orders", partition: 1, signal: abort.signal })) {
      values.push(record.value);
      if (values.length === 2) setImmediate(() => abort.abort());
    }
    assert.equal(values.length, 2);
    assert.equal(node.openConnections, 0);

    const reading = (async () => {
      for await (const _ of client.consume({ topic: "orders", partition: 0, from: "end" }));
    })();
    reading.catch(() => {});
    await settle();
    await client.close();
    await assert.rejects(reading, { code: "LOG_CLOSED" });
    assert.equal(node.openConnections, 0);
  });

  test("several partitions come together, each in order, and end when all have ended", async () => {
    const world = makeWorld(3);
    world.node.partitions.forEach((partition, number) => {
      for (let i = 0; i < 10; i += 1) partition.appendValues(`${number}-${i}`);
    });
    const values = await readAll(world, {});
    assert.equal(values.length, 30);
    for (let number = 0; number < 3; number += 1) {
      assert.deepEqual(
        values.filter((value) => value.startsWith(`${number}:`)),
        Array.from({ length: 10 }, (_, i) => `${number}:${i}:${number}-${i}`),
      );
    }
  });

  test("ends where the partition ended at first, though a producer goes on", async () => {
    const { node, client } = makeWorld();
    for (let i = 0; i < 10; i += 1) node.partitions[0]?.appendValues(`${i}`);
    const values: string[] = [];
    for await (const { value } of client.consume({ topic: "orders", partition: 0, stopsAtEnd: true })) {
      values.push(String(value));
      node.partitions[0]?.appendValues("more");
    }
    assert.equal(values.length, 10);
  });

  test("a partition that is added is read from its start, by who reads all of them", async () => {
    const { node, client, clock } = makeWorld();
    const iterator = client.consume({ topic: "orders", from: "end" })[Symbol.asyncIterator]();
    const first = iterator.next();
    await settle();
    node.addPartition();
    node.partitions[1]?.appendValues("before it was known");
    clock.advance(topicMaxAgeMs);
    const { value } = await first;
    assert.deepEqual([value?.partition, value?.offset, String(value?.value)], [1, 0, "before it was known"]);
    // Once, however often it is asked.
    const second = iterator.next();
    clock.advance(topicMaxAgeMs);
    await settle();
    node.partitions[0]?.appendValues("a");
    assert.equal((await second).value?.partition, 0);
    await iterator.return();
    await settle();
    assert.deepEqual([node.openConnections, clock.timerCount], [0, 0]);
  });

  test("tells when a node has said where it begins, and again after a lost connection", async () => {
    const { node, client, clock } = makeWorld();
    node.partitions[0]?.appendValues("a", "b");
    const connected: number[] = [];
    const onConnected = ({ nextOffset }: { readonly nextOffset: number }): void => void connected.push(nextOffset);
    const iterator = client.consume({ topic: "orders", partition: 0, from: 1, onConnected })[Symbol.asyncIterator]();
    await iterator.next();
    const next = iterator.next();
    await settle();
    node.breakOff();
    await settle();
    clock.advance(2_000);
    await settle();
    assert.equal(connected.length, 2);
    node.partitions[0]?.appendValues("c");
    assert.equal((await next).value?.offset, 2);
    await iterator.return();
  });

  test("what onRetry throws ends the iteration", async () => {
    const { node, client } = makeWorld();
    node.isReachable = false;
    for (const partition of [0, undefined]) {
      const options = partition === undefined ? {} : { partition };
      const consumer = client.consume({
        topic: "orders",
        ...options,
        onRetry: ({ error }) => {
          throw error;
        },
      });
      await assert.rejects(consumer[Symbol.asyncIterator]().next(), { code: "UNAVAILABLE" });
    }
  });

  test("what can't be had is thrown, and not tried again", async () => {
    const { client } = makeWorld();
    await assert.rejects(readAll({ client } as World, { topic: "missing" }), { code: "TOPIC_NOT_FOUND" });
    await assert.rejects(readAll({ client } as World, { partition: 7 }), { code: "PARTITION_NOT_FOUND" });
  });
});

describe("merge", () => {
  async function* count(name: string, end: number): AsyncGenerator<string, void, undefined> {
    for (let i = 0; i < end; i += 1) yield `${name}${i}`;
  }

  test("holds back what nobody takes, and lets nobody starve", async () => {
    const merged = merge([count("a", 1_000), count("b", 3)]);
    const taken: string[] = [];
    for await (const element of merged) {
      taken.push(element);
      if (taken.length === 8) break;
    }
    assert.deepEqual(
      taken.filter((element) => element.startsWith("b")),
      ["b0", "b1", "b2"],
    );
  });

  test("an error of one ends all", async () => {
    let isEnded = false;
    async function* endless(): AsyncGenerator<string, void, undefined> {
      try {
        for (;;) yield "x";
      } finally {
        isEnded = true;
      }
    }
    async function* failing(): AsyncGenerator<string, void, undefined> {
      yield "y";
      throw new Error("broken");
    }
    await assert.rejects(async () => {
      for await (const _ of merge([endless(), failing()]));
    }, /broken/);
    assert.ok(isEnded);
  });
});
