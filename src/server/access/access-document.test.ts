import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isProglogError } from "../../base/error.ts";
import { accessRulesMaxCount, accessTokensMaxCount, policyMaxBytes } from "../../base/security-limits.ts";
import {
  type AccessDocument,
  checkGrant,
  checkRule,
  checkTokenName,
  emptyAccessDocument,
  formatAccessDocument,
  parseAccessDocument,
} from "./access-document.ts";
import { hashSecret } from "./bearer-token.ts";

const document: AccessDocument = {
  revision: 7,
  isOn: true,
  model: "m",
  rules: [{ subject: "spiffe://example.org/é", resource: "orders-*", action: "produce" }],
  roles: [{ subject: "alice", role: "writers" }],
  tokens: [
    { id: "0123456789ab", name: "alice", hash: hashSecret("s"), createdAt: 5 },
    { id: "cdef01234567", name: "bob", hash: hashSecret("t"), createdAt: 5, expiresAt: 6 },
  ],
};

describe("the access policy as a text", () => {
  test("is read as it was written, and nothing at all is the empty one", () => {
    assert.deepEqual(parseAccessDocument(formatAccessDocument(document)), document);
    assert.deepEqual(parseAccessDocument(""), emptyAccessDocument);
  });

  test("what can't be read is never taken for less than it says", () => {
    const written = JSON.parse(formatAccessDocument(document)) as Record<string, unknown>;
    const wrong: readonly unknown[] = [
      "",
      [],
      null,
      { ...written, version: 2 },
      { ...written, denies: [] },
      { ...written, isOn: undefined },
      { ...written, rules: undefined },
      { ...written, rules: {} },
      { ...written, rules: [["a", "b"]] },
      { ...written, rules: [["a", "b", "c"]] },
      { ...written, rules: [["a,b", "b", "produce"]] },
      { ...written, rules: [["a", 5, "produce"]] },
      { ...written, roles: [["a", "a"]] },
      { ...written, tokens: [{ ...document.tokens[0], hash: "00" }] },
      { ...written, tokens: [{ ...document.tokens[0], id: "short" }] },
      { ...written, tokens: [{ ...document.tokens[0], expiresAt: 1.5 }] },
      { ...written, tokens: [{ ...document.tokens[0], scope: "x" }] },
    ];
    for (const value of wrong)
      assert.throws(() => parseAccessDocument(JSON.stringify(value)), { code: "UNSUPPORTED_FORMAT" }, JSON.stringify(value));
    assert.throws(() => parseAccessDocument("{"), { code: "UNSUPPORTED_FORMAT" });
  });

  test("any text is a policy or refused with a code", () => {
    const base = JSON.parse(formatAccessDocument(document)) as Record<string, unknown>;
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(base), "__proto__"), fc.jsonValue(), (field, value) => {
        const text = JSON.stringify({ ...base, [field]: value });
        try {
          const read = parseAccessDocument(text);
          assert.deepEqual(parseAccessDocument(formatAccessDocument(read)), read);
        } catch (error) {
          assert.ok(isProglogError(error, "UNSUPPORTED_FORMAT"), String(error));
        }
      }),
      { numRuns: 500 },
    );
  });

  test("takes as many rules and tokens as may be, and no more", () => {
    const rule = (number: number) => ({ subject: `s${number}`, resource: "*", action: "produce" as const });
    const token = (number: number) => ({
      id: String(number).padStart(12, "0"),
      name: "a",
      hash: hashSecret(""),
      createdAt: 1_760_000_000_000,
      expiresAt: 1_760_000_000_000,
    });
    const rules = Array.from({ length: accessRulesMaxCount }, (_, number) => rule(number));
    const tokens = Array.from({ length: accessTokensMaxCount }, (_, number) => token(number));
    const full = { ...document, rules, roles: [], tokens };
    assert.ok(Buffer.byteLength(formatAccessDocument(full)) < policyMaxBytes);
    assert.throws(() => formatAccessDocument({ ...full, rules: [...rules, rule(-1)] }), {
      code: "INVALID_ARGUMENT",
      message: /2001 rules and roles, and 2000 are allowed/,
    });
    assert.throws(() => formatAccessDocument({ ...full, tokens: [...tokens, token(-1)] }), { message: /1001 tokens/ });
    assert.throws(() => formatAccessDocument({ ...full, model: "x".repeat(policyMaxBytes) }), {
      message: /524288 are allowed/,
    });
  });

  test("names, resources and actions that can't stand in a rule are refused", () => {
    for (const subject of ["", " a", "a ", "a,b", "a\nb", "a\0", "x".repeat(257)])
      assert.throws(() => checkRule({ subject, resource: "*", action: "produce" }), { code: "INVALID_ARGUMENT" }, subject);
    for (const resource of ["", "a b", "a*b", "**", "*a", "../x", "a/b", "é", "x".repeat(250)])
      assert.throws(() => checkRule({ subject: "a", resource, action: "produce" }), { code: "INVALID_ARGUMENT" }, resource);
    for (const resource of ["a", "a*", "*", "x".repeat(249)]) checkRule({ subject: "CN of É", resource, action: "admin" });
    for (const action of ["", "write", "Produce", "constructor"])
      assert.throws(() => checkRule({ subject: "a", resource: "*", action }), { code: "INVALID_ARGUMENT" }, action);
    assert.throws(() => checkGrant({ subject: "a", role: "a" }), { code: "INVALID_ARGUMENT" });
    for (const name of ["", "a b", "é", "x".repeat(65), "a,b"])
      assert.throws(() => checkTokenName(name), { code: "INVALID_ARGUMENT" }, name);
  });
});
