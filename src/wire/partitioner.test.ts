import assert from "node:assert/strict";
import { test } from "node:test";
import { murmur2, partitionOfKey } from "./partitioner.ts";

// The vectors of Kafka's own test of its Java client.
const vectors: readonly (readonly [string, number])[] = [
  ["21", -973932308],
  ["foobar", -790332482],
  ["a-little-bit-long-string", -985981536],
  ["a-little-bit-longer-string", -1486304829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
  ["abc", 479470107],
];

for (const [text, hash] of vectors) {
  test(`murmur2 of "${text}" is Kafka's`, () => assert.equal(murmur2(Buffer.from(text)), hash));
}

test("a key's partition is its hash without the sign, modulo the count", () => {
  assert.equal(partitionOfKey(Buffer.from("21"), 10), (-973932308 & 0x7fffffff) % 10);
  for (const [text] of vectors) {
    assert.equal(partitionOfKey(Buffer.from(text), 1), 0);
    const partition = partitionOfKey(Buffer.from(text), 7);
    assert(partition >= 0 && partition < 7);
  }
});

test("an empty key has a partition too", () => {
  const partition = partitionOfKey(Buffer.alloc(0), 5);
  assert(Number.isInteger(partition) && partition >= 0 && partition < 5);
});
