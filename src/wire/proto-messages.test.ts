import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { inspect } from "node:util";
import fc from "fast-check";
import { isProglogError, ProglogError } from "../base/error.ts";
import { produceRequestMaxCount, recordMaxHeaders } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import {
  type ConsumeRequest,
  type ConsumeResponse,
  decodeConsumeRequest,
  decodeConsumeResponse,
  encodeConsumeRequest,
  encodeConsumeResponse,
} from "./consume-message.ts";
import {
  type Acks,
  ConsumeRequestSchema,
  ConsumeResponseSchema,
  ErrorSchema,
  ProduceRequestSchema,
  ProduceResponseSchema,
  RecordSchema,
} from "./gen/log/v1/log_pb.ts";
import {
  acksLevels,
  decodeProduceRequest,
  decodeProduceResponse,
  encodeBatchRequest,
  encodeProduceRequest,
  encodeProduceResponse,
  type ProduceRequest,
  type ProduceResponse,
} from "./produce-message.ts";
import { fromProtoError, type ProtoError, toProtoError } from "./proto-error.ts";

describe("a produce request with as many objects as there may be", () => {
  const tiny: RecordInput = { value: "" };

  test("holds so many records and headers, and one more is refused before it is made", () => {
    const header = { key: "", value: null };
    const headers = Array.from({ length: recordMaxHeaders }, () => header);
    const full = Math.floor(produceRequestMaxCount / (1 + recordMaxHeaders));
    const rest = produceRequestMaxCount - full * (1 + recordMaxHeaders);
    const records = Array.from({ length: full + rest }, (_, i) => (i < full ? { ...tiny, headers } : tiny));
    const request = { topic: "", acks: "quorum", answersErrors: false } as const;
    assert.equal(decodeProduceRequest(encodeProduceRequest({ ...request, records })).records.length, full + rest);
    const oneMore = encodeProduceRequest({ ...request, records: [...records, tiny] });
    assert.throws(() => decodeProduceRequest(oneMore), { code: "BATCH_TOO_LARGE" });
    const record = { ...tiny, headers: [...headers, header] };
    assert.throws(() => decodeProduceRequest(encodeProduceRequest({ ...request, records: [], record })), {
      code: "RECORD_TOO_LARGE",
    });
  });
});

/** The generated code is the twin that can't be wrong: each side reads what the other wrote, for whatever a message holds. */

/** With a prototype, as the decoders' objects have. */
function shape<Model>(model: { [Key in keyof Model]: fc.Arbitrary<Model[Key]> }): fc.Arbitrary<Model> {
  return fc.record(model, { noNullPrototype: true });
}

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: "binary", maxLength: 12 }).filter((candidate) => candidate.isWellFormed());
const offset = fc.oneof(fc.nat(300), fc.maxSafeNat(), fc.constant(Number.MAX_SAFE_INTEGER));
const uint32 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 2 ** 32 - 1 }));
const time = fc.oneof(
  fc.nat(),
  fc.maxSafeInteger().filter((value) => value !== -1),
);
const header = shape({ key: text, value: fc.option(bytes) });
const record = shape({
  offset,
  timestamp: fc.oneof(time, fc.constant(-1)),
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.array(header, { maxLength: 3 }),
});
const error: fc.Arbitrary<ProtoError> = shape({
  code: text,
  message: text,
  hint: text,
  isRetryable: fc.boolean(),
  outcome: fc.constantFrom("not-appended", "unknown"),
  details: fc.dictionary(text, text, { maxKeys: 3 }).map((dictionary) => new Map(Object.entries(dictionary))),
});

describe("produce and consume messages", () => {
  const produceRequest: fc.Arbitrary<ProduceRequest> = shape({
    topic: text,
    partition: fc.option(uint32, { nil: undefined }),
    record: fc.option(record.map(forRequest), { nil: undefined }),
    records: fc.array(record.map(forRequest), { maxLength: 3 }),
    batch: fc.option(
      bytes.filter((batch) => batch.length > 0),
      { nil: undefined },
    ),
    acks: fc.constantFrom(...acksLevels),
    producer: fc.option(shape({ id: offset, epoch: uint32, baseSequence: uint32 }), { nil: undefined }),
    expectedOffset: fc.option(offset, { nil: undefined }),
    answersErrors: fc.boolean(),
  });

  test("a ProduceRequest is written as generated code writes it, and read back from it", () => {
    fc.assert(
      fc.property(produceRequest, (request) => {
        const twin = generated(ProduceRequestSchema, {
          topic: request.topic,
          ...defined({ partition: request.partition }),
          ...defined({ record: request.record === undefined ? undefined : toGenerated(request.record) }),
          records: request.records.map(toGenerated),
          ...defined({ batch: request.batch }),
          acks: acksLevels.indexOf(request.acks) as Acks,
          ...defined({ producer: request.producer === undefined ? undefined : producerOf(request.producer) }),
          ...defined({ expectedOffset: request.expectedOffset === undefined ? undefined : BigInt(request.expectedOffset) }),
          answersErrors: request.answersErrors,
        });
        assert.deepEqual(encodeProduceRequest(request), twin);
        assert.deepEqual(encodeProduceRequest(decodeProduceRequest(twin)), twin);
        if (request.batch !== undefined && request.batch.length > 0) {
          const parts = encodeBatchRequest({ ...request, batch: request.batch });
          assert.equal(parts.at(-1), request.batch);
          assert.deepEqual(encodeProduceRequest(decodeProduceRequest(Buffer.concat(parts))), twin);
        }
        const read = decodeProduceRequest(twin);
        assert.deepEqual(
          { ...read, record: plain(read.record), records: read.records.map(plain) },
          { ...request, record: plain(request.record), records: request.records.map(plain) },
        );
      }),
    );
  });

  test("a ProduceResponse is written as generated code writes it, and read back from it", () => {
    const response: fc.Arbitrary<ProduceResponse> = shape({
      offset,
      partition: uint32,
      count: uint32,
      appendTime: time,
      isDurable: fc.boolean(),
      isDuplicate: fc.boolean(),
      error: fc.option(error, { nil: undefined }),
    });
    fc.assert(
      fc.property(response, (original) => {
        const twin = generated(ProduceResponseSchema, {
          offset: BigInt(original.offset),
          partition: original.partition,
          count: original.count,
          appendTime: BigInt(original.appendTime),
          isDurable: original.isDurable,
          isDuplicate: original.isDuplicate,
          ...defined({ error: original.error === undefined ? undefined : errorOf(original.error) }),
        });
        assert.deepEqual(encodeProduceResponse(original), twin);
        assert.deepEqual(decodeProduceResponse(twin), original);
      }),
    );
  });

  test("a ConsumeRequest is written as generated code writes it, and read back from it", () => {
    const request: fc.Arbitrary<ConsumeRequest> = shape({
      topic: text,
      partition: uint32,
      from: fc.oneof(offset, fc.constantFrom("start" as const, "end" as const), shape({ timestamp: time })),
      maxRecords: uint32,
      maxBytes: uint32,
      waitMs: uint32,
      isPacked: fc.boolean(),
      stopsAtEnd: fc.boolean(),
      atLeastOffset: offset,
      leaderOnly: fc.boolean(),
    });
    fc.assert(
      fc.property(request, (original) => {
        const { from, atLeastOffset, ...others } = original;
        const twin = generated(ConsumeRequestSchema, {
          ...others,
          atLeastOffset: BigInt(atLeastOffset),
          offset: BigInt(typeof from === "number" ? from : 0),
          timestamp: BigInt(typeof from === "object" ? from.timestamp : 0),
          from: typeof from === "number" ? 0 : from === "start" ? 1 : from === "end" ? 2 : 3,
        });
        assert.deepEqual(encodeConsumeRequest(original), twin);
        assert.deepEqual(decodeConsumeRequest(twin), original);
      }),
    );
  });

  test("a ConsumeResponse is written as generated code writes it, and read back from it", () => {
    const response: fc.Arbitrary<ConsumeResponse> = shape({
      record: fc.option(record, { nil: undefined }),
      records: fc.array(record, { maxLength: 3 }),
      batches: fc.array(bytes, { maxLength: 3 }),
      nextOffset: offset,
      logStartOffset: offset,
      highWatermark: offset,
    });
    fc.assert(
      fc.property(response, (original) => {
        const batches = Buffer.concat(original.batches);
        const twin = generated(ConsumeResponseSchema, {
          ...defined({ record: original.record === undefined ? undefined : toGenerated(original.record) }),
          records: original.records.map(toGenerated),
          batches,
          nextOffset: BigInt(original.nextOffset),
          logStartOffset: BigInt(original.logStartOffset),
          highWatermark: BigInt(original.highWatermark),
        });
        assert.deepEqual(encodeConsumeResponse(original), twin);
        assert.deepEqual(decodeConsumeResponse(twin), { ...original, batches: batches.length === 0 ? [] : [batches] });
      }),
    );
  });

  test("whatever the bytes are, a decoder answers with a message or a coded error", () => {
    const decoders = [decodeProduceRequest, decodeProduceResponse, decodeConsumeRequest, decodeConsumeResponse];
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      produceRequest.chain((request) => {
        const encoded = encodeProduceRequest(request);
        return fc.tuple(fc.nat(Math.max(0, encoded.length - 1)), fc.nat(255)).map(([at, byte]) => {
          const broken = Uint8Array.from(encoded);
          if (broken.length > 0) broken[at] = byte;
          return broken;
        });
      }),
    );
    let taken = 0;
    fc.assert(
      fc.property(garbage, (input) => {
        for (const decode of decoders) {
          const outcome = attempt(() => decode(Buffer.from(input)));
          if (outcome === undefined) taken += 1;
          else assert.ok(isProglogError(outcome), inspect(outcome));
        }
      }),
      { numRuns: 2_000 },
    );
    assert.ok(taken > 100);
  });

  test("fields of a later version are passed over, of any wire type but groups", () => {
    const later = Buffer.from([
      0xf8, 0x07, 0x01, 0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8, 0xfa, 0x07, 2, 9, 9, 0xfd, 0x07, 1, 2, 3, 4,
    ]);
    const known = encodeConsumeRequest(decodeConsumeRequest(Buffer.from([0x08, 0x2a])));
    assert.deepEqual(encodeConsumeRequest(decodeConsumeRequest(Buffer.concat([later, known, later]))), known);
    assert.throws(() => decodeConsumeRequest(Buffer.from([0xfb, 0x07, 0xfc, 0x07])), {
      code: "INVALID_ARGUMENT",
      message: "Cannot read the message ConsumeRequest: field 127 has the wire type 3",
    });
  });

  test("what lies is refused by name: lengths, numbers, strings, enums", () => {
    const cases: readonly (readonly [bytes: number[], reason: string])[] = [
      [[0x12, 0x05, 0x61], "field 2 is longer than what there is of the message"],
      [[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f], "field 2 is longer than what there is of the message"],
      [[0x12, 0x01, 0xff], "field 2 is a string that isn't UTF-8"],
      [[0x18, 0x80], "it ends inside a number"],
      [[0x18, ...Array<number>(10).fill(0x80)], "a number has more than ten bytes"],
      [[0x18, 0xff, 0xff, 0xff, 0xff, 0x1f], "field 3 is beyond 2^32-1"],
      [[0x40, ...Array<number>(7).fill(0x80), 0x10], "field 8 is beyond 2^53-1"],
      [[0x00, 0x01], "a field has the number 0"],
      [[0x10, 0x01], "field 2 has the wire type 0, not 2"],
    ];
    for (const [message, reason] of cases) {
      assert.throws(() => decodeProduceRequest(Buffer.from(message)), {
        code: "INVALID_ARGUMENT",
        message: `Cannot read the message ProduceRequest: ${reason}`,
      });
    }
    assert.throws(() => decodeProduceRequest(Buffer.from([0x30, 3])), { code: "INVALID_ARGUMENT", message: /acks 3/ });
    assert.throws(() => decodeConsumeRequest(Buffer.from([0x20, 4])), { code: "INVALID_ARGUMENT", message: /from 4/ });
    assert.throws(() => decodeProduceRequest(Buffer.from([0x0a, 5, 0x0a, 1, 0x61, 0x40, 1])), { code: "INVALID_RECORD" });
  });

  test("a record of the book's client has a value that isn't null, whatever it leaves out", () => {
    const request = decodeProduceRequest(Buffer.from([0x0a, 0x00]));
    assert.deepEqual(request.record?.value, Buffer.alloc(0));
    assert.equal(request.record.key, null);
    assert.equal(request.topic, "");
    assert.equal(request.partition, undefined);
  });
});

describe("proto error", () => {
  test("an error comes back with its code, hint, outcome and details, numbers as numbers", () => {
    const original = new ProglogError("OFFSET_OUT_OF_RANGE", "Cannot read offset 12: the log starts at 40", {
      hint: "Read from start.",
      details: { offset: 12, name: "12", isThere: false, nothing: null },
    });
    const back = fromProtoError(toProtoError(original));
    assert.equal(back.code, original.code);
    assert.equal(back.message, original.message);
    assert.equal(back.hint, original.hint);
    assert.deepEqual(back.details, { ...original.details, outcome: "not-appended" });
    assert.equal(toProtoError(new ProglogError("DISK_FAILED", "Cannot append")).outcome, "unknown");
  });

  test("what isn't an error of ours keeps its message to itself; a code of a newer server is named", () => {
    assert.equal(toProtoError(new Error("/secret/path")).code, "INTERNAL");
    assert.ok(!JSON.stringify(toProtoError(new Error("/secret/path"))).includes("secret"));
    const newer = fromProtoError({ ...toProtoError(new ProglogError("INTERNAL", "Cannot")), code: "ON_FIRE" });
    assert.equal(newer.code, "INTERNAL");
    assert.equal(newer.details["serverCode"], "ON_FIRE");
  });
});

function generated<Schema extends DescMessage>(schema: Schema, init: MessageInitShape<Schema>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}

type Sample = Parameters<typeof toGenerated>[0];

function toGenerated(sample: {
  readonly offset?: number;
  readonly timestamp?: number | undefined;
  readonly key?: Uint8Array | string | null | undefined;
  readonly value: Uint8Array | string | null;
  readonly headers?: readonly { readonly key: string; readonly value: Uint8Array | string | null }[] | undefined;
}) {
  return create(RecordSchema, {
    value: toBytes(sample.value) ?? new Uint8Array(),
    offset: BigInt(sample.offset ?? 0),
    ...defined({ key: toBytes(sample.key) }),
    headers: (sample.headers ?? []).map(({ key, value }) => ({ key, ...defined({ value: toBytes(value) }) })),
    ...defined({
      timestamp: sample.timestamp === undefined || sample.timestamp === -1 ? undefined : BigInt(sample.timestamp),
    }),
    isNull: sample.value === null,
  });
}

function toBytes(value: Uint8Array | string | null | undefined): Uint8Array | undefined {
  if (value === null || value === undefined) return undefined;
  return typeof value === "string" ? Buffer.from(value) : value;
}

function forRequest({ key, value, headers, timestamp }: { key: Buffer | null; value: Buffer | null } & Required<Sample>) {
  return { key, value, headers, timestamp: timestamp === -1 ? undefined : timestamp };
}

/** The parts that count, in one form. */
function plain(sample: Sample | undefined): unknown {
  if (sample === undefined) return undefined;
  return { key: sample.key, value: sample.value, headers: sample.headers, timestamp: sample.timestamp };
}

function producerOf({ id, epoch, baseSequence }: { id: number; epoch: number; baseSequence: number }) {
  return { id: BigInt(id), epoch, baseSequence };
}

function errorOf({ code, message, hint, isRetryable, outcome, details }: ProtoError) {
  const number = outcome === "unknown" ? 1 : 0;
  return create(ErrorSchema, { code, message, hint, isRetryable, outcome: number, details: Object.fromEntries(details) });
}

/** Without the keys whose value is undefined: generated code takes them for set. */
function defined<Value>(fields: Record<string, Value | undefined>): Record<string, Value> {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, Value] => entry[1] !== undefined));
}

function attempt(run: () => unknown): unknown {
  try {
    run();
    return undefined;
  } catch (thrown) {
    return thrown;
  }
}
