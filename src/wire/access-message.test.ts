import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  decodeChangePolicyRequest,
  decodeCreateTokenRequest,
  decodeCreateTokenResponse,
  decodePolicyResponse,
  decodeRevokeTokenRequest,
  decodeTestPolicyRequest,
  decodeTestPolicyResponse,
  encodeChangePolicyRequest,
  encodeCreateTokenRequest,
  encodeCreateTokenResponse,
  encodePolicyResponse,
  encodeRevokeTokenRequest,
  encodeTestPolicyRequest,
  encodeTestPolicyResponse,
} from "./access-message.ts";

const grant = { subject: "alice", resource: "orders-*", action: "produce", role: "" };
const role = { subject: "alice", resource: "", action: "", role: "writers" };
const token = { id: "abcdefghijkl", name: "alice", createdAt: 1_760_000_000_000, expiresAt: 0 };

describe("the messages of log.v1.Access", () => {
  test("come back as they were", () => {
    const policy = { revision: 7, isOn: true, model: "m", grants: [grant, role], tokens: [token] };
    assert.deepEqual(decodePolicyResponse(encodePolicyResponse(policy)), policy);
    const change = { add: [grant], remove: [role], force: true };
    assert.deepEqual(decodeChangePolicyRequest(encodeChangePolicyRequest(change)), change);
    const question = { subject: "alice", resource: "orders", action: "admin" };
    assert.deepEqual(decodeTestPolicyRequest(encodeTestPolicyRequest(question)), question);
    const result = { isPermitted: true, isOn: true };
    assert.deepEqual(decodeTestPolicyResponse(encodeTestPolicyResponse(result)), result);
    const wish = { name: "alice", expiresAt: 1_760_000_000_001 };
    assert.deepEqual(decodeCreateTokenRequest(encodeCreateTokenRequest(wish)), wish);
    const made = { ...token, token: "plg_…" };
    assert.deepEqual(decodeCreateTokenResponse(encodeCreateTokenResponse(made)), made);
    const revocation = { id: "abcdefghijkl", force: true };
    assert.deepEqual(decodeRevokeTokenRequest(encodeRevokeTokenRequest(revocation)), revocation);
  });

  test("that can't be read are refused with a code", () => {
    const garbage = Buffer.from([0xff, 0xff]);
    for (const decode of [
      decodeChangePolicyRequest,
      decodeTestPolicyRequest,
      decodeCreateTokenRequest,
      decodeRevokeTokenRequest,
    ])
      assert.throws(() => decode(garbage), { code: "INVALID_ARGUMENT" });
  });
});
