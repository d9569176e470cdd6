import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isProglogError } from "./error.ts";
import { LineSplitter } from "./line-splitter.ts";

function split(chunks: readonly (string | Buffer)[], lineMaxBytes = 100): string[] {
  const splitter = new LineSplitter({ lineMaxBytes });
  const lines: string[] = [];
  for (const chunk of chunks) for (const line of splitter.push(Buffer.from(chunk))) lines.push(line.toString("latin1"));
  const last = splitter.end();
  return last === undefined ? lines : [...lines, last.toString("latin1")];
}

test("a line ends at its newline, and the last one needs none", () => {
  assert.deepEqual(split(["a\nb\n"]), ["a", "b"]);
  assert.deepEqual(split(["a\nb"]), ["a", "b"]);
  assert.deepEqual(split([""]), []);
});

test("an empty line is a line", () => {
  assert.deepEqual(split(["\n"]), [""]);
  assert.deepEqual(split(["a\n\n\nb"]), ["a", "", "", "b"]);
});

test("a carriage return and bytes that are no UTF-8 stay in the line", () => {
  assert.deepEqual(split([Buffer.from("a\r\n\xff\xfe\x00\n", "latin1")]), ["a\r", "\xff\xfe\x00"]);
});

test("lines come out the same however the bytes are cut into chunks", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("a", "\n", "\r", "\0")), fc.array(fc.nat({ max: 10 })), (characters, cuts) => {
      const text = characters.join("");
      const chunks: string[] = [];
      let start = 0;
      for (const cut of cuts) {
        chunks.push(text.slice(start, start + cut));
        start += cut;
      }
      const expected = text.split("\n");
      if (expected.at(-1) === "") expected.pop();
      assert.deepEqual(split([...chunks, text.slice(start)]), expected);
    }),
  );
});

test("a chunk that is used again afterwards leaves the kept rest of a line alone", () => {
  const splitter = new LineSplitter({ lineMaxBytes: 100 });
  const chunk = Buffer.from("rest");
  assert.deepEqual([...splitter.push(chunk)], []);
  chunk.fill("x");
  assert.equal(splitter.end()?.toString(), "rest");
});

test("a line of the limit passes, and one byte more is refused by its number, after the lines before it", () => {
  assert.deepEqual(split(["ab", "cd\n", "abcd"], 4), ["abcd", "abcd"]);
  for (const chunks of [["1\n2\nabcde\n"], ["1\n2\nabc", "de"]]) {
    const splitter = new LineSplitter({ lineMaxBytes: 4 });
    const lines: string[] = [];
    assert.throws(
      () => {
        for (const chunk of chunks) for (const line of splitter.push(Buffer.from(chunk))) lines.push(line.toString());
      },
      (error) =>
        isProglogError(error, "RECORD_TOO_LARGE") &&
        error.details["line"] === 3 &&
        /line 3: it is longer than 4 bytes/.test(error.message),
    );
    assert.deepEqual(lines, ["1", "2"]);
  }
});
