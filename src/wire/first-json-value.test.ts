import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFirstJsonValue } from "./first-json-value.ts";

test("what follows the first value is not looked at", () => {
  assert.deepEqual(parseFirstJsonValue('{"a":1}garbage'), { a: 1 });
  assert.deepEqual(parseFirstJsonValue(' \r\n\t{"a":{"b":[1,"}"]}} {"c":2}'), { a: { b: [1, "}"] } });
  assert.deepEqual(parseFirstJsonValue("[1,[2]]]"), [1, [2]]);
});

test("brackets and quotes inside of strings don't count", () => {
  assert.deepEqual(parseFirstJsonValue('{"a":"}\\"}\\\\"}}}'), { a: '}"}\\' });
});

test("a plain value is one", () => {
  assert.equal(parseFirstJsonValue("null"), null);
  assert.equal(parseFirstJsonValue(" 12 "), 12);
});

test("nothing is undefined", () => {
  assert.equal(parseFirstJsonValue(""), undefined);
  assert.equal(parseFirstJsonValue(" \n"), undefined);
});

test("what isn't JSON throws", () => {
  for (const text of ["{", '{"a":', "{a:1}", "}", '{"a":1,}', '{"a"}', "[1}", "nul", "\u00a0{}"]) {
    assert.throws(() => parseFirstJsonValue(text), SyntaxError, text);
  }
});
