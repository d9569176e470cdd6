import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createSeededRandom } from "../../../sim/random.ts";
import { bearerOf, hashSecret, isSameHash, makeToken, parseToken, tokenIdPattern } from "./bearer-token.ts";

describe("a bearer token", () => {
  test("has an id and 32 random bytes, and is read as it was made", () => {
    const random = createSeededRandom("token");
    const made = Array.from({ length: 50 }, () => makeToken(random));
    for (const { id, secret, text } of made) {
      assert.match(id, tokenIdPattern);
      assert.equal(Buffer.from(secret, "base64url").length, 32);
      assert.deepEqual(parseToken(text), { id, secret });
    }
    assert.equal(new Set(made.map(({ secret }) => secret)).size, made.length);
  });

  test("nothing else is one", () => {
    const { text } = makeToken(createSeededRandom("token"));
    for (const wrong of ["", "plg_", text.slice(1), text.slice(0, -1), `${text}A`, ` ${text}`, `${text}\n`, text.toUpperCase()])
      assert.equal(parseToken(wrong), undefined, JSON.stringify(wrong));
    fc.assert(fc.property(fc.string(), (any) => parseToken(any) === undefined));
  });

  test("is what stands behind Bearer, and any other header is none", () => {
    assert.equal(bearerOf(undefined), undefined);
    for (const header of ["Bearer x", "bearer x", "BEARER   x  "]) assert.equal(bearerOf(header), "x");
    for (const header of ["", "Bearer", "Bearer ", "Basic eDp5", "Bearer a b", "Bearer a,Bearer b", "x", "Bearer é"])
      assert.equal(bearerOf(header), null, header);
  });

  test("is known by its hash, whole", () => {
    assert.ok(isSameHash(hashSecret("a"), hashSecret("a")));
    assert.ok(!isSameHash(hashSecret("a"), hashSecret("b")));
    assert.ok(!isSameHash(hashSecret("a"), ""));
    assert.ok(!isSameHash(hashSecret("a"), hashSecret("a").slice(2)));
  });
});
