import assert from "node:assert/strict";
import { test } from "node:test";
import { formatEndOffset, parseAppendOptions } from "./append-headers.ts";

test("without headers of ours there are no options", () => {
  assert.equal(parseAppendOptions({ "content-type": "application/json" }), undefined);
});

test("If-Match is one end offset, quoted or bare, as it is written into an ETag", () => {
  for (const text of ['"42"', "42", ' "42" ', formatEndOffset(42)])
    assert.deepEqual(parseAppendOptions({ "if-match": text }), { expectedOffset: 42 });
  assert.deepEqual(parseAppendOptions({ "if-match": "0" }), { expectedOffset: 0 });
  for (const text of ["*", "", '""', 'W/"42"', '"42", "43"', '"42', "-1", "1.5", "x", "9007199254740992"])
    assert.throws(() => parseAppendOptions({ "if-match": text }), { code: "INVALID_ARGUMENT" }, text);
});

test("a producer has an id and a sequence, and epoch 0 when it says none", () => {
  assert.deepEqual(parseAppendOptions({ "producer-id": "7", "producer-sequence": "0" }), {
    producer: { id: 7, epoch: 0, baseSequence: 0 },
  });
  const largest = { "producer-id": "9007199254740991", "producer-epoch": "32767", "producer-sequence": "2147483647" };
  assert.deepEqual(parseAppendOptions({ ...largest, "if-match": "3" }), {
    expectedOffset: 3,
    producer: { id: 2 ** 53 - 1, epoch: 32_767, baseSequence: 2 ** 31 - 1 },
  });
  for (const wrong of [
    { "producer-id": "7" },
    { "producer-sequence": "0" },
    { "producer-epoch": "0" },
    { "producer-id": "7", "producer-epoch": "0" },
    { ...largest, "producer-id": "9007199254740992" },
    { ...largest, "producer-epoch": "32768" },
    { ...largest, "producer-sequence": "2147483648" },
    { ...largest, "producer-id": "7, 7" },
    { ...largest, "producer-id": "" },
    { ...largest, "producer-sequence": "-1" },
  ])
    assert.throws(() => parseAppendOptions(wrong), { code: "INVALID_ARGUMENT" }, JSON.stringify(wrong));
});
