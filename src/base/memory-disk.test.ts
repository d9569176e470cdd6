import assert from "node:assert/strict";
import { test } from "node:test";
import { createMemoryDisk } from "./memory-disk.ts";

// What it has in common with the other disks is held by test/disk-conformance.test.ts.

test("each memory disk has files of its own", () => {
  const disk = createMemoryDisk();
  disk.open("a", "create").close();
  assert.equal(createMemoryDisk().size("a"), undefined);
});

test("a relative path starts at the root, whatever the working directory is", () => {
  const disk = createMemoryDisk();
  disk.open("a", "create").close();
  assert.equal(disk.size("/a"), 0);
  assert.equal(disk.size("/b/../a"), 0);
});

test("a file that is appended to in small pieces holds them all", () => {
  const file = createMemoryDisk().open("a", "create");
  const pieces = Array.from({ length: 20_000 }, (_, index) => Buffer.from(`piece ${index};`));
  let position = 0;
  for (const piece of pieces) {
    file.writeSync([piece], position);
    position += piece.length;
  }
  const read = Buffer.alloc(position);
  assert.equal(file.readSync(read, 0), position);
  assert.ok(read.equals(Buffer.concat(pieces)));
});

test("no file of a memory disk can be mapped", () => {
  const disk = createMemoryDisk();
  assert.equal(disk.canMap("/"), false);
  assert.equal(disk.open("a", "create").fd, -1);
});
