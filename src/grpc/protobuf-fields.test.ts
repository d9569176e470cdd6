import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { bytesField, findField, integerField, readFields, textOf } from "./protobuf-fields.ts";

describe("fields of protobuf", () => {
  test("come back as they were, in their order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 2 ** 29 - 1 }), fc.oneof(fc.maxSafeNat(), fc.uint8Array()))),
        (values) => {
          const message = Buffer.concat(
            values.map(([number, value]) =>
              typeof value === "number" ? integerField(number, value) : bytesField(number, value),
            ),
          );
          const expected = values
            .filter(([, value]) => value !== 0)
            .map(([number, value]) => ({
              number,
              integer: typeof value === "number" ? value : 0,
              bytes: Buffer.from(typeof value === "number" ? [] : value),
            }));
          assert.deepEqual(readFields(message), expected);
        },
      ),
    );
  });

  test("of fixed length are read", () => {
    assert.deepEqual(
      readFields(Buffer.from("0900010000000000000d05000000", "hex")).map(({ number, integer }) => [number, integer]),
      [
        [1, 256],
        [1, 5],
      ],
    );
  });

  test("that stand twice count by the last, and an absent text is empty", () => {
    const fields = readFields(Buffer.concat([bytesField(1, "a"), bytesField(1, "b")]));
    assert.equal(textOf(fields, 1), "b");
    assert.equal(textOf(fields, 2), "");
    assert.equal(findField(fields, 2), undefined);
  });

  test("that are cut, of an unknown kind or of no number are refused", () => {
    for (const hex of [
      "08",
      "0a05",
      "0a0161ff",
      "0b",
      "0c",
      "0f",
      "00",
      "0001",
      "0d0000",
      "0900",
      "08ffffffffffffffffffff01",
      "8080808080808080808001",
    ])
      assert.throws(() => readFields(Buffer.from(hex, "hex")), { status: "INVALID_ARGUMENT" }, hex);
  });

  test("of random bytes are read or refused, and nothing else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => {
        try {
          readFields(Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as { status?: string }).status, "INVALID_ARGUMENT");
        }
      }),
    );
  });
});
