import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { parseJsonBody, parseLine } from "./record-body.ts";

test("a JSON body is one record or an array of them", () => {
  assert.deepEqual(valuesOf(parseJsonBody(Buffer.from('{"value":"a"}'))), ["a"]);
  assert.deepEqual(valuesOf(parseJsonBody(Buffer.from('[{"value":"a"},{"value":"b"}]'))), ["a", "b"]);
});

test("a line is a record, and a blank one is none", () => {
  assert.deepEqual(parseLine(Buffer.from('{"value":"a"}\r'), 1)?.value, "a");
  for (const blank of ["", "\r", " \t\r"]) assert.equal(parseLine(Buffer.from(blank), 1), undefined);
});

test("a wrong line is named by its number", () => {
  assertRefused(() => parseLine(Buffer.from('{"value":'), 3), "INVALID_ARGUMENT", /line 3/);
  assertRefused(() => parseLine(Buffer.from('{"valu":"a"}'), 2), "INVALID_RECORD", /line 2/);
  assertRefused(() => parseLine(Buffer.from('{"value":"a"}{"value":"b"}'), 1), "INVALID_ARGUMENT", /line 1/);
});

test("a wrong record of an array is named by its number", () => {
  assertRefused(() => parseJsonBody(Buffer.from('[{"value":"a"},1]')), "INVALID_RECORD", /record 1/);
});

test("a body that is empty, no JSON, no UTF-8 or without a record is refused", () => {
  for (const body of ["", "{", '{"value":"a"} x', "[]", "[[]]", "null"]) {
    assert.throws(
      () => parseJsonBody(Buffer.from(body)),
      (error) => isProglogError(error),
      body,
    );
  }
  const notUtf8 = Buffer.from('{"value":"\xff"}', "latin1");
  assertRefused(() => parseJsonBody(notUtf8), "INVALID_ARGUMENT", /body/);
  assertRefused(() => parseLine(notUtf8, 1), "INVALID_ARGUMENT", /line 1/);
});

function valuesOf(records: readonly { readonly value: unknown }[]): unknown[] {
  return records.map(({ value }) => value);
}

function assertRefused(run: () => unknown, code: string, message: RegExp): void {
  assert.throws(run, (error) => isProglogError(error) && error.code === code && message.test(error.message));
}
