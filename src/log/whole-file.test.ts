import assert from "node:assert/strict";
import { test } from "node:test";
import { createSimDisk } from "../../sim/disk.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { KiB, MiB } from "../base/units.ts";
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

test("on a full disk it is written once more in the room that was kept for it, and again once there is room", async () => {
  const disk = createSimDisk();
  await disk.makeDirectory("/data");
  const write = (generation: number, text: string): Promise<void> =>
    writeWholeFile(disk, path, formatOf(MiB), encodeWholeFile({ generation, body: { text } }, formatOf(MiB)));
  const read = (): number | undefined => readWholeFile(disk, path, formatOf(MiB))?.generation;
  await write(1, "a");
  disk.capacityBytes = disk.usedBytes;
  // Each time what was there before makes room for the next.
  for (let generation = 2; generation < 6; generation += 1) await write(generation, "b");
  assert.equal(read(), 5);
  // Somebody else takes what is free.
  const other = disk.open("/data/other", "create");
  other.writeSync([Buffer.alloc(disk.capacityBytes - disk.usedBytes)], 0);
  other.close();
  await write(6, "c");
  disk.capacityBytes = disk.usedBytes;
  await assert.rejects(write(7, "x".repeat(64 * KiB)), { code: "DISK_FULL", details: { isReplaced: false } });
  assert.equal(read(), 6);
  disk.capacityBytes = Number.POSITIVE_INFINITY;
  await write(8, "x".repeat(64 * KiB));
  disk.capacityBytes = disk.usedBytes;
  await write(9, "y".repeat(64 * KiB));
  assert.equal(read(), 9);
});

test("what can't be kept as room is missed by nobody", async () => {
  const disk = createSimDisk();
  await disk.makeDirectory("/data");
  disk.fail({ kind: "create", path: ".spare", code: "EIO", times: Number.POSITIVE_INFINITY });
  await writeWholeFile(disk, path, formatOf(100), encodeWholeFile({ generation: 1, body: {} }, formatOf(100)));
  assert.equal(readWholeFile(disk, path, formatOf(100))?.generation, 1);
  assert.equal(disk.openFileCount, 0);
});

function formatOf(maxBytes: number): WholeFileFormat {
  return { noun: "file", magic: "PLTEST01", version: 1, maxBytes, corruptHint: "Don't.", keepsRoom: true };
}
