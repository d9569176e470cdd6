import assert from "node:assert/strict";
import { test } from "node:test";
import { xxhash32 } from "./xxhash32.ts";

test("xxHash32 gives the values of its reference implementation", () => {
  const known: readonly (readonly [text: string, hash: number])[] = [
    ["", 0x02cc5d05],
    ["a", 0x550d7456],
    ["abc", 0x32d153ff],
    ["abcd", 0xa3643705],
    ["Nobody inspects the spammish repetition", 0xe2293b2f],
    ["x".repeat(100_001), 0xccd2b656],
  ];
  for (const [text, hash] of known) assert.equal(xxhash32(Buffer.from(text)), hash, JSON.stringify(text.slice(0, 40)));
});
