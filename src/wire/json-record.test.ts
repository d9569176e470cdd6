import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { recordMaxBytes } from "../base/limits.ts";
import type { StoredRecord } from "../batch/record.ts";
import { formatJsonRecord, parseJsonRecord } from "./json-record.ts";

const notUtf8 = Buffer.from([0xff, 0x00, 0x80]);

test("a record of text is text both ways", () => {
  const json = { key: "k", value: "grüße", headers: [{ key: "h", value: "v" }], timestamp: 5 };
  const record = parseJsonRecord(json, "the record");
  assert.deepEqual(record, { key: "k", value: "grüße", headers: [{ key: "h", value: "v" }], timestamp: 5 });
  assert.deepEqual(formatJsonRecord(stored({ key: Buffer.from("k"), value: Buffer.from("grüße") })), {
    offset: 3,
    timestamp: 5,
    key: "k",
    value: "grüße",
    headers: [],
  });
});

test("bytes that are no UTF-8 travel as Base64 both ways", () => {
  const json = formatJsonRecord(stored({ key: notUtf8, value: notUtf8, headers: [{ key: "h", value: notUtf8 }] }));
  const base64 = notUtf8.toString("base64");
  assert.deepEqual(json, {
    offset: 3,
    timestamp: 5,
    keyBase64: base64,
    valueBase64: base64,
    headers: [{ key: "h", valueBase64: base64 }],
  });
  const { offset: _, ...input } = json;
  assert.deepEqual(parseJsonRecord(input, "the record"), {
    key: notUtf8,
    value: notUtf8,
    headers: [{ key: "h", value: notUtf8 }],
    timestamp: 5,
  });
});

test("null is no key, a tombstone, and a header without a value", () => {
  const record = parseJsonRecord({ key: null, value: null, headers: [{ key: "h", value: null }] }, "the record");
  assert.deepEqual(record, { key: null, value: null, headers: [{ key: "h", value: null }], timestamp: undefined });
  assert.deepEqual(formatJsonRecord(stored({ key: null, value: null, headers: [{ key: "h", value: null }] })), {
    offset: 3,
    timestamp: 5,
    key: null,
    value: null,
    headers: [{ key: "h", value: null }],
  });
});

test("an empty string is a value and not a tombstone", () => {
  assert.equal(parseJsonRecord({ value: "" }, "the record").value, "");
  assert.deepEqual(parseJsonRecord({ valueBase64: "" }, "the record").value, Buffer.alloc(0));
  assert.equal(formatJsonRecord(stored({ value: Buffer.alloc(0) })).value, "");
});

test("headers may be an object of strings, even one called __proto__", () => {
  const json: unknown = JSON.parse('{"value":"v","headers":{"a":"1","__proto__":"2","b":null}}');
  assert.deepEqual(parseJsonRecord(json, "the record").headers, [
    { key: "a", value: "1" },
    { key: "__proto__", value: "2" },
    { key: "b", value: null },
  ]);
});

test("headers that stand twice keep their order", () => {
  const headers = [
    { key: "b", value: "1" },
    { key: "a", value: "2" },
    { key: "b", value: "3" },
  ];
  assert.deepEqual(parseJsonRecord({ value: "v", headers }, "the record").headers, headers);
});

const wrong: readonly (readonly [string, unknown])[] = [
  ["no object", "text"],
  ["an array", []],
  ["null", null],
  ["no value", { key: "k" }],
  ["an unknown field", { value: "v", vaule: "w" }],
  ["a field called __proto__", JSON.parse('{"value":"v","__proto__":1}')],
  ["an offset", { value: "v", offset: 3 }],
  ["a value that is a number", { value: 1 }],
  ["a value that is an object", { value: {} }],
  ["a key that is a number", { key: 1, value: "v" }],
  ["value and valueBase64", { value: "v", valueBase64: "dg==" }],
  ["key and keyBase64", { value: "v", key: null, keyBase64: "dg==" }],
  ["wrong Base64", { valueBase64: "dg" }],
  ["Base64 that is null", { valueBase64: null }],
  ["a negative timestamp", { value: "v", timestamp: -1 }],
  ["a timestamp with a fraction", { value: "v", timestamp: 1.5 }],
  ["a timestamp beyond 2^53-1", { value: "v", timestamp: 2 ** 53 }],
  ["a timestamp in text", { value: "v", timestamp: "1" }],
  ["headers that are text", { value: "v", headers: "h" }],
  ["a header that is text", { value: "v", headers: ["h"] }],
  ["a header without a key", { value: "v", headers: [{ value: "v" }] }],
  ["a header without a value", { value: "v", headers: [{ key: "h" }] }],
  ["a header with an unknown field", { value: "v", headers: [{ key: "h", value: "v", more: 1 }] }],
  ["a header object of numbers", { value: "v", headers: { h: 1 } }],
  ["half a surrogate pair", { value: "\ud800" }],
];

for (const [what, json] of wrong) {
  test(`a record with ${what} is refused by its place`, () => {
    assert.throws(
      () => parseJsonRecord(json, "record 7"),
      (error) => isProglogError(error, "INVALID_RECORD") && error.message.startsWith("Cannot accept record 7: "),
    );
  });
}

test("a record of the largest size is taken, and one byte more refused", () => {
  parseJsonRecord({ value: "v".repeat(recordMaxBytes) }, "the record");
  assert.throws(
    () => parseJsonRecord({ key: "k", value: "v".repeat(recordMaxBytes) }, "line 9"),
    (error) => isProglogError(error, "RECORD_TOO_LARGE") && error.message.startsWith("Cannot accept line 9: "),
  );
});

function stored(change: Partial<StoredRecord>): StoredRecord {
  return { offset: 3, timestamp: 5, key: null, value: null, headers: [], ...change };
}
