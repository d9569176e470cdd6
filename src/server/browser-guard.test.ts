import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { checkBrowser } from "./browser-guard.ts";

describe("the browser guard", () => {
  for (const headers of [
    {},
    { host: "127.0.0.1:8000" },
    { host: "localhost" },
    { host: "[::1]:8000" },
    { host: "127.0.0.1:8000", origin: "http://127.0.0.1:8000" },
    { host: "localhost:80", origin: "http://localhost" },
  ]) {
    test(`lets ${JSON.stringify(headers)} in`, () => checkBrowser(headers, { isLoopbackOnly: true }));
  }
  for (const headers of [
    { host: "127.0.0.1:8000", origin: "https://evil.example" },
    { host: "127.0.0.1:8000", origin: "http://127.0.0.1:9000" },
    { host: "127.0.0.1:8000", origin: "null" },
    { host: "127.0.0.1:8000", origin: "" },
    { origin: "http://127.0.0.1:8000" },
    { host: "evil.example:8000" },
    { host: "evil.example:8000", origin: "http://evil.example:8000" },
    { host: "localhost.evil.example" },
    { host: "a b" },
    { host: "" },
  ]) {
    test(`keeps ${JSON.stringify(headers)} out`, () => {
      assert.throws(() => checkBrowser(headers, { isLoopbackOnly: true }), { code: "FORBIDDEN_ORIGIN" });
    });
  }
  test("lets pages of the sites in that are allowed, exactly as they are written, and no host by another name", () => {
    const allowed = { isLoopbackOnly: true, allowedOrigins: ["https://app.example"] };
    checkBrowser({ host: "127.0.0.1:8000", origin: "https://app.example" }, allowed);
    for (const headers of [
      { host: "127.0.0.1:8000", origin: "http://app.example" },
      { host: "127.0.0.1:8000", origin: "https://app.example.evil.example" },
      { host: "app.example", origin: "https://app.example" },
    ])
      assert.throws(() => checkBrowser(headers, allowed), { code: "FORBIDDEN_ORIGIN" });
  });
  test("asks for no loopback name where the node may be reached from elsewhere, and for the same site still", () => {
    checkBrowser({ host: "log.example:8000" }, { isLoopbackOnly: false });
    checkBrowser({ host: "log.example:8000", origin: "http://log.example:8000" }, { isLoopbackOnly: false });
    assert.throws(() => checkBrowser({ host: "log.example", origin: "http://evil.example" }, { isLoopbackOnly: false }), {
      code: "FORBIDDEN_ORIGIN",
    });
  });
});
