import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { isProglogError, type ProglogError } from "../src/base/error.ts";
import { type Channel, connect, GrpcStatusError } from "../src/grpc/index.ts";
import {
  type ConsumeRequest,
  type ConsumeResponse,
  decodeConsumeResponse,
  encodeConsumeRequest,
} from "../src/wire/consume-message.ts";
import { fromGrpcStatus } from "../src/wire/grpc-status.ts";
import { decodeProduceResponse, encodeProduceRequest, type ProduceRequest } from "../src/wire/produce-message.ts";
import { bytesMethod } from "./grpc-pair.ts";
import { ThreeNodes } from "./three-nodes.ts";

const produceMethod = bytesMethod("/log.v1.Log/Produce", "unary");
const consumeMethod = bytesMethod("/log.v1.Log/Consume", "unary");
const consumeStreamMethod = bytesMethod("/log.v1.Log/ConsumeStream", "server-stream");

describe("records in a cluster of three nodes", () => {
  let cluster: ThreeNodes;
  const channels = new Map<string, Channel>();
  before(async () => {
    cluster = await ThreeNodes.start();
    for (const name of cluster.names) channels.set(name, connect({ address: `127.0.0.1:${cluster.node(name).port}` }));
    await cluster.client.createTopic("orders");
    await cluster.leaderOf("orders");
    await cluster.client.append([{ value: "first" }], { topic: "orders" });
  });
  after(async () => {
    for (const channel of channels.values()) await channel.close();
    await cluster[Symbol.asyncDispose]();
  });

  const channelOf = (name: string): Channel => channels.get(name) ?? assert.fail();

  async function produce(name: string, request: Partial<ProduceRequest> = {}) {
    const all = { topic: "orders", record: { value: "x" }, records: [], acks: "quorum", answersErrors: false } as const;
    const bytes = encodeProduceRequest({ ...all, ...request });
    return decodeProduceResponse(await channelOf(name).unary(produceMethod, bytes).catch(explain));
  }

  async function consume(name: string, request: Partial<ConsumeRequest> = {}) {
    return decodeConsumeResponse(await channelOf(name).unary(consumeMethod, consumeBytes(request)).catch(explain));
  }

  async function* consumeStream(name: string, request: Partial<ConsumeRequest> = {}) {
    const { responses } = await channelOf(name).serverStream(consumeStreamMethod, consumeBytes(request)).catch(explain);
    try {
      for await (const response of responses) yield decodeConsumeResponse(response);
    } catch (error) {
      explain(error);
    }
  }

  /** What a live tail says, line by line. */
  async function* tailLines(name: string, path: string): AsyncGenerator<Readonly<Record<string, unknown>>> {
    const headers = { accept: "application/x-ndjson" };
    const answer = await fetch(`${cluster.node(name).node.url}${path}&follow=true`, { headers });
    let text = "";
    for await (const chunk of answer.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      text += chunk;
      for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
        if (end > 0) yield JSON.parse(text.slice(0, end)) as Readonly<Record<string, unknown>>;
        text = text.slice(end + 1);
      }
    }
  }

  async function roles(): Promise<{ leader: string; followers: readonly string[] }> {
    const leader = await cluster.leaderOf("orders");
    return { leader, followers: cluster.names.filter((name) => name !== leader) };
  }

  test("a follower shows what was acknowledged before it was asked", async () => {
    const { leader, followers } = await roles();
    for (const name of followers) {
      const { offset, isDurable } = await produce(leader);
      assert.equal(isDurable, true);
      assert.equal((await consume(name, { from: offset })).records[0]?.offset, offset);
      const { offset: next } = await produce(leader);
      assert.equal((await consume(name, { from: "end" })).nextOffset, next + 1);
      await produce(leader);
      assert.equal((await consume(name, { from: next + 1, isPacked: true })).batches.length, 1);
      await produce(leader);
      assert.deepEqual((await consume(name, { from: { timestamp: Number.MAX_SAFE_INTEGER } })).nextOffset, next + 3);
      await assert.rejects(consume(name, { from: next + 9 }), { code: "OFFSET_OUT_OF_RANGE" });
      const read: number[] = [];
      for await (const { records } of consumeStream(name, { from: next, stopsAtEnd: true }))
        read.push(...records.map(({ offset: each }) => each));
      assert.deepEqual(read, [next, next + 1, next + 2]);
      const { text } = await cluster.node(name).get(`/v1/topics/orders/records?from=${next + 2}`);
      assert.match(text, new RegExp(`"offset":${next + 2}`));
    }
  });

  test("a follower waits for what it is asked to have", async () => {
    const { leader, followers } = await roles();
    const [follower = ""] = followers;
    const { highWatermark: end } = await consume(follower);
    const waiting = consume(follower, { from: end, atLeastOffset: end + 1, waitMs: 10_000 });
    await assert.rejects(consume(follower, { atLeastOffset: end + 9, waitMs: 1 }), { code: "TIMEOUT" });
    const path = `/v1/topics/orders/records?from=${end}&atLeastOffset=${end + 1}`;
    const overHttp = cluster.node(follower).json<HttpRead>("GET", `${path}&waitMs=10000`);
    const tail = tailLines(follower, path);
    const { status, text } = await cluster.node(follower).get(`/v1/topics/orders/records?atLeastOffset=${end + 9}&waitMs=1`);
    assert.deepEqual([status, (JSON.parse(text) as { code: string }).code], [504, "TIMEOUT"]);
    await produce(leader);
    assert.equal((await waiting).records[0]?.offset, end);
    assert.equal((await overHttp).records[0]?.offset, end);
    const { value } = await tail.next();
    assert.equal(value?.["offset"], end);
    await tail.return(undefined);
  });

  test("who doesn't lead says who does, in which term", async () => {
    const { leader, followers } = await roles();
    const { term } = await cluster.describe(leader, "orders").then(({ partitions }) => partitions[0] ?? assert.fail());
    for (const name of followers) {
      const asked = [produce(name), consume(name, { leaderOnly: true }), consume(name, { leaderOnly: true, isPacked: true })];
      for (const each of [...asked, drain(consumeStream(name, { leaderOnly: true }))]) {
        const error = await failureOf(each);
        const leaderRpcAddr = `127.0.0.1:${cluster.node(leader).port}`;
        assert.deepEqual(
          [error.code, error.details],
          ["NOT_LEADER", { leaderId: leader, leaderRpcAddr, term, outcome: "not-appended" }],
        );
      }
      const path = "/v1/topics/orders/records?leaderOnly=true";
      for (const headers of [{}, { accept: "text/event-stream" }]) {
        const { status, headers: told } = await cluster.node(name).get(path, { headers });
        assert.deepEqual([status, told.location], [307, `http://127.0.0.1:${cluster.node(leader).port}${path}`]);
      }
    }
    assert.equal((await cluster.node(leader).get("/v1/topics/orders/records?leaderOnly=true")).status, 200);
    assert.equal((await consume(leader, { leaderOnly: true })).records[0]?.value?.toString(), "first");
  });

  test("reads of the leader alone end when another leads, and others go on", async () => {
    const { leader, followers } = await roles();
    const { highWatermark: end } = await consume(leader);
    const request = { from: end, leaderOnly: true, waitMs: 30_000 };
    const failing = [
      consume(leader, request),
      consume(leader, { ...request, isPacked: true }),
      drain(consumeStream(leader, request)),
    ].map(failureOf);
    const next = firstRecords(consumeStream(leader, { from: end }));
    const path = `/v1/topics/orders/records?from=${end}&leaderOnly=true`;
    const overHttp = cluster.node(leader).get(`${path}&waitMs=30000`);
    const tail = tailLines(leader, path);
    const lastWords = tail.next();
    await consume(leader);
    await cluster.client.cluster.transferLeadership({ topic: "orders", to: followers[0] ?? "" });
    for (const { code } of await Promise.all(failing)) assert.equal(code, "NOT_LEADER");
    // Sent on by 307 where it is known to whom by then.
    assert.equal((JSON.parse((await overHttp).text) as { code: string }).code, "NOT_LEADER");
    const { value } = await lastWords;
    assert.equal((value?.["error"] as { code: string } | undefined)?.code, "NOT_LEADER");
    await produce((await roles()).leader);
    assert.equal((await next)[0]?.offset, end);
  });

  test("a leader that is cut off acknowledges to who wants no more than its disk, and shows nothing but what is committed", async () => {
    const { leader } = await roles();
    const { highWatermark: end } = await consume(leader);
    cluster.isolate(leader);
    const doubtful = failureOf(produce(leader));
    const { offset, isDurable } = await produce(leader, { acks: "leader" });
    assert.deepEqual([offset, isDurable], [end + 1, false]);
    const range = await cluster.node(leader).post("/v1/topics/orders/records?acks=leader", { value: "y" });
    assert.deepEqual(JSON.parse(range.text), { partition: 0, baseOffset: end + 2, count: 1, isDurable: false });
    assert.equal((await doubtful).code, "LEADERSHIP_LOST");
    assert.equal((await consume(leader)).highWatermark, end);
    await assert.rejects(consume(leader, { from: end }), { code: "UNAVAILABLE" });
    await assert.rejects(consume(leader, { from: "end" }), { code: "UNAVAILABLE" });
    await assert.rejects(consume(leader, { from: end + 1 }), { code: "UNAVAILABLE" });
    await assert.rejects(produce(leader), { code: "NOT_LEADER" });
  });
});

interface HttpRead {
  readonly records: readonly { readonly offset: number }[];
}

async function failureOf(work: Promise<unknown>): Promise<ProglogError> {
  try {
    await work;
  } catch (error) {
    if (isProglogError(error)) return error;
    throw error;
  }
  return assert.fail("it went well");
}

async function firstRecords(responses: AsyncIterable<ConsumeResponse>): Promise<ConsumeResponse["records"]> {
  for await (const { records } of responses) if (records.length > 0) return records;
  return [];
}

async function drain(responses: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of responses);
}

function consumeBytes(request: Partial<ConsumeRequest>): Buffer {
  return encodeConsumeRequest({
    ...{ topic: "orders", partition: 0, from: 0, maxRecords: 10, maxBytes: 0, waitMs: 0 },
    ...{ isPacked: false, stopsAtEnd: false, atLeastOffset: 0, leaderOnly: false, ...request },
  });
}

function explain(error: unknown): never {
  throw error instanceof GrpcStatusError ? fromGrpcStatus(error) : error;
}
