import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { consumeCallMaxBytes, consumeMaxBytes, recordMaxBytes } from "../src/base/limits.ts";
import { MiB } from "../src/base/units.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { type Channel, connect } from "../src/grpc/index.ts";
import { type ConsumeResponse, decodeConsumeResponse, encodeConsumeRequest } from "../src/wire/consume-message.ts";
import { encodeProduceRequest } from "../src/wire/produce-message.ts";
import { bytesMethod } from "./grpc-pair.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const produce = bytesMethod("/log.v1.Log/Produce", "unary");
const consume = bytesMethod("/log.v1.Log/Consume", "unary");
const consumeStream = bytesMethod("/log.v1.Log/ConsumeStream", "server-stream");

const recordCount = 10;
const batchCount = 6;
const total = recordCount + batchCount;

/** A few KiB of batches, in which 16 MiB of records lie: first one to a batch, then six in one. */
describe("reads of records that take far more than they do on the disk", () => {
  let node: TestNode;
  let channel: Channel;
  before(async () => {
    node = await startTestNode();
    channel = connect({ address: `127.0.0.1:${node.port}` });
    const value = "a".repeat(recordMaxBytes);
    await node.post(
      "/v1/topics",
      { name: "unfolding", settings: { compression: "zstd" } },
      { "content-type": "application/json" },
    );
    for (let number = 0; number < recordCount; number += 1) await append([value]);
    await append(Array.from({ length: batchCount }, () => value));
  });
  after(async () => {
    await channel.close();
    await node[Symbol.asyncDispose]();
  });

  async function append(values: readonly string[]): Promise<void> {
    const batch = encodeBatch(
      values.map((value) => ({ value })),
      { now: 1, compression: "zstd" },
    );
    const request = { topic: "unfolding", records: [], batch, acks: "quorum", answersErrors: false } as const;
    await channel.unary(produce, encodeProduceRequest(request));
  }

  for (const [accept, maxBytes, atMost] of [
    ["application/json", undefined, 1],
    ["application/json", 1, 1],
    ["application/x-ndjson", 10 * consumeMaxBytes, 7],
  ] as const) {
    test(`an answer over HTTP as ${accept} is bounded, and a reader gets to the end, with maxBytes ${maxBytes}`, async () => {
      const query = maxBytes === undefined ? "" : `&maxBytes=${maxBytes}`;
      for (let from = 0; from < total; ) {
        const answer = await node.get(`/v1/topics/unfolding/records?from=${from}${query}`, { headers: { accept } });
        assert.equal(answer.status, 200, answer.text.slice(0, 500));
        const nextOffset = Number(/\d+/.exec(String(answer.headers["etag"]))?.[0]);
        assert.equal(nextOffset, Math.min(from + atMost, total));
        from = nextOffset;
      }
      await node.until(async () => (await node.metric("proglog_http_answer_bytes")) === 0);
    });
  }

  for (const maxBytes of [0, 4 * MiB]) {
    test(`an answer of a consume stream is no larger than a client takes, with max_bytes ${maxBytes}`, async () => {
      const offsets: number[] = [];
      const request = encodeConsumeRequest({ ...noConsume, maxRecords: 10_000, maxBytes, stopsAtEnd: true });
      for await (const bytes of (await channel.serverStream(consumeStream, request)).responses) {
        assert(bytes.length < 2 * MiB, `a message of ${bytes.length} bytes`);
        const { records, nextOffset } = decodeConsumeResponse(bytes);
        offsets.push(...records.map(({ offset }) => offset));
        assert.equal(nextOffset, offsets.length);
      }
      assert.deepEqual(
        offsets,
        Array.from({ length: total }, (_, offset) => offset),
      );
    });

    test(`the answer of a consume call is no larger than a client takes, with max_bytes ${maxBytes}`, async () => {
      let from = 0;
      while (from < total) {
        const request = encodeConsumeRequest({ ...noConsume, from, maxRecords: 10_000, maxBytes });
        const bytes = await channel.unary(consume, request);
        assert(bytes.length < consumeCallMaxBytes + recordMaxBytes, `a message of ${bytes.length} bytes`);
        const read: ConsumeResponse = decodeConsumeResponse(bytes);
        assert.equal(read.nextOffset, from + read.records.length);
        assert(read.nextOffset > from);
        from = read.nextOffset;
      }
    });
  }
});

const noConsume = {
  topic: "unfolding",
  partition: 0,
  from: 0,
  maxRecords: 0,
  maxBytes: 0,
  waitMs: 0,
  isPacked: false,
  stopsAtEnd: false,
  atLeastOffset: 0,
  leaderOnly: false,
} as const;
