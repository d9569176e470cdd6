import assert from "node:assert/strict";
import { test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { ProglogError } from "../base/error.ts";
import { cliPendingMaxBytes, cliQuietMaxMs } from "../base/limits.ts";
import type { Acknowledged, LogClient, PackedRecord, RecordUpload } from "./log-client.ts";
import { type Appended, type FeedResult, feedRecords } from "./record-feed.ts";

/** A client that answers when told to, and a source that gives when told to: so a test decides who is faster. */
class World {
  readonly uploads: FakeUpload[] = [];
  readonly appended: Appended[] = [];
  readonly controller = new AbortController();
  readonly clock = createVirtualClock();
  readonly #source = new TransformStream<readonly PackedRecord[], readonly PackedRecord[]>(undefined, undefined, {
    highWaterMark: 0,
  });
  readonly #writer = this.#source.writable.getWriter();
  readonly result: Promise<FeedResult>;

  constructor() {
    const client = {
      openUpload: () => {
        const upload = new FakeUpload();
        this.uploads.push(upload);
        return upload;
      },
    } as unknown as LogClient;
    this.result = feedRecords({
      client,
      topic: "orders",
      source: this.#source.readable,
      signal: this.controller.signal,
      clock: this.clock,
      onAppended: async (appended) => void this.appended.push(appended),
    });
  }

  /** What each upload was given. */
  get written(): string[][] {
    return this.uploads.map((upload) => upload.texts);
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

  /** The newest upload acknowledges so many, fails, or ends well. */
  async answer(answer: number | Error | undefined): Promise<void> {
    await settle();
    this.uploads.at(-1)?.answer(answer);
    await settle();
  }
}

class FakeUpload implements RecordUpload {
  readonly texts: string[] = [];
  isEnded = false;
  readonly #answers: (number | Error | undefined)[] = [];
  #wake: (() => void) | undefined;
  #nextOffset = 0;

  write(records: readonly PackedRecord[]): void {
    assert.equal(this.isEnded, false);
    this.texts.push(...records.map(({ text }) => text));
  }

  end(): void {
    this.isEnded = true;
  }

  answer(answer: number | Error | undefined): void {
    this.#answers.push(answer);
    this.#wake?.();
  }

  async next(): Promise<Acknowledged | undefined> {
    while (this.#answers.length === 0)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    const answer = this.#answers.shift();
    if (answer instanceof Error) throw answer;
    if (answer === undefined) return undefined;
    this.#nextOffset += answer;
    const baseOffset = this.#nextOffset - answer;
    return { records: answer, ranges: [{ partition: 0, baseOffset, count: answer, isDurable: true }] };
  }
}

/** Lets everything that is ready run: promises' reactions all come before the next immediate. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

test("records go as they come, in one upload, and are acknowledged in whatever groups they were appended in", async () => {
  const world = new World();
  await world.give("a");
  await settle();
  assert.deepEqual(world.written, [["a"]]);
  await world.give("b", "c");
  await world.give("dd");
  await settle();
  assert.deepEqual(world.written, [["a", "b", "c", "dd"]]);
  await world.answer(1);
  await world.answer(2);
  await world.end();
  await settle();
  assert.equal(world.uploads[0]?.isEnded, true);
  await world.answer(1);
  await world.answer(undefined);
  assert.deepEqual(await world.result, { acknowledged: 4, failedCount: 0 });
  assert.deepEqual(
    world.appended.map(({ ranges, records, bytes }) => ({ baseOffset: ranges[0]?.baseOffset, records, bytes })),
    [
      { baseOffset: 0, records: 1, bytes: 1 },
      { baseOffset: 1, records: 2, bytes: 2 },
      { baseOffset: 3, records: 1, bytes: 2 },
    ],
  );
});

test("when as much as may be is not acknowledged, nothing more is taken until some is", async () => {
  const world = new World();
  const half = "x".repeat(cliPendingMaxBytes / 2);
  await world.give(half, half);
  let isTaken = false;
  const taken = world.give("d").then(() => {
    isTaken = true;
  });
  await settle();
  assert.equal(isTaken, false);
  await world.answer(1);
  await taken;
  await world.end();
  await world.answer(2);
  await world.answer(undefined);
  assert.equal((await world.result).acknowledged, 3);
});

test("an upload that has nothing to send for a while is ended, and the next record begins another", async () => {
  const world = new World();
  await world.give("a");
  await world.answer(1);
  world.clock.advance(cliQuietMaxMs - 1);
  await world.give("b");
  await settle();
  world.clock.advance(cliQuietMaxMs);
  await settle();
  assert.deepEqual([world.written, world.uploads[0]?.isEnded], [[["a", "b"]], false], "one is not acknowledged");
  await world.answer(1);
  world.clock.advance(cliQuietMaxMs);
  await settle();
  assert.equal(world.uploads[0]?.isEnded, true);
  await world.give("c");
  await settle();
  assert.deepEqual(world.written, [["a", "b"], ["c"]]);
  await world.end();
  await world.answer(1);
  await world.answer(undefined);
  assert.deepEqual(await world.result, { acknowledged: 3, failedCount: 0 });
  assert.equal(world.clock.timerCount, 0);
});

test("an upload lost while all is acknowledged is no failure", async () => {
  const world = new World();
  await world.give("a");
  await world.answer(1);
  await world.answer(new ProglogError("UNAVAILABLE", "lost", { details: { outcome: "unknown" } }));
  await world.give("b");
  await world.end();
  await world.answer(1);
  await world.answer(undefined);
  assert.deepEqual(await world.result, { acknowledged: 2, failedCount: 0 });
  assert.deepEqual(world.written, [["a"], ["b"]]);
});

test("what came before an error of the source is sent before it is told", async () => {
  const world = new World();
  const error = new ProglogError("RECORD_TOO_LARGE", "Cannot produce line 3");
  await world.give("a", "b");
  await world.fail(error).catch(() => {});
  await world.answer(2);
  await world.answer(undefined);
  assert.deepEqual(await world.result, { acknowledged: 2, failedCount: 0, failure: { of: "source", error } });
});

test("after a failed upload nothing more is sent, and how much is in doubt is told", async () => {
  for (const [details, failedCount] of [
    [{ outcome: "unknown" }, 4],
    [{ outcome: "unknown", line: 2, lastLine: 3 }, 2],
  ] as const) {
    const world = new World();
    const error = new ProglogError("DISK_FAILED", "failed", { details });
    await world.give("a");
    await world.give("b", "c", "d", "e");
    await world.answer(1);
    await world.answer(error);
    assert.deepEqual(await world.result, { acknowledged: 1, failedCount, failure: { of: "request", error } });
    assert.equal(world.uploads.length, 1);
  }
});

test("told to stop, it ends the upload, waits for what is under way, and sends nothing more", async () => {
  const world = new World();
  await world.give("a");
  await settle();
  world.controller.abort();
  await settle();
  assert.equal(world.uploads[0]?.isEnded, true);
  void world.give("b");
  await world.answer(1);
  await world.answer(undefined);
  assert.deepEqual(await world.result, { acknowledged: 1, failedCount: 0 });
  assert.deepEqual(world.written, [["a"]]);
});

test("told to stop, it doesn't wait for a source that says nothing more", async () => {
  const world = new World();
  await settle();
  world.controller.abort();
  assert.deepEqual(await world.result, { acknowledged: 0, failedCount: 0 });
});
