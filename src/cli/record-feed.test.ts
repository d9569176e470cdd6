import assert from "node:assert/strict";
import { test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { cliRequestMaxBytes } from "../base/limits.ts";
import type { LogClient, PackedRecord, ProduceRequest } from "./log-client.ts";
import { type Appended, type FeedResult, feedRecords } from "./record-feed.ts";

/** A client that answers when told to, and a source that gives when told to: so a test decides who is faster. */
class World {
  readonly requests: string[][] = [];
  readonly appended: Appended[] = [];
  readonly controller = new AbortController();
  readonly #source = new TransformStream<readonly PackedRecord[], readonly PackedRecord[]>(undefined, undefined, {
    highWaterMark: 0,
  });
  readonly #writer = this.#source.writable.getWriter();
  #answer: ((error?: Error) => void) | undefined;
  #nextOffset = 0;
  readonly result: Promise<FeedResult>;

  constructor() {
    const client = { produce: (request: ProduceRequest) => this.#produce(request) } as unknown as LogClient;
    this.result = feedRecords({
      client,
      topic: "orders",
      source: this.#source.readable,
      signal: this.controller.signal,
      onAppended: async (appended) => void this.appended.push(appended),
    });
  }

  #produce({ records }: ProduceRequest): ReturnType<LogClient["produce"]> {
    assert.equal(this.#answer, undefined, "one request at a time");
    this.requests.push(records.map((record) => record.text));
    return new Promise((resolve, reject) => {
      this.#answer = (error) => {
        this.#answer = undefined;
        if (error !== undefined) return reject(error);
        resolve([{ partition: 0, baseOffset: this.#nextOffset, count: records.length, isDurable: true }]);
        this.#nextOffset += records.length;
      };
    });
  }

  /** Resolves when the feed has taken them. */
  give(...texts: readonly string[]): Promise<void> {
    return this.#writer.write(texts.map((text) => ({ text, bytes: text.length })));
  }

  end(): Promise<void> {
    return this.#writer.close();
  }

  fail(error: unknown): Promise<void> {
    return this.#writer.abort(error);
  }

  async answer(error?: Error): Promise<void> {
    await settle();
    assert.ok(this.#answer !== undefined, "a request is under way");
    this.#answer(error);
    await settle();
  }
}

/** Lets everything that is ready run: promises' reactions all come before the next immediate. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("the first record goes at once, and what comes meanwhile goes together, in order", async () => {
  const world = new World();
  await world.give("a");
  await settle();
  assert.deepEqual(world.requests, [["a"]]);
  await world.give("b", "c");
  await world.give("d");
  await settle();
  assert.deepEqual(world.requests, [["a"]]);
  await world.answer();
  assert.deepEqual(world.requests, [["a"], ["b", "c", "d"]]);
  await world.end();
  await world.answer();
  assert.deepEqual(await world.result, { acknowledged: 4, failedCount: 0 });
  assert.deepEqual(
    world.appended.map(({ ranges, records, bytes }) => ({ baseOffset: ranges[0]?.baseOffset, records, bytes })),
    [
      { baseOffset: 0, records: 1, bytes: 1 },
      { baseOffset: 1, records: 3, bytes: 3 },
    ],
  );
});

test("a request holds no more than its limit, a larger record goes alone, and a full queue takes nothing more", async () => {
  const world = new World();
  const half = "x".repeat(cliRequestMaxBytes / 2);
  const large = "y".repeat(cliRequestMaxBytes + 1);
  await world.give("a");
  await world.give(half, half, "b", large, "c");
  let isTaken = false;
  const taken = world.give("d").then(() => {
    isTaken = true;
  });
  await settle();
  assert.equal(isTaken, false, "the queue is full");
  await world.answer();
  assert.deepEqual(world.requests[1], [half, half]);
  await world.answer();
  assert.deepEqual(world.requests[2], ["b"]);
  await world.answer();
  assert.deepEqual(world.requests[3], [large]);
  await taken;
  await world.answer();
  assert.deepEqual(world.requests[4], ["c", "d"]);
  await world.end();
  await world.answer();
  assert.equal((await world.result).acknowledged, 7);
});

test("what came before an error of the source is sent before it is told", async () => {
  const world = new World();
  const error = new ProglogError("RECORD_TOO_LARGE", "Cannot produce line 3");
  await world.give("a", "b");
  await world.fail(error).catch(() => {});
  await world.answer();
  assert.deepEqual(await world.result, { acknowledged: 2, failedCount: 0, failure: { of: "source", error } });
});

test("after a failed request nothing more is sent, and its size is told", async () => {
  const world = new World();
  const error = new ProglogError("UNAVAILABLE", "lost", { details: { outcome: "unknown" } });
  await world.give("a");
  await world.give("b", "c");
  await world.answer();
  await world.give("d");
  await world.answer(error);
  assert.deepEqual(await world.result, { acknowledged: 1, failedCount: 2, failure: { of: "request", error } });
  assert.equal(world.requests.length, 2);
});

test("told to stop, it waits for the request under way and sends nothing more", async () => {
  const world = new World();
  await world.give("a");
  await world.give("b");
  world.controller.abort();
  await settle();
  await world.answer();
  assert.deepEqual(await world.result, { acknowledged: 1, failedCount: 0 });
  assert.deepEqual(world.requests, [["a"]]);
});

test("told to stop, it doesn't wait for a source that says nothing more", async () => {
  const world = new World();
  await settle();
  world.controller.abort();
  assert.deepEqual(await world.result, { acknowledged: 0, failedCount: 0 });
});
