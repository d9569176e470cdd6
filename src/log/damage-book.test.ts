import assert from "node:assert/strict";
import { test } from "node:test";
import { damagesMaxCount } from "../base/limits.ts";
import { silentLogger } from "../base/logger.ts";
import { DamageBook } from "./damage-book.ts";

test("each place is told once, and so many in all", () => {
  const told: number[] = [];
  const logged: unknown[] = [];
  const logger = { ...silentLogger, error: (fields: object) => void logged.push(fields) };
  const book = new DamageBook(logger, { damaged: ({ position }) => void told.push(position) });
  const note = (position: number): void =>
    book.note({ file: "/log/1.store", position, firstOffset: 0, nextOffset: 0, reason: "it rotted" });
  note(7);
  note(7);
  assert.deepEqual([book.count, told], [1, [7]]);
  for (let position = 100; position < 100 + damagesMaxCount; position += 1) note(position);
  assert.equal(book.count, damagesMaxCount);
  assert.equal(told.length, damagesMaxCount);
  assert.equal(told.at(-1), 100 + damagesMaxCount - 2);
  assert.equal(logged.length, damagesMaxCount);
});
