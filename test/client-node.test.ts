import assert from "node:assert/strict";
import { test } from "node:test";
import { MiB } from "../src/base/units.ts";
import { connect } from "../src/client/index.ts";
import { startTestNode } from "./test-node.ts";

/** The client against a real node, over a real connection. */

test("what many partitions send at once waits for its turn: nothing is lost, and no answer is another's", async () => {
  await using node = await startTestNode();
  await using client = connect(`127.0.0.1:${node.port}`);
  const count = 12;
  await client.createTopic("wide", { partitionCount: count });
  // One that goes to all partitions has them on one stream.
  await using producer = client.producer({ topic: "wide", bufferMaxBytes: 64 * MiB });
  const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
  const sent = await Promise.all(keys.map((key) => producer.send({ key, value: key.padEnd(MiB - 100, ".") })));
  assert.ok(new Set(sent.map(({ partition }) => partition)).size > 8);
  for (const [i, { partition, offset }] of sent.entries()) {
    const reader = client.consume({ topic: "wide", partition, from: offset, stopsAtEnd: true })[Symbol.asyncIterator]();
    const { value: record } = await reader.next();
    await reader.return();
    assert.deepEqual([record?.offset, String(record?.key)], [offset, keys[i]]);
  }
});

test("leaving a reader of several partitions, one of which says nothing, ends its streams", async () => {
  await using node = await startTestNode();
  await using client = connect(`127.0.0.1:${node.port}`);
  await client.createTopic("quiet", { partitionCount: 3 });
  await client.producer({ topic: "quiet", partition: 1 }).send({ value: "a" });
  for await (const _ of client.consume({ topic: "quiet" })) break;
  await node.until(async () => (await node.metric("proglog_grpc_consume_streams")) === 0);
});
