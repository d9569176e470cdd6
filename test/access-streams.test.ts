import assert from "node:assert/strict";
import { once } from "node:events";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { after, before, describe, test } from "node:test";
import { type Client, connect } from "../src/client/index.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** What is open and rests on a token or a rule is ended when that goes; what others have open goes on. */
describe("a token or a rule that is taken back", () => {
  let node: TestNode;
  let root: Client;

  before(async () => {
    node = await startTestNode();
    await using first = connect(`127.0.0.1:${node.port}`);
    const { token } = await first.access.createToken("root");
    const actions = ["admin", "produce", "consume"];
    await first.access.change({ add: actions.map((action) => ({ subject: "root", resource: "*", action })) });
    root = connect(`127.0.0.1:${node.port}`, { token });
    await root.createTopic("orders");
  });
  after(async () => {
    await root.close();
    await node[Symbol.asyncDispose]();
  });

  const rules = (subject: string): { subject: string; resource: string; action: string }[] =>
    ["produce", "consume"].map((action) => ({ subject, resource: "orders", action }));

  /** Somebody with a token of their own who may produce to and consume `orders`, and how each of both is taken back. */
  async function somebody(name: string): Promise<{ token: string; takeBack: readonly (() => Promise<unknown>)[] }> {
    const { token, id } = await root.access.createToken(name);
    await root.access.change({ add: rules(name) });
    const takeBack = [() => root.access.revokeToken(id), () => root.access.change({ remove: rules(name) })];
    return { token, takeBack };
  }

  for (const [way, code] of [
    [0, "UNAUTHENTICATED"],
    [1, "PERMISSION_DENIED"],
  ] as const) {
    const word = way === 0 ? "token" : "rule";

    test(`ends a consumer that waits: its ${word} is gone`, async () => {
      const { token, takeBack } = await somebody(`consumer-${word}`);
      await using client = connect(`127.0.0.1:${node.port}`, { token });
      const others = root.consume({ topic: "orders", from: "start" })[Symbol.asyncIterator]();
      const consumer = client.consume({ topic: "orders", from: "start" });
      const records = consumer[Symbol.asyncIterator]();
      await root.append([{ value: "seen" }], { topic: "orders" });
      assert.equal((await records.next()).done, false);
      assert.equal((await others.next()).done, false);
      const rest = assert.rejects(drain(records), { code });
      await takeBack[way]?.();
      await rest;
      await root.append([{ value: "later" }], { topic: "orders" });
      while (String((await others.next()).value?.value) !== "later");
      await others.return?.();
    });

    test(`ends a producer's stream: its ${word} is gone`, async () => {
      const { token, takeBack } = await somebody(`producer-${word}`);
      await using client = connect(`127.0.0.1:${node.port}`, { token });
      await using producer = client.producer({ topic: "orders" });
      await producer.send({ value: "before" });
      await takeBack[way]?.();
      await assert.rejects(producer.send({ value: "after" }), { code, details: { outcome: "not-appended" } });
    });

    test(`ends a read that waits, a live tail and an upload: their ${word} is gone`, async () => {
      const { token, takeBack } = await somebody(`http-${word}`);
      const end = await endOf();
      const waiting = open("GET", `/v1/topics/orders/records?from=${end}&waitMs=60000`, token);
      const tail = open("GET", "/v1/topics/orders/records?from=end", token, { accept: "text/event-stream" });
      const upload = open("POST", "/v1/topics/orders/records", token, { "content-type": "application/x-ndjson" });
      upload.sent.write('{"value":"line"}\n');
      const [tailing, uploading] = await Promise.all([tail.response, upload.response]);
      assert.deepEqual([tailing.statusCode, uploading.statusCode], [200, 200]);
      // The line that was uploaded woke the read that waited: another one waits.
      const woken = await waiting.response;
      assert.equal(woken.statusCode, 200);
      woken.resume();
      const again = open("GET", `/v1/topics/orders/records?from=${await endOf()}&waitMs=60000`, token);
      await heldCount(3);
      const texts = [readText(tailing), readText(uploading)];
      await takeBack[way]?.();
      const [tailText, uploadText] = await Promise.all(texts);
      assert.match(tailText ?? "", new RegExp(`"code":"${code}"`));
      assert.match(uploadText ?? "", new RegExp(`"code":"${code}"`));
      const refused = await again.response;
      assert.equal(refused.statusCode, way === 0 ? 401 : 403);
      assert.equal((JSON.parse(await readText(refused)) as { code: string }).code, code);
    });
  }

  test("doesn't end a stream that has other topics, but refuses what is sent to that one", async () => {
    const { token } = await somebody("two");
    await root.access.change({ add: [{ subject: "two", resource: "payments", action: "produce" }] });
    await using client = connect(`127.0.0.1:${node.port}`, { token });
    await using orders = client.producer({ topic: "orders" });
    await using payments = client.producer({ topic: "payments" });
    await orders.send({ value: "a" });
    await payments.send({ value: "a" });
    await root.access.change({ remove: rules("two") });
    await assert.rejects(orders.send({ value: "b" }), { code: "PERMISSION_DENIED" });
    await payments.send({ value: "b" });
    await root.access.change({ add: rules("two") });
    await orders.send({ value: "c" });
  });

  test("ends nothing for a client that has another token by then", async () => {
    const { token, takeBack } = await somebody("renewing");
    let current = token;
    await using client = connect(`127.0.0.1:${node.port}`, { token: () => current });
    await using producer = client.producer({ topic: "orders" });
    const { offset } = await producer.send({ value: "before" });
    const records = client.consume({ topic: "orders", from: offset })[Symbol.asyncIterator]();
    assert.equal((await records.next()).value?.offset, offset);
    ({ token: current } = await root.access.createToken("renewing"));
    await takeBack[0]?.();
    await producer.send({ value: "after" });
    assert.equal((await records.next()).value?.offset, offset + 1);
    current = token;
    await root.access.change({ remove: rules("renewing") });
    await assert.rejects(drain(records), { code: "PERMISSION_DENIED" });
  });

  test("ends what was opened with a token when its time is over, though nobody changes anything", async () => {
    await root.access.change({ add: rules("brief") });
    const { token } = await root.access.createToken("brief", { expiresAt: Date.now() + 1_500 });
    await using client = connect(`127.0.0.1:${node.port}`, { token });
    await assert.rejects(drain(client.consume({ topic: "orders", from: "end" })[Symbol.asyncIterator]()), {
      code: "UNAUTHENTICATED",
    });
  });

  async function endOf(): Promise<number> {
    return (await root.describeTopic("orders")).partitions[0]?.highWatermark ?? 0;
  }

  function open(method: string, path: string, token: string, headers: Record<string, string> = {}): Open {
    const sent = request(node.node.url, {
      method,
      path,
      agent: false,
      headers: { authorization: `Bearer ${token}`, ...headers },
    });
    // Cut off is an end, too; what it said before is what counts.
    sent.on("error", () => {});
    if (method === "GET") sent.end();
    return { sent, response: once(sent, "response").then(([response]: IncomingMessage[]) => response as IncomingMessage) };
  }

  /** Until so many of what lasts are open: nothing else tells that a request has come in. */
  async function heldCount(count: number): Promise<void> {
    const authorization = `Bearer ${await metricsToken()}`;
    await node.until(async () => {
      const { text } = await node.get("/metrics", { headers: { authorization } });
      return Number(/^proglog_access_held (\d+)$/m.exec(text)?.[1]) >= count;
    });
  }

  let metrics: string | undefined;
  async function metricsToken(): Promise<string> {
    if (metrics === undefined) {
      ({ token: metrics } = await root.access.createToken("metrics"));
      await root.access.change({ add: [{ subject: "metrics", resource: "*", action: "describe" }] });
    }
    return metrics;
  }
});

async function drain(records: AsyncIterator<unknown>): Promise<void> {
  while ((await records.next()).done !== true);
}

interface Open {
  readonly sent: ClientRequest;
  readonly response: Promise<IncomingMessage>;
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  response.on("data", (chunk: Buffer) => chunks.push(chunk));
  response.on("error", () => {});
  // Cut off is an end, too.
  await Promise.race([once(response, "end"), new Promise<void>((resolve) => void response.once("close", () => resolve()))]);
  return Buffer.concat(chunks).toString();
}
