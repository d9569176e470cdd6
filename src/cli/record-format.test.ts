import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import type { StoredRecord } from "../client/index.ts";
import { formatLine, jsonFormatter, parseFormat } from "./record-format.ts";

const record: StoredRecord = {
  offset: 42,
  timestamp: 1_760_000_000_000,
  key: Buffer.from("user-1"),
  value: Buffer.from("login"),
  headers: [
    { key: "trace", value: Buffer.from("abc") },
    { key: "empty", value: null },
  ],
};
const tombstone: StoredRecord = { offset: 43, timestamp: -1, key: null, value: null, headers: [] };

function format(text: string, one = record): string {
  return parseFormat(text, 3)(one).toString("latin1");
}

test("a line is the value's bytes and a newline", () => {
  assert.equal(formatLine(record).toString(), "login\n");
  assert.equal(formatLine({ ...record, value: Buffer.from([0xff, 0x00]) }).toString("latin1"), "\xff\x00\n");
  assert.equal(formatLine(tombstone).toString(), "\n");
});

test("a format stands for offset, times, key, value, headers and partition", () => {
  assert.equal(format("%o %t %T %k %v %h %p"), "42 1760000000000 2025-10-09T08:53:20.000Z user-1 login trace=abc,empty= 3\n");
  assert.equal(format("%o|%t|%T|%k|%v|%h", tombstone), "43|-1|-|||\n");
});

test("a format keeps what is no letter of its own, and knows escapes", () => {
  assert.equal(format("100%% 'ü'\\t%v\\n\\\\"), "100% '\xc3\xbc'\tlogin\n\\\n");
  assert.equal(format(""), "\n");
});

test("a format with an unknown letter is refused", () => {
  for (const text of ["%x", "%", "a\\", "\\x"]) {
    assert.throws(
      () => format(text),
      (error) => isProglogError(error, "INVALID_ARGUMENT"),
      text,
    );
  }
});

test("JSON holds every field, and bytes that are no UTF-8 in Base64", () => {
  const formatJson = jsonFormatter(3);
  assert.deepEqual(JSON.parse(formatJson(record).toString()), {
    partition: 3,
    offset: 42,
    timestamp: 1_760_000_000_000,
    key: "user-1",
    value: "login",
    headers: [
      { key: "trace", value: "abc" },
      { key: "empty", value: null },
    ],
  });
  assert.deepEqual(JSON.parse(formatJson({ ...tombstone, key: Buffer.from([0xff]) }).toString()), {
    partition: 3,
    offset: 43,
    timestamp: -1,
    keyBase64: "/w==",
    value: null,
    headers: [],
  });
});
