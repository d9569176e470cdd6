import assert from "node:assert/strict";
import { test } from "node:test";
import { advanceChain, type ChainPoint, chainStart, findChainFault } from "./chain.ts";
import type { EntryHeader } from "./frame.ts";

const point: ChainPoint = { index: 7, term: 3, nextOffset: 40, appendTime: 1000 };
const next: EntryHeader = {
  kind: "data",
  index: 8,
  term: 3,
  span: 2,
  baseOffset: 40,
  appendTime: 1000,
  syncedBack: 1,
  flags: 0,
};

test("an entry follows the one before by index, term, offset and time", () => {
  assert.equal(findChainFault(point, next), undefined);
  assert.equal(findChainFault(point, { ...next, term: 9, appendTime: 2000 }), undefined);
  assert.deepEqual(advanceChain(next), { index: 8, term: 3, nextOffset: 42, appendTime: 1000 });
  assert.equal(findChainFault(chainStart, { ...next, index: 1, baseOffset: 0 }), undefined);
});

test("an entry that breaks the sequence is faulty, whatever its crc says", () => {
  assert.equal(findChainFault(point, { ...next, index: 7 }), "entry 7 where 8 follows");
  assert.equal(findChainFault(point, { ...next, index: 9 }), "entry 9 where 8 follows");
  assert.equal(findChainFault(point, { ...next, term: 2 }), "term 2 behind term 3");
  assert.equal(findChainFault(point, { ...next, baseOffset: 39 }), "offset 39 where 40 follows");
  assert.equal(findChainFault(point, { ...next, baseOffset: 41 }), "offset 41 where 40 follows");
  assert.equal(findChainFault(point, { ...next, appendTime: 999 }), "append time 999 behind 1000");
});

test("a pad and a segment header bear the index of the entry before", () => {
  for (const kind of ["pad", "segment-header"] as const) {
    assert.equal(findChainFault(point, { ...next, kind, span: 0, index: 7 }), undefined);
    assert.equal(findChainFault(point, { ...next, kind, span: 0, index: 8 }), "entry 8 where 7 follows");
  }
});

test("a number beyond 2^53-1 is a fault", () => {
  const far = { ...point, nextOffset: Number.MAX_SAFE_INTEGER - 1 };
  assert.equal(findChainFault(far, { ...next, baseOffset: far.nextOffset, span: 1 }), undefined);
  assert.equal(findChainFault(far, { ...next, baseOffset: far.nextOffset, span: 2 }), "a number beyond 2^53-1");
  assert.equal(findChainFault(point, { ...next, appendTime: 2 ** 53 }), "a number beyond 2^53-1");
});
