import assert from "node:assert/strict";
import { test } from "node:test";
import { formatTailPosition, parseTailPosition } from "./tail-position.ts";

test("a position is an offset alone for one partition, else each partition with its own", () => {
  assert.equal(formatTailPosition(new Map([[0, 41]]), { isAlone: true }), "41");
  assert.equal(formatTailPosition(new Map([[0, -1]]), { isAlone: true }), "-1");
  assert.equal(formatTailPosition(new Map([[3, 41]]), { isAlone: false }), "3:41");
  assert.equal(
    formatTailPosition(
      new Map([
        [0, 41],
        [1, -1],
      ]),
      { isAlone: false },
    ),
    "0:41,1:-1",
  );
});

test("what was formatted is read as the same", () => {
  for (const position of [
    new Map([[7, 0]]),
    new Map([[0, -1]]),
    new Map([
      [0, 2 ** 53 - 1],
      [12, 5],
    ]),
  ])
    assert.deepEqual(parseTailPosition(formatTailPosition(position, { isAlone: false })), position);
  assert.deepEqual(parseTailPosition("41"), new Map([[0, 41]]));
});

test("what is no position is refused", () => {
  for (const text of ["", "x", "-2", "1:", ":1", "1:2:3", "0:1,", "0:1,0:2", "1,2", "9007199254740992", "1.5", " 1"])
    assert.throws(() => parseTailPosition(text), { code: "INVALID_ARGUMENT" }, text);
});
