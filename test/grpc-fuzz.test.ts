import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { gzipSync } from "node:zlib";
import { createSeededRandom, type SeededRandom } from "../sim/random.ts";
import { grpcMessageMaxBytes, topicNameMaxChars } from "../src/base/limits.ts";
import { KiB, MiB } from "../src/base/units.ts";
import { batchHeaderBytes, crcAt } from "../src/batch/batch-header.ts";
import { crc32c } from "../src/batch/crc32c.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { type Client, connect as connectClient } from "../src/client/index.ts";
import { type BidiStreamCall, type Channel, connect, GrpcStatusError, type ServerStreamCall } from "../src/grpc/index.ts";
import { decodeConsumeResponse } from "../src/wire/consume-message.ts";
import { decodeProduceResponse, type ProduceRequest } from "../src/wire/produce-message.ts";
import { encodeAlterTopicRequest, encodeCreateTopicRequest, encodeTopicNameRequest } from "../src/wire/topic-message.ts";
import { bytesMethod } from "./grpc-pair.ts";
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
import { startTestNode, type TestNode } from "./test-node.ts";

/**
 * What no honest client sends, into every method of a node, over one connection. Beside it two streams are open all the time: whatever
 * comes, they go on.
 */
const rounds = process.env["PROVE"] === undefined ? 50 : 5_000;

describe("a node that is sent nonsense", () => {
  let node: TestNode;
  let channel: Channel;
  let client: Client;
  let writing: BidiStreamCall<Buffer, Buffer>;
  let reading: ServerStreamCall<Buffer>;
  let written = 0;
  before(async () => {
    node = await startTestNode();
    channel = connect({ address: `127.0.0.1:${node.port}` });
    client = connectClient(`127.0.0.1:${node.port}`);
    await client.createTopic("honest");
    await client.createTopic("target");
    await client.createTopic("deep", { settings: { deepCheck: "true" } });
    writing = await channel.bidiStream(produceStream);
    reading = await channel.serverStream(consumeStream, consumeBytes({ topic: "honest" }));
  });
  after(async () => {
    await client.close();
    await channel.close();
    await node[Symbol.asyncDispose]();
  });

  /** The streams that were there before go on. */
  async function checkOthers(): Promise<void> {
    await writing.send(produceBytes({ topic: "honest", record: { value: `${written}` } }));
    assert.equal(decodeProduceResponse((await writing.responses.read()) ?? Buffer.alloc(0)).offset, written);
    const { record } = decodeConsumeResponse((await reading.responses.read()) ?? Buffer.alloc(0));
    assert.equal(String(record?.value), `${written}`);
    written += 1;
  }

  async function endOf(topic: string): Promise<number> {
    return (await client.describeTopic(topic)).partitions[0]?.highWatermark ?? -1;
  }

  /** Refused with `code`, alone and on a stream, and nothing is appended. */
  async function checkRefused(
    request: Partial<ProduceRequest> | Buffer,
    code: string | RegExp,
    topic = "target",
  ): Promise<void> {
    const bytes = Buffer.isBuffer(request) ? request : produceBytes({ topic, ...request });
    const end = await endOf(topic);
    const check = (found: string): void => {
      if (typeof code === "string") assert.equal(found, code);
      else assert.match(found, code);
    };
    check((await failureOf(channel.unary(produce, bytes))).code);
    const stream = await channel.bidiStream(produceStream);
    await stream.send(bytes);
    check((await failureOf(stream.responses.read())).code);
    assert.equal(await endOf(topic), end);
  }

  test("packed batches that lie are refused, alone and on a stream, and nothing of them is appended", async () => {
    const records = Array.from({ length: 3 }, (_, i) => ({ key: `k${i}`, value: "x".repeat(100) }));
    const good = encodeBatch(records, { now: 1 });
    // The CRC covers all from the attributes on; where it isn't itself the lie it is right.
    const lies: readonly (readonly [what: string, batch: Buffer])[] = [
      ["a CRC", edited(good, (batch) => batch.writeUInt32BE(7, crcAt), false)],
      ["a flipped bit", edited(good, (batch) => batch.writeUInt8(batch.readUInt8(80) ^ 1, 80), false)],
      ["a higher count", edited(good, (batch) => batch.writeInt32BE(4, countAt))],
      ["a lower count", edited(good, (batch) => batch.writeInt32BE(2, countAt))],
      ["no records", edited(good, (batch) => batch.writeInt32BE(0, countAt))],
      ["a negative count", edited(good, (batch) => batch.writeInt32BE(-1, countAt))],
      ["a count of two thousand million", edited(good, (batch) => batch.writeInt32BE(0x7fff_ffff, countAt))],
      ["a wider span", edited(good, (batch) => batch.writeInt32BE(0x7fff_ffff, spanAt))],
      ["a narrower span", edited(good, (batch) => batch.writeInt32BE(1, spanAt))],
      ["a control batch", edited(good, (batch) => batch.writeInt16BE(0x20, attributesAt))],
      ["a transactional batch", edited(good, (batch) => batch.writeInt16BE(0x10, attributesAt))],
      ["a delete horizon", edited(good, (batch) => batch.writeInt16BE(0x40, attributesAt))],
      ["an unknown bit", edited(good, (batch) => batch.writeInt16BE(0x80, attributesAt))],
      ["an unknown codec", edited(good, (batch) => batch.writeInt16BE(7, attributesAt))],
      ...[0, 1, 3, 255].map((magic) => [`magic ${magic}`, edited(good, (batch) => batch.writeUInt8(magic, 16))] as const),
      ["a longer length", edited(good, (batch) => batch.writeInt32BE(good.length, 8))],
      ["a shorter length", edited(good, (batch) => batch.writeInt32BE(good.length - 13, 8))],
      ["a negative length", edited(good, (batch) => batch.writeInt32BE(-12, 8))],
      ["a byte behind it", Buffer.concat([good, Buffer.from([0])])],
      ["a byte less", good.subarray(0, -1)],
      ["nothing but a header", good.subarray(0, batchHeaderBytes)],
      ["half a header", good.subarray(0, 30)],
      ["half a producer", edited(good, (batch) => batch.writeBigInt64BE(5n, 43))],
      ["a producer beyond 2^53", edited(good, (batch) => batch.writeBigInt64BE(2n ** 60n, 43))],
    ];
    for (const [what, batch] of lies)
      await checkRefused({ batch }, /^(INVALID_BATCH|INVALID_RECORD|UNSUPPORTED_COMPRESSION|INVALID_ARGUMENT)$/).catch(
        (error: unknown) => {
          throw new Error(`${what} isn't refused as it should be`, { cause: error });
        },
      );
    await checkOthers();
  });

  test("compressed batches that claim what they aren't are refused where they are opened, and skipped where they are trusted", async () => {
    const good = encodeBatch([{ value: "x".repeat(1000) }], { now: 1, compression: "gzip" });
    const garbage = edited(good, (batch) => batch.fill(0xa5, batchHeaderBytes));
    const more = edited(good, (batch) => batch.writeInt32BE(1_000_000, countAt) && batch.writeInt32BE(999_999, spanAt));
    const zeros = gzipSync(Buffer.alloc(64 * MiB));
    const bomb = Buffer.concat([good.subarray(0, batchHeaderBytes), zeros]);
    bomb.writeInt32BE(bomb.length - 12, 8);
    bomb.writeUInt32BE(crc32c(bomb, crcAt + 4), crcAt);
    for (const batch of [garbage, more, bomb]) await checkRefused({ batch }, /^(INVALID_BATCH|BATCH_TOO_LARGE)$/, "deep");

    for (const batch of [garbage, bomb]) {
      const { offset } = await produceOnce(channel, { topic: "target", batch });
      const request = { topic: "target", from: offset };
      assert.equal((await failureOf(channel.unary(consume, consumeBytes(request)))).code, "UNDECODABLE_BATCH");
      const stream = await channel.serverStream(consumeStream, consumeBytes(request));
      const failure = await failureOf(stream.responses.read());
      assert.deepEqual([failure.code, failure.details["nextOffset"]], ["UNDECODABLE_BATCH", offset + 1]);
      const packed = decodeConsumeResponse(await channel.unary(consume, consumeBytes({ ...request, isPacked: true })));
      assert.equal(packed.batches[0]?.length, batch.length);
    }
    await checkOthers();
  });

  test("numbers beyond what they may be are refused", async () => {
    const max = varint(2n ** 64n - 1n);
    const beyond = varint(2n ** 53n);
    const value = Buffer.from([0x0a, 0x03, 0x0a, 0x01, 0x78]);
    const field = (number: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.from([number << 3]), bytes]);
    const producer = (bytes: Buffer): Buffer => Buffer.concat([Buffer.from([(7 << 3) | 2, bytes.length]), bytes]);
    const topic = Buffer.from([(2 << 3) | 2, 6, ...Buffer.from("target")]);
    for (const wrong of [
      field(3, max),
      field(3, varint(2n ** 32n)),
      field(6, varint(3n)),
      field(8, beyond),
      field(8, max),
      producer(field(1, beyond)),
      producer(Buffer.concat([field(1, varint(1n)), field(2, varint(2n ** 15n))])),
      producer(Buffer.concat([field(1, varint(1n)), field(3, varint(2n ** 31n))])),
      Buffer.concat([field(8, Buffer.alloc(11, 0xff))]),
    ])
      await checkRefused(Buffer.concat([value, topic, wrong]), "INVALID_ARGUMENT");
    for (const wrong of [field(1, max), field(1, beyond)]) {
      const failure = await failureOf(channel.unary(consume, wrong));
      assert.equal(failure.code, "INVALID_ARGUMENT");
    }
    await checkOthers();
  });

  test("names of all kinds: those that are none are refused by every method, and make nothing", async () => {
    const names = [
      ".",
      "..",
      "a/b",
      "../x",
      "a b",
      "ä",
      "\0",
      "a\n",
      "-\u202e",
      "__proto__",
      "__x",
      "%2e",
      "x".repeat(topicNameMaxChars + 1),
    ];
    const count = (await client.listTopics()).length;
    for (const topic of names) {
      assert.equal(
        (await failureOf(produceOnce(channel, { topic, record: { value: "x" } }))).code,
        "INVALID_TOPIC_NAME",
        topic,
      );
      assert.equal((await failureOf(channel.unary(consume, consumeBytes({ topic })))).code, "INVALID_TOPIC_NAME", topic);
      const stream = await channel.serverStream(consumeStream, consumeBytes({ topic }));
      assert.equal((await failureOf(stream.responses.read())).code, "INVALID_TOPIC_NAME", topic);
      const create = encodeCreateTopicRequest({ name: topic, partitionCount: 1, settings: {} });
      assert.equal((await failureOf(channel.unary(topics("CreateTopic"), create))).code, "INVALID_TOPIC_NAME", topic);
      for (const method of ["DescribeTopic", "DeleteTopic"])
        assert.equal(
          (await failureOf(channel.unary(topics(method), encodeTopicNameRequest(topic)))).code,
          "INVALID_TOPIC_NAME",
        );
    }
    for (const name of ["constructor", "toString", "x".repeat(topicNameMaxChars)]) {
      await assert.rejects(client.describeTopic(name), { code: "TOPIC_NOT_FOUND" });
      await produceOnce(channel, { topic: name, record: { value: "x" } });
      await client.deleteTopic(name);
    }
    for (const settings of [
      { constructor: "1" },
      JSON.parse('{"__proto__":"1"}') as Record<string, string>,
      { retentionMs: "-1" },
    ]) {
      const create = encodeCreateTopicRequest({ name: "odd", partitionCount: 1, settings });
      assert.equal((await failureOf(channel.unary(topics("CreateTopic"), create))).code, "INVALID_ARGUMENT");
    }
    for (const partitionCount of [10_001, 2 ** 32 - 1]) {
      const create = encodeCreateTopicRequest({ name: "odd", partitionCount, settings: {} });
      assert.match(
        (await failureOf(channel.unary(topics("CreateTopic"), create))).code,
        /^(TOO_MANY_PARTITIONS|INVALID_ARGUMENT)$/,
      );
    }
    assert.equal((await client.listTopics()).length, count);
    await checkOthers();
  });

  test("a message of the largest size is taken, and one byte more is refused by its length", async () => {
    const request = produceBytes({ topic: "target", record: { value: Buffer.alloc(512 * KiB) } });
    // A field that nobody knows fills it up.
    const filled = (size: number): Buffer => {
      const rest = size - request.length - 5;
      return Buffer.concat([request, Buffer.from([(15 << 3) | 2]), varint(BigInt(rest)), Buffer.alloc(rest)]);
    };
    assert.equal(filled(grpcMessageMaxBytes).length, grpcMessageMaxBytes);
    await channel.unary(produce, filled(grpcMessageMaxBytes));
    const end = await endOf("target");
    await assert.rejects(channel.unary(produce, filled(grpcMessageMaxBytes + 1)), { code: 8 });
    const stream = await channel.bidiStream(produceStream);
    await stream.send(filled(grpcMessageMaxBytes));
    await stream.responses.read();
    const sending = stream.send(filled(grpcMessageMaxBytes + 1)).catch(() => {});
    await assert.rejects(stream.responses.read(), { code: 8 });
    await sending;
    assert.equal(await endOf("target"), end + 1);
    await checkOthers();
  });

  const methods: readonly (readonly [path: string, samples: () => readonly Buffer[]])[] = [
    ["Log/Produce", produceSamples],
    ["Log/ProduceStream", produceSamples],
    ["Log/Consume", consumeSamples],
    ["Log/ConsumeStream", consumeSamples],
    ["Log/GetServers", () => [Buffer.alloc(0)]],
    ["Topics/ListTopics", () => [Buffer.alloc(0)]],
    [
      "Topics/CreateTopic",
      () => [encodeCreateTopicRequest({ name: "target", partitionCount: 0, settings: { deepCheck: "true" } })],
    ],
    ["Topics/DescribeTopic", () => [encodeTopicNameRequest("target")]],
    [
      "Topics/AlterTopic",
      () => [encodeAlterTopicRequest({ name: "none", partitionCount: 0, settings: { deepCheck: "true" }, unset: ["x"] })],
    ],
    ["Topics/DeleteTopic", () => [encodeTopicNameRequest("none")]],
  ];
  for (const [path, samples] of methods)
    test(`${path}: whatever the bytes are, the call ends with a status that has a code, and the node lives on`, async () => {
      const random = createSeededRandom(`grpc-fuzz/${path}`);
      for (let round = 0; round < rounds; round += 1) {
        const bytes = random.chance(0.2) ? random.bytes(random.integer(200)) : mutated(random, random.pick(samples()));
        const end = await endOf("target");
        const error = await outcomeOf(path, bytes);
        if (error === undefined) continue;
        assert.ok(error instanceof GrpcStatusError);
        const failure = await failureOf(Promise.reject(error));
        assert.ok(failure.code !== "INTERNAL", `${bytes.toString("hex")}: ${failure.message}`);
        assert.equal(await endOf("target"), end, bytes.toString("hex"));
      }
      await checkOthers();
      assert.deepEqual(
        node.lines.filter(({ level }) => level === "error"),
        [],
      );
    });

  /** Undefined where the call went well. */
  async function outcomeOf(path: string, bytes: Buffer): Promise<unknown> {
    const name = `/log.v1.${path}`;
    try {
      if (path === "Log/ProduceStream") {
        const stream = await channel.bidiStream(bytesMethod(name, "bidi-stream"));
        await stream.send(bytes);
        stream.end();
        for await (const answer of stream.responses) decodeProduceResponse(answer);
      } else if (path === "Log/ConsumeStream") {
        const stream = await channel.serverStream(bytesMethod(name, "server-stream"), bytes, { timeoutMs: 50 });
        for await (const answer of stream.responses) decodeConsumeResponse(answer);
      } else {
        await channel.unary(bytesMethod(name, "unary"), bytes, { timeoutMs: 5_000 });
      }
      return undefined;
    } catch (error) {
      return error;
    }
  }
});

const attributesAt = 21;
const spanAt = 23;
const countAt = 57;

/** A copy of a batch with something changed, and with the CRC that belongs to it then. */
function edited(batch: Buffer, edit: (copy: Buffer) => void, isSealed = true): Buffer {
  const copy = Buffer.from(batch);
  edit(copy);
  if (isSealed) copy.writeUInt32BE(crc32c(copy, crcAt + 4), crcAt);
  return copy;
}

function topics(name: string) {
  return bytesMethod(`/log.v1.Topics/${name}`, "unary");
}

function produceSamples(): readonly Buffer[] {
  const record = { key: "k", value: "v", headers: [{ key: "h", value: "x" }], timestamp: 5 };
  return [
    produceBytes({ topic: "target", record }),
    produceBytes({ topic: "target", records: [record, record], expectedOffset: 1 }),
    produceBytes({ topic: "target", partition: 0, batch: encodeBatch([record], { now: 1 }) }),
    produceBytes({ topic: "target", record, producer: { id: 9, epoch: 0, baseSequence: 0 } }),
  ];
}

function consumeSamples(): readonly Buffer[] {
  return [
    consumeBytes({ topic: "target", maxRecords: 2, maxBytes: 100, stopsAtEnd: true }),
    consumeBytes({ topic: "target", from: { timestamp: 5 }, isPacked: true, stopsAtEnd: true }),
    consumeBytes({ topic: "target", from: "end", waitMs: 1, maxRecords: 1, stopsAtEnd: true }),
  ];
}

/** Some bytes changed, cut out, doubled or put in. */
function mutated(random: SeededRandom, sample: Buffer): Buffer {
  let bytes = Buffer.from(sample);
  for (let change = 0; change <= random.integer(3); change += 1) {
    const at = random.integer(bytes.length + 1);
    const end = Math.min(bytes.length, at + random.integer(8));
    const piece = random.pick([
      random.bytes(1 + random.integer(3)),
      Buffer.alloc(0),
      bytes.subarray(at, end),
      Buffer.alloc(10, 0xff),
    ]);
    bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(random.chance(0.5) ? at : end)]);
  }
  return bytes;
}

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
