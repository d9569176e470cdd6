import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeBase64 } from "./base64.ts";

test("padded Base64 is decoded", () => {
  assert.deepEqual(decodeBase64(""), Buffer.alloc(0));
  assert.deepEqual(decodeBase64("aGVsbG8gd29ybGQ="), Buffer.from("hello world"));
  for (let length = 0; length < 64; length += 1) {
    const bytes = Buffer.from(Array.from({ length }, (_, at) => (at * 37 + 251) & 255));
    assert.deepEqual(decodeBase64(bytes.toString("base64")), bytes);
  }
});

test("line breaks inside it are skipped", () => {
  assert.deepEqual(decodeBase64("aGVs\r\nbG8=\n"), Buffer.from("hello"));
});

test("what isn't padded, or isn't its alphabet, is refused and not guessed", () => {
  for (const text of [
    "a",
    "aGVsbG8",
    "aGVsbG8==",
    "aGVs bG8=",
    "aGVsbG8_",
    "aGV-bG8=",
    "=aGVsbG8",
    "aG=VsbG8",
    "====",
    "aGVsbG8é",
    "a===",
  ]) {
    assert.equal(decodeBase64(text), undefined, text);
  }
});

test("a long text takes no longer than its length says", () => {
  assert.equal(decodeBase64(`${"A".repeat(4_000_000)}!AAA`), undefined);
});
