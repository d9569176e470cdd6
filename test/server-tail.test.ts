import assert from "node:assert/strict";
import { type ClientRequest, get, type IncomingMessage } from "node:http";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { createSimDisk } from "../sim/disk.ts";
import { recordMaxBytes, tailHeartbeatMs, tailPartitionsMaxCount, tailUnsentMaxBytes } from "../src/base/limits.ts";
import { type JsonObject, startTestNode, type TestNode, type TestNodeOptions } from "./test-node.ts";

describe("a live tail", () => {
  test("gives what is there and then what comes, each with its offset as its id", async () => {
    await using node = await startTestNode();
    await produce(node, "a", "b");
    const tail = await Tail.open(node);
    assert.equal(tail.response.statusCode, 200);
    assert.match(String(tail.response.headers["content-type"]), /^text\/event-stream/);
    assert.match(tail.response.headers["cache-control"] ?? "", /no-store/);
    const hello = await tail.nextBlock();
    assert.match(hello, /^retry: \d+\nid: -1$/);
    assert.deepEqual(await tail.nextRecords(2), [
      ["0", "a"],
      ["1", "b"],
    ]);
    await produce(node, "c\nd");
    const event = parseEvent(await tail.nextBlock());
    assert.deepEqual([event.id, event.type, event.data["value"], event.data["partition"]], ["2", undefined, "c\nd", 0]);
    tail.close();
  });

  test("begins where it is told", async () => {
    await using node = await startTestNode();
    await produce(node, "a", "b", "c");
    for (const [from, first] of [
      ["start", "0"],
      ["1", "1"],
      ["end", "3"],
    ] as const) {
      const tail = await Tail.open(node, `?from=${from}`);
      assert.match(await tail.nextBlock(), new RegExp(`^retry: \\d+\nid: ${Number(first) - 1}$`));
      if (from === "end") await produce(node, "d");
      assert.equal((await tail.nextRecords(1))[0]?.[0], first);
      tail.close();
    }
  });

  test("resumes behind the last event that its client names, whatever the address says", async () => {
    await using node = await startTestNode();
    await produce(node, "a", "b", "c");
    const tail = await Tail.open(node, "?from=end", { "last-event-id": "0" });
    await tail.nextBlock();
    assert.deepEqual(await tail.nextRecords(2), [
      ["1", "b"],
      ["2", "c"],
    ]);
    tail.close();
    for (const [id, first] of [
      ["-1", "0"],
      ["2", "3"],
    ] as const) {
      const other = await Tail.open(node, "?from=1", { "last-event-id": id });
      assert.match(await other.nextBlock(), new RegExp(`\nid: ${id}$`));
      if (first === "3") await produce(node, "d");
      assert.equal((await other.nextRecords(1))[0]?.[0], first);
      other.close();
    }
  });

  test("of one partition among several has both in its ids", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 3 });
    const tail = await Tail.open(node, "?partition=1");
    assert.match(await tail.nextBlock(), /\nid: 1:-1$/);
    await node.post("/v1/topics/orders/records?partition=0", { value: "other" });
    await node.post("/v1/topics/orders/records?partition=1", { value: "a" });
    assert.deepEqual(await tail.nextRecords(1), [["1:0", "a"]]);
    tail.close();
    const resumed = await Tail.open(node, "?partition=1", { "last-event-id": "1:-1" });
    await resumed.nextBlock();
    assert.deepEqual(await resumed.nextRecords(1), [["1:0", "a"]]);
    resumed.close();
  });

  test("of a whole topic merges its partitions, and each id has the position in all: nothing is lost or doubled by resuming", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders", partitions: 3 });
    const values: string[] = [];
    for (let number = 0; number < 30; number += 1) {
      values.push(`v${number}`);
      await node.post(`/v1/topics/orders/records?partition=${(number * 7) % 3}`, { value: `v${number}` });
    }
    const seen: string[] = [];
    let lastId: string | undefined;
    while (seen.length < values.length) {
      const tail = await Tail.open(node, "?from=start", lastId === undefined ? {} : { "last-event-id": lastId });
      await tail.nextBlock();
      for (const [id, value] of await tail.nextRecords(Math.min(4, values.length - seen.length))) {
        lastId = id;
        seen.push(value);
      }
      tail.close();
    }
    assert.deepEqual(seen.toSorted(), values.toSorted());
    assert.equal(lastId, "0:9,1:9,2:9");
  });

  test("says when records that it would have sent are gone, and goes on behind them", async () => {
    const { node } = await trimmedNode();
    await using _ = node;
    const { logStartOffset } = await node.json<{ logStartOffset: number }>("GET", "/v1/topics/orders/records");
    assert(logStartOffset > 1);
    const tail = await Tail.open(node, "", { "last-event-id": "0" });
    await tail.nextBlock();
    const gap = parseEvent(await tail.nextBlock());
    assert.deepEqual([gap.type, gap.id], ["gap", String(logStartOffset - 1)]);
    assert.deepEqual(gap.data, { partition: 0, fromOffset: 1, toOffset: logStartOffset });
    assert.equal((await tail.nextRecords(1))[0]?.[0], String(logStartOffset));
    tail.close();
  });

  test("that can't begin is refused with a status of its own", async () => {
    await using node = await startTestNode();
    await produce(node, "a");
    await node.post("/v1/topics", { name: "wide", partitions: tailPartitionsMaxCount + 1 });
    await node.post("/v1/topics", { name: "fits", partitions: tailPartitionsMaxCount });
    for (const [path, headers, status, code] of [
      ["/v1/topics/orders/records?from=2", {}, 416, "OFFSET_OUT_OF_RANGE"],
      ["/v1/topics/orders/records", { "last-event-id": "1" }, 416, "OFFSET_OUT_OF_RANGE"],
      ["/v1/topics/orders/records", { "last-event-id": "x" }, 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records", { "last-event-id": "0:0,1:0" }, 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?partition=1", {}, 404, "PARTITION_NOT_FOUND"],
      ["/v1/topics/none/records", {}, 404, "TOPIC_NOT_FOUND"],
      ["/v1/topics/wide/records", {}, 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?limit=1", {}, 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?waitMs=1", {}, 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?follow=false", {}, 400, "INVALID_ARGUMENT"],
      ["/v1/topics/orders/records?follow=true", { accept: "application/json" }, 400, "INVALID_ARGUMENT"],
    ] as const) {
      const answer = await node.get(path, { headers: { ...accepting, ...headers } });
      assert.equal(answer.status, status, `${path}: ${answer.text}`);
      assert.equal((JSON.parse(answer.text) as JsonObject)["code"], code);
    }
    (await Tail.open(node, "", {}, "fits")).close();
    await node.until(async () => (await node.metric("proglog_tails")) === 0);
  });

  test("ends with the reason when its topic is deleted, or what comes next can't be read", async () => {
    await using node = await startTestNode();
    await produce(node, "a");
    const tail = await Tail.open(node);
    await tail.nextBlock();
    await tail.nextRecords(1);
    await node.send("DELETE", "/v1/topics/orders");
    const last = parseEvent(await tail.nextBlock());
    assert.deepEqual([last.type, last.id, last.data["code"]], ["problem", undefined, "TOPIC_NOT_FOUND"]);
    assert.equal(await tail.rest(), "");

    const disk = createSimDisk();
    await using rotten = await startTestNode({ disk });
    for (const value of ["a", "b"]) await produce(rotten, value);
    const { partitions } = await rotten.json<{ partitions: { uuid: string }[] }>("GET", "/v1/status");
    const store = `/data/logs/${partitions[0]?.uuid}/00000000000000000001.store`;
    disk.flipBit(store, disk.contentOf(store).lastIndexOf("b"), 3);
    const other = await Tail.open(rotten);
    await other.nextBlock();
    assert.deepEqual(await other.nextRecords(1), [["0", "a"]]);
    assert.equal(parseEvent(await other.nextBlock()).data["code"], "LOG_CORRUPT");
    const refused = await rotten.get("/v1/topics/orders/records", { headers: { ...accepting, "last-event-id": "0" } });
    assert.equal(refused.status, 500);
  });

  test("says that it is there while nothing comes, and only then", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    await produce(node, "a");
    const tail = await Tail.open(node);
    await tail.nextBlock();
    await tail.nextRecords(1);
    clock.advance(tailHeartbeatMs);
    clock.advance(tailHeartbeatMs);
    assert.equal(await tail.nextBlock(), ":");
    await produce(node, "b");
    await tail.nextRecords(1);
    clock.advance(tailHeartbeatMs);
    await produce(node, "c");
    assert.deepEqual(await tail.nextRecords(1), [["2", "c"]]);
    tail.close();
  });

  test("leaves nothing behind when its client goes away", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    await produce(node, "a");
    const timers = clock.timerCount;
    const tail = await Tail.open(node);
    assert.equal(await node.metric("proglog_tails"), 1);
    assert.equal(clock.timerCount, timers + 1);
    tail.close();
    await node.until(async () => (await node.metric("proglog_tails")) === 0);
    assert.equal(clock.timerCount, timers);
    assert.equal(
      await node.metric('proglog_http_requests_total{route="/v1/topics/:topic/records",status="200"}'),
      2,
      "a tail that its client ends was answered",
    );
    assert.equal(
      await node.metric('proglog_http_request_duration_seconds_count{route="/v1/topics/:topic/records"}'),
      1,
      "and says nothing of how long answers take",
    );
  });

  test("as lines is a record a line, with an empty one as a heartbeat and an error as the last", async () => {
    const clock = createVirtualClock();
    const node = await startTestNode({ clock });
    await produce(node, "a");
    const tail = await Tail.open(node, "?follow=true", { accept: "application/x-ndjson" });
    assert.match(String(tail.response.headers["content-type"]), /^application\/x-ndjson/);
    const line = JSON.parse(await tail.next("\n")) as JsonObject;
    assert.deepEqual([line["partition"], line["offset"], line["value"]], [0, 0, "a"]);
    clock.advance(tailHeartbeatMs);
    clock.advance(tailHeartbeatMs);
    assert.equal(await tail.next("\n"), "");
    await node.node.close();
    const { error } = JSON.parse(await tail.rest()) as { error: JsonObject };
    assert.equal(error["code"], "SHUTTING_DOWN");
  });

  test("that isn't taken holds little, holds up nobody, and goes on where it was", async () => {
    await using node = await startTestNode();
    const large = "x".repeat(recordMaxBytes / 2);
    await node.post("/v1/topics", { name: "orders" });
    const stuck = await Tail.open(node);
    const other = await Tail.open(node);
    stuck.response.pause();
    await Promise.all([stuck.nextBlock(), other.nextBlock()]);
    stuck.response.pause();
    const count = 40;
    for (let number = 0; number < count; number += 1) {
      await produce(node, `${number} ${large}`);
      assert.equal((await other.nextRecords(1))[0]?.[0], String(number));
    }
    await node.until(async () => (await node.metric("proglog_tail_unsent_bytes")) > tailUnsentMaxBytes);
    assert((await node.metric("proglog_tail_unsent_bytes")) < tailUnsentMaxBytes + 2 * recordMaxBytes);
    const records = await stuck.nextRecords(count);
    assert.deepEqual(
      records.map(([id, value]) => [id, Number.parseInt(value, 10)]),
      Array.from({ length: count }, (_, number) => [String(number), number]),
    );
    stuck.close();
    other.close();
  });

  test("that isn't taken holds no more of a large batch, either", async () => {
    await using node = await startTestNode();
    await node.post("/v1/topics", { name: "orders" });
    const stuck = await Tail.open(node);
    await stuck.nextBlock();
    stuck.response.pause();
    const value = "x".repeat(50_000);
    const batchRecords = 70;
    const batches = 6;
    for (let batch = 0; batch < batches; batch += 1) await produce(node, ...Array.from({ length: batchRecords }, () => value));
    await node.until(async () => (await node.metric("proglog_tail_unsent_bytes")) > tailUnsentMaxBytes);
    assert((await node.metric("proglog_tail_unsent_bytes")) < tailUnsentMaxBytes + 2 * value.length);
    const records = await stuck.nextRecords(batches * batchRecords);
    assert.deepEqual(
      records.map(([id]) => Number(id)),
      Array.from({ length: batches * batchRecords }, (_, offset) => offset),
    );
    stuck.close();
  });
});

describe("a thousand live tails", () => {
  test("cost one timer and no reads while nothing comes, one read when something does, and end with a stop", async () => {
    const clock = createVirtualClock();
    const node = await startTestNode({ clock, flags: { "max-connections": 1_100 } });
    await produce(node, "a");
    const timers = clock.timerCount;
    const tails = await openTails(node, 1_000);
    for (const tail of tails) {
      await tail.nextBlock();
      await tail.nextRecords(1);
    }
    assert.equal(clock.timerCount, timers + 1);
    const reads = await node.metric("proglog_log_read_batches_total");
    const sent = await node.metric("proglog_tail_sent_bytes_total");
    // Its first beat finds that all have sent something.
    clock.advance(tailHeartbeatMs);
    clock.advance(tailHeartbeatMs - 1);
    assert.equal(await node.metric("proglog_log_read_batches_total"), reads);
    assert.equal(await node.metric("proglog_tail_sent_bytes_total"), sent);
    await produce(node, "b");
    for (const tail of tails) assert.deepEqual(await tail.nextRecords(1), [["1", "b"]]);
    assert.equal(await node.metric("proglog_log_read_batches_total"), reads + 1);
    assert.equal(clock.timerCount, timers + 1);
    // No time passes: a stop that waited for its grace would never end.
    await node.node.close();
    for (const tail of tails) {
      assert.equal(parseEvent(await tail.nextBlock()).data["code"], "SHUTTING_DOWN");
      assert.equal(await tail.rest(), "");
    }
  });

  test("of which some aren't taken end with a stop all the same", async () => {
    const node = await startTestNode({ clock: createVirtualClock() });
    const tails = await openTailsOf(node, 3);
    for (const tail of tails) tail.response.pause();
    for (let count = 0; count < 40; count += 1) await produce(node, "x".repeat(recordMaxBytes / 2));
    await node.until(async () => (await node.metric("proglog_tail_unsent_bytes")) > 3 * tailUnsentMaxBytes);
    await node.node.close();
    for (const tail of tails) tail.close();
  });
});

const accepting = { accept: "text/event-stream" };

async function produce(node: TestNode, ...values: readonly string[]): Promise<void> {
  const records = values.map((value) => ({ value }));
  const answer = await node.post("/v1/topics/orders/records", records);
  assert.equal(answer.status, 200, answer.text);
}

async function openTailsOf(node: TestNode, count: number): Promise<Tail[]> {
  await produce(node, "first");
  return openTails(node, count);
}

/** A few at a time: the system's queue of connections is short. */
async function openTails(node: TestNode, count: number): Promise<Tail[]> {
  const tails: Tail[] = [];
  while (tails.length < count) {
    const next = Array.from({ length: Math.min(50, count - tails.length) }, () => Tail.open(node));
    tails.push(...(await Promise.all(next)));
  }
  return tails;
}

/** A node of small segments whose first ones retention has removed. */
async function trimmedNode(options: TestNodeOptions = {}): Promise<{ node: TestNode }> {
  const clock = createVirtualClock();
  const flags = { "segment-max-bytes": 1024, "retention-max-bytes": 1024, "retention-interval-ms": "1s" };
  const node = await startTestNode({ ...options, clock, flags });
  for (let number = 0; number < 20; number += 1) await produce(node, `${number}`.padEnd(300, "."));
  clock.advance(1_000);
  await node.until(async () => (await node.metric('proglog_log_start_offset{topic="orders",partition="0"}')) > 1);
  return { node };
}

/** A client of a tail, which reads it block by block. */
class Tail {
  readonly response: IncomingMessage;
  readonly #request: ClientRequest;
  readonly #received: AsyncIterator<Buffer>;
  #text = "";

  constructor(request: ClientRequest, response: IncomingMessage) {
    this.#request = request;
    this.response = response;
    this.#received = response[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  static open(node: TestNode, query = "", headers: Record<string, string> = {}, topic = "orders"): Promise<Tail> {
    const { promise, resolve, reject } = Promise.withResolvers<Tail>();
    const path = `/v1/topics/${topic}/records${query}`;
    const request = get(`${node.node.url}${path}`, { agent: false, headers: { ...accepting, ...headers } });
    request.once("error", reject);
    request.once("response", (response) => resolve(new Tail(request, response)));
    return promise;
  }

  nextBlock(): Promise<string> {
    return this.next("\n\n");
  }

  /** Ids and values of the next events. */
  async nextRecords(count: number): Promise<[string, string][]> {
    const records: [string, string][] = [];
    while (records.length < count) {
      const { id, type, data } = parseEvent(await this.nextBlock());
      assert.equal(type, undefined);
      records.push([id ?? "", String(data["value"])]);
    }
    return records;
  }

  async next(delimiter: string): Promise<string> {
    while (!this.#text.includes(delimiter)) {
      const { value, done } = await this.#received.next();
      assert.notEqual(done, true, `the tail ended after ${this.#text}`);
      this.#text += String(value);
    }
    const end = this.#text.indexOf(delimiter);
    const block = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + delimiter.length);
    return block;
  }

  async rest(): Promise<string> {
    for (let next = await this.#received.next(); next.done !== true; next = await this.#received.next())
      this.#text += String(next.value);
    return this.#text;
  }

  close(): void {
    this.response.on("error", () => {});
    this.#request.destroy();
  }
}

function parseEvent(block: string): { id: string | undefined; type: string | undefined; data: JsonObject } {
  const fields = new Map(
    block.split("\n").map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]),
  );
  return { id: fields.get("id"), type: fields.get("event"), data: JSON.parse(fields.get("data") ?? "{}") as JsonObject };
}
