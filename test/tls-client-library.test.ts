import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { createVirtualClock } from "../sim/clock.ts";
import { isProglogError, type ProglogError } from "../src/base/error.ts";
import { grpcHandshakeMaxMs } from "../src/base/limits.ts";
import { dayMs } from "../src/base/units.ts";
import { type Client, type ClientTls, connect } from "../src/client/index.ts";
import { connect as connectGrpc } from "../src/grpc/index.ts";
import { textMethod } from "./grpc-pair.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";
import { ThreeNodes } from "./three-nodes.ts";

/** What the client says when it can't. */
async function failureOf(client: Client): Promise<ProglogError> {
  const error = await client.listTopics().then(
    () => "it was served",
    (thrown: unknown) => thrown,
  );
  await client.close();
  assert.ok(isProglogError(error), String(error));
  return error;
}

describe("the client library over TLS", () => {
  const certificates = new TestCertificates();
  const ca = certificates.clientAuthority.cert;
  const root = certificates.client("root");
  let node: TestNode;
  let address: string;
  before(async () => {
    node = await startTestNode({ flags: certificates.serverFlags() });
    address = `127.0.0.1:${node.port}`;
  });
  after(async () => {
    await node.node.close();
    certificates[Symbol.dispose]();
  });

  test("produces and consumes, by an address with or without https", async () => {
    for (const [topic, named] of [
      ["a", address],
      ["b", `https://${address}`],
      ["c", `https://${address}/`],
    ] as const) {
      await using client = connect(named, { tls: { ca, ...root } });
      await using producer = client.producer({ topic });
      await producer.send({ value: "x" });
      const values: string[] = [];
      for await (const { value } of client.consume({ topic, stopsAtEnd: true })) values.push(String(value));
      assert.deepEqual(values, ["x"]);
    }
  });

  test("takes bytes as well as text, and a name that the certificate is held against", async () => {
    const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
    const tls = { ca: bytes(ca), cert: bytes(root.cert), key: bytes(root.key), serverName: "localhost" };
    await using client = connect(address, { tls });
    assert.equal((await client.getServers()).length, 1);
  });

  const failures: readonly (readonly [
    what: string,
    tls: ClientTls,
    expected: { readonly code: string; readonly tls: string; readonly message: RegExp },
  ])[] = [
    [
      "by an authority that the system doesn't know",
      { ...root },
      { code: "UNAVAILABLE", tls: "untrusted", message: /isn't trusted/ },
    ],
    [
      "by another authority of the same name",
      { ...root, ca: certificates.foreignAuthority.cert },
      { code: "UNAVAILABLE", tls: "untrusted", message: /isn't trusted/ },
    ],
    [
      "for another host",
      { ...root, ca, serverName: "node-2.example" },
      { code: "UNAVAILABLE", tls: "untrusted", message: /is for other addresses/ },
    ],
    ["by nothing to show", { ca }, { code: "UNAUTHENTICATED", tls: "refused", message: /it shows no certificate/ }],
    [
      "by a certificate that has expired",
      { ca, ...certificates.client("root", { fromMs: certificates.now - 2 * dayMs, toMs: certificates.now - dayMs }) },
      { code: "UNAUTHENTICATED", tls: "refused", message: /its certificate has expired/ },
    ],
    [
      "by a node's certificate",
      { ca, ...certificates.peer("n1") },
      { code: "UNAUTHENTICATED", tls: "refused", message: /isn't from an authority/ },
    ],
    [
      "by another one's key",
      { ca, ...root, key: certificates.client("x").key },
      { code: "UNAVAILABLE", tls: "failed", message: /no TLS/ },
    ],
    [
      "by what is no certificate",
      { ca: "hello", ...root, cert: "hello" },
      { code: "UNAVAILABLE", tls: "failed", message: /no TLS/ },
    ],
  ];
  for (const [what, tls, expected] of failures)
    test(`fails ${what}, and says so`, async () => {
      const error = await failureOf(connect(address, { tls }));
      assert.deepEqual([error.code, error.details["tls"]], [expected.code, expected.tls], error.message);
      assert.match(error.message, expected.message);
      assert.ok(error.message.includes(address) && error.hint !== undefined);
    });

  test("that isn't wanted doesn't try again and again", async () => {
    await using client = connect(address, { tls: { ca } });
    await using producer = client.producer({ topic: "a" });
    await assert.rejects(producer.send({ value: "x" }), { code: "UNAUTHENTICATED" });
    const reading = (async () => {
      for await (const _ of client.consume({ topic: "a" })) assert.fail("it was served");
    })();
    await assert.rejects(reading, { code: "UNAUTHENTICATED" });
  });

  test("asks a function for what it shows with each connection", async () => {
    let shown: ClientTls = { ca };
    await using client = connect(address, { tls: () => shown });
    await assert.rejects(client.listTopics(), { code: "UNAUTHENTICATED" });
    shown = { ca, ...root };
    const isServed = (): Promise<boolean> =>
      client.listTopics().then(
        () => true,
        () => false,
      );
    while (!(await isServed())) await setImmediate();
  });

  test("a function that throws is told of, and asked again", async () => {
    const client = connect(address, {
      tls: () => {
        throw new Error("the file is gone");
      },
    });
    const error = await failureOf(client);
    assert.equal(error.code, "UNAVAILABLE");
    assert.match(error.message, /the file is gone/);
  });

  test("in clear isn't spoken with a node that speaks TLS, which says so; nor the other way round", async () => {
    const clear = await failureOf(connect(address));
    assert.equal(clear.code, "UNAUTHENTICATED");
    assert.match(clear.message, /this port speaks TLS only/);
    await using other = await startTestNode();
    const encrypted = await failureOf(connect(`https://127.0.0.1:${other.port}`, { tls: { ca } }));
    assert.deepEqual([encrypted.code, encrypted.details["tls"]], ["UNAVAILABLE", "failed"]);
    assert.match(encrypted.message, /doesn't answer in TLS/);
    await using client = connect(`http://127.0.0.1:${other.port}`);
    assert.deepEqual(await client.listTopics(), []);
  });

  test("addresses that contradict each other, or what is asked for, are refused", () => {
    for (const [given, tls] of [
      [["https://a:1", "http://b:1"], undefined],
      [["http://a:1"], {}],
    ] as const)
      assert.throws(() => connect(given, tls === undefined ? {} : { tls }), {
        code: "INVALID_ARGUMENT",
        message: /it is in clear/,
      });
    for (const given of ["https://a", "ftp://a:1", "https://a:1/path", "https://u@a:1"])
      assert.throws(() => connect(given), { code: "INVALID_ARGUMENT", message: /it is no host:port/ }, given);
  });

  test("a server that says nothing after the connection is given up after 5 s", async () => {
    const silent = createServer();
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    const clock = createVirtualClock();
    const channel = connectGrpc({ address: `127.0.0.1:${(silent.address() as AddressInfo).port}`, tls: { ca }, clock });
    const call = channel.unary(textMethod("/test.Test/Echo", "unary"), "hello");
    call.catch(() => {});
    const [socket] = (await once(silent, "connection")) as [Socket];
    // The client has sent its first message, so it knows that there is a connection.
    await once(socket, "readable");
    clock.advance(grpcHandshakeMaxMs);
    await assert.rejects(call, { status: "UNAVAILABLE", message: /its TLS handshake took longer than 5000 ms/ });
    await channel.close();
    socket.destroy();
    silent.close();
  });
});

test("a cluster of three nodes is found and followed over TLS, among nodes and with clients", async () => {
  using certificates = new TestCertificates();
  const tls = { ca: certificates.clientAuthority.cert, ...certificates.client("root") };
  const flagsOf = (name: string) => ({ ...certificates.serverFlags(), ...certificates.peerFlags(name) });
  await using cluster = await ThreeNodes.start({}, { flagsOf, tls });
  await cluster.client.createTopic("orders", { partitionCount: 3, replicationFactor: 3 });
  await using producer = cluster.client.producer({ topic: "orders" });
  await Promise.all([0, 1, 2].map((partition) => producer.send({ key: `k${partition}`, value: "x" })));
  let count = 0;
  for await (const _ of cluster.client.consume({ topic: "orders", stopsAtEnd: true })) count += 1;
  assert.equal(count, 3);
});
