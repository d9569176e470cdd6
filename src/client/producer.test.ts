import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../sim/clock.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { BufferSpace } from "./buffer-space.ts";
import { Client } from "./client.ts";
import { FakeNode } from "./fake-node.ts";
import { topicMaxAgeMs } from "./routes.ts";
import type { Producer, ProducerOptions } from "./producer.ts";

interface World {
  readonly node: FakeNode;
  readonly clock: VirtualClock;
  readonly client: Client;
  readonly producer: Producer;
}

function makeWorld(options: ProducerOptions = {}, partitionCount = 1, seed: string | number = 1): World {
  const node: FakeNode = new FakeNode("orders", partitionCount, setImmediate);
  const clock = createVirtualClock();
  const client = new Client(["fake:1"], { connect: () => node.connect(), clock, random: createSeededRandom(seed) });
  return { node, clock, client, producer: client.producer({ topic: "orders", ...options }) };
}

/** Lets what is under way come to rest. */
async function settle(turns = 20): Promise<void> {
  for (let turn = 0; turn < turns; turn += 1) await new Promise(setImmediate);
}

describe("producer", () => {
  test("what is sent in one turn is one batch, and each record hears its own offset", async () => {
    const { node, producer } = makeWorld();
    const sent = await Promise.all(["a", "b", "c"].map((value) => producer.send({ value })));
    assert.deepEqual(
      sent.map(({ topic, partition, offset, isDurable }) => [topic, partition, offset, isDurable]),
      [
        ["orders", 0, 0, true],
        ["orders", 0, 1, true],
        ["orders", 0, 2, true],
      ],
    );
    assert.deepEqual(node.arrived, [{ partition: 0, values: ["a", "b", "c"] }]);
  });

  test("while two batches are under way what comes is gathered, and goes together", async () => {
    const { node, producer } = makeWorld();
    await producer.send({ value: "0" });
    node.isPrompt = false;
    const sends: Promise<unknown>[] = [];
    for (const value of ["a", "b", "c", "d", "e"]) {
      sends.push(producer.send({ value }));
      await settle(2);
    }
    while (node.step()) await settle(1);
    await Promise.all(sends);
    assert.deepEqual(
      node.arrived.map(({ values }) => values.join("")),
      ["0", "a", "b", "cde"],
    );
  });

  test("lingerMs holds back a batch that isn't full; a full one and flush don't wait", async () => {
    const { node, clock, producer } = makeWorld({ lingerMs: 50, batchMaxBytes: 1_000 });
    const first = producer.send({ value: "a" });
    await settle();
    assert.equal(node.arrived.length, 0);
    clock.advance(50);
    await first;
    assert.equal(node.arrived.length, 1);
    const full = [1, 2, 3].map(() => producer.send({ value: "x".repeat(400) }));
    await full[0];
    assert.deepEqual(
      node.arrived.map(({ values }) => values.length),
      [1, 2],
    );
    await producer.flush();
    await Promise.all(full);
    assert.deepEqual(
      node.arrived.map(({ values }) => values.length),
      [1, 2, 1],
    );
  });

  test("records go to a partition by key as Kafka's clients choose it, and in turn by batches without one", async () => {
    const { node, producer } = makeWorld({}, 3);
    const byKey = await Promise.all(["k1", "k1", "k2"].map((key) => producer.send({ key, value: key })));
    assert.equal(byKey[0]?.partition, byKey[1]?.partition);
    const partitions = [];
    for (let i = 0; i < 6; i += 1) {
      const sent = await Promise.all([producer.send({ value: "a" }), producer.send({ value: "b" })]);
      assert.equal(sent[0].partition, sent[1].partition);
      partitions.push(sent[0].partition);
    }
    assert.deepEqual(
      partitions.slice(0, 3).toSorted((a, b) => a - b),
      [0, 1, 2],
    );
    assert.deepEqual(partitions.slice(3), partitions.slice(0, 3));
    assert.equal(
      node.partitions.reduce((sum, { endOffset }) => sum + endOffset, 0),
      15,
    );
  });

  test("sendBatch splits by partition and by size, and resolves with the ranges", async () => {
    const { node, producer } = makeWorld({ batchMaxBytes: 1_000 }, 2);
    const records = Array.from({ length: 20 }, (_, i) => ({ key: `k${i}`, value: "x".repeat(200) }));
    const ranges = await producer.sendBatch(records);
    assert.equal(
      ranges.reduce((sum, { count }) => sum + count, 0),
      20,
    );
    for (const { partition, baseOffset, count } of ranges) {
      assert.ok(count <= 5);
      assert.ok(baseOffset + count <= (node.partitions[partition]?.endOffset ?? 0));
    }
    assert.deepEqual(await producer.sendBatch([]), []);
  });

  test("sendBatch just above a batch divides evenly, instead of into a full one and a rest", async () => {
    const { node, producer } = makeWorld({ batchMaxBytes: 1_000 });
    await producer.sendBatch(Array.from({ length: 5 }, (_, i) => ({ value: `${i}`.padEnd(199, "x") })));
    assert.deepEqual(
      node.arrived.map(({ values }) => values.length),
      [3, 2],
    );
    await producer.sendBatch([{ value: "x".repeat(5_000) }, { value: "y" }]);
    assert.deepEqual(
      node.arrived.slice(2).map(({ values }) => values.map(({ length }) => length)),
      [[5_000], [1]],
    );
  });

  test("who waits for room may hold as much as the buffer; a batch of any size that came before waits as a whole", async () => {
    const { node, producer } = makeWorld({ bufferMaxBytes: 10_000, batchMaxBytes: 1_000 });
    await producer.send({ value: "0" });
    node.isPrompt = false;
    const large = producer.sendBatch(Array.from({ length: 100 }, () => ({ value: "x".repeat(900) })));
    await settle(2);
    await assert.rejects(producer.send({ value: "y".repeat(900) }), {
      code: "OVERLOADED",
      message: /with \d{5} bytes for room/,
    });
    node.isPrompt = true;
    while (node.step()) await settle(1);
    assert.equal(
      (await large).reduce((sum, { count }) => sum + count, 0),
      100,
    );
    // One that is larger than all there is waits, where nobody else does.
    node.isPrompt = false;
    const first = producer.send({ value: "z".repeat(900) });
    const huge = producer.send({ value: "z".repeat(20_000) });
    await assert.rejects(producer.send({ value: "z" }), { code: "OVERLOADED" });
    node.isPrompt = true;
    while (node.step()) await settle(1);
    await Promise.all([first, huge]);
  });

  test("a batch whose answer was lost is sent again, and recognised", async () => {
    const { node, clock, producer } = makeWorld();
    node.isPrompt = false;
    const sent = producer.send({ value: "a" });
    await settle();
    node.step();
    assert.deepEqual(node.partitions[0]?.values(), ["a"]);
    node.breakOff();
    await settle();
    node.isPrompt = true;
    clock.advance(2_000);
    assert.equal((await sent).offset, 0);
    assert.equal(node.arrived.length, 2);
    assert.deepEqual(node.partitions[0]?.values(), ["a"]);
  });

  test("when a batch is refused for good, those behind it are numbered anew and appended in their order", async () => {
    const { node, producer } = makeWorld();
    await producer.send({ value: "0" });
    node.isPrompt = false;
    node.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Cannot append that"));
    const bad = producer.send({ value: "bad" });
    await settle(2);
    const good = producer.send({ value: "1" });
    await settle(2);
    const later = producer.send({ value: "2" });
    bad.catch(() => {});
    node.isPrompt = true;
    while (node.step()) await settle(1);
    await assert.rejects(bad, { code: "RECORD_TOO_LARGE" });
    assert.equal((await good).offset, 1);
    assert.equal((await later).offset, 2);
    assert.deepEqual(node.partitions[0]?.values(), ["0", "1", "2"]);
  });

  test("what the node can't do now is tried again, with longer and longer waits; onRetry tells", async () => {
    const waits: number[] = [];
    const { node, clock, producer } = makeWorld({ onRetry: ({ delayMs, error }) => waits.push(delayMs, error.message.length) });
    for (let i = 0; i < 4; i += 1) node.refusals.push(new ProglogError("APPEND_QUEUE_FULL", "Cannot"));
    const sent = producer.send({ value: "a" });
    for (let i = 0; i < 4; i += 1) {
      await settle();
      assert.equal(node.arrived.length, i + 1);
      clock.advance(2_000);
    }
    assert.equal((await sent).offset, 0);
    const delays = waits.filter((_, i) => i % 2 === 0);
    assert.equal(delays.length, 4);
    delays.forEach((delayMs, i) => assert.ok(delayMs >= 10 * 2 ** i && delayMs <= 20 * 2 ** i, `${delayMs}`));
  });

  test("past deliveryTimeoutMs a send is rejected: not appended when it was never sent, else unknown", async () => {
    const { node, clock, producer } = makeWorld({ deliveryTimeoutMs: 500 });
    node.isPrompt = false;
    const held = producer.send({ value: "a" });
    held.catch(() => {});
    await settle();
    clock.advance(500);
    await settle();
    await assert.rejects(
      held,
      (error: ProglogError) => error.code === "TIMEOUT" && error.details["outcome"] !== "not-appended",
    );

    node.isPrompt = true;
    node.isReachable = false;
    const unsent = producer.send({ value: "b" });
    unsent.catch(() => {});
    for (let i = 0; i < 40; i += 1) {
      clock.advance(50);
      await settle(3);
    }
    await assert.rejects(unsent, { code: "TIMEOUT" });
    node.isReachable = true;
    const next = producer.send({ value: "c" });
    for (let i = 0; i < 60; i += 1) {
      clock.advance(50);
      await settle(3);
    }
    await next;
    assert.ok(node.partitions[0]?.values().includes("c"));
  });

  test("without idempotence one batch is under way at a time, and one that may have been appended isn't sent again", async () => {
    const { node, producer } = makeWorld({ isIdempotent: false });
    node.isPrompt = false;
    const first = producer.send({ value: "a" });
    first.catch(() => {});
    await settle(2);
    const second = producer.send({ value: "b" });
    await settle(2);
    node.step();
    node.breakOff();
    await assert.rejects(first, { code: "UNAVAILABLE" });
    node.isPrompt = true;
    void second.catch(() => {});
    assert.deepEqual(
      node.arrived.map(({ values }) => values.join()),
      ["a"],
    );
  });

  test("a full buffer makes send wait, in order; too many that wait are refused", async () => {
    const { node, producer } = makeWorld({ bufferMaxBytes: 7_000, partition: 0 });
    node.isPrompt = false;
    const sends = Array.from({ length: 30 }, (_, i) => producer.send({ value: `${i}`.padEnd(400, "x") }));
    await settle();
    assert.ok(node.arrived.length <= 2);
    node.isPrompt = true;
    while (node.step()) await settle(1);
    const offsets = (await Promise.all(sends)).map(({ offset }) => offset);
    assert.deepEqual(
      offsets,
      Array.from({ length: 30 }, (_, i) => i),
    );

    node.isPrompt = false;
    const many = Array.from({ length: 40 }, () => producer.send({ value: "y".repeat(400) }));
    const refused = await Promise.race(
      many.map((send) =>
        send.then(
          () => undefined,
          (error: unknown) => error,
        ),
      ),
    );
    assert.equal((refused as ProglogError).code, "OVERLOADED");
    for (const send of many) send.catch(() => {});
    producer.abort(new ProglogError("LOG_CLOSED", "The test is over"));
    await Promise.allSettled(many);
  });

  test("one that stops at its first failure sends nothing behind it, and says what became of the rest", async () => {
    const { node, producer } = makeWorld({ stopsAtFailure: true, batchMaxBytes: 100 });
    await producer.send({ value: "0" });
    node.isPrompt = false;
    node.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Cannot append that"));
    const sends = Array.from({ length: 12 }, (_, i) => producer.send({ value: `${i + 1}`.padEnd(60, "x") }));
    const outcomes = Promise.all(
      sends.map((send) =>
        send.then(String, (error: unknown) => isProglogError(error) && `${error.code} ${String(error.details["outcome"])}`),
      ),
    );
    await settle(3);
    while (node.step()) await settle(1);
    assert.deepEqual(new Set(await outcomes), new Set(["RECORD_TOO_LARGE not-appended", "OUT_OF_ORDER_SEQUENCE not-appended"]));
    assert.deepEqual(node.partitions[0]?.values(), ["0"]);
    const arrived = node.arrived.length;
    await assert.rejects(producer.send({ value: "late" }), { code: "RECORD_TOO_LARGE" });
    assert.equal(node.arrived.length, arrived);
  });

  test("one that stops lets what other partitions have under way be answered", async () => {
    const { node, producer } = makeWorld({ stopsAtFailure: true }, 2);
    const keys = ["k1", "k2", "k3", "k4", "k5", "k6"];
    const first = await Promise.all(keys.map((key) => producer.send({ key, value: "0" })));
    const keyOf = (partition: number): string => keys[first.findIndex((sent) => sent.partition === partition)] ?? "";
    node.isPrompt = false;
    node.refusals.push(new ProglogError("DISK_FAILED", "Cannot", { details: { outcome: "unknown" } }));
    const bad = producer.send({ key: keyOf(0), value: "bad" });
    await settle(2);
    const good = producer.send({ key: keyOf(1), value: "good" });
    await settle(2);
    const outcomes = Promise.allSettled([bad, good]);
    while (node.step()) await settle(1);
    const [badOutcome, goodOutcome] = await outcomes;
    assert.deepEqual([badOutcome.status, goodOutcome.status], ["rejected", "fulfilled"]);
  });

  test("one that doesn't retry fails with the first failure", async () => {
    const { node, clock, producer } = makeWorld({ isRetrying: false });
    node.isReachable = false;
    await assert.rejects(producer.send({ value: "a" }), { code: "UNAVAILABLE", details: { outcome: "not-appended" } });
    node.isReachable = true;
    node.refusals.push(new ProglogError("APPEND_QUEUE_FULL", "Cannot"));
    await assert.rejects(producer.send({ value: "b" }), { code: "APPEND_QUEUE_FULL" });
    assert.equal((await producer.send({ value: "c" })).offset, 0);
    await producer.close();
    assert.equal(clock.timerCount, 0);
  });

  test("sendParts tells of each part, and sendBatch doesn't call not appended what is there in part", async () => {
    const { node, producer } = makeWorld({}, 2);
    const records = Array.from({ length: 8 }, (_, i) => ({ key: `k${i}`, value: `${i}` }));
    node.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Cannot", { details: { outcome: "not-appended" } }));
    const parts = await producer.sendParts(records);
    assert.equal(parts.length, 2);
    assert.equal(parts.filter(({ range }) => range !== undefined).length, 1);
    assert.deepEqual(new Set(parts.flatMap((part) => part.records)), new Set(records));
    node.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Cannot", { details: { outcome: "not-appended" } }));
    await assert.rejects(producer.sendBatch(records), { code: "RECORD_TOO_LARGE", details: { outcome: "unknown" } });
    node.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Cannot", { details: { outcome: "not-appended" } }));
    await assert.rejects(producer.sendBatch(records.slice(0, 1)), { details: { outcome: "not-appended" } });
  });

  test("before the number of partitions is known, no more is held than the buffer takes", async () => {
    const { node, clock, producer } = makeWorld({ bufferMaxBytes: 1_000_000 });
    node.isReachable = false;
    const small = Array.from({ length: 10_500 }, () => producer.send({ value: "x".repeat(30) }));
    const large = Array.from({ length: 10 }, () => producer.send({ value: "x".repeat(100_000) }));
    for (const send of [...small, ...large]) send.catch(() => {});
    await assert.rejects(Promise.race(large), { code: "OVERLOADED" });
    node.isReachable = true;
    const settled = Promise.allSettled(small);
    for (let i = 0; i < 10; i += 1) {
      clock.advance(2_000);
      await settle();
    }
    assert.ok((await settled).every(({ status }) => status === "fulfilled"));
  });

  test("so many callers wait for room, and no more", () => {
    const space = new BufferSpace({ maxBytes: 1_000_000, waitersMaxCount: 3 });
    const entered: number[] = [];
    const take = (i: number): void =>
      space.take(
        i === 0 ? 1_000_000 : 1,
        () => entered.push(i),
        () => assert.fail(),
      );
    for (let i = 0; i < 4; i += 1) take(i);
    assert.throws(() => take(4), { code: "OVERLOADED" });
    space.give(1_000_000);
    assert.deepEqual([entered, space.usedBytes, space.waiterCount], [[0, 1, 2, 3], 3, 0]);
  });

  test("partitions that are added get their share after a while", async () => {
    const { node, clock, producer } = makeWorld();
    await producer.send({ value: "a" });
    node.addPartition();
    clock.advance(topicMaxAgeMs);
    await producer.send({ value: "b" });
    await settle();
    for (let i = 0; i < 4; i += 1) await producer.send({ value: "c" });
    assert.deepEqual(
      node.partitions.map(({ endOffset }) => endOffset),
      [4, 2],
    );
  });

  test("when all is settled no timer is left", async () => {
    const { node, clock, producer } = makeWorld({ lingerMs: 50 });
    const sent = producer.send({ value: "a" });
    await producer.flush();
    await sent;
    await assert.rejects(producer.send({ value: 1 as unknown as string }));
    node.refusals.push(new ProglogError("RECORD_TOO_LARGE", "Cannot"));
    const refused = producer.send({ value: "b" });
    refused.catch(() => {});
    await producer.flush();
    await assert.rejects(refused);
    assert.equal(clock.timerCount, 0);
  });

  test("close sends what is held; afterwards nothing is taken", async () => {
    const { node, producer, client } = makeWorld({ lingerMs: 60_000 });
    const sent = producer.send({ value: "a" });
    await client.close();
    assert.equal((await sent).offset, 0);
    await settle();
    assert.equal(node.openConnections, 0);
    await assert.rejects(producer.send({ value: "b" }), { code: "LOG_CLOSED" });
    assert.throws(() => client.producer(), { code: "LOG_CLOSED" });
  });

  test("an invalid record is refused at once and harms nobody; a missing topic is produced to in partition 0", async () => {
    const { producer, client, node } = makeWorld();
    const good = producer.send({ value: "a" });
    await assert.rejects(producer.send({ value: 7 as unknown as string }), { code: "INVALID_RECORD" });
    assert.equal((await good).offset, 0);
    await client.producer({ topic: "new" }).send({ value: "b" });
    assert.deepEqual(node.arrived.at(-1), { partition: 0, values: ["b"] });
    assert.throws(() => client.producer({ lingerMs: -1 }), { code: "INVALID_ARGUMENT" });
  });

  // One seed is one run: connections break, answers are lost and requests are refused at random.
  for (let seed = 1; seed <= 30; seed += 1) {
    test(`whatever breaks, every record is appended once, in the order in which it was sent (seed ${seed})`, async () => {
      const random = createSeededRandom(seed);
      const { node, clock, producer } = makeWorld({ batchMaxBytes: 300, deliveryTimeoutMs: 10_000_000 }, 2, seed);
      node.isPrompt = false;
      const keys = ["a", "b", "c"];
      const expected = new Map(keys.map((key) => [key, [] as string[]]));
      const sends: Promise<unknown>[] = [];
      const codes = ["APPEND_QUEUE_FULL", "SHUTTING_DOWN", "OVERLOADED"] as const;
      for (let i = 0; i < 400; i += 1) {
        if (random.chance(0.4) && sends.length < 120) {
          const key = random.pick(keys);
          const value = `${key}${sends.length}`;
          expected.get(key)?.push(value);
          sends.push(producer.send({ key, value }));
        }
        if (random.chance(0.03)) node.breakOff();
        if (random.chance(0.02)) node.isReachable = !node.isReachable;
        if (random.chance(0.03)) node.refusals.push(new ProglogError(random.pick(codes), "Cannot now"));
        if (random.chance(0.2)) clock.advance(random.integer(100));
        if (random.chance(0.7)) node.step((count) => random.integer(Math.max(1, count)));
        if (random.chance(0.5)) await new Promise(setImmediate);
      }
      node.isReachable = true;
      node.refusals.length = 0;
      const all = Promise.all(sends);
      for (let i = 0; i < 5_000 && node.step(); i += 1) await new Promise(setImmediate);
      for (let i = 0; i < 1_000; i += 1) {
        if (!node.step()) clock.advance(100);
        await new Promise(setImmediate);
      }
      await all;
      const values = node.partitions.flatMap((partition) => partition.values());
      assert.equal(values.length, sends.length);
      for (const [key, sent] of expected) {
        assert.deepEqual(
          values.filter((value) => value.startsWith(key)),
          sent,
        );
      }
    });
  }
});
