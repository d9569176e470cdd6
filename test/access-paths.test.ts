import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { type Channel, connect, isGrpcStatusError, Metadata } from "../src/grpc/index.ts";
import { connect as connectClient } from "../src/client/index.ts";
import { bytesMethod } from "./grpc-pair.ts";
import { consumeBytes } from "./log-calls.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** What is checked and what is done are the same topic, however it is written. */
describe("who may read one topic", () => {
  const secret = "the-payments-of-everybody";
  let node: TestNode;
  let channel: Channel;
  let authorization = "";

  before(async () => {
    node = await startTestNode();
    channel = connect({ address: `127.0.0.1:${node.port}` });
    await using client = connectClient(`127.0.0.1:${node.port}`);
    for (const topic of ["orders", "payments", "default"]) {
      await client.createTopic(topic);
      await client.append([{ value: topic === "orders" ? "mine" : secret }], { topic });
    }
    assert.ok(isTold((await node.get("/v1/topics/payments/records?from=start")).text));
    assert.ok(isTold((await node.get("/?offset=0")).text));
    const { token } = await client.access.createToken("alice");
    authorization = `Bearer ${token}`;
    const actions = ["produce", "consume", "admin", "cluster"];
    const add = actions.map((action) => ({ subject: "alice", resource: "orders", action }));
    await client.access.change({ add: [...add, { subject: "root", resource: "*", action: "admin" }], force: true });
  });
  after(async () => {
    await channel.close();
    await node[Symbol.asyncDispose]();
  });

  /** The book's routes have values in base64. */
  const isTold = (text: string): boolean => [secret, Buffer.from(secret).toString("base64")].some((one) => text.includes(one));

  /** As the bytes are, without a client that would tidy the path. */
  async function ask(target: string, { method = "GET", headers = "" } = {}): Promise<string> {
    const socket = node.connect();
    const lines = [`${method} ${target} HTTP/1.1`, `host: 127.0.0.1:${node.port}`, `authorization: ${authorization}`];
    socket.write(`${lines.join("\r\n")}\r\n${headers}connection: close\r\n\r\n`);
    return socket.closed;
  }

  test("reads that, and no other by another way to write it", async () => {
    assert.match(await ask("/v1/topics/orders/records?from=start"), /^HTTP\/1\.1 200 [^]*mine/);
    assert.match(await ask("/v1/topics/%6frders/records?from=start"), /^HTTP\/1\.1 200 [^]*mine/);
    const targets = [
      "/v1/topics/payments/records",
      "/v1/topics/%70ayments/records",
      "/v1/topics/%2570ayments/records",
      "/v1/topics/orders/../payments/records",
      "/v1/topics/orders%2f..%2fpayments/records",
      "/v1/topics/orders%2F%2E%2E%2Fpayments/records",
      "/v1/topics/./payments/records",
      "//v1/topics/payments/records",
      "/v1//topics/payments/records",
      "/v1/topics//payments/records",
      "/V1/Topics/payments/records",
      "/v1/topics/payments/records/",
      "/v1/topics/PAYMENTS/records",
      "/v1/topics/payments%00/records",
      "/v1/topics/payments;orders/records",
      "/v1/topics/orders;payments/records",
      "/v1/topics/payments%20/records",
      "/v1/topics/orders,payments/records",
      "/v1/topics/*/records",
      "/v1/topics/pay*/records",
      "/v1/topics/orders/records?topic=payments",
      "/v1/topics/orders/records?partition=0&partition=payments",
      "/v1/topics/orders/records#/../payments",
      `http://127.0.0.1:${node.port}/v1/topics/payments/records`,
      "/v1/backup/topics/payments/partitions/0/log",
      "/v1/backup/topics",
      "/?topic=payments&offset=0",
      "/?offset=0",
    ];
    for (const target of targets) {
      const answer = await ask(target);
      assert.ok(!isTold(answer), target);
      assert.doesNotMatch(answer, /payments-|"highWatermark"/, target);
    }
    for (const header of ["x-original-url", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-prefix"]) {
      const answer = await ask("/v1/topics/orders/records", { headers: `${header}: /v1/topics/payments/records\r\n` });
      assert.ok(!isTold(answer), header);
    }
    for (const method of ["HEAD", "POST", "PROPFIND", "OPTIONS", "get"])
      assert.doesNotMatch(
        await ask("/v1/topics/payments/records", { method, headers: "content-length: 0\r\n" }),
        /^HTTP\/1\.1 2/,
      );
    const overridden = await ask("/v1/topics/payments", { headers: "x-http-method-override: DELETE\r\n" });
    assert.match(overridden, /^HTTP\/1\.1 403/);
  });

  test("reads no other, whatever stands in the path", async () => {
    const part = fc.oneof(
      fc.constantFrom("v1", "topics", "payments", "orders", "records", "..", ".", "%2f", "%2e%2e", "%70ayments", "", "default"),
      fc.string({ maxLength: 4 }).map(encodeURIComponent),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 8 }), async (parts) => {
        assert.ok(!isTold(await ask(`/${parts.join("/")}`)));
      }),
      { numRuns: 150 },
    );
  });

  test("calls no method by another way to write its path", async () => {
    const metadata = Metadata.of({ authorization });
    const request = consumeBytes({ topic: "payments" });
    for (const path of [
      "/log.v1.Log/Consume",
      "/log.v1.Log/Consume/",
      "//log.v1.Log/Consume",
      "/log.v1.log/consume",
      "/log.v1.Log/Consume?x",
      "/log.v1.Log%2FConsume",
    ])
      await assert.rejects(channel.unary(bytesMethod(path, "unary"), request, { metadata }), (error) => {
        assert.ok(isGrpcStatusError(error));
        return path === "/log.v1.Log/Consume" ? isGrpcStatusError(error, "PERMISSION_DENIED") : true;
      });
    // A field that stands there twice is the last one, for whoever checks and whoever reads.
    const own = consumeBytes({ topic: "orders" });
    await assert.rejects(
      channel.unary(bytesMethod("/log.v1.Log/Consume", "unary"), Buffer.concat([own, request]), { metadata }),
      (error) => isGrpcStatusError(error, "PERMISSION_DENIED"),
    );
    const answer = await channel.unary(bytesMethod("/log.v1.Log/Consume", "unary"), Buffer.concat([request, own]), {
      metadata,
    });
    assert.ok(answer.includes("mine"));
  });
});
