import assert from "node:assert/strict";
import { test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { cliPendingMaxBytes, cliRecordOverheadBytes } from "../base/limits.ts";
import type { SentPart } from "../client/index.ts";
import type { InputRecord } from "./input-record.ts";
import { type Appended, type FeedResult, feedRecords } from "./record-feed.ts";

/** A producer that answers when told to, and a source that gives when told to: so a test decides who is faster. */
class World {
  readonly producers: FakeProducer[] = [];
  readonly appended: Appended[] = [];
  readonly controller = new AbortController();
  readonly #source = new TransformStream<readonly InputRecord[], readonly InputRecord[]>(undefined, undefined, {
    highWaterMark: 0,
  });
  readonly #writer = this.#source.writable.getWriter();
  readonly result: Promise<FeedResult>;

  constructor() {
    this.result = feedRecords({
      openProducer: () => {
        const producer = new FakeProducer();
        this.producers.push(producer);
        return producer;
      },
      source: this.#source.readable,
      signal: this.controller.signal,
      onAppended: async (appended) => void this.appended.push(appended),
    });
  }

  /** What is sent and not answered, of the newest producer. */
  get sent(): string[][] {
    return (this.producers.at(-1)?.groups ?? []).map(({ records }) => records.map(({ value }) => String(value)));
  }

  /** The offsets that were told of: "0+2" for two from 0 on. */
  get told(): string[] {
    return this.appended.flatMap(({ ranges }) => ranges.map(({ baseOffset, count }) => `${baseOffset}+${count}`));
  }

  /** Resolves when the feed has taken them. */
  give(...values: readonly string[]): Promise<void> {
    const records = values.map((value) => ({ key: null, value: Buffer.from(value), bytes: value.length }));
    return this.#writer.write(records);
  }

  end(): Promise<void> {
    return this.#writer.close();
  }

  fail(error: unknown): Promise<void> {
    return this.#writer.abort(error);
  }

  /** The oldest group that isn't answered is appended at the offset, or gets the error. */
  async answer(answer: number | Error, at = 0): Promise<void> {
    await settle();
    const group = this.producers.at(-1)?.groups.splice(at, 1)[0];
    assert.ok(group !== undefined, "nothing waits for an answer");
    group.resolve([partOf(group.records, answer)]);
    await settle();
  }

  /** The same, in parts: of each so many records and what becomes of them. */
  async answerParts(...answers: readonly (readonly [values: string, answer: number | Error])[]): Promise<void> {
    await settle();
    const group = this.producers.at(-1)?.groups.shift();
    assert.ok(group !== undefined, "nothing waits for an answer");
    const parts = answers.map(([values, answer]) =>
      partOf(
        group.records.filter(({ value }) => values.includes(String(value))),
        answer,
      ),
    );
    group.resolve(parts);
    await settle();
  }
}

class FakeProducer {
  readonly groups: { readonly records: readonly InputRecord[]; readonly resolve: (parts: readonly SentPart[]) => void }[] = [];
  isClosed = false;

  sendParts(records: readonly InputRecord[]): Promise<readonly SentPart[]> {
    assert.equal(this.isClosed, false);
    const { promise, resolve } = Promise.withResolvers<readonly SentPart[]>();
    this.groups.push({ records, resolve });
    return promise;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

function partOf(records: readonly InputRecord[], answer: number | Error): SentPart {
  if (answer instanceof Error) return { records, error: answer };
  return { records, range: { partition: 0, baseOffset: answer, count: records.length, appendTime: 0, isDurable: true } };
}

/** Lets everything that is ready run: promises' reactions all come before the next immediate. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const refused = new ProglogError("RECORD_TOO_LARGE", "too large", { details: { outcome: "not-appended" } });

test("records go as they come, and what is answered together is told together", async () => {
  const world = new World();
  await world.give("a");
  await settle();
  await world.give("b", "c");
  await world.give("dd");
  await settle();
  assert.deepEqual(world.sent, [["a"], ["b", "c"], ["dd"]]);
  await world.answer(0);
  await world.answer(1);
  await world.end();
  await world.answer(3);
  assert.deepEqual(await world.result, { acknowledged: 4, doubtfulCount: 0 });
  assert.deepEqual(
    world.appended.map(({ ranges, records, bytes }) => ({ baseOffset: ranges[0]?.baseOffset, records, bytes })),
    [
      { baseOffset: 0, records: 1, bytes: 1 },
      { baseOffset: 1, records: 2, bytes: 2 },
      { baseOffset: 3, records: 1, bytes: 2 },
    ],
  );
  assert.ok(world.producers.every(({ isClosed }) => isClosed));
});

test("acknowledgements are told in the order of the records, whoever answers first", async () => {
  const world = new World();
  for (const value of ["a", "b", "c"]) await world.give(value);
  await world.answer(2, 2);
  await world.answer(1, 1);
  assert.deepEqual(world.told, []);
  await world.answer(0);
  assert.deepEqual(world.told, ["0+3"]);
  await world.end();
  assert.equal((await world.result).acknowledged, 3);
});

test("when as much as may be is not acknowledged, nothing more is taken until some is", async () => {
  const world = new World();
  const half = "x".repeat(cliPendingMaxBytes / 2 - cliRecordOverheadBytes);
  await world.give(half, half);
  let isTaken = false;
  const taken = world.give("d").then(() => {
    isTaken = true;
  });
  await settle();
  assert.equal(isTaken, false);
  await world.answer(0);
  await taken;
  await world.end();
  await world.answer(1);
  await world.answer(2);
  assert.equal((await world.result).acknowledged, 3);
});

test("a million empty records are not nothing", async () => {
  const world = new World();
  await world.give(...Array.from({ length: cliPendingMaxBytes / cliRecordOverheadBytes }, () => ""));
  let isTaken = false;
  void world.give("d").then(() => {
    isTaken = true;
  });
  await settle();
  assert.equal(isTaken, false);
  assert.ok(world.sent.length > 1);
  world.controller.abort();
  for (let offset = 0; (world.producers[0]?.groups.length ?? 0) > 0; offset += 1_024) await world.answer(offset);
  assert.equal((await world.result).acknowledged, cliPendingMaxBytes / cliRecordOverheadBytes);
});

test("what came before an error of the source is sent before it is told", async () => {
  const world = new World();
  const error = new ProglogError("RECORD_TOO_LARGE", "Cannot produce line 3");
  await world.give("a", "b");
  await world.fail(error).catch(() => {});
  await world.answer(0);
  assert.deepEqual(await world.result, { acknowledged: 2, doubtfulCount: 0, failure: { of: "source", error } });
});

test("after a failure nothing more is sent, and how much is in doubt is told", async () => {
  for (const [outcome, doubtfulCount] of [
    ["unknown", 4],
    ["not-appended", 0],
  ] as const) {
    const world = new World();
    const error = new ProglogError("DISK_FAILED", "failed", { details: { outcome } });
    await world.give("a");
    await world.give("b", "c", "d", "e");
    await world.give("f");
    await world.answer(0);
    await world.answer(error);
    await world.answer(new ProglogError("DISK_FAILED", "failed", { details: { outcome: "not-appended" } }));
    assert.deepEqual(await world.result, { acknowledged: 1, doubtfulCount, failure: { of: "request", error } });
    assert.equal(world.producers.length, 1);
  }
});

test("what other partitions appended behind the first failure is in doubt, too", async () => {
  const world = new World();
  const error = new ProglogError("DISK_FULL", "full", { details: { outcome: "not-appended" } });
  await world.give("a", "b", "c", "d", "e");
  await world.answerParts(["ad", 7], ["bce", error]);
  assert.deepEqual(await world.result, { acknowledged: 1, doubtfulCount: 3, failure: { of: "request", error } });
  assert.deepEqual(world.told, ["7+1"]);
});

test("of a batch that is refused for one of its records, those before it are appended", async () => {
  const world = new World();
  await world.give("a", "b", "c", "BAD", "e", "f", "g");
  await world.answer(refused);
  assert.deepEqual(world.sent, [["a", "b", "c", "BAD"]]);
  await world.answer(refused);
  assert.deepEqual(world.sent, [["a", "b"]]);
  await world.answer(0);
  assert.deepEqual(world.sent, [["c"]]);
  await world.answer(2);
  assert.deepEqual(world.sent, [["BAD"]]);
  await world.answer(refused);
  assert.deepEqual(await world.result, {
    acknowledged: 3,
    doubtfulCount: 0,
    failure: { of: "request", error: refused },
  });
  assert.deepEqual(world.told, ["0+3"]);
  assert.ok(world.producers.every(({ isClosed }) => isClosed));
});

test("the search ends where an answer is lost, and says so", async () => {
  const world = new World();
  const lost = new ProglogError("UNAVAILABLE", "lost", { details: { outcome: "unknown" } });
  await world.give("a", "b", "c", "BAD");
  await world.answer(refused);
  await world.answer(lost);
  assert.deepEqual(await world.result, { acknowledged: 0, doubtfulCount: 2, failure: { of: "request", error: lost } });
});

test("told to stop, it waits for what is under way, and sends nothing more", async () => {
  const world = new World();
  await world.give("a");
  await settle();
  world.controller.abort();
  await settle();
  void world.give("b");
  await world.answer(0);
  assert.deepEqual(await world.result, { acknowledged: 1, doubtfulCount: 0 });
  assert.equal(world.producers.length, 1);
});

test("told to stop, it doesn't wait for a source that says nothing more", async () => {
  const world = new World();
  await settle();
  world.controller.abort();
  assert.deepEqual(await world.result, { acknowledged: 0, doubtfulCount: 0 });
});
