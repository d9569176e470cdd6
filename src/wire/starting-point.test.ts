import assert from "node:assert/strict";
import { test } from "node:test";
import { formatStartingPoint, parseStartingPoint, type StartingPoint } from "./starting-point.ts";

const points: readonly (readonly [string, StartingPoint])[] = [
  ["start", "start"],
  ["end", "end"],
  ["0", 0],
  ["42", 42],
  ["9007199254740991", 9_007_199_254_740_991],
  ["@0", { timestamp: 0 }],
  ["@1760000000000", { timestamp: 1_760_000_000_000 }],
];

for (const [text, point] of points) {
  test(`${text} is a starting point, and is written so`, () => {
    assert.deepEqual(parseStartingPoint(text), point);
    assert.equal(formatStartingPoint(point), text);
  });
}

test("a time in ISO 8601 with its zone is a starting point", () => {
  const timestamp = Date.UTC(2026, 0, 31, 8, 0);
  assert.deepEqual(parseStartingPoint("2026-01-31T08:00Z"), { timestamp });
  assert.deepEqual(parseStartingPoint("2026-01-31T09:00:00+01:00"), { timestamp });
  assert.deepEqual(parseStartingPoint("2026-01-31T08:00:00.250Z"), { timestamp: timestamp + 250 });
  assert.deepEqual(parseStartingPoint("2026-01-31"), { timestamp: Date.UTC(2026, 0, 31) });
});

const wrong = [
  "",
  "-1",
  "1.5",
  "1e3",
  "0x10",
  " 1",
  "9007199254740992",
  "@9007199254740992",
  "@-1",
  "@",
  "beginning",
  "Start",
  "2026-01-31T08:00",
  "2026-13-01",
  "2026-02-30T00:00Z",
  "2026-01-31T25:00Z",
  "1969-12-31T23:59Z",
  "Tue Mar 01 2022",
];

for (const text of wrong) {
  test(`${JSON.stringify(text)} is no starting point`, () => {
    assert.throws(() => parseStartingPoint(text), { code: "INVALID_ARGUMENT" });
  });
}
