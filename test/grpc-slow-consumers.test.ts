import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Clock, systemClock } from "../src/base/clock.ts";
import {
  consumePieceBytes,
  consumeStreamMaxBytes,
  grpcSendQueueBytes,
  unfoldedPressedStallMs,
  unfoldedStallMs,
} from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { type Channel, connect } from "../src/grpc/index.ts";
import { type ConsumeRequest, decodeConsumeResponse } from "../src/wire/consume-message.ts";
import { consumeBytes, consumeStream, produceOnce } from "./log-calls.ts";
import { startTestNode } from "./test-node.ts";

/** Clients that open a ConsumeStream and stop reading. */

const topic = "slow";

interface Shape {
  readonly name: string;
  readonly batchCount: number;
  readonly recordsPerBatch: number;
  readonly recordBytes: number;
  readonly requests: readonly Partial<ConsumeRequest>[];
}

const packed: Partial<ConsumeRequest> = { isPacked: true };
const unfolded: readonly Partial<ConsumeRequest>[] = [{ maxRecords: 100 }, {}];
const small = { batchCount: 40, recordsPerBatch: 250, recordBytes: 500 } as const;
const large = { batchCount: 4, recordsPerBatch: 3900, recordBytes: 1 * KiB } as const;

const shapes: readonly Shape[] = [
  { ...small, name: "batches of 125 KiB", requests: [packed, ...unfolded] },
  { ...large, name: "batches of 4 MB, packed", requests: [packed] },
  { ...large, name: "batches of 4 MB, unfolded", requests: unfolded },
  // Some KiB on disk, and 16 MiB when they are unfolded.
  {
    name: "batches of 8 KiB that unfold to 15 MB",
    batchCount: 3,
    recordsPerBatch: 15,
    recordBytes: 1000 * KiB,
    requests: unfolded,
  },
];

/** With PROVE as many as the promise is about. */
const streamsOfRequest = process.env["PROVE"] === undefined ? 6 : 67;

/** Who stands still does so at once. */
const clock: Clock = {
  ...systemClock,
  setTimer: (delayMs, run) => systemClock.setTimer(stallsMs.includes(delayMs) ? 0 : delayMs, run),
};
const stallsMs = [unfoldedPressedStallMs, unfoldedStallMs - unfoldedPressedStallMs];

describe("consume streams that nobody reads cost a MiB at most, keep nobody waiting, and lose nothing", () => {
  for (const { name, batchCount, recordsPerBatch, recordBytes, requests } of shapes)
    test(name, async () => {
      await using node = await startTestNode({ clock });
      const channels = requests.map(() => connect({ address: `127.0.0.1:${node.port}` }));
      const other = connect({ address: `127.0.0.1:${node.port}` });
      const records = Array.from({ length: recordsPerBatch }, () => ({ value: Buffer.alloc(recordBytes, 1) }));
      const batch = encodeBatch(records, { now: 1, compression: recordBytes > 64 * KiB ? "zstd" : "none" });
      for (let made = 0; made < batchCount; made += 1) await produceOnce(other, { topic, batch });

      const stuck = [];
      for (const [position, request] of requests.entries()) {
        const channel = channels[position] ?? other;
        for (let opened = 0; opened < streamsOfRequest; opened += 1)
          stuck.push({ position, call: await channel.serverStream(consumeStream, consumeBytes({ topic, ...request })) });
      }
      // Until no more is read for them: as much as their clients' windows let through.
      let readBytes = -1;
      let heldBytes = -1;
      let same = 0;
      await node.until(async () => {
        const read = await node.metric("proglog_log_read_bytes_total");
        const held = (await node.metric("proglog_grpc_held_bytes")) + (await node.metric("proglog_grpc_consume_stream_bytes"));
        same = read > 0 && read === readBytes && held === heldBytes ? same + 1 : 0;
        readBytes = read;
        heldBytes = held;
        return same === 20;
      });
      assert.equal(await node.metric("proglog_grpc_consume_streams"), stuck.length);
      // A piece of the log, an answer, and what waits before it.
      const costBytes = 2 * consumeStreamMaxBytes + grpcSendQueueBytes;
      assert.ok(costBytes < 1 * MiB);
      const answerBytes = Math.max(recordBytes, consumeStreamMaxBytes);
      const atMostBytes = consumeStreamMaxBytes + answerBytes + grpcSendQueueBytes;
      assert.ok(
        heldBytes > 0 && heldBytes <= stuck.length * atMostBytes,
        `${heldBytes / stuck.length} bytes are held for each`,
      );
      if (recordsPerBatch === small.recordsPerBatch || requests[0] === packed) {
        // The message that a client gathers, its window, what waits here to be sent, and two pieces: one that is being sent, one behind it.
        const messageBytes = Math.max(consumeStreamMaxBytes, batch.length);
        const aheadBytes = messageBytes + 1 * MiB + grpcSendQueueBytes + 2 * Math.max(consumeStreamMaxBytes, consumePieceBytes);
        assert.ok(aheadBytes < (batchCount * batch.length) / 2);
        assert.ok(readBytes <= stuck.length * aheadBytes, `${readBytes / stuck.length} bytes are read for each`);
      }

      // Others read and write as if they weren't there, on the same connections, too.
      for (const channel of [other, ...channels]) assert.equal(await countRecords(channel), batchCount * recordsPerBatch);
      await produceOnce(channels[0] ?? other, { topic, record: { value: "last" } });

      // One of each shape goes on where it stood.
      for (const [position] of requests.entries()) {
        const call = stuck.find((candidate) => candidate.position === position)?.call;
        let next = 0;
        for await (const bytes of call?.responses ?? []) {
          const response = decodeConsumeResponse(bytes);
          const { record, batches, nextOffset } = response;
          if (record !== undefined) assert.equal(record.offset, next);
          if (response.records[0] !== undefined) assert.equal(response.records[0].offset, next);
          next =
            record === undefined ? Math.max(next, batches.length + response.records.length > 0 ? nextOffset : 0) : next + 1;
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
