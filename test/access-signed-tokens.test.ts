import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { connect } from "../src/client/index.ts";
import { startTestNode } from "./test-node.ts";

/** Tokens of an identity provider, by the ways that clients come in. */
test("a token that an identity provider signed names who shows it, until it is over", async () => {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "k", alg: "EdDSA" }] });
  const disk = createMemoryDisk();
  const file = disk.open("/keys.json", "create");
  await file.write([Buffer.from(keys)], 0);
  file.close();
  const issuer = "https://login.example";
  const flags = { "oidc-issuer": issuer, "oidc-audience": "proglog", "oidc-keys-file": "/keys.json" };
  await using node = await startTestNode({ disk, flags });
  const address = `127.0.0.1:${node.port}`;
  const sign = (sub: string, lifeMs: number): Promise<string> =>
    new SignJWT({ iss: issuer, aud: "proglog", sub, exp: (Date.now() + lifeMs) / 1_000 })
      .setProtectedHeader({ alg: "EdDSA", kid: "k" })
      .sign(privateKey);
  {
    await using first = connect(address);
    const actions = ["produce", "consume"];
    const add = actions.map((action) => ({ subject: "oidc:alice", resource: "orders", action }));
    await first.access.change({ add: [...add, { subject: "root", resource: "*", action: "admin" }], force: true });
  }
  await using alice = connect(address, { token: () => sign("alice", 60_000) });
  await using producer = alice.producer({ topic: "orders" });
  await producer.send({ value: "x" });
  assert.equal((await alice.append([{ value: "y" }], { topic: "orders" })).baseOffset, 1);
  await assert.rejects(alice.append([{ value: "y" }], { topic: "payments" }), {
    code: "PERMISSION_DENIED",
    message: "oidc:alice not permitted to describe to payments",
  });
  await using root = connect(address, { token: await sign("root", 60_000) });
  await assert.rejects(root.access.describe(), { code: "PERMISSION_DENIED" });
  const headers = { authorization: `Bearer ${await sign("alice", 60_000)}` };
  assert.equal((await node.get("/v1/topics/orders/records", { headers })).status, 200);
  assert.equal(
    (await node.get("/v1/topics/orders/records", { headers: { authorization: `${headers.authorization}x` } })).status,
    401,
  );

  // What was opened with it ends with it, though nobody changes anything.
  await using brief = connect(address, { token: await sign("alice", 1_500) });
  await assert.rejects(
    async () => {
      for await (const record of brief.consume({ topic: "orders", from: "start" })) assert.ok(record.offset < 2);
    },
    { code: "UNAUTHENTICATED" },
  );
});

describe("an identity provider", () => {
  test("is named with whom its tokens are for, and by an address that can be trusted", async () => {
    const cases: readonly (readonly [flags: Record<string, string>, message: RegExp])[] = [
      [{ "oidc-issuer": "https://login.example" }, /tokens for anybody else would be taken/],
      [{ "oidc-audience": "proglog" }, /no issuer of tokens is named/],
      [{ "oidc-keys-file": "/keys.json" }, /no issuer of tokens is named/],
      [{ "oidc-issuer": "http://login.example", "oidc-audience": "proglog" }, /it is no https URL/],
      [{ "oidc-issuer": "x", "oidc-audience": "proglog", "oidc-keys-file": "/none.json" }, /there is no such file/],
    ];
    for (const [flags, message] of cases) await assert.rejects(startTestNode({ flags }), { code: "INVALID_CONFIG", message });
  });
});
