import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { Client as GrpcJsClient, credentials, type ServiceError } from "@grpc/grpc-js";
import type { ProglogError } from "../src/base/error.ts";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import { type Client, connect as connectClient } from "../src/client/index.ts";
import { type Channel, connect, GrpcStatusError, healthCheck } from "../src/grpc/index.ts";
import { fromGrpcStatus } from "../src/wire/grpc-status.ts";
import {
  decodeProduceResponse,
  encodeProduceRequest,
  type ProduceRequest,
  type ProduceResponse,
} from "../src/wire/produce-message.ts";
import { decodeConsumeResponse, encodeConsumeRequest } from "../src/wire/consume-message.ts";
import {
  ConsumeRequestSchema,
  ConsumeResponseSchema,
  GetServersRequestSchema,
  GetServersResponseSchema,
  ProduceRequestSchema,
  ProduceResponseSchema,
} from "./book/gen/log/v1/log_pb.ts";
import { bytesMethod } from "./grpc-pair.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

const produce = bytesMethod("/log.v1.Log/Produce", "unary");
const produceStream = bytesMethod("/log.v1.Log/ProduceStream", "bidi-stream");
const consume = bytesMethod("/log.v1.Log/Consume", "unary");
const consumeStream = bytesMethod("/log.v1.Log/ConsumeStream", "server-stream");

const noConsume = {
  topic: "",
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

function produceBytes(request: Partial<ProduceRequest>): Buffer {
  return encodeProduceRequest({ topic: "", records: [], acks: "quorum", answersErrors: false, ...request });
}

describe("a client generated from the book's proto", () => {
  let node: TestNode;
  let client: GrpcJsClient;
  before(async () => {
    node = await startTestNode();
    client = new GrpcJsClient(`127.0.0.1:${node.port}`, credentials.createInsecure());
  });
  after(async () => {
    client.close();
    await node[Symbol.asyncDispose]();
  });

  function call<Request extends DescMessage, Response extends DescMessage>(
    method: string,
    schemas: { readonly request: Request; readonly response: Response },
    request: MessageShape<Request>,
  ): Promise<MessageShape<Response>> {
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        `/log.v1.Log/${method}`,
        (message: MessageShape<Request>) => Buffer.from(toBinary(schemas.request, message)),
        (bytes: Buffer) => fromBinary(schemas.response, bytes),
        request,
        (error: ServiceError | null, response?: MessageShape<Response>) =>
          response === undefined ? reject(error as Error) : resolve(response),
      );
    });
  }

  const produceSchemas = { request: ProduceRequestSchema, response: ProduceResponseSchema };
  const consumeSchemas = { request: ConsumeRequestSchema, response: ConsumeResponseSchema };

  test("produces and consumes, with dense offsets from 0", async () => {
    for (const [offset, value] of ["hello world", ""].entries()) {
      // What clients of the book send in offset, term and type is theirs to know.
      const record = { value: Buffer.from(value), offset: 7n, term: 9n, type: 5 };
      const produced = await call("Produce", produceSchemas, create(ProduceRequestSchema, { record }));
      assert.equal(produced.offset, BigInt(offset));
      const { record: read } = await call("Consume", consumeSchemas, create(ConsumeRequestSchema, { offset: BigInt(offset) }));
      assert.equal(Buffer.from(read?.value ?? []).toString(), value);
      assert.equal(read?.offset, BigInt(offset));
      assert.deepEqual([read.term, read.type], [0n, 0]);
    }
  });

  test("hears OUT_OF_RANGE past the end, with the book's detail", async () => {
    await assert.rejects(
      call("Consume", consumeSchemas, create(ConsumeRequestSchema, { offset: 99n })),
      (error: ServiceError) => {
        assert.equal(error.code, 11);
        const [details] = error.metadata.get("grpc-status-details-bin");
        assert.ok(details?.includes("The requested offset is outside of the log: 99"));
        return true;
      },
    );
  });

  test("a produce without a record is refused, and the node lives on", async () => {
    await assert.rejects(call("Produce", produceSchemas, create(ProduceRequestSchema)), { code: 3 });
    await call("Produce", produceSchemas, create(ProduceRequestSchema, { record: { value: Buffer.from("alive") } }));
  });

  test("streams: a half-closed produce stream ends OK, a consume stream waits for what comes", async () => {
    const stream = client.makeBidiStreamRequest(
      "/log.v1.Log/ProduceStream",
      (message: MessageShape<typeof ProduceRequestSchema>) => Buffer.from(toBinary(ProduceRequestSchema, message)),
      (bytes: Buffer) => fromBinary(ProduceResponseSchema, bytes),
    );
    const offsets: bigint[] = [];
    for (const value of ["s0", "s1", "s2"])
      stream.write(create(ProduceRequestSchema, { record: { value: Buffer.from(value) } }));
    stream.end();
    const status = await new Promise<number>((resolve) => {
      stream.on("data", ({ offset }: { offset: bigint }) => offsets.push(offset));
      stream.on("status", ({ code }: { code: number }) => resolve(code));
    });
    assert.equal(status, 0);
    const [first = 0n] = offsets;
    assert.deepEqual(offsets, [first, first + 1n, first + 2n]);

    const following = client.makeServerStreamRequest(
      "/log.v1.Log/ConsumeStream",
      (message: MessageShape<typeof ConsumeRequestSchema>) => Buffer.from(toBinary(ConsumeRequestSchema, message)),
      (bytes: Buffer) => fromBinary(ConsumeResponseSchema, bytes),
      create(ConsumeRequestSchema, { offset: first }),
    );
    following.on("error", () => {});
    const values: string[] = [];
    const consumed: (bigint | undefined)[] = [];
    await new Promise<void>((resolve) => {
      following.on("data", ({ record }: MessageShape<typeof ConsumeResponseSchema>) => {
        values.push(Buffer.from(record?.value ?? []).toString());
        consumed.push(record?.offset);
        if (values.length === 3) {
          void call("Produce", produceSchemas, create(ProduceRequestSchema, { record: { value: Buffer.from("later") } }));
        }
        if (values.length === 4) resolve();
      });
    });
    following.cancel();
    assert.deepEqual(values, ["s0", "s1", "s2", "later"]);
    assert.deepEqual(consumed, [...offsets, first + 3n]);
  });

  test("GetServers names the node", async () => {
    const schemas = { request: GetServersRequestSchema, response: GetServersResponseSchema };
    const { servers } = await call("GetServers", schemas, create(GetServersRequestSchema));
    assert.equal(servers.length, 1);
    assert.equal(servers[0]?.rpcAddr, `127.0.0.1:${node.port}`);
    assert.equal(servers[0].isLeader, true);
  });
});

describe("the services over gRPC", () => {
  let node: TestNode;
  let channel: Channel;
  let client: Client;
  before(async () => {
    node = await startTestNode();
    channel = connect({ address: `127.0.0.1:${node.port}` });
    client = connectClient(`127.0.0.1:${node.port}`);
  });
  after(async () => {
    await client.close();
    await channel.close();
    await node[Symbol.asyncDispose]();
  });

  /** The error that a call ends with, as the client makes one of it. */
  async function failureOf(call: Promise<unknown>): Promise<ProglogError> {
    try {
      await call;
    } catch (error) {
      assert.ok(error instanceof GrpcStatusError, String(error));
      return fromGrpcStatus({ code: error.code, message: error.message, details: error.details });
    }
    throw new Error("the call went well");
  }

  test("what is wrong with a produce is a coded error, and nothing is appended", async () => {
    const good = encodeBatch([{ value: "x" }], { now: 1 });
    const badCrc = Buffer.from(good);
    badCrc.writeUInt8(badCrc.readUInt8(badCrc.length - 1) ^ 1, badCrc.length - 1);
    const badSpan = Buffer.from(good);
    badSpan.writeInt32BE(5, 23);
    const cases: readonly (readonly [Partial<ProduceRequest>, string])[] = [
      [{}, "INVALID_ARGUMENT"],
      [{ record: { value: "a" }, records: [{ value: "b" }] }, "INVALID_ARGUMENT"],
      [{ record: { value: "a" }, topic: ".." }, "INVALID_TOPIC_NAME"],
      [{ record: { value: "a" }, partition: 7 }, "PARTITION_NOT_FOUND"],
      [{ record: { value: Buffer.alloc(1024 * 1024 + 1) } }, "RECORD_TOO_LARGE"],
      [{ record: { value: "a" }, expectedOffset: 99 }, "CONDITION_FAILED"],
      [{ batch: badCrc }, "INVALID_BATCH"],
      [{ batch: badSpan }, "INVALID_BATCH"],
      [{ batch: Buffer.from("garbage") }, "INVALID_BATCH"],
      [{ batch: good, producer: { id: 1, epoch: 0, baseSequence: 0 } }, "INVALID_ARGUMENT"],
      [{ record: { value: "a" }, producer: { id: 1, epoch: 40_000, baseSequence: 0 } }, "INVALID_ARGUMENT"],
    ];
    await channel.unary(produce, produceBytes({ topic: "strict", record: { value: "first" } }));
    for (const [request, code] of cases) {
      const error = await failureOf(channel.unary(produce, produceBytes({ topic: "strict", ...request })));
      assert.equal(error.code, code);
      assert.equal(error.details["outcome"], "not-appended");
    }
    // Not even a message.
    assert.equal((await failureOf(channel.unary(produce, Buffer.from([0x0a, 0xff])))).code, "INVALID_ARGUMENT");
    const [partition] = (await client.describeTopic("strict")).partitions;
    assert.equal(partition?.highWatermark, 1);
  });

  test("a retry by producer and sequence is answered with the first answer", async () => {
    const request = produceBytes({
      topic: "again",
      records: [{ value: "a" }, { value: "b" }],
      producer: { id: 5, epoch: 0, baseSequence: 0 },
    });
    const first = decodeProduceResponse(await channel.unary(produce, request));
    const second = decodeProduceResponse(await channel.unary(produce, request));
    assert.deepEqual([first.offset, first.count, first.isDuplicate], [0, 2, false]);
    assert.deepEqual([second.offset, second.count, second.isDuplicate, second.appendTime], [0, 2, true, first.appendTime]);
  });

  test("a produce stream answers in order; a request that fails ends it, unless it has its error answered", async () => {
    const bad = { topic: "mixed", record: { value: "no" }, expectedOffset: 99 };
    const stream = await channel.bidiStream(produceStream);
    await stream.send(produceBytes({ topic: "mixed", record: { value: "0" } }));
    await stream.send(produceBytes({ ...bad, answersErrors: true }));
    await stream.send(produceBytes({ topic: "mixed", record: { value: "1" } }));
    await stream.send(produceBytes(bad));
    const answers: ProduceResponse[] = [];
    const failure = await failureOf(
      (async () => {
        for await (const answer of stream.responses) answers.push(decodeProduceResponse(answer));
      })(),
    );
    assert.equal(failure.code, "CONDITION_FAILED");
    assert.deepEqual(
      answers.map(({ offset, error }) => error?.code ?? offset),
      [0, "CONDITION_FAILED", 1],
    );
  });

  test("acks none is answered at once and without an offset", async () => {
    const answer = decodeProduceResponse(
      await channel.unary(produce, produceBytes({ topic: "none", record: { value: "a" }, acks: "none" })),
    );
    assert.deepEqual([answer.offset, answer.isDurable, answer.count], [0, false, 0]);
    const read = client.consume({ topic: "none", partition: 0 })[Symbol.asyncIterator]();
    assert.equal(String((await read.next()).value?.value), "a");
    await read.return();
  });

  test("what fails behind an answer that nobody waits for is counted", async () => {
    const earlier = await node.metric("proglog_grpc_unheard_failures_total");
    const request = { topic: "none", partition: 0, record: { value: "b" }, expectedOffset: 99, acks: "none" } as const;
    await channel.unary(produce, produceBytes(request));
    await node.until(async () => (await node.metric("proglog_grpc_unheard_failures_total")) === earlier + 1);
  });

  test("records of one request stay together: without a partition they have to go to one", async () => {
    await client.createTopic("wide", { partitionCount: 8 });
    const records = Array.from({ length: 20 }, (_, i) => ({ key: `k${i}`, value: "x" }));
    assert.equal((await failureOf(channel.unary(produce, produceBytes({ topic: "wide", records })))).code, "INVALID_ARGUMENT");
    const same = decodeProduceResponse(
      await channel.unary(produce, produceBytes({ topic: "wide", records: [1, 2].map(() => ({ key: "k", value: "x" })) })),
    );
    assert.equal(same.count, 2);
  });

  test("consume: one record, several, packed, from start, end and a time, and a wait for what isn't there", async () => {
    await client.producer({ topic: "read" }).sendBatch(["a", "b", "c"].map((value, i) => ({ value, timestamp: 1_000 + i })));
    const read = async (request: object) =>
      decodeConsumeResponse(await channel.unary(consume, encodeConsumeRequest({ ...noConsume, topic: "read", ...request })));
    assert.equal(String((await read({ from: 1 })).record?.value), "b");
    assert.deepEqual(
      (await read({ maxRecords: 2 })).records.map(({ offset }) => offset),
      [0, 1],
    );
    assert.deepEqual(
      (await read({ maxRecords: 9, from: { timestamp: 1_002 } })).records.map(({ offset }) => offset),
      [2],
    );
    const packed = await read({ isPacked: true });
    assert.equal(packed.nextOffset, 3);
    assert.ok((packed.batches[0]?.length ?? 0) > 61);
    const end = await read({ from: "end", maxRecords: 1 });
    assert.deepEqual([end.records.length, end.nextOffset, end.highWatermark], [0, 3, 3]);
    for (const isPacked of [false, true]) {
      const waiting = read({ from: "end", maxRecords: 1, isPacked, waitMs: 30_000 });
      await client.producer({ topic: "read" }).send({ value: "later" });
      const late = await waiting;
      assert.equal(late.records.length + late.batches.length, 1);
    }
    assert.equal((await failureOf(read({ topic: "missing" }))).code, "TOPIC_NOT_FOUND");
  });

  test("read your writes: what lies before an offset is waited for", async () => {
    const waiting = channel.unary(
      consume,
      encodeConsumeRequest({ ...noConsume, topic: "again", from: 2, maxRecords: 1, atLeastOffset: 3 }),
    );
    await channel.unary(produce, produceBytes({ topic: "again", record: { value: "c" } }));
    assert.equal(String(decodeConsumeResponse(await waiting).records[0]?.value), "c");
  });

  test("what can't be read in a stream ends it with its code; other streams go on", async () => {
    const open = async (request: object) =>
      (await channel.serverStream(consumeStream, encodeConsumeRequest({ ...noConsume, topic: "again", ...request }))).responses;
    assert.equal((await failureOf((await open({ topic: "missing" })).read())).code, "TOPIC_NOT_FOUND");
    assert.equal((await failureOf((await open({ from: 99 })).read())).code, "OFFSET_OUT_OF_RANGE");
    const first = await (await open({ isPacked: true, from: "end" })).read();
    assert.ok(first !== undefined);
    assert.equal(decodeConsumeResponse(first).nextOffset, 3);
  });

  test("topics: made, listed, described, changed and deleted, with their settings as text", async () => {
    const made = await client.createTopic("set", { partitionCount: 2, settings: { retentionMs: "1d", deepCheck: "true" } });
    assert.equal(made.partitions.length, 2);
    assert.equal(
      (await client.alterTopic("set", { settings: { cleanup: "compact" }, unset: ["deepCheck"] })).settings["deepCheck"],
      undefined,
    );
    assert.ok((await client.listTopics()).some(({ name, partitionCount }) => name === "set" && partitionCount === 2));
    await assert.rejects(client.createTopic("set"), { code: "TOPIC_ALREADY_EXISTS" });
    await assert.rejects(client.alterTopic("set", { settings: { nonsense: "1" } }), { code: "INVALID_ARGUMENT" });
    await assert.rejects(client.alterTopic("set", { settings: { cleanup: "both" }, unset: ["cleanup"] }), {
      code: "INVALID_ARGUMENT",
    });
    await client.deleteTopic("set");
    await assert.rejects(client.describeTopic("set"), { code: "TOPIC_NOT_FOUND" });
  });

  test("says that it serves, and what there is to call", async () => {
    for (const service of ["", "log.v1.Log", "log.v1.Topics"])
      assert.equal(await channel.unary(healthCheck, service), "SERVING");
    const reflection = await channel.bidiStream(
      bytesMethod("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "bidi-stream"),
    );
    // ServerReflectionRequest { list_services: "*" }
    await reflection.send(Buffer.from([0x3a, 1, 0x2a]));
    const answer = String(await reflection.responses.read());
    for (const service of ["log.v1.Log", "log.v1.Topics"]) assert.ok(answer.includes(service));
    reflection.cancel();
  });

  test("calls are counted by method and status", async () => {
    assert.ok((await node.metric('proglog_grpc_calls_total{method="/log.v1.Log/Produce",status="OK"}')) > 0);
    assert.ok((await node.metric('proglog_grpc_calls_total{method="/log.v1.Log/Produce",status="INVALID_ARGUMENT"}')) > 0);
    assert.ok((await node.metric("proglog_grpc_connections")) >= 2);
  });
});

describe("a node that stops", () => {
  test("answers what is under way, ends streams with a code that says to come back, and closes", async () => {
    const node = await startTestNode();
    const channel = connect({ address: `127.0.0.1:${node.port}` });
    const stream = await channel.bidiStream(produceStream);
    await stream.send(produceBytes({ record: { value: "a" } }));
    assert.equal(decodeProduceResponse((await stream.responses.read()) ?? Buffer.alloc(0)).offset, 0);
    const tail = (
      await channel.serverStream(consumeStream, encodeConsumeRequest({ ...noConsume, from: "end", isPacked: true }))
    ).responses;
    await tail.read();
    const ends = [stream.responses.read(), tail.read()].map((read) =>
      read.then(
        () => "ended",
        (error: unknown) =>
          error instanceof GrpcStatusError
            ? fromGrpcStatus({ code: error.code, message: error.message, details: error.details }).code
            : error,
      ),
    );
    await node.node.close();
    assert.deepEqual(await Promise.all(ends), ["SHUTTING_DOWN", "SHUTTING_DOWN"]);
    await channel.close();
  });

  test("its clients find it again, and go on: nothing lost, nothing twice", async () => {
    const node = await startTestNode();
    const client = connectClient(`127.0.0.1:${node.port}`);
    const producer = client.producer();
    await producer.send({ value: "0" });
    const values: string[] = [];
    const reading = (async () => {
      for await (const { value } of client.consume({ partition: 0 })) {
        values.push(String(value));
        if (values.length === 20) break;
      }
    })();
    for (let i = 1; i < 10; i += 1) await producer.send({ value: `${i}` });
    const { port, disk } = node;
    await node.node.close();
    const sends = Array.from({ length: 10 }, (_, i) => producer.send({ value: `${i + 10}` }));
    const again = await startTestNode({ flags: { rpcPort: port }, disk });
    await Promise.all(sends);
    await reading;
    assert.deepEqual(
      values,
      Array.from({ length: 20 }, (_, i) => `${i}`),
    );
    await client.close();
    await again[Symbol.asyncDispose]();
  });
});
