import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:https";
import { connect as connectSocket } from "node:net";
import { networkInterfaces } from "node:os";
import { after, before, describe, test } from "node:test";
import { createVirtualClock } from "../sim/clock.ts";
import { certificatePollMs } from "../src/base/security-limits.ts";
import { dayMs } from "../src/base/units.ts";
import type { Credential } from "../src/cli/certs/certificate-authority.ts";
import { connect as connectClient } from "../src/client/index.ts";
import { type Channel, connect } from "../src/grpc/index.ts";
import { accessActions } from "../src/server/access/access-action.ts";
import { decodeRefusal } from "../src/wire/peer-question.ts";
import { accessRequests, type HttpAnswer, type HttpOptions, refusals } from "./access-requests.ts";
import { RawPeer } from "./peer-world.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** Asks on a connection of its own. What the listener says to whom it doesn't take is made a problem of. */
async function ask(
  { host = "127.0.0.1", port, tls }: { readonly host?: string; readonly port: number; readonly tls: object },
  method: string,
  path: string,
  { body, headers }: HttpOptions = { headers: {} },
): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const sent = request({ ...{ host, port, method, path, headers, agent: false }, ...tls }, (response) => {
    // A stream that is served goes on for ever.
    if (response.headers["content-type"]?.startsWith("text/event-stream") === true) {
      resolve({ status: response.statusCode ?? 0, text: "" });
      response.destroy();
      return;
    }
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.once("end", () => {
      const text = Buffer.concat(chunks).toString();
      const isRefusal = response.headers["content-type"]?.startsWith("text/plain") === true && response.statusCode === 403;
      const shown = isRefusal ? JSON.stringify({ code: "UNAUTHENTICATED", detail: text }) : text;
      resolve({ status: response.statusCode ?? 0, text: shown });
    });
  });
  sent.once("error", reject);
  sent.end(body);
  return promise;
}

describe("every method and every route, by certificates", () => {
  const certificates = new TestCertificates();
  const { clientAuthority, now } = certificates;
  const ca = clientAuthority.cert;
  const root = certificates.client("root");
  const revoked = certificates.client("root");
  const json = { "content-type": "application/json" };
  let node: TestNode;
  before(async () => {
    const crl = certificates.write("crl.pem", certificates.revocationList(clientAuthority, [revoked]));
    node = await startTestNode({ flags: { ...certificates.serverFlags(), "server-tls-crl-file": crl } });
    const grants = [
      ...accessActions.map((action) => ({ subject: "root", resource: "*", action })),
      { subject: "spiffe://example/reader", resource: "orders", action: "consume" },
    ];
    const way = { port: node.port, tls: { ca, ...root } };
    const body = JSON.stringify({ add: grants });
    const { status, text } = await ask(way, "POST", "/v1/access", { body, headers: json });
    assert.equal(status, 200, text);
  });
  after(async () => {
    await node.node.close();
    certificates[Symbol.dispose]();
  });

  /** The code of each answer, by the request's name. */
  async function askAll(shown: Partial<Credential>): Promise<ReadonlyMap<string, string | undefined>> {
    const tls = { ca, ...shown };
    const channel: Channel = connect({ address: `127.0.0.1:${node.port}`, tls });
    const codes = new Map<string, string | undefined>();
    try {
      for (const one of accessRequests()) {
        const topic = { body: '{"value":"x"}', headers: json };
        await ask({ port: node.port, tls: { ca, ...root } }, "POST", "/v1/topics/orders/records", topic);
        const http = (method: string, path: string, options: HttpOptions): Promise<HttpAnswer> =>
          ask({ port: node.port, tls }, method, path, options);
        codes.set(one.name, await one.ask({ channel, authorization: undefined, http }));
      }
    } finally {
      await channel.close();
    }
    return codes;
  }

  const denied: readonly (readonly [what: string, shown: Partial<Credential>])[] = [
    ["no certificate", {}],
    ["one of another authority of the same name", certificates.client("root", { authority: certificates.foreignAuthority })],
    ["a node's", certificates.peer("root")],
    ["one that has expired", certificates.client("root", { fromMs: now - 2 * dayMs, toMs: now - dayMs })],
    ["one that isn't valid yet", certificates.client("root", { fromMs: now + dayMs, toMs: now + 2 * dayMs })],
    ["one for servers", certificates.client("root", { usages: ["server"] })],
    ["one that was revoked", revoked],
  ];
  for (const [what, shown] of denied)
    test(`are refused with ${what}`, async () => {
      for (const [name, code] of await askAll(shown)) assert.ok(refusals.includes(code), `${name}: ${code}`);
    });

  test("are served with the right one, that rules allow everything", async () => {
    for (const [name, code] of await askAll(root)) assert.ok(!refusals.includes(code), `${name}: ${code}`);
  });

  test("are what its rules say, by the URI of its certificate before its common name", async () => {
    const codes = await askAll(certificates.client("root", { uris: ["spiffe://example/reader"] }));
    assert.equal(codes.get("/log.v1.Log/Produce"), "PERMISSION_DENIED");
    assert.equal(codes.get("POST /v1/topics/:topic/records"), "PERMISSION_DENIED");
    assert.equal(codes.get("GET /v1/topics/:topic/records"), undefined);
    assert.equal(codes.get("POST /v1/access"), "PERMISSION_DENIED");
  });

  test("aren't anybody's whom no rule is about", async () => {
    const codes = await askAll(certificates.client("stranger"));
    assert.equal(codes.get("/log.v1.Log/Produce"), "PERMISSION_DENIED");
    assert.equal(codes.get("GET /v1/topics/:topic/records"), "PERMISSION_DENIED");
  });
});

test("a stream that a revoked certificate has open ends, and it gets no other", async () => {
  using certificates = new TestCertificates();
  const { clientAuthority } = certificates;
  const crl = certificates.write("crl.pem", certificates.revocationList(clientAuthority, []));
  const clock = createVirtualClock(certificates.now);
  await using node = await startTestNode({ clock, flags: { ...certificates.serverFlags(), "server-tls-crl-file": crl } });
  const tls = { ca: clientAuthority.cert };
  const leaver = certificates.client("leaver");
  await using staying = connectClient(`127.0.0.1:${node.port}`, { tls: { ...tls, ...certificates.client("root") } });
  await using leaving = connectClient(`127.0.0.1:${node.port}`, { tls: { ...tls, ...leaver } });
  await using producer = staying.producer({ topic: "orders" });
  await producer.send({ value: "before" });
  const heard: string[] = [];
  const first = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const { value } of leaving.consume({ topic: "orders" })) {
      heard.push(String(value));
      first.resolve();
    }
  })();
  reading.catch(() => {});
  await first.promise;
  certificates.write("crl.pem", certificates.revocationList(clientAuthority, [leaver]));
  clock.advance(certificatePollMs);
  await producer.send({ value: "behind" });
  await assert.rejects(reading, { code: "UNAUTHENTICATED", message: /its certificate was revoked/ });
  assert.deepEqual(heard, ["before"]);
});

/** Of this machine, and not loopback: what is sent to it comes from it, as if from another. */
const elsewhere = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ internal, family }) => !internal && family === "IPv4")?.address;

describe("a node that is reached over a network", { skip: elsewhere === undefined && "there is no network" }, () => {
  const host = elsewhere ?? "";
  const certificates = new TestCertificates();
  after(() => certificates[Symbol.dispose]());

  test("by TLS without certificates of clients answers nobody who doesn't say who they are", async () => {
    const { "server-tls-ca-file": _, ...flags } = certificates.serverFlags(certificates.server({ hosts: [host, "127.0.0.1"] }));
    await using node = await startTestNode({ flags: { ...flags, "bind-addr": "0.0.0.0" } });
    const tls = { ca: certificates.clientAuthority.cert };
    const away = await ask({ host, port: node.port, tls }, "GET", "/v1/topics");
    assert.equal(away.status, 401, away.text);
    assert.equal((await ask({ port: node.port, tls }, "GET", "/v1/topics")).status, 200);
  });

  test("takes no peers in clear, though it has no certificates, and --insecure", async () => {
    const flags = { bootstrap: true, insecure: true, "bind-addr": "0.0.0.0", "advertise-addr": "127.0.0.1:8000" };
    await using node = await startTestNode({ flags });
    const socket = connectSocket({ host, port: node.port });
    const raw = new RawPeer(socket);
    await once(socket, "connect");
    raw.write(Buffer.from("\0PLPEER1", "latin1"));
    await raw.closed();
    const [first] = raw.frames;
    assert.ok(first?.type === "refusal");
    assert.match(decodeRefusal(first.payload).error.message, /nodes speak with it by mutual TLS only/);
  });
});
