import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from "jose";
import { createVirtualClock } from "../../../sim/clock.ts";
import { silentLogger } from "../../base/logger.ts";
import {
  issuerKeysMaxAgeMs,
  issuerKeysRetryMs,
  principalNameMaxChars,
  signedTokenRecheckMs,
} from "../../base/security-limits.ts";
import { IssuerKeys } from "./issuer-keys.ts";
import { isSignedToken, SignedTokens } from "./signed-tokens.ts";

describe("a signed token", () => {
  const rememberedMaxCount = 3;
  const issuer = "https://login.example/realms/main";
  let key: CryptoKey;
  let other: CryptoKey;
  let publicKey: object;
  let otherPublicKey: object;
  before(async () => {
    const pair = await generateKeyPair("ES256", { extractable: true });
    const otherPair = await generateKeyPair("ES256", { extractable: true });
    [key, other] = [pair.privateKey, otherPair.privateKey];
    publicKey = { ...(await exportJWK(pair.publicKey)), kid: "one", alg: "ES256" };
    otherPublicKey = { ...(await exportJWK(otherPair.publicKey)), kid: "two", alg: "ES256" };
  });

  class World {
    readonly clock = createVirtualClock();
    keys: readonly object[] = [publicKey];
    reads = 0;
    readonly tokens = new SignedTokens({
      ...{ issuer, audience: "proglog", nameClaim: "sub", clock: this.clock, rememberedMaxCount },
      keys: new IssuerKeys({
        read: async () => {
          this.reads += 1;
          return JSON.stringify({ keys: this.keys });
        },
        clock: this.clock,
        logger: silentLogger,
      }),
    });

    sign(claims: Readonly<Record<string, unknown>> = {}, { by = key, kid = "one" } = {}): Promise<string> {
      const exp = Math.floor(this.clock.now() / 1_000) + 3_600;
      const all = { iss: issuer, aud: "proglog", sub: "alice", exp, ...claims };
      return new SignJWT(all).setProtectedHeader({ alg: "ES256", kid }).sign(by);
    }
  }

  test("names whom its claim names, with a prefix, until it is over", async () => {
    const world = new World();
    const token = await world.sign();
    assert.ok(isSignedToken(token));
    const found = await world.tokens.verify(token);
    assert.ok(typeof found === "object");
    assert.equal(found.name, "oidc:alice");
    assert.deepEqual(world.tokens.find(token)?.name, "oidc:alice");
    world.clock.advance(found.expiresAt - world.clock.now() + 1_000);
    assert.equal(world.tokens.find(token), undefined);
    assert.equal(await world.tokens.verify(token), "its time is over");
  });

  test("is none with anything about it that isn't as it has to be", async () => {
    const world = new World();
    const now = Math.floor(world.clock.now() / 1_000);
    const longest = "n".repeat(principalNameMaxChars - "oidc:".length);
    assert.equal(typeof (await world.tokens.verify(await world.sign({ sub: longest }))), "object");
    const [header = "", payload = "", signature = ""] = (await world.sign()).split(".");
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const root = encode({ ...(JSON.parse(Buffer.from(payload, "base64url").toString()) as object), sub: "root" });
    const secret = new TextEncoder().encode(JSON.stringify(publicKey));
    const shared = new SignJWT({ iss: issuer, aud: "proglog", sub: "root" }).setProtectedHeader({ alg: "HS256", kid: "one" });
    const wrong = [
      await world.sign({ iss: "https://login.example/realms/other" }),
      await world.sign({ aud: "somebody-else" }),
      await world.sign({ aud: undefined }),
      await world.sign({ exp: undefined }),
      await world.sign({ exp: now - 1 }),
      await world.sign({ nbf: now + 60 }),
      await world.sign({ sub: undefined }),
      await world.sign({ sub: 7 }),
      await world.sign({ sub: "" }),
      await world.sign({ sub: `${longest}n` }),
      await world.sign({ sub: "a\nb" }),
      await world.sign({ sub: "a, b" }),
      await world.sign({}, { by: other }),
      await world.sign({}, { by: other, kid: "two" }),
      `${header}.${root}.${signature}`,
      `${encode({ alg: "none" })}.${root}.`,
      `${encode({ alg: "none", kid: "one" })}.${root}.x`,
      await shared.setExpirationTime(now + 60).sign(secret),
      "a.b.c",
    ];
    for (const token of wrong) {
      const found = await world.tokens.verify(token);
      assert.equal(typeof found, "string", `${token}: ${JSON.stringify(found)}`);
      assert.ok(!JSON.stringify(found).includes(token.slice(0, 16)));
    }
    assert.ok(!isSignedToken(`${header}.${payload}`) && !isSignedToken("plg_0123456789ab_x"));
  });

  test("of a new key is taken as soon as the issuer has it, and keys aren't asked for over and over", async () => {
    const world = new World();
    await world.tokens.verify(await world.sign());
    world.keys = [publicKey, otherPublicKey];
    const token = await world.sign({}, { by: other, kid: "two" });
    for (let count = 0; count < 10; count += 1) assert.equal(typeof (await world.tokens.verify(token)), "string");
    assert.equal(world.reads, 1);
    world.clock.advance(issuerKeysRetryMs);
    assert.equal(typeof (await world.tokens.verify(token)), "object");
    assert.equal(world.reads, 2);
  });

  test("is remembered for a while, and as many as may be", async () => {
    const world = new World();
    const first = await world.sign({ jti: "first" });
    await world.tokens.verify(first);
    world.clock.advance(signedTokenRecheckMs - 1);
    assert.ok(world.tokens.find(first) !== undefined);
    world.clock.advance(1);
    assert.equal(world.tokens.find(first), undefined);
    const many: string[] = [];
    for (let count = 0; count < rememberedMaxCount + 1; count += 1) many.push(await world.sign({ jti: String(count) }));
    for (const token of many) await world.tokens.verify(token);
    assert.equal(world.tokens.rememberedCount, rememberedMaxCount);
    assert.deepEqual(
      many.map((token) => world.tokens.find(token) !== undefined),
      [false, ...Array.from({ length: rememberedMaxCount }, () => true)],
    );
  });

  test("can't be judged while the keys were never to be had, and then it can", async () => {
    const world = new World();
    const token = await world.sign();
    world.keys = "nonsense" as unknown as readonly object[];
    await assert.rejects(world.tokens.verify(token), { code: "UNAVAILABLE" });
    world.keys = [publicKey];
    await assert.rejects(world.tokens.verify(token), { code: "UNAVAILABLE" });
    world.clock.advance(issuerKeysRetryMs);
    assert.equal(typeof (await world.tokens.verify(token)), "object");
    world.keys = "nonsense" as unknown as readonly object[];
    const { reads } = world;
    world.clock.advance(issuerKeysMaxAgeMs - 1);
    assert.equal(typeof (await world.tokens.verify(token)), "object");
    assert.equal(world.reads, reads);
    world.clock.advance(1);
    assert.equal(typeof (await world.tokens.verify(token)), "object");
    assert.equal(world.reads, reads + 1);
  });
});
