import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { consumeStreamBytesDefault, grpcSendQueueBytes } from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { type Channel, connect } from "../src/grpc/index.ts";
import { type ConsumeRequest, decodeConsumeResponse } from "../src/wire/consume-message.ts";
import { consumeBytes, consumeStream, produceOnce } from "./log-calls.ts";
import { startTestNode } from "./test-node.ts";

/** Clients that open a ConsumeStream and stop reading. */

const topic = "slow";
const batchCount = 40;
const recordsPerBatch = 250;
const batch = encodeBatch(
  Array.from({ length: recordsPerBatch }, () => ({ value: Buffer.alloc(500, 1) })),
  { now: 1 },
);
const logBytes = batchCount * batch.length;

const shapes: readonly (readonly [name: string, request: Partial<ConsumeRequest>])[] = [
  ["packed", { isPacked: true }],
  ["records", { maxRecords: 100 }],
  ["single records", {}],
];

/** With PROVE as many as the promise is about. */
const streamsOfShape = process.env["PROVE"] === undefined ? 6 : 67;

describe("consume streams that nobody reads", () => {
  test("cost what is sent ahead and a piece each, keep nobody waiting, and lose nothing", async () => {
    await using node = await startTestNode();
    const channels = shapes.map(() => connect({ address: `127.0.0.1:${node.port}` }));
    const other = connect({ address: `127.0.0.1:${node.port}` });
    for (let made = 0; made < batchCount; made += 1) await produceOnce(other, { topic, batch });

    const stuck = [];
    for (const [position, [, shape]] of shapes.entries()) {
      const channel = channels[position] ?? other;
      for (let opened = 0; opened < streamsOfShape; opened += 1)
        stuck.push({ position, call: await channel.serverStream(consumeStream, consumeBytes({ topic, ...shape })) });
    }
    // Until no more is read for them: as much as their clients' windows let through.
    let readBytes = -1;
    let same = 0;
    await node.until(async () => {
      const now = await node.metric("proglog_log_read_bytes_total");
      same = now > 0 && now === readBytes ? same + 1 : 0;
      readBytes = now;
      return same === 20;
    });
    assert.equal(await node.metric("proglog_grpc_consume_streams"), stuck.length);
    // A client's window, what waits here to be sent, and two pieces: one that is being sent, one behind it.
    const aheadBytes = 1 * MiB + grpcSendQueueBytes + 2 * consumeStreamBytesDefault;
    assert.ok(aheadBytes < logBytes / 2);
    assert.ok(readBytes <= stuck.length * aheadBytes, `${readBytes / stuck.length} bytes are read for each`);
    const heldBytes = await node.metric("proglog_grpc_held_bytes");
    const costBytes = grpcSendQueueBytes + consumeStreamBytesDefault + 64 * KiB;
    assert.ok(heldBytes > 0 && heldBytes <= stuck.length * costBytes, `${heldBytes / stuck.length} bytes are held for each`);

    // Others read and write as if they weren't there, on the same connections, too.
    for (const channel of [other, ...channels]) assert.equal(await countRecords(channel), batchCount * recordsPerBatch);
    await produceOnce(channels[0] ?? other, { topic, record: { value: "last" } });

    // One of each shape goes on where it stood.
    for (const [position] of shapes.entries()) {
      const call = stuck.find((candidate) => candidate.position === position)?.call;
      let next = 0;
      for await (const bytes of call?.responses ?? []) {
        const { record, records, batches, nextOffset } = decodeConsumeResponse(bytes);
        if (record !== undefined) assert.equal(record.offset, next);
        if (records[0] !== undefined) assert.equal(records[0].offset, next);
        next = record === undefined ? Math.max(next, batches.length + records.length > 0 ? nextOffset : 0) : next + 1;
        if (next === batchCount * recordsPerBatch + 1) break;
      }
    }
    // The others go, and give everything back.
    await Promise.all(channels.map((channel) => channel.close()));
    await node.until(async () => (await node.metric("proglog_grpc_consume_streams")) === 0);
    await node.until(async () => (await node.metric("proglog_grpc_held_bytes")) === 0);
    await other.close();
  });
});

async function countRecords(channel: Channel): Promise<number> {
  const call = await channel.serverStream(consumeStream, consumeBytes({ topic, isPacked: true, stopsAtEnd: true }));
  let next = 0;
  for await (const bytes of call.responses) next = decodeConsumeResponse(bytes).nextOffset;
  return next;
}
