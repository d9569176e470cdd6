import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { type ErrorCode, isProglogError } from "../base/error.ts";
import { recordMaxBytes, recordMaxHeaders } from "../base/limits.ts";
import { checkRecord, type RecordInput } from "./record.ts";

test("a record's size is that of key, value and headers in UTF-8", () => {
  assert.equal(checkRecord({ value: null }), 0);
  assert.equal(checkRecord({ value: "grün" }), 5);
  assert.equal(
    checkRecord({
      key: "k",
      value: Buffer.alloc(7),
      headers: [
        { key: "ü", value: null },
        { key: "", value: "12" },
      ],
    }),
    12,
  );
});

test("a record of exactly the largest size passes, and one byte more anywhere is too large", () => {
  const rest = { key: "key", headers: [{ key: "h", value: "v" }] };
  assert.equal(checkRecord({ ...rest, value: Buffer.alloc(recordMaxBytes - 5) }), recordMaxBytes);
  assert.throws(
    () => checkRecord({ ...rest, value: Buffer.alloc(recordMaxBytes - 4) }),
    coded("RECORD_TOO_LARGE", /take 1048577 bytes/),
  );
  assert.throws(
    () => checkRecord({ ...rest, key: "key4", value: Buffer.alloc(recordMaxBytes - 5) }),
    coded("RECORD_TOO_LARGE", /take 1048577 bytes/),
  );
  assert.throws(
    () => checkRecord({ value: null, headers: [{ key: "h", value: Buffer.alloc(recordMaxBytes) }] }),
    coded("RECORD_TOO_LARGE", /take 1048577 bytes/),
  );
});

test("as many headers as allowed pass, and one more is too many", () => {
  const headers = Array.from({ length: recordMaxHeaders }, () => ({ key: "h", value: null }));
  assert.equal(checkRecord({ value: null, headers }), recordMaxHeaders);
  const more = [...headers, { key: "h", value: null }];
  assert.throws(
    () => checkRecord({ value: null, headers: more }),
    coded("RECORD_TOO_LARGE", /1025 headers, and 1024 are allowed/),
  );
});

test("what is no record is refused with a reason", () => {
  const bad: readonly (readonly [unknown, RegExp])[] = [
    [null, /it is null, not an object/],
    ["text", /it is of type string, not an object/],
    [{}, /its value is undefined, not bytes, a string or null/],
    [{ value: 7 }, /its value is 7, not bytes/],
    [{ value: [1, 2] }, /its value is an array/],
    [{ value: new Uint16Array(2) }, /its value is of type object/],
    [{ value: null, key: {} }, /its key is of type object/],
    [{ value: null, headers: {} }, /its headers are of type object, not an array/],
    [{ value: null, headers: [null] }, /a header is null/],
    [{ value: null, headers: [{ key: null, value: null }] }, /a header's key is null, not a string/],
    [{ value: null, headers: [{ key: "h" }] }, /its header's value is undefined/],
    [{ value: null, timestamp: -1 }, /its timestamp is -1, not an integer of milliseconds/],
    [{ value: null, timestamp: 1.5 }, /its timestamp is 1.5/],
    [{ value: null, timestamp: 2 ** 53 }, /its timestamp is 9007199254740992/],
    [{ value: null, timestamp: Number.NaN }, /its timestamp is NaN/],
    [{ value: "a\ud800b" }, /its value is a string with half a surrogate pair/],
    [{ value: null, headers: [{ key: "\udc00", value: null }] }, /its header's key is a string with half a surrogate pair/],
  ];
  for (const [record, reason] of bad) {
    assert.throws(() => checkRecord(record as RecordInput), coded("INVALID_RECORD", reason));
    assert.throws(() => checkRecord(record as RecordInput), /^ProglogError: Cannot accept the record: /);
  }
});

test("the edges of a timestamp pass", () => {
  assert.equal(checkRecord({ value: null, timestamp: 0 }), 0);
  assert.equal(checkRecord({ value: null, timestamp: Number.MAX_SAFE_INTEGER }), 0);
});

test("bytes made in another realm are bytes", () => {
  assert.equal(checkRecord({ value: runInNewContext("new Uint8Array(3)") as Uint8Array }), 3);
});

function coded(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => isProglogError(error, code) && message.test(error.message);
}
