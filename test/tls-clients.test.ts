import assert from "node:assert/strict";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { after, describe, test } from "node:test";
import { messageOf } from "../src/base/error.ts";
import { dayMs } from "../src/base/units.ts";
import type { Credential } from "../src/cli/certs/certificate-authority.ts";
import { connect as connectGrpc } from "../src/grpc/index.ts";
import { askHttp1, type ClientTls } from "./ask-tls.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** What becomes of a client that shows this, by each protocol: "served", or why it is refused. */
const asks: Readonly<Record<string, (port: number, tls: ClientTls) => Promise<string>>> = {
  "HTTP/1.1": askHttp1,
  "HTTP/2": askHttp2,
  gRPC: askGrpc,
};

/** A request that isn't gRPC's, which gets an answer all the same; or what the GOAWAY says. */
async function askHttp2(port: number, tls: ClientTls): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const session = connectHttp2(`https://127.0.0.1:${port}`, tls);
  session.on("error", reject);
  session.on("goaway", (code, _last, data) => {
    if (code !== 0) resolve(`goaway ${code} ${String(data)}`);
  });
  const stream = session.request({ ":method": "GET", ":path": "/" });
  stream.on("error", () => {});
  stream.on("response", ({ ":status": status }) => resolve(status === 405 ? "served" : `status ${status}`));
  stream.end();
  try {
    return await promise;
  } finally {
    session.destroy();
  }
}

async function askGrpc(port: number, tls: ClientTls): Promise<string> {
  const channel = connectGrpc({ address: `127.0.0.1:${port}`, tls });
  const bytes = { encode: (message: Buffer) => message, decode: (message: Buffer) => message };
  try {
    const method = { path: "/log.v1.Log/GetServers", kind: "unary", request: bytes, response: bytes } as const;
    await channel.unary(method, Buffer.alloc(0));
    return "served";
  } finally {
    await channel.close();
  }
}

describe("clients over TLS", () => {
  const certificates = new TestCertificates();
  const { clientAuthority, foreignAuthority, now } = certificates;
  const ca = clientAuthority.cert;
  const past = { fromMs: now - 2 * dayMs, toMs: now - dayMs };
  const future = { fromMs: now + dayMs, toMs: now + 2 * dayMs };
  const root = certificates.client("root");
  const revoked = certificates.client("leaver");
  const listFile = certificates.write("crl.pem", certificates.revocationList(clientAuthority, [revoked]));
  const flags = { ...certificates.serverFlags(), "server-tls-crl-file": listFile };
  let started: Promise<TestNode> | undefined;
  const start = (): Promise<TestNode> => (started ??= startTestNode({ flags }));
  after(async () => {
    await (await started)?.node.close();
    certificates[Symbol.dispose]();
  });

  const cases: readonly (readonly [what: string, shown: Credential | undefined, refusal: RegExp | undefined])[] = [
    ["the right certificate", root, undefined],
    ["a name as a URI", certificates.client("x", { uris: ["spiffe://example/app"] }), undefined],
    ["none", undefined, /shows no certificate/],
    [
      "one of another authority of the same name",
      certificates.client("root", { authority: foreignAuthority }),
      /isn't from an authority/,
    ],
    ["one of the peers' authority", certificates.peer("n1"), /isn't from an authority/],
    ["one that has expired", certificates.client("root", past), /has expired/],
    ["one that isn't valid yet", certificates.client("root", future), /isn't valid yet/],
    ["one for servers", certificates.client("root", { usages: ["server"] }), /for another use/],
    ["one that was revoked", revoked, /was revoked/],
    ["one without a name", certificates.client(""), /names nobody/],
    ["one with a name of two lines", certificates.client("root\nadmin"), /names nobody/],
  ];
  for (const [protocol, ask] of Object.entries(asks))
    for (const [what, shown, refusal] of cases)
      test(`${protocol}, with ${what}: ${refusal === undefined ? "served" : "refused, and told why"}`, async () => {
        const { port } = await start();
        const said = await ask(port, { ca, ...shown }).catch((error: unknown) => `failed: ${messageOf(error)}`);
        if (refusal === undefined) assert.equal(said, "served");
        else if (protocol !== "gRPC") assert.match(said, refusal);
        else assert.match(said, /^failed/);
      });

  const connect = (port: number, options: ConnectionOptions = {}): TLSSocket => {
    const socket = connectTls({ host: "127.0.0.1", port, ca, ...root, ALPNProtocols: ["http/1.1"], ...options });
    socket.on("error", () => {});
    return socket;
  };

  /** What it was answered until it was closed, or "closed" and the error. */
  const talk = async (socket: TLSSocket, bytes: string | Buffer): Promise<string> => {
    const { promise, resolve } = Promise.withResolvers<string>();
    let text = "";
    let failure = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    socket.on("error", (error) => (failure = error.message));
    socket.once("close", () => resolve(text === "" ? `closed ${failure}`.trim() : text));
    socket.write(bytes);
    return promise;
  };
  const get = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const)
    test(`no session is resumed by ${maxVersion}: each connection shows its certificate`, async () => {
      const { port } = await start();
      const first = connect(port, { maxVersion });
      let session: Buffer | undefined;
      first.on("session", (given: Buffer) => (session = given));
      assert.match(await talk(first, get), /^HTTP\/1\.1 200 /);
      assert.ok(session !== undefined, "the client was given one");
      const second = connect(port, { maxVersion, session });
      let isReused: boolean | undefined;
      second.once("secureConnect", () => (isReused = second.isSessionReused()));
      assert.match(await talk(second, get), /^HTTP\/1\.1 200 /);
      assert.equal(isReused, false);
    });

  test("versions of TLS below 1.2 aren't spoken", async () => {
    const { port } = await start();
    const old = connect(port, { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
    assert.match(await talk(old, get), /^closed .*(?:protocol version|unsupported protocol)/s);
  });

  test("who asks for a protocol that isn't spoken is told by TLS itself", async () => {
    const { port } = await start();
    assert.match(await talk(connect(port, { ALPNProtocols: ["smtp"] }), get), /^closed .*no application protocol/s);
  });

  test("who asks for the peers' protocol gets nowhere, on a node without peers", async () => {
    const { port } = await start();
    assert.match(await talk(connect(port, { ALPNProtocols: ["proglog-peer/1", "h2"] }), get), /^closed/);
  });

  test("who asks for no protocol speaks HTTP/1.1", async () => {
    const { port } = await start();
    assert.match(await talk(connect(port, { ALPNProtocols: [] }), get), /^HTTP\/1\.1 200 /);
  });

  for (const [protocol, bytes] of [
    ["http/1.1", "\0\x01\x02 garbage\r\n\r\n"],
    ["h2", "this is no preface of HTTP/2 at all, whatever was agreed on"],
  ] as const)
    test(`garbage behind the handshake ends a connection of ${protocol}, and nothing else`, async () => {
      const node = await start();
      const said = await talk(connect(node.port, { ALPNProtocols: [protocol] }), Buffer.from(bytes, "latin1"));
      assert.ok(!said.includes("200"), said);
      assert.equal(await askHttp1(node.port, { ca, ...root }), "served");
    });

  test("HTTP/1.1 in clear gets a 400 that says what is spoken", async () => {
    const node = await start();
    assert.match(await node.connect().write(get).closed, /^HTTP\/1\.1 400 [^]+TLS only; use https\n$/);
  });

  test("HTTP/2 in clear gets a GOAWAY that says it, and is closed", async () => {
    const node = await start();
    assert.match(await node.connect().write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").closed, /TLS only/);
  });

  test("what was refused is counted, by its reason", async () => {
    const { port } = await start();
    const { promise, resolve } = Promise.withResolvers<string>();
    void talk(connect(port), get.replace("/livez", "/metrics")).then(resolve);
    const text = await promise;
    for (const reason of ["no-certificate", "untrusted", "expired", "not-yet-valid", "revoked", "wrong-usage", "nameless"])
      assert.match(text, new RegExp(`proglog_tls_handshake_failures_total{plane="server",reason="${reason}"} [1-9]`));
    assert.match(text, /proglog_connections_refused_total{reason="clear-text"} [1-9]/);
    assert.match(text, /proglog_tls_certificate_expiry_seconds{plane="server"} [1-9]/);
    assert.match(text, /proglog_tls_handshakes{plane="server"} 0\n/);
  });

  test("the status says how the port is protected", async () => {
    const { port } = await start();
    const text = await talk(connect(port), get.replace("/livez", "/v1/status"));
    const security = { clients: "tls", clientCertificates: "required", peers: "clear", isExposed: false };
    assert.ok(text.includes(`"security":${JSON.stringify(security)}`), text);
  });
});

describe("clients over TLS that may come without a certificate", () => {
  const certificates = new TestCertificates();
  const ca = certificates.clientAuthority.cert;
  after(() => certificates[Symbol.dispose]());

  test("are served without one and with a good one, and refused with a bad one", async () => {
    const flags = { ...certificates.serverFlags(), "server-tls-client-auth": "optional" };
    await using node = await startTestNode({ flags });
    assert.equal(await askHttp1(node.port, { ca }), "served");
    assert.equal(await askHttp1(node.port, { ca, ...certificates.client("root") }), "served");
    const foreign = certificates.client("root", { authority: certificates.foreignAuthority });
    assert.match(await askHttp1(node.port, { ca, ...foreign }), /^403 .+isn't from an authority/);
  });

  test("aren't asked for one where no authority is named", async () => {
    const { "server-tls-ca-file": _, ...flags } = certificates.serverFlags();
    await using node = await startTestNode({ flags });
    assert.equal(await askHttp1(node.port, { ca }), "served");
  });
});
