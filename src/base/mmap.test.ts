import assert from "node:assert/strict";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { loadMmap } from "./mmap.ts";
import { nodeDisk } from "./node-disk.ts";

const mmap = loadMmap();
const skip = mmap === undefined ? "koffi isn't installed, or this isn't Linux" : false;
const lengthBytes = 64 * 1024;

describe("mapped files", () => {
  let root: string;
  beforeEach(() => {
    root = fs.mkdtempSync(join(tmpdir(), "proglog-mmap-"));
  });
  afterEach(() => {
    fs.rmSync(root, { recursive: true, force: true });
  });

  function createFile(): ReturnType<typeof nodeDisk.open> {
    const file = nodeDisk.open(join(root, "mapped"), "create");
    file.writeSync([Buffer.alloc(lengthBytes, "0")], 0);
    return file;
  }

  test("a mapping and the file are the same bytes, both ways", { skip }, async () => {
    assert.ok(mmap);
    const file = createFile();
    const region = mmap.map(file.fd, lengthBytes);
    assert.equal(region.bytes.length, lengthBytes);
    region.bytes.write("by mapping", 5000);
    const buffer = Buffer.alloc(10);
    assert.equal(await file.read(buffer, 5000), 10);
    assert.equal(buffer.toString(), "by mapping");
    file.writeSync([Buffer.from("by writing")], 9000);
    assert.equal(region.bytes.toString("latin1", 9000, 9010), "by writing");
    await file.datasync();
    region.unmap();
    file.close();
    const content = fs.readFileSync(join(root, "mapped"), "latin1");
    assert.equal(content.slice(5000, 5010), "by mapping");
    assert.equal(content.length, lengthBytes);
  });

  test("an unmapped region has no bytes, so that a late access doesn't end the process", { skip }, () => {
    assert.ok(mmap);
    const file = createFile();
    const region = mmap.map(file.fd, lengthBytes);
    const part = region.bytes.subarray(100, 200);
    region.unmap();
    region.unmap();
    assert.equal(region.bytes.length, 0);
    assert.equal(region.bytes[0], undefined);
    assert.equal(part.length, 0);
    assert.throws(() => region.bytes.readUInt32LE(0), RangeError);
    file.close();
  });

  test("a mapping outlives the descriptor and the name of its file", { skip }, () => {
    assert.ok(mmap);
    const file = createFile();
    const region = mmap.map(file.fd, lengthBytes);
    file.close();
    nodeDisk.remove(file.path);
    region.bytes.fill("x");
    assert.equal(region.bytes[lengthBytes - 1], "x".charCodeAt(0));
    region.unmap();
  });

  test("a file can be mapped again and again, and no mapping is left behind", { skip }, () => {
    assert.ok(mmap);
    const file = createFile();
    for (let round = 0; round < 1000; round += 1) {
      const region = mmap.map(file.fd, lengthBytes);
      region.bytes.writeUInt32LE(round, 4 * round);
      region.unmap();
    }
    const region = mmap.map(file.fd, lengthBytes);
    for (let round = 0; round < 1000; round += 1) assert.equal(region.bytes.readUInt32LE(4 * round), round);
    assert.match(fs.readFileSync("/proc/self/maps", "utf8"), /mapped/);
    region.unmap();
    assert.doesNotMatch(fs.readFileSync("/proc/self/maps", "utf8"), /mapped/);
    file.close();
  });

  test("what the system won't map is DISK_FAILED, with its errno", { skip }, () => {
    assert.ok(mmap);
    const file = createFile();
    file.close();
    const reader = nodeDisk.open(file.path, "read");
    // EACCES: a shared mapping to write needs a descriptor to write.
    assert.throws(() => mmap.map(reader.fd, lengthBytes), { code: "DISK_FAILED", details: { errno: 13 } });
    assert.throws(() => mmap.map(-1, lengthBytes), { code: "DISK_FAILED", details: { errno: 9 } });
    assert.throws(() => mmap.map(reader.fd, 0), { name: "AssertionError" });
    reader.close();
  });
});
