import assert from "node:assert/strict";
import { test } from "node:test";
import { checkBindAddress } from "./bind-address.ts";

test("loopback needs no word", () => {
  for (const host of ["127.0.0.1", "127.8.9.1", "::1", "localhost", "::ffff:127.0.0.1"])
    checkBindAddress(host, { isInsecure: false });
});

test("any other address is refused without --insecure, and says so", () => {
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "192.168.1.5", "example.com", "localhost.example.com", "::2", "128.0.0.1"]) {
    assert.throws(() => checkBindAddress(host, { isInsecure: false }), { code: "INSECURE_ADDRESS", hint: /--insecure/ });
    checkBindAddress(host, { isInsecure: true });
  }
});

test("what is no host is refused, and an address with a port named as such", () => {
  for (const host of ["127.0.0.1:8401", "a b", "http://x", ""]) {
    assert.throws(() => checkBindAddress(host, { isInsecure: true }), { code: "INVALID_CONFIG", hint: /--rpc-port/ });
  }
});
