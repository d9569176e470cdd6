import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { encodeWholeFile, readWholeFile, type WholeFileFormat, writeWholeFile } from "./whole-file.ts";

const path = "/data/file";

// How it is read and written otherwise is held by manifest.test.ts and by the node record's tests.
test("a file of the most bytes is read again, and none of more is written", async () => {
  const disk = createMemoryDisk();
  await disk.makeDirectory("/data");
  const bytes = encodeWholeFile({ generation: 1, body: { a: 1 } }, formatOf(0));
  const format = formatOf(bytes.length);
  await writeWholeFile(disk, path, format, bytes);
  assert.deepEqual(readWholeFile(disk, path, format), { generation: 1, body: { a: 1 } });
  const larger = encodeWholeFile({ generation: 2, body: { a: 10 } }, format);
  await assert.rejects(writeWholeFile(disk, path, format, larger), { code: "OVERLOADED", details: { isReplaced: false } });
  assert.equal(readWholeFile(disk, path, format)?.generation, 1);
  assert.throws(() => readWholeFile(disk, path, formatOf(bytes.length - 1)), { code: "MANIFEST_CORRUPT" });
});

test("a file of another kind is corrupt, and named as what it should be", async () => {
  const disk = createMemoryDisk();
  await disk.makeDirectory("/data");
  await writeWholeFile(disk, path, formatOf(100), encodeWholeFile({ generation: 1, body: {} }, formatOf(100)));
  assert.throws(() => readWholeFile(disk, path, { ...formatOf(100), magic: "PLOTHER1", noun: "other" }), {
    code: "MANIFEST_CORRUPT",
    message: `Cannot read the other ${path}: it doesn't begin as one`,
    hint: "Don't.",
  });
});

function formatOf(maxBytes: number): WholeFileFormat {
  return { noun: "file", magic: "PLTEST01", version: 1, maxBytes, corruptHint: "Don't." };
}
