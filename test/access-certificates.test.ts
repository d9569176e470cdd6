import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { Agent, request } from "node:https";
import { after, before, describe, test } from "node:test";
import { dayMs } from "../src/base/units.ts";
import type { Credential } from "../src/cli/certs/certificate-authority.ts";
import { connect } from "../src/grpc/index.ts";
import { accessActions } from "../src/server/access/access-action.ts";
import { type AccessRequest, accessRequests, type AccessWay, type HttpAnswer, refusals } from "./access-requests.ts";
import type { ClientTls } from "./ask-tls.ts";
import { TestCertificates } from "./test-certificates.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/**
 * Every method and every route, asked with certificates of all sorts. Who shows a bad one doesn't get as far as asking; who shows a good one is
 * whom it names, and may do what rules say of that name.
 */
describe("who may do what, by certificates", () => {
  const certificates = new TestCertificates();
  const { clientAuthority, foreignAuthority, now } = certificates;
  const ca = clientAuthority.cert;
  const root = certificates.client("root");
  const revoked = certificates.client("root");
  const listFile = certificates.write("crl.pem", certificates.revocationList(clientAuthority, [revoked]));
  const flags = { ...certificates.serverFlags(), "server-tls-crl-file": listFile };
  let node: TestNode;
  let optional: TestNode;

  before(async () => {
    node = await startTestNode({ flags });
    optional = await startTestNode({ flags: { ...flags, "server-tls-client-auth": "optional" } });
    for (const { port } of [node, optional]) {
      const all = (subject: string, resource: string): object[] =>
        accessActions.map((action) => ({ subject, resource, action }));
      const add = [...all("root", "*"), ...all("spiffe://example/app", "*"), ...all("elsewhere", "other")];
      const headers = { "content-type": "application/json" };
      const { status, text } = await send({ port, tls: { ca, ...root } }, "POST", "/v1/access", {
        body: JSON.stringify({ add }),
        headers,
      });
      assert.equal(status, 200, text);
    }
  });
  after(async () => {
    await node[Symbol.asyncDispose]();
    await optional[Symbol.asyncDispose]();
    certificates[Symbol.dispose]();
  });

  /** What comes of each request, on connections of its own for each, or on one for all. */
  async function askAll(
    port: number,
    shown: Credential | undefined,
    check: (one: AccessRequest, code: string | undefined) => void,
    { isShared = true }: { readonly isShared?: boolean } = {},
  ): Promise<void> {
    const tls = { ca, ...shown };
    let channel = connect({ address: `127.0.0.1:${port}`, tls });
    using agent = keptAgent(isShared);
    const http: AccessWay["http"] = (method, path, options) => send({ port, tls, agent: agent.agent }, method, path, options);
    try {
      for (const one of accessRequests()) {
        check(one, await one.ask({ channel, authorization: undefined, http }));
        if (isShared) continue;
        await channel.close();
        channel = connect({ address: `127.0.0.1:${port}`, tls });
      }
    } finally {
      await channel.close();
    }
  }

  const past = { fromMs: now - 2 * dayMs, toMs: now - dayMs };
  const future = { fromMs: now + dayMs, toMs: now + 2 * dayMs };
  const bad: readonly (readonly [what: string, shown: Credential | undefined])[] = [
    ["none", undefined],
    ["one of another authority", certificates.client("root", { authority: foreignAuthority })],
    ["one of the peers' authority", certificates.peer("root")],
    ["one that has expired", certificates.client("root", past)],
    ["one that isn't valid yet", certificates.client("root", future)],
    ["one that is revoked", revoked],
  ];
  for (const [what, shown] of bad)
    test(`nothing, with ${what}`, async () => {
      const check = (one: AccessRequest, code: string | undefined): void =>
        assert.ok(refusals.includes(code), `${one.name}: ${code}`);
      await askAll(node.port, shown, check, { isShared: false });
    });

  for (const [what, shown] of [
    ["its common name", root],
    ["its URI, which goes before the common name", certificates.client("elsewhere", { uris: ["spiffe://example/app"] })],
  ] as const)
    test(`everything, with one that rules give it by ${what}`, async () => {
      await askAll(node.port, shown, (one, code) =>
        assert.ok(![...refusals, "UNAVAILABLE"].includes(code), `${one.name}: ${code}`),
      );
    });

  test("what asks for any rule, with one that rules give something else", async () => {
    await askAll(node.port, certificates.client("elsewhere"), ({ name, rule }, code) =>
      assert.equal(code, ["open", "known"].includes(rule.kind) ? undefined : "PERMISSION_DENIED", name),
    );
  });

  test("what asks for nothing, with none where one is optional, or one that no rule is about", async () => {
    for (const [shown, refusal] of [
      [undefined, "UNAUTHENTICATED"],
      [certificates.client("stranger"), "PERMISSION_DENIED"],
    ] as const)
      await askAll(optional.port, shown, ({ name, rule }, code) =>
        assert.equal(code, rule.kind === "open" ? undefined : refusal, name),
      );
  });

  test("a token goes before the certificate, and one that is none is refused with it, too", async () => {
    const tls = { ca, ...root };
    const made = await send({ port: node.port, tls }, "POST", "/v1/access/tokens", {
      body: '{"name":"elsewhere"}',
      headers: { "content-type": "application/json" },
    });
    const { token } = JSON.parse(made.text) as { readonly token: string };
    for (const [shown, status] of [
      [token, 403],
      [`${token}x`, 401],
    ] as const) {
      const headers = { authorization: `Bearer ${shown}` };
      assert.equal((await send({ port: node.port, tls }, "GET", "/v1/access", { headers })).status, status);
    }
    assert.equal((await send({ port: node.port, tls }, "GET", "/v1/access", { headers: {} })).status, 200);
  });
});

/** One that keeps its connection, or none: then each request has its own. */
function keptAgent(isKept: boolean): Disposable & { readonly agent: Agent | false } {
  const agent = isKept ? new Agent({ keepAlive: true, maxSockets: 1 }) : false;
  return { agent, [Symbol.dispose]: () => (agent === false ? undefined : agent.destroy()) };
}

async function send(
  { port, tls, agent = false }: { readonly port: number; readonly tls: ClientTls; readonly agent?: Agent | false },
  method: string,
  path: string,
  { body, headers }: { readonly body?: string; readonly headers: Readonly<Record<string, string>> },
): Promise<HttpAnswer> {
  const sent = request({ host: "127.0.0.1", port, method, path, agent, ...tls });
  for (const [name, value] of Object.entries(headers)) sent.setHeader(name, value);
  // It may be refused before its body is out: the answer is what counts.
  const failed = new Promise<never>((_, reject) => void sent.on("error", reject));
  const answered = once(sent, "response") as Promise<[IncomingMessage]>;
  failed.catch(() => {});
  sent.end(body);
  const [response] = await Promise.race([answered, failed]);
  let text = "";
  for await (const chunk of response.setEncoding("utf8") as AsyncIterable<string>) text += chunk;
  return { status: response.statusCode ?? 0, text };
}
