import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  decodeBaseAnswer,
  decodeCatchUpAnswer,
  decodeCatchUpQuestion,
  decodeEntriesAnswer,
  decodeFetchQuestion,
  encodeBaseAnswer,
  encodeCatchUpAnswer,
  encodeCopyQuestion,
  encodeEntriesAnswer,
  groupOfQuestion,
} from "./copy-questions.ts";

const frameOf = (bytes: number): Buffer => {
  const frame = Buffer.alloc(8 + bytes, 7);
  frame.writeBigUInt64LE(BigInt(bytes), 0);
  return frame;
};

describe("what is said of a copy of a log", () => {
  test("is read as it was written", () => {
    const catchUp = { group: "g", term: 3 };
    assert.deepEqual(decodeCatchUpQuestion(encodeCopyQuestion(catchUp)), catchUp);
    assert.equal(groupOfQuestion(encodeCopyQuestion(catchUp)), "g");
    for (const question of [
      { group: "g", wants: "base" } as const,
      { group: "g", wants: "entries", index: 5, lastIndex: 9 } as const,
    ])
      assert.deepEqual(decodeFetchQuestion(encodeCopyQuestion(question)), question);
    assert.deepEqual(decodeCatchUpAnswer(encodeCatchUpAnswer({ lastIndex: 7 })), { lastIndex: 7 });
    const base = { lastIndex: 9, logStartOffset: 4, membership: Buffer.from([1, 2]), record: Buffer.from("record") };
    assert.deepEqual(decodeBaseAnswer(encodeBaseAnswer(base)), base);
    const entries = { baseIndex: 2, frames: [frameOf(3), frameOf(1)] };
    assert.deepEqual(decodeEntriesAnswer(encodeEntriesAnswer(entries)), entries);
    assert.deepEqual(decodeEntriesAnswer(encodeEntriesAnswer({ baseIndex: 2, frames: [] })).frames, []);
  });

  test("is refused where it isn't that", () => {
    const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
    const whole = encodeEntriesAnswer({ baseIndex: 2, frames: [frameOf(3)] });
    const long = Buffer.concat([whole, Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x80])]);
    const isRefused = { code: "INVALID_ARGUMENT" };
    for (const body of [json({ group: "g" }), json({ group: "g", term: 0 }), json({ group: "g", term: 2 ** 40 }), json([])])
      assert.throws(() => decodeCatchUpQuestion(body), isRefused);
    for (const body of [
      json({ group: "g", wants: "all" }),
      json({ group: "g", wants: "entries", index: 0, lastIndex: 1 }),
      json({ group: "g", wants: "base", index: 1 }),
      json({ group: "g".repeat(65), wants: "base" }),
    ])
      assert.throws(() => decodeFetchQuestion(body), isRefused);
    assert.throws(() => groupOfQuestion(Buffer.from("{")), isRefused);
    assert.throws(() => decodeCatchUpAnswer(json({})), isRefused);
    for (const body of [Buffer.alloc(3), Buffer.from([255, 0, 0, 0]), whole.subarray(0, -1), long, long.subarray(0, -1)])
      assert.throws(() => decodeEntriesAnswer(body), isRefused);
    assert.throws(() => decodeBaseAnswer(whole), isRefused);
  });
});
