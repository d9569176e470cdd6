import assert from "node:assert/strict";
import { test } from "node:test";
import { isProglogError } from "../base/error.ts";
import { parseJsonBody, parseLinesBody } from "./record-body.ts";

test("a JSON body is one record or an array of them", () => {
  assert.deepEqual(valuesOf(parseJsonBody(Buffer.from('{"value":"a"}'))), ["a"]);
  assert.deepEqual(valuesOf(parseJsonBody(Buffer.from('[{"value":"a"},{"value":"b"}]'))), ["a", "b"]);
});

test("a body of lines is a record a line; blank ones are skipped, and the last may lack its end", () => {
  const body = Buffer.from('{"value":"a"}\r\n\n \t\n{"value":"b"}');
  assert.deepEqual(valuesOf([...parseLinesBody(body)]), ["a", "b"]);
  assert.deepEqual([...parseLinesBody(Buffer.from("\n\n"))], []);
  assert.deepEqual([...parseLinesBody(Buffer.alloc(0))], []);
});

test("a wrong line is named by its number, blank ones counted", () => {
  assertRefused(() => [...parseLinesBody(Buffer.from('{"value":"a"}\n\n{"value":\n'))], "INVALID_ARGUMENT", /line 3/);
  assertRefused(() => [...parseLinesBody(Buffer.from('{"value":"a"}\n{"valu":"a"}\n'))], "INVALID_RECORD", /line 2/);
  assertRefused(() => [...parseLinesBody(Buffer.from('{"value":"a"}{"value":"b"}\n'))], "INVALID_ARGUMENT", /line 1/);
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
  assertRefused(() => [...parseLinesBody(notUtf8)], "INVALID_ARGUMENT", /line 1/);
});

function valuesOf(records: readonly { readonly value: unknown }[]): unknown[] {
  return records.map(({ value }) => value);
}

function assertRefused(run: () => unknown, code: string, message: RegExp): void {
  assert.throws(run, (error) => isProglogError(error) && error.code === code && message.test(error.message));
}
