import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { headersMaxBytes, headersMaxMs, pipelinedRequestsMaxCount } from "../src/base/limits.ts";
import { startTestNode } from "./test-node.ts";

/** What comes in on the port that isn't a well-behaved request. */
describe("the listener", () => {
  for (const [what, bytes] of [
    ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ["zeros", "\0\0\0\0"],
    ["text", "hello\r\n\r\n"],
  ] as const) {
    test(`${what} on the port is dropped, counted, and harms nobody`, async () => {
      await using node = await startTestNode();
      const socket = node.connect().write(bytes);
      assert.equal(await socket.closed, "");
      assert.equal(await node.metric('proglog_connections_refused_total{reason="unknown"}'), 1);
      assert.equal((await node.get("/livez")).status, 200);
    });
  }

  test("capitals that are no HTTP get a 400 and the connection is closed", async () => {
    await using node = await startTestNode();
    assert.match(await node.connect().write("HELO there\r\n\r\n").closed, /^HTTP\/1\.1 400 /);
  });

  test("HTTP/2 is spoken on the same port, and counted", async () => {
    await using node = await startTestNode();
    const socket = node.connect().write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    const [settings] = (await once(socket.socket, "data")) as [Buffer];
    assert.equal(settings[3], 4, "a frame of SETTINGS comes first");
    assert.equal(await node.metric('proglog_connections_accepted_total{protocol="http2"}'), 1);
    socket.socket.end();
    await socket.closed;
    await node.until(async () => (await node.metric("proglog_grpc_connections")) === 0);
  });

  test("the preface of HTTP/2 a byte at a time is known at its end", async () => {
    await using node = await startTestNode();
    const socket = node.connect();
    socket.socket.setNoDelay(true);
    for (const byte of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
      await new Promise((resolve) => socket.socket.write(byte, resolve));
    }
    const [settings] = (await once(socket.socket, "data")) as [Buffer];
    assert.equal(settings[3], 4);
    socket.socket.destroy();
  });

  test("a connection that says nothing is dropped after its time, and one that says something isn't", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    const silent = node.connect();
    const slow = node.connect().write("GET /livez HTTP/1.1\r\nhost: localhost\r\n");
    await node.until(async () => (await node.metric('proglog_connections_accepted_total{protocol="http1"}')) >= 2);
    await node.until(async () => (await node.metric("proglog_connections")) >= 3);
    clock.advance(headersMaxMs);
    assert.equal(await silent.closed, "");
    slow.write("connection: close\r\n\r\n");
    assert.match(await slow.closed, /^HTTP\/1\.1 200 /);
    assert.equal(await node.metric('proglog_connections_refused_total{reason="silent"}'), 1);
  });

  test("a connection closed before it said anything leaves nothing behind", async () => {
    const clock = createVirtualClock();
    await using node = await startTestNode({ clock });
    const timers = clock.timerCount;
    const socket = node.connect();
    await new Promise((resolve) => socket.socket.once("connect", resolve));
    socket.socket.end();
    assert.equal(await socket.closed, "");
    await node.until(async () => (await node.metric("proglog_connections")) === 1);
    assert.equal(clock.timerCount, timers);
  });

  test("a request in single bytes is answered like any other", async () => {
    await using node = await startTestNode();
    const socket = node.connect();
    for (const byte of "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 27\r\nconnection: close\r\n\r\n")
      socket.write(byte);
    for (const byte of '{"record":{"value":"YQ=="}}') socket.write(byte);
    assert.match(await socket.closed, /\{"offset":0\}\n$/);
  });

  test("a head beyond its limit is 431", async () => {
    await using node = await startTestNode();
    const socket = node.connect().write(`GET / HTTP/1.1\r\nhost: localhost\r\nx: ${"x".repeat(headersMaxBytes)}\r\n\r\n`);
    assert.match(await socket.closed, /^HTTP\/1\.1 431 /);
  });

  test("requests sent one behind the other are answered in order", async () => {
    await using node = await startTestNode();
    const post = (value: string): string => {
      const body = JSON.stringify({ record: { value } });
      return `POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
    };
    const large = Buffer.alloc(300_000).toString("base64");
    const socket = node.connect().write(post("YQ==") + post(large) + post("Yg=="));
    await socket.waitFor(/\{"offset":2\}\n$/);
    assert.deepEqual(socket.text.match(/\{"offset":\d\}/g), ['{"offset":0}', '{"offset":1}', '{"offset":2}']);
    socket.socket.destroy();
    const got = JSON.parse((await node.get("/?offset=1")).text) as { record: { value: string } };
    assert.equal(got.record.value, large);
  });

  test("a connection with more requests waiting than allowed is dropped, and its waits end", async () => {
    await using node = await startTestNode({ clock: createVirtualClock() });
    await node.post("/v1/topics", { name: "orders" });
    const wait = "GET /v1/topics/orders/records?from=end&waitMs=50000 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const socket = node.connect().write(wait.repeat(pipelinedRequestsMaxCount));
    await node.until(async () => (await node.metric("proglog_consume_waits")) === pipelinedRequestsMaxCount);
    socket.write(wait);
    assert.equal(await socket.closed, "");
    await node.until(async () => (await node.metric("proglog_consume_waits")) === 0);
  });

  test("a connection beyond the cap is dropped, and one that ends makes room", async () => {
    await using node = await startTestNode({ flags: { "max-connections": 2 } });
    const sockets = [node.connect(), node.connect()];
    const keepAlive = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (const socket of sockets) await socket.write(keepAlive).waitFor(/ok\n$/);
    assert.equal(await node.connect().write(keepAlive).closed, "");
    sockets[0]?.socket.destroy();
    await sockets[0]?.closed;
    sockets[1]?.write("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert.match((await sockets[1]?.closed) ?? "", /proglog_connections_refused_total\{reason="too-many"\} 1\n/);
    assert.equal((await node.get("/livez")).status, 200);
  });

  test("a request whose client resets the connection amid its body appends nothing", async () => {
    await using node = await startTestNode();
    const socket = node
      .connect()
      .write('POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"record":{"value":"YQ=="}}');
    await node.until(async () => (await node.metric("proglog_http_body_bytes")) === 27);
    socket.socket.resetAndDestroy();
    await node.until(async () => (await node.metric("proglog_http_body_bytes")) === 0);
    assert.equal((await node.get("/?offset=0")).status, 404);
  });

  test("headers that smuggle a second request are refused", async () => {
    await using node = await startTestNode();
    const socket = node
      .connect()
      .write("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    assert.match(await socket.closed, /^HTTP\/1\.1 400 /);
  });
});

describe("a page in a browser", () => {
  test("of another site can neither write nor read, whatever it says that its body is", async () => {
    await using world = await startTestNode();
    const headers = { origin: "https://evil.example", "content-type": "text/plain" };
    const book = await world.post("/", { record: { value: "" } }, headers);
    assert.equal(book.status, 403);
    const v1 = await world.post("/v1/topics/default/records", { value: "a" }, headers);
    assert.equal(v1.status, 403);
    assert.equal(JSON.parse(v1.text).code, "FORBIDDEN_ORIGIN");
    assert.equal((await world.get("/v1/topics", { headers: { host: "evil.example" } })).status, 403);
    assert.deepEqual(JSON.parse((await world.get("/v1/topics")).text).topics, []);
  });
});
