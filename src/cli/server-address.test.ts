import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { formatServerAddress, parseServerAddress } from "./server-address.ts";

test("a server is a host, a host and a port, or a URL", () => {
  assert.deepEqual(parseServerAddress("127.0.0.1:8000"), { host: "127.0.0.1", port: 8000 });
  assert.deepEqual(parseServerAddress("localhost"), { host: "localhost", port: 8000 });
  assert.deepEqual(parseServerAddress("logs.example:80"), { host: "logs.example", port: 80 });
  assert.deepEqual(parseServerAddress("[::1]:9000"), { host: "::1", port: 9000 });
  assert.deepEqual(parseServerAddress("http://localhost:9000/"), { host: "localhost", port: 9000, scheme: "http" });
  assert.deepEqual(parseServerAddress("http://logs.example"), { host: "logs.example", port: 80, scheme: "http" });
  assert.deepEqual(parseServerAddress("https://logs.example"), { host: "logs.example", port: 443, scheme: "https" });
  assert.deepEqual(parseServerAddress("https://[::1]:9000"), { host: "::1", port: 9000, scheme: "https" });
});

test("an address is written as it is read", () => {
  for (const text of ["127.0.0.1:8000", "[::1]:9000", "logs.example:80"])
    assert.equal(formatServerAddress(parseServerAddress(text)), text);
});

test("what is no server address is refused", () => {
  for (const text of ["", ":8000", "host:port", "host:70000", "ftp://host", "host/path", "http://user@host", "a b"]) {
    assert.throws(
      () => parseServerAddress(text),
      (error) => isProglogError(error, "INVALID_ARGUMENT"),
      JSON.stringify(text),
    );
  }
});
