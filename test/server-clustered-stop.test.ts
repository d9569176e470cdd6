import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ErrorDetails } from "../src/base/error.ts";
import { connect, GrpcStatusError } from "../src/grpc/index.ts";
import { encodeConsumeRequest } from "../src/wire/consume-message.ts";
import { fromGrpcStatus } from "../src/wire/grpc-status.ts";
import { encodeProduceRequest } from "../src/wire/produce-message.ts";
import { bytesMethod } from "./grpc-pair.ts";
import { ThreeNodes } from "./three-nodes.ts";

const produceStream = bytesMethod("/log.v1.Log/ProduceStream", "bidi-stream");
const consumeStream = bytesMethod("/log.v1.Log/ConsumeStream", "server-stream");

describe("a leader that stops", () => {
  let cluster: ThreeNodes;
  before(async () => {
    cluster = await ThreeNodes.start();
    for (const topic of ["orders", "bills"]) await cluster.client.createTopic(topic);
  });
  after(async () => cluster[Symbol.asyncDispose]());

  test("names who goes on, to streams and to what comes while it stops", async () => {
    const leader = await cluster.leaderOf("orders");
    const node = cluster.node(leader);
    const channel = connect({ address: `127.0.0.1:${node.port}` });
    const streams = await Promise.all([["orders"], ["orders", "bills"]].map((topics) => produceTo(topics)));
    const tail = (await channel.serverStream(consumeStream, tailOf("orders"))).responses;
    await tail.read();
    const ends = [...streams, tail].map(endOf);
    // One that isn't complete keeps the node from closing, and is told then.
    const path = "/v1/topics/orders/records";
    const late = node.connect().write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\n`);
    await node.until(async () => (await node.metric('proglog_connections_accepted_total{protocol="http1"}')) >= 2);
    const closed = node.node.close();
    late.write("\r\n");
    const answer = await late.closed;
    const others = cluster.names.filter((name) => name !== leader).map((name) => `127.0.0.1:${cluster.node(name).port}`);
    const location = /^location: http:\/\/([^/]+)(\S+)\r$/m.exec(answer) ?? [];
    assert.match(answer, /^HTTP\/1\.1 307 [^]*"code":"SHUTTING_DOWN"/);
    assert.deepEqual([others.includes(location[1] ?? ""), location[2]], [true, path]);
    const [one, mixed, tailed] = await Promise.all(ends);
    for (const end of [one, mixed, tailed]) assert.equal(end?.code, "SHUTTING_DOWN");
    for (const end of [one, tailed]) assert.ok(others.includes(String(end?.details["leaderRpcAddr"])));
    assert.equal(mixed?.details["leaderRpcAddr"], undefined, "of two partitions it might be two");
    await closed;
    await channel.close();

    async function produceTo(topics: readonly string[]) {
      const stream = await channel.bidiStream(produceStream);
      for (const topic of topics) {
        await stream.send(
          encodeProduceRequest({
            topic,
            partition: 0,
            record: { value: "a" },
            records: [],
            acks: "quorum",
            answersErrors: true,
          }),
        );
        await stream.responses.read();
      }
      return stream.responses;
    }
  });
});

function tailOf(topic: string): Buffer {
  return encodeConsumeRequest({
    ...{ topic, partition: 0, from: "end", maxRecords: 10, maxBytes: 0, waitMs: 0 },
    ...{ isPacked: false, stopsAtEnd: false, atLeastOffset: 0, leaderOnly: false },
  });
}

async function endOf(responses: {
  read(): Promise<unknown>;
}): Promise<{ readonly code: string; readonly details: ErrorDetails } | undefined> {
  try {
    await responses.read();
  } catch (error) {
    if (!(error instanceof GrpcStatusError)) throw error;
    return fromGrpcStatus({ code: error.code, message: error.message, details: error.details });
  }
  return undefined;
}
