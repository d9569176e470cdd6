import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { createSimDisk } from "../sim/disk.ts";
import { createVirtualClock } from "../sim/clock.ts";
import { type Disk, type DiskFile, systemErrorCode } from "../src/base/disk.ts";
import { isProglogError } from "../src/base/error.ts";
import { GatedDisk } from "../src/base/gated-disk.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { nodeDisk } from "../src/base/node-disk.ts";

/** What the log relies on must be the same wherever it runs, or what is proved on one disk says nothing about the others. */
const worlds: { readonly name: string; readonly make: () => { disk: Disk; root: string; dispose: () => void } }[] = [
  {
    name: "node disk",
    make() {
      const root = mkdtempSync(join(tmpdir(), "proglog-disk-"));
      return { disk: nodeDisk, root, dispose: () => rmSync(root, { recursive: true, force: true }) };
    },
  },
  { name: "memory disk", make: () => ({ disk: inRoot(createMemoryDisk()), root: "/root", dispose: () => {} }) },
  { name: "simulated disk, strict", make: () => ({ disk: inRoot(createSimDisk()), root: "/root", dispose: () => {} }) },
  {
    name: "simulated disk, ordered",
    make: () => ({ disk: inRoot(createSimDisk({ model: "ordered" })), root: "/root", dispose: () => {} }),
  },
  {
    name: "gated disk, one sync at a time",
    make() {
      const disk = new GatedDisk(createSimDisk(), createVirtualClock(), { syncsMaxCount: 1 });
      return { disk: inRoot(disk), root: "/root", dispose: () => {} };
    },
  },
];

function inRoot(disk: Disk): Disk {
  void disk.makeDirectory("/root");
  return disk;
}

for (const { name, make } of worlds) {
  describe(`disk conformance: ${name}`, () => {
    let disk: Disk;
    let root: string;
    let dispose: () => void;
    beforeEach(() => {
      ({ disk, root, dispose } = make());
    });
    afterEach(() => dispose());

    const at = (path: string): string => join(root, path);
    const create = (path: string, content = ""): DiskFile => {
      const file = disk.open(at(path), "create");
      file.writeSync([Buffer.from(content)], 0);
      return file;
    };
    const contentOf = (path: string): string => {
      const file = disk.open(at(path), "read");
      const bytes = Buffer.alloc(file.size());
      assert.equal(file.readSync(bytes, 0), bytes.length);
      file.close();
      return bytes.toString("latin1");
    };

    it("a created file is empty, and there for the next who opens it", () => {
      create("a").close();
      assert.equal(disk.size(at("a")), 0);
      assert.equal(disk.open(at("a"), "write").size(), 0);
    });

    it("opening fails with ENOENT where nothing is, creating with EEXIST where something is", () => {
      throwsCode("ENOENT", () => disk.open(at("a"), "read"));
      throwsCode("ENOENT", () => disk.open(at("a"), "write"));
      throwsCode("ENOENT", () => disk.open(at("no/a"), "create"));
      create("a", "kept").close();
      throwsCode("EEXIST", () => disk.open(at("a"), "create"));
      throwsCode("ENOTDIR", () => disk.open(at("a/b"), "create"));
      assert.equal(contentOf("a"), "kept");
    });

    it("system errors carry code, errno, syscall and path", () => {
      assert.throws(() => disk.open(at("a"), "read"), {
        code: "ENOENT",
        errno: -2,
        syscall: "open",
        path: at("a"),
        message: `ENOENT: no such file or directory, open '${at("a")}'`,
      });
    });

    it("a write puts its buffers one behind the other at its position", async () => {
      const file = create("a", "0123456789");
      file.writeSync([Buffer.from("ab"), Buffer.alloc(0), Buffer.from("cd")], 3);
      await file.write([Buffer.from("X"), Buffer.from("Y")], 9);
      assert.equal(contentOf("a"), "012abcd78XY");
      assert.equal(file.size(), 11);
    });

    it("a write of nothing changes nothing, wherever it is", async () => {
      const file = create("a", "12");
      file.writeSync([], 100);
      file.writeSync([Buffer.alloc(0)], 100);
      await file.write([], 100);
      assert.equal(file.size(), 2);
    });

    it("a write of many and large buffers arrives whole", async () => {
      const file = create("a");
      const many = Array.from({ length: 3000 }, (_, index) => Buffer.from([index & 0xff, index >> 8]));
      const large = Buffer.alloc(5 * 1024 * 1024 + 13, "large buffer ");
      file.writeSync([...many, large], 7);
      await file.write([large, ...many], 10_000_000);
      const read = Buffer.alloc(file.size());
      assert.equal(await file.read(read, 0), read.length);
      const expected = Buffer.alloc(10_000_000 + large.length + 6000);
      Buffer.concat([...many, large]).copy(expected, 7);
      Buffer.concat([large, ...many]).copy(expected, 10_000_000);
      assert.ok(read.equals(expected));
    });

    it("the caller may use his buffer again once the write is through", async () => {
      const file = create("a");
      const buffer = Buffer.alloc(1024, "a");
      file.writeSync([buffer], 0);
      buffer.fill("b");
      await file.write([buffer], 1024);
      buffer.fill("c");
      assert.equal(contentOf("a"), "a".repeat(1024) + "b".repeat(1024));
    });

    it("what lies between the end and a write beyond it reads as zeros", () => {
      const file = create("a", "x");
      file.writeSync([Buffer.from("y")], 1500);
      assert.equal(contentOf("a"), `x${"\0".repeat(1499)}y`);
    });

    it("a read is short only at the end of the file", async () => {
      const file = create("a", "0123456789");
      const buffer = Buffer.alloc(4, "-");
      assert.equal(file.readSync(buffer, 2), 4);
      assert.equal(buffer.toString(), "2345");
      assert.equal(await file.read(buffer, 8), 2);
      assert.equal(buffer.toString(), "8945");
      assert.equal(file.readSync(buffer, 10), 0);
      assert.equal(await file.read(buffer, 1000), 0);
      assert.equal(file.readSync(Buffer.alloc(0), 0), 0);
    });

    it("a truncated file that grows again shows zeros, not its past", () => {
      const file = create("a", "x".repeat(2000));
      file.truncate(700);
      assert.equal(file.size(), 700);
      file.truncate(1600);
      file.writeSync([Buffer.from("end")], 1800);
      assert.equal(contentOf("a"), `${"x".repeat(700)}${"\0".repeat(1100)}end`);
      file.truncate(0);
      assert.equal(contentOf("a"), "");
    });

    it("positions that aren't whole numbers from 0 are refused, and nothing is written", async () => {
      const file = create("a", "12");
      for (const position of [-1, 0.5, Number.NaN, 2 ** 53]) {
        assert.throws(() => file.writeSync([Buffer.from("x")], position), { name: "AssertionError" });
        assert.throws(() => file.readSync(Buffer.alloc(1), position), { name: "AssertionError" });
        assert.throws(() => file.truncate(position), { name: "AssertionError" });
        await assert.rejects(file.write([Buffer.from("x")], position), { name: "AssertionError" });
        await assert.rejects(file.read(Buffer.alloc(1), position), { name: "AssertionError" });
      }
      assert.equal(contentOf("a"), "12");
    });

    it("a file opened to read can't be written or truncated, but synced", async () => {
      create("a", "12").close();
      const file = disk.open(at("a"), "read");
      throwsCode("EBADF", () => file.writeSync([Buffer.from("x")], 0));
      await rejectsCode("EBADF", file.write([Buffer.from("x")], 0));
      throwsCode("EINVAL", () => file.truncate(0));
      await file.datasync();
      assert.equal(contentOf("a"), "12");
    });

    it("closing twice is fine, and every use after it says that the file is closed", async () => {
      const file = create("a", "12");
      file.close();
      file.close();
      const closed = { code: "EBADF", message: /^Cannot \w+ .*a: the file is closed$/ };
      assert.throws(() => file.size(), closed);
      assert.throws(() => file.readSync(Buffer.alloc(1), 0), closed);
      assert.throws(() => file.writeSync([Buffer.from("x")], 0), closed);
      assert.throws(() => file.truncate(0), closed);
      await assert.rejects(file.read(Buffer.alloc(1), 0), closed);
      await assert.rejects(file.write([Buffer.from("x")], 0), closed);
      await assert.rejects(file.datasync(), closed);
      assert.equal(file.fd, -1);
    });

    it("what was under way when the file was closed ends as if it hadn't been", async () => {
      const file = create("a", "0123");
      const buffer = Buffer.alloc(4);
      const all = [file.read(buffer, 0), file.write([Buffer.from("x")], 4), file.datasync()] as const;
      file.close();
      const others = Array.from({ length: 8 }, (_, index) => create(`other-${index}`, "other"));
      await Promise.all(all);
      assert.equal(buffer.toString(), "0123");
      assert.equal(contentOf("a"), "0123x");
      for (const other of others) assert.equal(other.size(), 5);
    });

    it("an open file outlives its name, and a rename over it", () => {
      const removed = create("removed", "one");
      const replaced = create("replaced", "two");
      disk.remove(at("removed"));
      create("new", "three").close();
      disk.rename(at("new"), at("replaced"));
      const buffer = Buffer.alloc(3);
      removed.readSync(buffer, 0);
      assert.equal(buffer.toString(), "one");
      replaced.readSync(buffer, 0);
      assert.equal(buffer.toString(), "two");
      assert.equal(contentOf("replaced"), "three");
      assert.deepEqual(disk.list(root), ["replaced"]);
    });

    it("two who opened one file see each other's writes", () => {
      const writer = create("a", "old");
      const reader = disk.open(at("a"), "read");
      writer.writeSync([Buffer.from("new!")], 0);
      const buffer = Buffer.alloc(4);
      assert.equal(reader.readSync(buffer, 0), 4);
      assert.equal(buffer.toString(), "new!");
    });

    it("a list is sorted by code unit, and holds files and directories", async () => {
      for (const path of ["b", "a", "Z", "ä", "10", "9"]) create(path).close();
      await disk.makeDirectory(at("c"));
      assert.deepEqual(disk.list(root), ["10", "9", "Z", "a", "b", "c", "ä"]);
      throwsCode("ENOENT", () => disk.list(at("nothing")));
      throwsCode("ENOTDIR", () => disk.list(at("a")));
    });

    it("size is that of a file, and undefined for all else", async () => {
      create("a", "123").close();
      await disk.makeDirectory(at("d"));
      assert.equal(disk.size(at("a")), 3);
      assert.equal(disk.size(at("d")), undefined);
      assert.equal(disk.size(at("nothing")), undefined);
      assert.equal(disk.size(at("nothing/at/all")), undefined);
      assert.equal(disk.size(at("a/b")), undefined);
    });

    it("isDirectory is true of directories only", async () => {
      create("a").close();
      await disk.makeDirectory(at("d"));
      assert.equal(disk.isDirectory(at("d")), true);
      assert.equal(disk.isDirectory(at("a")), false);
      assert.equal(disk.isDirectory(at("nothing")), false);
    });

    it("makeDirectory makes the parents, and is fine where it is there", async () => {
      await disk.makeDirectory(at("d/e/f"));
      await disk.makeDirectory(at("d/e/f"));
      await Promise.all([disk.makeDirectory(at("d/g/h")), disk.makeDirectory(at("d/g/h"))]);
      assert.equal(disk.isDirectory(at("d/e/f")), true);
      assert.equal(disk.isDirectory(at("d/g/h")), true);
      create("a").close();
      await rejectsCode("EEXIST", disk.makeDirectory(at("a")));
      await rejectsCode("EEXIST", disk.makeDirectory(at("a/b")));
    });

    it("rename moves files and whole directories, by the rules of POSIX", async () => {
      await disk.makeDirectory(at("d/e"));
      await disk.makeDirectory(at("empty"));
      create("d/e/a", "content").close();
      create("b").close();
      disk.rename(at("d/e/a"), at("moved"));
      assert.equal(contentOf("moved"), "content");
      disk.rename(at("moved"), at("moved"));
      disk.rename(at("moved"), at("d/e/a"));
      throwsCode("ENOENT", () => disk.rename(at("nothing"), at("x")));
      throwsCode("ENOENT", () => disk.rename(at("b"), at("nothing/x")));
      throwsCode("EISDIR", () => disk.rename(at("b"), at("d")));
      throwsCode("ENOTDIR", () => disk.rename(at("d"), at("b")));
      throwsCode("ENOTEMPTY", () => disk.rename(at("empty"), at("d")));
      throwsCode("EINVAL", () => disk.rename(at("d"), at("d/e/inside")));
      disk.rename(at("d"), at("empty"));
      assert.equal(contentOf("empty/e/a"), "content");
      assert.equal(disk.isDirectory(at("d")), false);
    });

    it("removing what isn't there is fine", async () => {
      disk.remove(at("nothing"));
      disk.remove(at("nothing/at/all"));
      disk.removeDirectory(at("nothing"));
      create("a").close();
      await disk.makeDirectory(at("d"));
      create("d/b").close();
      throwsCode("EISDIR", () => disk.remove(at("d")));
      throwsCode("ENOTDIR", () => disk.removeDirectory(at("a")));
      throwsCode("ENOTDIR", () => disk.remove(at("a/b")));
      throwsCode("ENOTEMPTY", () => disk.removeDirectory(at("d")));
      disk.remove(at("d/b"));
      disk.removeDirectory(at("d"));
      disk.remove(at("a"));
      assert.deepEqual(disk.list(root), []);
    });

    it("a directory can be synced, one that isn't there can't", async () => {
      create("a").close();
      await disk.syncDirectory(root);
      await rejectsCode("ENOENT", disk.syncDirectory(at("nothing")));
      await rejectsCode("ENOTDIR", disk.syncDirectory(at("a")));
    });

    it("a lock is refused while it is held, naming the directory and the holder, and given once it is released", () => {
      const lock = disk.lock(at("lock"));
      assert.throws(
        () => disk.lock(at("lock")),
        (error) => {
          assert.ok(isProglogError(error, "LOG_LOCKED"));
          const { pid, directory } = error.details;
          assert.equal(error.message, `Cannot open ${root}: process ${pid} has it open`);
          assert.equal(directory, root);
          assert.equal(typeof pid, "number");
          return true;
        },
      );
      lock.release();
      const next = disk.lock(at("lock"));
      // The first holder's second release is none of the next one's business.
      lock.release();
      assert.throws(() => disk.lock(at("lock")), { code: "LOG_LOCKED" });
      next.release();
      throwsCode("ENOENT", () => disk.lock(at("nothing/lock")));
    });
  });
}

function throwsCode(code: string, run: () => unknown): void {
  assert.throws(run, (error) => isCode(error, code));
}

async function rejectsCode(code: string, promise: Promise<unknown>): Promise<void> {
  await assert.rejects(promise, (error) => isCode(error, code));
}

function isCode(error: unknown, code: string): true {
  assert.equal(systemErrorCode(error), code, String(error));
  return true;
}
