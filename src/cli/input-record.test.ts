import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { recordMaxBytes } from "../base/limits.ts";
import { type LineShape, parseKeySeparator, recordOfLine } from "./input-record.ts";

function recordOf(line: string | Buffer, shape: LineShape = {}): { key: string | null; value: string } {
  const { key, value, bytes } = recordOfLine(Buffer.from(line), 1, shape);
  assert.equal(bytes, value.length + (key?.length ?? 0));
  return { key: latin1(key), value: latin1(value) ?? "none" };
}

function latin1(bytes: Uint8Array | string | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString("latin1");
}

test("without a separator the whole line is the value", () => {
  assert.deepEqual(recordOf("user:login"), { key: null, value: "user:login" });
  assert.deepEqual(recordOf(""), { key: null, value: "" });
  assert.deepEqual(recordOf("a", { key: "k" }), { key: "k", value: "a" });
});

test("the key ends at the first separator", () => {
  assert.deepEqual(recordOf("a:b:c", { keySeparator: ":" }), { key: "a", value: "b:c" });
  assert.deepEqual(recordOf(":b", { keySeparator: ":" }), { key: "", value: "b" });
  assert.deepEqual(recordOf("a::", { keySeparator: "::" }), { key: "a", value: "" });
});

test("a line without the separator is refused by its number", () => {
  assert.throws(
    () => recordOfLine(Buffer.from("abc"), 7, { keySeparator: ":" }),
    (error) =>
      isProglogError(error, "INVALID_RECORD") &&
      error.message === `Cannot produce line 7: it doesn't hold the key separator ":"`,
  );
});

test("every byte of key and value arrives, be it UTF-8 or not", () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => byte !== 0x0a));
  assert.equal(recordOf(bytes).value, bytes.toString("latin1"));
  const keyed = recordOf(Buffer.concat([Buffer.from([0xff, 0x09]), bytes]), { keySeparator: "\t" });
  assert.deepEqual(keyed, { key: "\xff", value: bytes.toString("latin1") });
  assert.equal(recordOf("\ufeffgrüße \u2028 😀").value, Buffer.from("\ufeffgrüße \u2028 😀").toString("latin1"));
});

test("a record of the limit passes, and one byte more is refused by its line", () => {
  const line = Buffer.alloc(recordMaxBytes, "x");
  assert.equal(recordOf(line).value.length, recordMaxBytes);
  assert.throws(
    () => recordOfLine(line, 3, { key: "k" }),
    (error) => isProglogError(error, "RECORD_TOO_LARGE") && error.message.startsWith("Cannot produce line 3: "),
  );
});

test("a key separator may be written with a backslash, and is never empty or a line break", () => {
  assert.equal(parseKeySeparator("\\t"), "\t");
  assert.equal(parseKeySeparator("\\\\"), "\\");
  assert.equal(parseKeySeparator("=>"), "=>");
  for (const text of ["", "\\n", "\n"]) {
    assert.throws(
      () => parseKeySeparator(text),
      (error) => isProglogError(error, "INVALID_ARGUMENT"),
    );
  }
});
