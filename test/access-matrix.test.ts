import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Channel, connect } from "../src/grpc/index.ts";
import { type AccessAction, accessActions } from "../src/server/access/access-action.ts";
import type { AccessRule } from "../src/server/access/access-rules.ts";
import { type AccessRequest, accessRequests, refusals } from "./access-requests.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

interface Rule {
  readonly resource: string;
  readonly action: AccessAction;
}

interface Somebody {
  readonly name: string;
  /** What the header says. */
  readonly authorization: string | undefined;
  /** What rules give; undefined for who isn't known at all. */
  readonly rules: readonly Rule[] | undefined;
}

/** Every method and every route, asked by all sorts of callers: what is refused is what the table and the rules say, and nothing else. */
describe("who may do what, of every method and every route", () => {
  let node: TestNode;
  let channel: Channel;
  let root = "";

  before(async () => {
    node = await startTestNode();
    channel = connect({ address: `127.0.0.1:${node.port}` });
    root = await createToken("root", "");
    await node.json("POST", "/v1/access", { body: JSON.stringify({ add: [grant("root", "*", "admin")] }), headers: json() });
  });
  after(async () => {
    await channel.close();
    await node[Symbol.asyncDispose]();
  });

  function json(authorization = ""): Record<string, string> {
    return { "content-type": "application/json", ...(authorization === "" ? {} : { authorization }) };
  }

  async function createToken(name: string, by: string): Promise<string> {
    const options = { body: JSON.stringify({ name }), headers: json(by), status: 201 };
    const { token } = await node.json<{ readonly token: string }>("POST", "/v1/access/tokens", options);
    return `Bearer ${token}`;
  }

  async function add(grants: readonly object[]): Promise<void> {
    await node.json("POST", "/v1/access", { body: JSON.stringify({ add: grants }), headers: json(root) });
  }

  async function somebody(name: string, rules: readonly Rule[]): Promise<Somebody> {
    if (rules.length > 0) await add(rules.map(({ resource, action }) => grant(name, resource, action)));
    return { name, authorization: await createToken(name, root), rules };
  }

  /** The topic that requests are about is there, with a record: some of those who may do something delete it. */
  async function prepare(): Promise<void> {
    for (const topic of ["orders", "default"])
      await node.json("POST", `/v1/topics/${topic}/records`, {
        body: '{"value":"x"}',
        headers: json(everything.authorization),
      });
  }

  let everything: Somebody = { name: "", authorization: undefined, rules: [] };

  async function answerOf(request: AccessRequest, { authorization }: Somebody): Promise<string | undefined> {
    return request.ask({ channel, authorization, http: (method, path, options) => node.send(method, path, options) });
  }

  async function checkAll(who: Somebody): Promise<void> {
    await prepare();
    for (const request of accessRequests()) {
      const code = await answerOf(request, who);
      const isRefused = refusals.includes(code);
      assert.equal(isRefused, !isPermitted(who, request.rule), `${request.name}, asked by ${who.name}: ${code}`);
      const refusal = who.rules === undefined ? "UNAUTHENTICATED" : "PERMISSION_DENIED";
      if (isRefused) assert.equal(code, refusal, `${request.name}, asked by ${who.name}`);
    }
  }

  test("is all of it, for who may do everything", async () => {
    everything = await somebody(
      "everything",
      accessActions.map((action) => ({ resource: "*", action })),
    );
    await checkAll(everything);
  });

  test("is what asks for nothing, for who says nothing about themselves", async () => {
    await checkAll({ name: "nobody", authorization: undefined, rules: undefined });
  });

  test("is what asks for nothing, for who shows what is no token, one that was made up, one that is revoked or over", async () => {
    await prepare();
    const revoked = await createToken("everything", root);
    const id = /plg_(\w{12})_/.exec(revoked)?.[1] ?? "";
    assert.equal((await node.send("DELETE", `/v1/access/tokens/${id}`, { headers: { authorization: root } })).status, 204);
    const expiresAt = Date.now() + 1_000;
    const options = { body: JSON.stringify({ name: "everything", expiresAt }), headers: json(root), status: 201 };
    const { token } = await node.json<{ readonly token: string }>("POST", "/v1/access/tokens", options);
    while (Date.now() < expiresAt) await new Promise(setImmediate);
    const wrong = [`Bearer ${token}`, revoked, `Bearer plg_${id}_${"x".repeat(43)}`, "Basic cm9vdDpyb290"];
    // All at once: each further one of them waits longer for its answer.
    const answers = wrong.flatMap((authorization) =>
      accessRequests().map(async (request) => {
        const code = await answerOf(request, { name: "", authorization, rules: undefined });
        return { name: request.name, isOpen: request.rule.kind === "open", code, authorization };
      }),
    );
    for (const { name, isOpen, code, authorization } of await Promise.all(answers))
      assert.equal(code === "UNAUTHENTICATED", !isOpen, `${name}, asked with ${authorization}: ${code}`);
  });

  test("is what asks for nothing, for who no rule is about", async () => {
    await checkAll(await somebody("stranger", []));
  });

  test("is what is about nobody's topic, for who may do everything with other topics", async () => {
    const rules = accessActions.flatMap((action) => [
      { resource: "other", action },
      { resource: "order-*", action },
    ]);
    await checkAll(await somebody("elsewhere", rules));
  });

  for (const missing of accessActions)
    test(`is all but what asks for ${missing}, for who may do all but that`, async () => {
      const actions = accessActions.filter((action) => action !== missing);
      await checkAll(
        await somebody(
          `no-${missing}`,
          actions.map((action) => ({ resource: "*", action })),
        ),
      );
    });

  for (const only of accessActions)
    test(`is what asks for ${only}, for who may do that with a prefix of the topic`, async () => {
      await checkAll(await somebody(`only-${only}`, [{ resource: "ord*", action: only }]));
    });
});

/** What is expected, from the rules alone. */
function isPermitted({ rules }: Somebody, rule: AccessRule): boolean {
  if (rule.kind === "open") return true;
  if (rules === undefined) return false;
  if (rule.kind === "known") return rules.length > 0;
  const allows = (resource: string): boolean =>
    rules.some((one) => one.resource === resource && (one.action === rule.action || rule.action === "describe"));
  if (rule.kind === "whole") return allows("*");
  // The book's routes know the topic `default` only, which doesn't begin as `orders` does.
  return "topic" in rule.from ? allows("*") : allows("*") || allows("orders") || allows("ord*");
}

function grant(subject: string, resource: string, action: AccessAction): object {
  return { subject, resource, action };
}
