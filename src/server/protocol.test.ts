import assert from "node:assert/strict";
import { test } from "node:test";
import { classifyProtocol } from "./protocol.ts";

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

test("the preface of HTTP/2 is told at its last byte, and not before", () => {
  for (let length = 0; length < preface.length; length += 1) assert.equal(classify(preface.slice(0, length)), "undecided");
  assert.equal(classify(preface), "http2");
  assert.equal(classify(`${preface}more`), "http2");
});

test("a method in capitals is HTTP/1.1 from the first byte that isn't the preface's", () => {
  for (const text of ["G", "GET / HTTP/1.1\r\n", "PO", "PUT", "PRX", "PRI * HTTP/1", "\r\nGET /"])
    assert.equal(classify(text), "http1", text);
});

test("another node is told by its eight bytes, and not before", () => {
  const magic = "\0PLPEER1";
  for (let length = 1; length < magic.length; length += 1) assert.equal(classify(magic.slice(0, length)), "undecided");
  assert.equal(classify(magic), "peer");
  assert.equal(classify(`${magic}more`), "peer");
  for (const text of ["\0\0", "\0PLPEER2", "\0PLX", "\0G"]) assert.equal(classify(text), "unknown", text);
});

test("anything else is unknown from its first byte", () => {
  for (const text of ["\x16\x03\x01", "\x01", "get /", " GET", "\xff", "{"]) assert.equal(classify(text), "unknown", text);
});

function classify(text: string): string {
  return classifyProtocol(Buffer.from(text, "latin1"));
}
