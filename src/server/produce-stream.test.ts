import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { ProglogError } from "../base/error.ts";
import { producesMaxBytes, produceStreamMaxBytes, produceStreamMaxCount } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import type { CallContext } from "../grpc/index.ts";
import type { ProduceRequest, ProduceResponse } from "../wire/produce-message.ts";
import { ProduceRoom } from "./produce-room.ts";
import { ProduceStream } from "./produce-stream.ts";

/** The requests of a client, as many as a test gives, and what the node does with them, when it says so. */
class World {
  readonly room = new ProduceRoom({ maxBytes: producesMaxBytes, waitingMaxBytes: 0 });
  readonly stopping = new AbortController();
  readonly gone = new AbortController();
  readonly appends: PromiseWithResolvers<void>[] = [];
  readonly answers: number[] = [];
  /** What the node's disk is waited for by. */
  disk: PromiseWithResolvers<void> | undefined;
  /** Appends settle at once. */
  isFast = false;
  #queue: ProduceRequest[] = [];
  #isEnded = false;
  #wake: (() => void) | undefined;

  run(): Promise<void> {
    const append = () => {
      const settled = Promise.withResolvers<void>();
      const offset = this.appends.length;
      if (this.isFast) settled.resolve();
      else this.appends.push(settled);
      return { answer: settled.promise.then(() => ({ ...answer, offset })), settled: settled.promise };
    };
    return new ProduceStream({
      requests: {
        ready: () => this.#ready(),
        readAvailable: async () => {
          await this.#ready();
          return this.#queue.splice(0);
        },
        read: () => assert.fail("requests are read together"),
        [Symbol.asyncIterator]: () => assert.fail("requests are read together"),
      },
      responses: { send: async ({ offset }) => void this.answers.push(offset) },
      call: { signal: this.gone.signal, isOver: false } as CallContext,
      room: this.room,
      stopping: this.stopping.signal,
      getTopic: () => notAsked,
      whenAllowed: () => undefined,
      whenRoom: () => this.disk?.promise,
      append,
    }).run();
  }

  /** Gives requests of so many bytes, and lets the stream do what it can. */
  async send(...sizes: readonly number[]): Promise<void> {
    this.#queue.push(...sizes.map((size) => ({ ...request, batch: Buffer.alloc(size) })));
    this.#wake?.();
    await new Promise(setImmediate);
  }

  async end(): Promise<void> {
    this.#isEnded = true;
    await this.send();
  }

  get waitingCount(): number {
    return this.#queue.length;
  }

  async #ready(): Promise<void> {
    while (this.#queue.length === 0 && !this.#isEnded) await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

const notAsked = new ProglogError("TOPIC_NOT_FOUND", "Cannot find a topic: nobody asks for one here");
const request: ProduceRequest = { topic: "", records: [], acks: "quorum", answersErrors: false };
const answer: ProduceResponse = { offset: 0, partition: 0, count: 0, appendTime: 0, isDurable: false, isDuplicate: false };

describe("a ProduceStream", () => {
  test("is held back while the node's disk has no room, and reads no more meanwhile", async () => {
    const world = new World();
    const running = world.run();
    world.disk = Promise.withResolvers();
    await world.send(KiB, KiB);
    await world.send(KiB);
    assert.deepEqual([world.appends.length, world.waitingCount], [0, 1]);
    const { resolve } = world.disk;
    world.disk = undefined;
    resolve();
    await world.end();
    assert.equal(world.appends.length, 3);
    for (const append of world.appends) append.resolve();
    await running;
    assert.deepEqual(world.answers, [0, 1, 2]);
  });

  test("answers in the order of its requests, whichever is appended first", async () => {
    const world = new World();
    const running = world.run();
    await world.send(1, 1, 1);
    world.appends[2]?.resolve();
    await world.send();
    assert.deepEqual(world.answers, []);
    world.appends[0]?.resolve();
    world.appends[1]?.resolve();
    await world.end();
    await running;
    assert.deepEqual(world.answers, [0, 1, 2]);
    assert.equal(world.room.bytes, 0);
  });

  test("reads no more while as many bytes are under way as may be, and goes on when some are appended", async () => {
    const world = new World();
    const running = world.run();
    for (let sent = 0; sent < produceStreamMaxBytes; sent += 1 * MiB) await world.send(1 * MiB);
    assert.equal(world.appends.length, 8);
    await world.send(1 * KiB);
    assert.deepEqual([world.appends.length, world.waitingCount], [8, 1]);
    // Appended, though not answered: the one before it isn't.
    world.appends[1]?.resolve();
    await world.send();
    assert.deepEqual([world.appends.length, world.answers.length], [9, 0]);
    for (const append of world.appends) append.resolve();
    await world.end();
    await running;
    assert.equal(world.answers.length, 9);
  });

  test("reads no more while as many wait to be answered as may", async () => {
    const world = new World();
    const running = world.run();
    await world.send(...Array.from({ length: produceStreamMaxCount }, () => 0));
    await world.send(0);
    assert.deepEqual([world.appends.length, world.waitingCount], [produceStreamMaxCount, 1]);
    world.appends[0]?.resolve();
    await world.send();
    assert.equal(world.appends.length, produceStreamMaxCount + 1);
    for (const append of world.appends) append.resolve();
    await world.end();
    await running;
  });

  test("reads nothing while others fill the node's room, and leaves the line when its client goes", async () => {
    const world = new World();
    assert.ok(world.room.tryTake(producesMaxBytes));
    const running = world.run();
    await world.send(1);
    assert.deepEqual([world.appends.length, world.waitingCount, world.room.waitingCount], [0, 1, 1]);
    world.gone.abort();
    await running;
    assert.deepEqual([world.room.bytes, world.room.waitingCount], [producesMaxBytes, 0]);
  });

  test("a node that stops answers what was appended, takes nothing more, and says why", async () => {
    const world = new World();
    const running = world.run();
    await world.send(1);
    const reason = new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping");
    world.stopping.abort(reason);
    await world.send(1);
    assert.equal(world.appends.length, 1);
    world.appends[0]?.resolve();
    await assert.rejects(running, reason);
    assert.deepEqual(world.answers, [0]);
    assert.equal(world.room.bytes, 0);
  });

  test("an append that fails ends it with its error, and those before it are answered", async () => {
    const world = new World();
    const running = world.run();
    await world.send(1, 1, 1);
    const failure = new ProglogError("DISK_FAILED", "Cannot append");
    world.appends[1]?.reject(failure);
    world.appends[0]?.resolve();
    await assert.rejects(running, failure);
    assert.deepEqual(world.answers, [0]);
    world.appends[2]?.resolve();
    await world.send();
    assert.equal(world.room.bytes, 0);
  });

  test("keeps nothing of requests that are answered, however long it lives", async () => {
    const world = new World();
    world.isFast = true;
    const running = world.run();
    const rounds = 4_000;
    for (let round = 0; round < 500; round += 1) await world.send(0);
    const before = await heapBytes();
    for (let round = 0; round < rounds; round += 1) await world.send(0);
    const kept = ((await heapBytes()) - before) / rounds;
    // The number of each answer, which the test keeps, and what the runtime does meanwhile.
    assert.ok(kept < 150, `${kept} bytes of each request are kept`);
    await world.end();
    await running;
    assert.equal(getEventListeners(world.stopping.signal, "abort").length, 0);
  });
});

/** Of what is in use, when all is collected that can be. */
async function heapBytes(): Promise<number> {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  for (let round = 0; round < 4; round += 1) {
    collect();
    await new Promise(setImmediate);
  }
  return process.memoryUsage().heapUsed;
}
