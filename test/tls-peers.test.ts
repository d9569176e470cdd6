import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect as connectTls, createServer, type SecureContextOptions } from "node:tls";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../src/base/clock.ts";
import { silentLogger } from "../src/base/logger.ts";
import { dayMs } from "../src/base/units.ts";
import type { Credential } from "../src/cli/certs/certificate-authority.ts";
import { parseConfig } from "../src/server/index.ts";
import { connectPlainly } from "../src/server/peer-address.ts";
import { connectPeerBy } from "../src/server/tls/connect-peer.ts";
import { TlsDoor } from "../src/server/tls/tls-door.ts";
import { encodePeerFrame, peerMagic } from "../src/wire/peer-frame.ts";
import { encodePeerHello, type PeerHello } from "../src/wire/peer-hello.ts";
import { decodeRefusal } from "../src/wire/peer-question.ts";
import { helloOf, RawPeer } from "./peer-world.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";
import { ThreeNodes } from "./three-nodes.ts";

const past = (now: number) => ({ fromMs: now - 2 * dayMs, toMs: now - dayMs });
const future = (now: number) => ({ fromMs: now + dayMs, toMs: now + 2 * dayMs });

describe("three nodes that speak with each other by mutual TLS", () => {
  const certificates = new TestCertificates();
  let cluster: ThreeNodes;
  before(async () => {
    const crl = certificates.write("peer-crl.pem", certificates.revocationList(certificates.peerAuthority, []));
    const flagsOf = (name: string) => ({ ...certificates.peerFlags(name), "peer-tls-crl-file": crl });
    cluster = await ThreeNodes.start({}, { flagsOf });
  });
  after(async () => {
    await cluster[Symbol.asyncDispose]();
    certificates[Symbol.dispose]();
  });
  const lookAtFiles = (): void => {
    for (const name of cluster.names) cluster.node(name).node.reloadCertificates();
  };
  const reached = (name: string): Promise<number> => cluster.node(name).metric("proglog_peers_reached");
  const produce = async (): Promise<void> => {
    await using producer = cluster.client.producer({ topic: "orders" });
    await producer.send({ value: "x" });
  };

  test("form a cluster, and what is produced is on all of them", async () => {
    await cluster.client.createTopic("orders", { replicationFactor: 3 });
    await produce();
    for (const name of cluster.names) {
      const node = cluster.node(name);
      const { security } = await node.json<{ readonly security: object }>("GET", "/v1/status");
      assert.deepEqual(security, { clients: "clear", clientCertificates: "none", peers: "mutual-tls", isExposed: false });
      await cluster.until(async () => (await node.metric('proglog_high_watermark{topic="orders",partition="0"}')) === 1);
      assert.ok((await node.metric('proglog_tls_handshakes_total{plane="peer"}')) >= 2);
    }
  });

  test("go on over the connections that they have when their certificates are replaced", async () => {
    for (const name of cluster.names) certificates.writePair(`${name}-peer`, certificates.peer(name));
    lookAtFiles();
    for (const name of cluster.names) {
      assert.equal(await cluster.node(name).metric('proglog_tls_reloads_total{plane="peer",outcome="loaded"}'), 1);
      assert.equal(await reached(name), 2);
    }
    await produce();
  });

  test("cut off one whose certificate is revoked, on connections both ways, and have it back with a new one", async () => {
    // The connections that there are were made with the certificate before the one in the file: both are taken back.
    const list = certificates.revocationList(certificates.peerAuthority, certificates.issuedTo("n3"));
    certificates.write("peer-crl.pem", list);
    for (const name of ["n1", "n2"]) cluster.node(name).node.reloadCertificates();
    for (const name of ["n1", "n2"]) {
      await cluster.until(async () => (await reached(name)) === 1);
      assert.ok((await cluster.node(name).metric('proglog_tls_connections_ended_total{plane="peer",reason="revoked"}')) >= 1);
    }
    await cluster.until(async () => (await reached("n3")) === 0);
    await cluster.until(() =>
      produce().then(
        () => true,
        () => false,
      ),
    );
    const told = (): boolean => cluster.node("n3").lines.some(({ fields }) => JSON.stringify(fields).includes("was revoked"));
    await cluster.until(async () => told());
    certificates.writePair("n3-peer", certificates.peer("n3"));
    cluster.node("n3").node.reloadCertificates();
    await cluster.until(async () => (await reached("n3")) === 2 && (await reached("n1")) === 2);
  });
});

describe("who dials a node as a peer by TLS", () => {
  const certificates = new TestCertificates();
  const { now, foreignAuthority, peerAuthority } = certificates;
  const revoked = certificates.peer("raw");
  let node: TestNode;
  let clusterId: string;
  before(async () => {
    const crl = certificates.write("peer-crl.pem", certificates.revocationList(peerAuthority, [revoked]));
    const flags = { ...certificates.peerFlags("n1"), "peer-tls-crl-file": crl, bootstrap: true };
    node = await startTestNode({ flags: { ...flags, ...certificates.serverFlags(), "server-tls-client-auth": "optional" } });
    const socket = connectTls({ host: "127.0.0.1", port: node.port, ca: certificates.clientAuthority.cert });
    socket.write("GET /v1/status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    const chunks: Buffer[] = [];
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    clusterId = /"clusterId":"([^"]+)"/.exec(Buffer.concat(chunks).toString())?.[1] ?? "";
  });
  after(async () => {
    await node.node.close();
    certificates[Symbol.dispose]();
  });

  /** What a peer hears that shows this and says that: "greeted", the refusal, or that it was closed. */
  async function dial(shown: Partial<Credential>, hello: Partial<PeerHello> = {}): Promise<string> {
    const socket = connectTls({
      ...{ host: "127.0.0.1", port: node.port, ca: peerAuthority.cert, ...shown },
      ALPNProtocols: ["proglog-peer/1"],
      checkServerIdentity: () => undefined,
    });
    const raw = new RawPeer(socket);
    raw.write(peerMagic).frame("hello", encodePeerHello(helloOf({ clusterId, ...hello })));
    await raw.until(() => raw.frames.length > 0 || raw.isClosed);
    const [first] = raw.frames;
    socket.destroy();
    if (first === undefined) return "closed";
    return first.type === "refusal" ? decodeRefusal(first.payload).error.message : first.type;
  }

  test("is greeted with a certificate of the peers' authority that names it", async () => {
    assert.equal(await dial(certificates.peer("raw")), "hello");
  });

  const refusals: readonly (readonly [what: string, shown: Partial<Credential>, reason: RegExp])[] = [
    ["without a certificate", {}, /it shows no certificate/],
    ["with a client's", certificates.client("raw"), /isn't from an authority/],
    [
      "with a client's that has a node's name in it",
      certificates.client("raw", { uris: ["proglog://node/raw"], usages: ["server", "client"] }),
      /isn't from an authority/,
    ],
    ["with what a node shows to clients", certificates.server(), /isn't from an authority/],
    ["with one of another authority", certificates.peer("raw", { authority: foreignAuthority }), /isn't from an authority/],
    ["with one that has expired", certificates.peer("raw", past(now)), /has expired/],
    ["with one that isn't valid yet", certificates.peer("raw", future(now)), /isn't valid yet/],
    ["with one for servers alone", certificates.peer("raw", { usages: ["server"] }), /for another use/],
    ["with one that was revoked", revoked, /was revoked/],
    ["with one that names no node", certificates.peer("raw", { uris: [] }), /names nobody/],
    [
      "with one that names two",
      certificates.peer("raw", { uris: ["proglog://node/raw", "proglog://node/n1"] }),
      /names nobody/,
    ],
  ];
  for (const [what, shown, reason] of refusals)
    test(`${what} is refused, and told why`, async () => {
      assert.match(await dial(shown), reason);
    });

  test("and says that it is another node than its certificate names is refused", async () => {
    assert.match(
      await dial(certificates.peer("raw"), { nodeId: "n2", address: "127.0.0.1:2" }),
      /^Cannot speak with n2 at 127\.0\.0\.1:2: its certificate names raw$/,
    );
    assert.ok(
      node.lines.some(({ message, fields }) => message === "refused a peer" && /names raw/.test(JSON.stringify(fields))),
    );
  });

  test("and then says that it is another is refused", async () => {
    const socket = connectTls({
      ...{ host: "127.0.0.1", port: node.port, ca: peerAuthority.cert, ...certificates.peer("raw") },
      ALPNProtocols: ["proglog-peer/1"],
      checkServerIdentity: () => undefined,
    });
    const raw = new RawPeer(socket).write(peerMagic);
    raw.frame("hello", encodePeerHello(helloOf({ clusterId })));
    await raw.until(() => raw.frames.length > 0);
    raw.frame("hello", encodePeerHello(helloOf({ clusterId, nodeId: "n2" })));
    await raw.closed();
    const last = raw.frames.at(-1);
    assert.equal(last?.type, "refusal");
  });

  test("speaks HTTP behind the peers' protocol isn't heard", async () => {
    const { cert, key } = certificates.peer("raw");
    const socket = connectTls({
      ...{ host: "127.0.0.1", port: node.port, ca: peerAuthority.cert, cert, key },
      ALPNProtocols: ["proglog-peer/1"],
      checkServerIdentity: () => undefined,
    });
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.write("GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await once(socket, "close");
    assert.doesNotMatch(text, /HTTP/);
  });

  test("a peer's magic behind a client's protocol isn't heard", async () => {
    const socket = connectTls({
      ...{ host: "127.0.0.1", port: node.port, ca: certificates.clientAuthority.cert, ...certificates.client("root") },
      ALPNProtocols: ["http/1.1"],
    });
    socket.on("error", () => {});
    const chunks: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    const [hello] = encodePeerFrame("hello", encodePeerHello(helloOf({ clusterId })));
    socket.write(Buffer.concat([peerMagic, hello ?? Buffer.alloc(0)]));
    await once(socket, "close");
    assert.match(Buffer.concat(chunks).toString("latin1"), /^HTTP\/1\.1 400 |^$/);
  });

  test("a peer in clear is told that nodes speak by mutual TLS", async () => {
    const raw = await RawPeer.greet(node, { clusterId });
    const [first] = raw.frames;
    assert.ok(first?.type === "refusal");
    assert.match(decodeRefusal(first.payload).error.message, /nodes speak with it by mutual TLS only/);
    await raw.closed();
  });
});

describe("a node that dials another by mutual TLS", () => {
  const certificates = new TestCertificates();
  const { now, foreignAuthority, peerAuthority } = certificates;
  const revoked = certificates.peer("n2");
  const crl = certificates.write("peer-crl.pem", certificates.revocationList(peerAuthority, [revoked]));
  const config = parseConfig({ flags: { ...certificates.peerFlags("n1"), "peer-tls-crl-file": crl } });
  const door = new TlsDoor(config, { clock: systemClock, logger: silentLogger });
  after(() => {
    door.close();
    certificates[Symbol.dispose]();
  });

  /** Dials a server that shows this; what comes of it. */
  async function dial(shown: SecureContextOptions, protocols: readonly string[] = ["proglog-peer/1"]): Promise<string> {
    const server = createServer({
      ...{ ...shown, requestCert: true, rejectUnauthorized: false, ca: peerAuthority.cert },
      ALPNProtocols: [...protocols],
    });
    server.on("secureConnection", (socket) => socket.on("error", () => {}));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    assert.ok(door.peers !== undefined);
    try {
      const where = { host: "127.0.0.1", port, name: "n2.example" };
      const socket = await connectPeerBy(door.peers)(where, new AbortController().signal);
      socket.destroy();
      return "connected";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    } finally {
      server.close();
    }
  }

  test("connects to one with a node's certificate, at whatever address it is", async () => {
    assert.equal(await dial(certificates.peer("n2")), "connected");
  });

  const refusals: readonly (readonly [what: string, shown: SecureContextOptions, reason: RegExp])[] = [
    ["a client's certificate", certificates.client("n2", { usages: ["server"] }), /isn't from an authority/],
    ["one of another authority", certificates.peer("n2", { authority: foreignAuthority }), /isn't from an authority/],
    ["one that has expired", certificates.peer("n2", past(now)), /has expired/],
    ["one that isn't valid yet", certificates.peer("n2", future(now)), /isn't valid yet/],
    ["one for clients alone", certificates.peer("n2", { usages: ["client"] }), /for another use/],
    ["one that was revoked", revoked, /was revoked/],
    ["one that names no node", certificates.peer("n2", { uris: [] }), /names nobody/],
  ];
  for (const [what, shown, reason] of refusals)
    test(`doesn't speak with one that shows ${what}`, async () => {
      assert.match(await dial(shown), reason);
    });

  test("doesn't speak with one that doesn't agree on the peers' protocol", async () => {
    assert.match(await dial(certificates.peer("n2"), ["h2"]), /Cannot speak with the node at n2\.example:\d+: /);
  });

  test("and has no certificates doesn't speak with one of another machine, nor does it try", async () => {
    const dialed = connectPlainly({ host: "192.0.2.1", port: 8000, name: "n2.example" }, new AbortController().signal);
    await assert.rejects(dialed, { code: "INSECURE_ADDRESS", message: /the node at n2\.example:8000: .+by mutual TLS only/ });
  });

  test("that has none is told that TLS isn't spoken there", async () => {
    await using node = await startTestNode({ flags: { bootstrap: true } });
    assert.ok(door.peers !== undefined);
    const where = { host: "127.0.0.1", port: node.port, name: "n2.example" };
    const dialed = connectPeerBy(door.peers)(where, new AbortController().signal);
    await assert.rejects(dialed, { code: "UNAVAILABLE", message: /node at n2\.example:\d+: it ended the TLS handshake/ });
  });
});
