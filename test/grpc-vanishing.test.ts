import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { once } from "node:events";
import { connect as connectSocket } from "node:net";
import { describe, test } from "node:test";
import { createSimDisk } from "../sim/disk.ts";
import { type Clock, systemClock, type Timer } from "../src/base/clock.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { connect } from "../src/grpc/index.ts";
import { decodeProduceResponse } from "../src/wire/produce-message.ts";
import {
  consume,
  consumeBytes,
  consumeStream,
  failureOf,
  produce,
  produceBytes,
  produceOnce,
  produceStream,
} from "./log-calls.ts";
import { callHeaders, frame, frameFlags, messageFrame, preface, RawHttp2 } from "./raw-http2.ts";
import { startTestNode } from "./test-node.ts";

/** Clients that go away without a word, wherever they are. What they had is given back, and nobody else notices. */

const waves = process.env["PROVE"] === undefined ? 4 : 40;
const connectionsPerWave = 100;

describe("clients that vanish", () => {
  test("in the middle of requests and streams, wave after wave: connections, calls, bytes, timers and descriptors are given back", async () => {
    const clock = new CountingClock();
    await using node = await startTestNode({ clock });
    const channel = connect({ address: `127.0.0.1:${node.port}` });
    await produceOnce(channel, { record: { value: "first" } });
    let before: readonly number[] | undefined;
    for (let wave = 0; wave < waves; wave += 1) {
      await Promise.all(Array.from({ length: connectionsPerWave }, (_, number) => vanishAt(number, node.port)));
      await node.until(async () => (await node.metric("proglog_grpc_connections")) === 1);
      await node.until(async () => (await node.metric("proglog_connections")) <= 2);
      assert.equal(await node.metric("proglog_grpc_calls"), 0);
      assert.equal(await node.metric("proglog_grpc_consume_streams"), 0);
      assert.equal(await node.metric("proglog_grpc_held_bytes"), 0);
      assert.equal(await node.metric("proglog_grpc_produce_bytes"), 0);
      assert.equal(await node.metric("proglog_consume_waits"), 0);
      const now = [clock.count, descriptors()];
      // The first wave may open what stays open, one log's reader among it.
      if (wave === 0) before = now;
      else
        for (const [position, count] of now.entries())
          assert.ok(count <= (before?.[position] ?? 0) + 3, JSON.stringify({ now, before }));
    }
    // Whole requests were appended, whoever heard of it; halves weren't.
    const read = channel.unary(consume, consumeBytes({ from: 0, maxRecords: 10_000 }));
    assert.ok((await read).length > 0);
    await channel.close();
  });

  test("one that half-closes has what it sent answered, and its stream ends OK", async () => {
    await using node = await startTestNode();
    await using raw = await RawHttp2.open(node.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(produceStream.path)),
      messageFrame(1, produceBytes({ record: { value: "a" } })),
      messageFrame(1, produceBytes({ record: { value: "b" } }), frameFlags.endStream),
    );
    const trailers = await lastHeaders(raw, 1);
    assert.ok(trailers.length > 0);
    assert.ok(raw.dataBytes > 0);
    await node.until(
      async () => (await node.metric('proglog_grpc_calls_total{method="/log.v1.Log/ProduceStream",status="OK"}')) === 1,
    );
  });

  test("a deadline that has passed when the call comes appends nothing", async () => {
    await using node = await startTestNode();
    await using raw = await RawHttp2.open(node.port);
    raw.write(
      frame("headers", frameFlags.endHeaders, 1, callHeaders(produce.path, { "grpc-timeout": "0n" })),
      messageFrame(1, produceBytes({ record: { value: "late" } }), frameFlags.endStream),
    );
    const status = 'proglog_grpc_calls_total{method="/log.v1.Log/Produce",status="DEADLINE_EXCEEDED"}';
    await node.until(async () => (await node.metric(status)) === 1);
    const channel = connect({ address: `127.0.0.1:${node.port}` });
    assert.equal((await failureOf(channel.unary(consume, consumeBytes({})))).code, "TOPIC_NOT_FOUND");
    await channel.close();
  });

  test("one that cancels while its append waits for the disk keeps nothing: the append goes on, or never began", async () => {
    const disk = createSimDisk({ isRecording: false });
    await using node = await startTestNode({ disk });
    const channel = connect({ address: `127.0.0.1:${node.port}` });
    await produceOnce(channel, { record: { value: "first" } });
    const hold = disk.holdSync();
    const gone = new AbortController();
    const calls = Array.from({ length: 20 }, () =>
      failureOf(channel.unary(produce, produceBytes({ record: { value: "gone" } }), { signal: gone.signal })),
    );
    await hold.waiting(1);
    gone.abort();
    for (const failure of await Promise.all(calls)) assert.equal(failure.code, "CANCELLED");
    assert.ok((await node.metric("proglog_grpc_produce_bytes")) > 0);
    hold.release();
    await node.until(async () => (await node.metric("proglog_grpc_produce_bytes")) === 0);
    const { offset } = await produceOnce(channel, { record: { value: "next" } });
    assert.ok(offset >= 1 && offset <= 21);
    await channel.close();
  });

  test("a node that stops under 64 streams answers what it has read, and says to come back", async () => {
    const disk = createSimDisk({ isRecording: false });
    const node = await startTestNode({ disk });
    const channel = connect({ address: `127.0.0.1:${node.port}` });
    await produceOnce(channel, { record: { value: "first" } });
    const hold = disk.holdSync();
    const outcomes = Array.from({ length: 64 }, async (_, number) => {
      const stream = await channel.bidiStream(produceStream);
      for (let sent = 0; sent < 4; sent += 1) await stream.send(produceBytes({ record: { value: `${number}.${sent}` } }));
      const offsets: number[] = [];
      const failure = await failureOf(
        (async () => {
          for await (const answer of stream.responses) offsets.push(decodeProduceResponse(answer).offset);
        })(),
      );
      return { offsets, failure };
    });
    await node.until(async () => (await node.metric("proglog_grpc_produce_bytes")) >= 64 * 4 * 768);
    const closing = node.node.close();
    hold.release();
    await closing;
    const seen: number[] = [];
    for (const { offsets, failure } of await Promise.all(outcomes)) {
      assert.equal(failure.code, "SHUTTING_DOWN");
      assert.equal(offsets.length, 4);
      seen.push(...offsets);
    }
    assert.deepEqual(
      seen.toSorted((a, b) => a - b),
      Array.from({ length: 256 }, (_, position) => position + 1),
    );
    await channel.close();
  });
});

const batch = encodeBatch([{ value: Buffer.alloc(2_000) }], { now: 1 });

/** Each connects, goes as far as it goes, and is gone. */
const vanishing: readonly ((port: number) => Promise<void>)[] = [
  // Says nothing.
  async (port) => {
    const socket = connectSocket(port, "127.0.0.1");
    await once(socket, "connect");
    socket.resetAndDestroy();
  },
  // Half a preface.
  async (port) => {
    const raw = await RawHttp2.connect(port);
    raw.write(preface.subarray(0, 10));
    raw.reset();
  },
  // Headers, and half a message.
  (port) => vanish(port, produce.path, messageFrame(1, produceBytes({ batch })).subarray(0, 1_000)),
  // A whole request, whose answer it doesn't wait for.
  (port) => vanish(port, produce.path, messageFrame(1, produceBytes({ record: { value: "x" } }), frameFlags.endStream)),
  // A stream with a request answered and one that isn't whole.
  (port) => vanish(port, produceStream.path, messageFrame(1, produceBytes({ record: { value: "y" } })), "data"),
  // Readers that wait for what doesn't come.
  (port) => vanish(port, consumeStream.path, consumeFrame({ from: "end", isPacked: true }), "data"),
  (port) => vanish(port, consume.path, consumeFrame({ from: "end", maxRecords: 1, waitMs: 50_000 })),
];

async function vanishAt(number: number, port: number): Promise<void> {
  await vanishing[number % vanishing.length]?.(port);
}

function consumeFrame(request: Parameters<typeof consumeBytes>[0]): Buffer {
  return messageFrame(1, consumeBytes(request), frameFlags.endStream);
}

async function vanish(port: number, path: string, bytes: Buffer, awaited?: "data"): Promise<void> {
  const raw = await RawHttp2.open(port);
  raw.write(frame("headers", frameFlags.endHeaders, 1, callHeaders(path)), bytes);
  if (awaited === undefined) await raw.frame("settings");
  else await raw.frame(awaited, 1);
  raw.reset();
}

async function lastHeaders(raw: RawHttp2, streamId: number): Promise<Buffer> {
  for (;;) {
    const found = raw.frames.find(
      ({ type, flags, streamId: id }) => type === 1 && id === streamId && (flags & frameFlags.endStream) !== 0,
    );
    if (found !== undefined) return found.payload;
    await new Promise(setImmediate);
  }
}

function descriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

/** The system's clock, and how many of its timers are set. */
class CountingClock implements Clock {
  count = 0;

  now(): number {
    return systemClock.now();
  }

  monotonic(): number {
    return systemClock.monotonic();
  }

  setTimer(delayMs: number, run: () => void): Timer {
    let isSet = true;
    const end = (): void => {
      if (isSet) this.count -= 1;
      isSet = false;
    };
    this.count += 1;
    const timer = systemClock.setTimer(delayMs, () => {
      end();
      run();
    });
    return {
      cancel() {
        end();
        timer.cancel();
      },
    };
  }

  turn(): Promise<void> {
    return systemClock.turn();
  }
}
