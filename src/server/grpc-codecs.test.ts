import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBatch } from "../batch/encode-batch.ts";
import { encodeProduceRequest, type ProduceRequest } from "../wire/produce-message.ts";
import { produceMessages } from "./grpc-codecs.ts";

const request: ProduceRequest = { topic: "a", records: [], acks: "quorum", answersErrors: false };
const batch = encodeBatch([{ value: Buffer.alloc(20_000, 1) }], { now: 1 });

function alone(bytes: Buffer): Buffer {
  const memory = Buffer.allocUnsafeSlow(bytes.length);
  bytes.copy(memory);
  return memory;
}

describe("a produce request that came in", () => {
  test("has its memory named where its batch lies alone in it", () => {
    const bytes = alone(encodeProduceRequest({ ...request, batch }));
    const received = produceMessages.decodeRequest(bytes);
    assert.equal(received.memory, bytes.buffer);
    assert.ok(received.batch?.equals(batch));
  });

  test("has none where others lie beside it, before or behind, and where records are views of it", () => {
    const bytes = encodeProduceRequest({ ...request, batch });
    const beside = alone(Buffer.concat([Buffer.alloc(1), bytes, Buffer.alloc(1)]));
    for (const [start, end] of [
      [1, 1 + bytes.length],
      [1, undefined],
      [0, 1 + bytes.length],
    ] as const) {
      const view = beside.subarray(start, end);
      const message = alone(bytes);
      message.copy(view);
      const own = view.subarray(0, bytes.length);
      assert.equal(produceMessages.decodeRequest(own).memory, undefined);
    }
    const record = { value: Buffer.alloc(20_000, 1) };
    assert.equal(produceMessages.decodeRequest(alone(encodeProduceRequest({ ...request, record }))).memory, undefined);
  });
});
