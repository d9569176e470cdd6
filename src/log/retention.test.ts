import assert from "node:assert/strict";
import { test } from "node:test";
import { countExpired } from "./retention.ts";

const none = Number.POSITIVE_INFINITY;

/** Segments of (bytes, time of the last append); `active` bytes beside them. */
function count(
  segments: readonly (readonly [number, number])[],
  limits: { readonly maxBytes?: number; readonly maxAgeMs?: number; readonly now?: number; readonly active?: number },
): number {
  const { maxBytes = none, maxAgeMs = none, now = 1000, active = 50 } = limits;
  const total = segments.reduce((sum, [bytes]) => sum + bytes, active);
  const describe = segments.map(([storeBytes, lastAppendTime]) => () => ({ storeBytes, lastAppendTime }));
  return countExpired(describe, total, { maxBytes, maxAgeMs, now });
}

const three = [
  [100, 400],
  [100, 600],
  [100, 800],
] as const;

test("without limits nothing expires", () => {
  assert.equal(count(three, {}), 0);
});

test("segments go from the front while what is left is still as large as the limit", () => {
  assert.equal(count(three, { maxBytes: 350 }), 0);
  assert.equal(count(three, { maxBytes: 251 }), 0);
  assert.equal(count(three, { maxBytes: 250 }), 1);
  assert.equal(count(three, { maxBytes: 151 }), 1);
  assert.equal(count(three, { maxBytes: 150 }), 2);
  assert.equal(count(three, { maxBytes: 0 }), 3);
});

test("segments go whose last entry is older than the limit, and not at it", () => {
  assert.equal(count(three, { maxAgeMs: 600 }), 0);
  assert.equal(count(three, { maxAgeMs: 599 }), 1);
  assert.equal(count(three, { maxAgeMs: 200 }), 2);
  assert.equal(count(three, { maxAgeMs: 199 }), 3);
  assert.equal(count(three, { maxAgeMs: 0, now: 800 }), 2);
});

test("only a prefix goes: a young segment keeps the old ones behind it", () => {
  assert.equal(
    count(
      [
        [100, 900],
        [100, 100],
      ],
      { maxAgeMs: 500 },
    ),
    0,
  );
});

test("either limit is enough", () => {
  assert.equal(count(three, { maxBytes: 250, maxAgeMs: 300 }), 2);
  assert.equal(count(three, { maxBytes: 150, maxAgeMs: 550 }), 2);
});

test("a segment that stays is looked at, and none behind it", () => {
  const asked: number[] = [];
  const describe = three.map(([storeBytes, lastAppendTime]) => () => {
    asked.push(lastAppendTime);
    return { storeBytes, lastAppendTime };
  });
  assert.equal(countExpired(describe, 350, { maxBytes: none, maxAgeMs: 500, now: 1000 }), 1);
  assert.deepEqual(asked, [400, 600]);
});
