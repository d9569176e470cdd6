import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { grpcMessageMaxBytes, grpcReceiveQueueBytes, producesMaxBytes, produceStreamMaxBytes } from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { type BidiStreamCall, type Channel, connect } from "../src/grpc/index.ts";
import { roomOf } from "../src/server/produce-room.ts";
import type { Acks } from "../src/wire/produce-message.ts";
import { decodeProduceResponse } from "../src/wire/produce-message.ts";
import { failureOf, produce, produceBytes, produceOnce, produceStream } from "./log-calls.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** Producers faster than the disk, which here syncs when the test says so. */

/** The line itself has tests of its own; with real bytes it takes seconds. */
const isShort = process.env["PROVE"] === undefined && "set PROVE to run it";

const topic = "flood";
const messageBytes = 512 * KiB;
const batch = encodeBatch([{ value: Buffer.alloc(messageBytes, 1) }], { now: 1 });
/** What one stream may have read beyond a bound: see `produceStreamMaxBytes`. */
const readBytes = grpcReceiveQueueBytes + grpcMessageMaxBytes;

describe("a node whose disk is slower than its producers", () => {
  for (const acks of ["quorum", "none"] satisfies readonly Acks[]) {
    test(`has so much of a stream under way and no more, and reads on as it is synced (acks ${acks})`, async () => {
      await using world = await World.open();
      const count = (2 * produceStreamMaxBytes) / messageBytes;
      const sent = world.flood(count, acks);
      await world.until(() => world.bytes() >= produceStreamMaxBytes);
      await world.settled(() => world.bytes());
      assert.ok(world.bytes() <= produceStreamMaxBytes + readBytes, `${world.bytes()} bytes are under way`);
      world.release();
      const answers = await sent;
      assert.equal(answers.length, count);
      assert.deepEqual(
        answers,
        Array.from({ length: count }, (_, offset) => (acks === "none" ? 0 : offset)),
      );
      await world.until(() => world.endOffset() === count && world.bytes() === 0);
    });
  }

  test("has so much of all streams under way: the others wait, none is refused, and all of it is appended", async () => {
    await using world = await World.open();
    const streamCount = 9;
    const count = produceStreamMaxBytes / messageBytes - 1;
    assert.ok(streamCount * count * messageBytes > producesMaxBytes + readBytes);
    const floods = Array.from({ length: streamCount }, () => world.flood(count, "quorum"));
    await world.until(() => world.waits() > 0);
    await world.settled(() => world.bytes());
    assert.ok(world.bytes() <= producesMaxBytes, `${world.bytes()} bytes are under way`);
    assert.ok(world.bytes() > producesMaxBytes - 2 * readBytes, `only ${world.bytes()} bytes are under way`);
    world.release();
    const offsets = (await Promise.all(floods)).flat().toSorted((a, b) => a - b);
    assert.deepEqual(
      offsets,
      Array.from({ length: streamCount * count }, (_, offset) => offset),
    );
    await world.until(() => world.bytes() === 0 && world.waits() === 0);
  });

  test("lets single requests wait for room, and appends nothing of a call that is gone", { skip: isShort }, async () => {
    await using world = await World.open();
    const request = { topic, batch, records: [], acks: "quorum", answersErrors: false } as const;
    const fitting = Math.floor(producesMaxBytes / roomOf(request));
    const waits = 2;
    const calls = Array.from({ length: fitting + waits }, () => world.channel.unary(produce, produceBytes(request)));
    await world.until(() => world.waits() === waits);
    const gone = new AbortController();
    const unwanted = produceBytes({ topic, record: { value: "gone" } });
    const cancelled = failureOf(world.channel.unary(produce, unwanted, { signal: gone.signal }));
    await world.until(() => world.waits() === waits + 1);
    gone.abort();
    assert.equal((await cancelled).code, "CANCELLED");
    await world.until(() => world.waits() === waits);
    world.release();
    await Promise.all(calls);
    await world.until(() => world.bytes() === 0 && world.waits() === 0);
    assert.equal(world.endOffset(), calls.length);
  });

  test("takes a compressed message a thousand times its size by itself", async () => {
    await using world = await World.open();
    const stream = await world.channel.bidiStream(produceStream, { isCompressing: true });
    const count = 40;
    const zeros = produceBytes({ topic, record: { value: Buffer.alloc(1 * MiB) } });
    assert.ok(gzipSync(zeros).length * count < grpcReceiveQueueBytes);
    for (let sent = 0; sent < count; sent += 1) await stream.send(zeros);
    await world.until(() => world.bytes() >= produceStreamMaxBytes);
    await world.settled(() => world.bytes());
    assert.ok(world.bytes() <= produceStreamMaxBytes + 2 * MiB, `${world.bytes()} bytes are under way`);
    world.release();
    stream.end();
    assert.equal((await readAll(stream)).length, count);
  });

  test("lets a stream whose client reads no answer keep nothing from the others", async () => {
    await using world = await World.open();
    const silent = await world.channel.bidiStream(produceStream);
    for (let sent = 0; sent < 10; sent += 1) await silent.send(produceBytes({ topic, batch }));
    world.release();
    await world.until(() => world.endOffset() === 10 && world.bytes() === 0);
    assert.equal((await produceOnce(world.channel, { topic, record: { value: "other" } })).offset, 10);
    silent.end();
    assert.equal((await readAll(silent)).length, 10);
  });
});

class World implements AsyncDisposable {
  readonly node: TestNode;
  readonly channel: Channel;
  readonly #hold: ReturnType<SimDisk["holdSync"]>;
  readonly #channels: Channel[] = [];
  #metrics = "";

  private constructor(node: TestNode, hold: ReturnType<SimDisk["holdSync"]>) {
    this.node = node;
    this.#hold = hold;
    this.channel = this.connect();
  }

  static async open(): Promise<World> {
    const disk = createSimDisk({ isRecording: false });
    const node = await startTestNode({ disk });
    await node.post("/v1/topics", { name: topic });
    const world = new World(node, disk.holdSync());
    await world.#look();
    return world;
  }

  connect(): Channel {
    const channel = connect({ address: `127.0.0.1:${this.node.port}` });
    this.#channels.push(channel);
    return channel;
  }

  /** Sends batches as fast as they are taken, and resolves with the offsets that they got. */
  async flood(count: number, acks: Acks): Promise<number[]> {
    const stream = await this.channel.bidiStream(produceStream);
    const request = produceBytes({ topic, batch, acks });
    const answers = readAll(stream);
    for (let sent = 0; sent < count; sent += 1) await stream.send(request);
    stream.end();
    return answers;
  }

  /** The disk syncs from now on. */
  release(): void {
    this.#hold.release();
  }

  bytes(): number {
    return this.#metric("proglog_grpc_produce_bytes");
  }

  waits(): number {
    return this.#metric("proglog_grpc_produce_waits");
  }

  endOffset(): number {
    return this.#metric(`proglog_log_end_offset{topic="${topic}",partition="0"}`);
  }

  async until(isDone: () => boolean): Promise<void> {
    await this.node.until(async () => {
      await this.#look();
      return isDone();
    });
  }

  /** Until something stays as it is while a client would long have sent more. */
  async settled(value: () => number): Promise<void> {
    let last = -1;
    let same = 0;
    await this.until(() => {
      same = value() === last ? same + 1 : 0;
      last = value();
      return same === 20;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    for (const channel of this.#channels) await channel.close();
    await this.node[Symbol.asyncDispose]();
  }

  async #look(): Promise<void> {
    this.#metrics = (await this.node.get("/metrics")).text;
  }

  #metric(name: string): number {
    const line = this.#metrics.split("\n").find((candidate) => candidate.startsWith(`${name} `));
    return line === undefined ? Number.NaN : Number(line.slice(name.length + 1));
  }
}

async function readAll(stream: BidiStreamCall<Buffer, Buffer>): Promise<number[]> {
  const offsets: number[] = [];
  for await (const bytes of stream.responses) offsets.push(decodeProduceResponse(bytes).offset);
  return offsets;
}
