import assert from "node:assert/strict";
import fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, mock, test } from "node:test";
import { writePieceMaxBytes } from "./limits.ts";
import { nodeDisk } from "./node-disk.ts";

describe("node disk", () => {
  let root: string;
  beforeEach(() => {
    root = fs.mkdtempSync(join(tmpdir(), "proglog-node-disk-"));
  });
  afterEach(() => {
    mock.restoreAll();
    fs.rmSync(root, { recursive: true, force: true });
  });

  const interrupted = (): Error => Object.assign(new Error("EINTR: interrupted system call"), { code: "EINTR" });

  test("it knows how many files the process may have open", { skip: process.platform !== "linux" }, () => {
    const count = nodeDisk.openFilesMaxCount ?? 0;
    assert(Number.isInteger(count) && count >= 64, String(count));
  });

  test("a file is for its owner and the group, a directory too", async () => {
    const umask = process.umask(0);
    try {
      nodeDisk.open(join(root, "a"), "create").close();
      await nodeDisk.makeDirectory(join(root, "d"));
    } finally {
      process.umask(umask);
    }
    assert.equal(fs.statSync(join(root, "a")).mode & 0o777, 0o640);
    assert.equal(fs.statSync(join(root, "d")).mode & 0o777, 0o750);
  });

  test("short writes are carried on with, synchronous or not", async () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    const { writevSync, writev } = fs;
    mock.method(fs, "writevSync", (fd: number, buffers: Uint8Array[], position: number) =>
      writevSync(fd, [Buffer.concat(buffers).subarray(0, 3)], position),
    );
    mock.method(fs, "writev", (fd: number, buffers: Uint8Array[], position: number, done: never) =>
      writev(fd, [Buffer.concat(buffers).subarray(0, 3)], position, done),
    );
    file.writeSync([Buffer.from("0123"), Buffer.from("4567")], 1);
    await file.write([Buffer.from("89ab"), Buffer.from("cdef")], 9);
    assert.equal(fs.readFileSync(file.path, "latin1"), "\x000123456789abcdef");
    file.close();
  });

  test("a write that makes no progress is an error", async () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    mock.method(fs, "writevSync", () => 0);
    mock.method(fs, "writev", (_fd: number, _buffers: unknown, _position: number, done: (error: null, bytes: number) => void) =>
      done(null, 0),
    );
    assert.throws(() => file.writeSync([Buffer.from("x")], 0), { code: "EIO", path: file.path });
    await assert.rejects(file.write([Buffer.from("x")], 0), { code: "EIO" });
    file.close();
  });

  test("short reads are carried on with, synchronous or not", async () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    file.writeSync([Buffer.from("0123456789")], 0);
    const { readSync, read } = fs;
    mock.method(fs, "readSync", (fd: number, buffer: Uint8Array, offset: number, length: number, position: number) =>
      readSync(fd, buffer, offset, Math.min(3, length), position),
    );
    mock.method(fs, "read", (fd: number, buffer: Uint8Array, offset: number, length: number, position: number, done: never) =>
      read(fd, buffer, offset, Math.min(3, length), position, done),
    );
    const buffer = Buffer.alloc(20);
    assert.equal(file.readSync(buffer, 1), 9);
    assert.equal(await file.read(buffer.subarray(9), 0), 10);
    assert.equal(buffer.toString("latin1"), "1234567890123456789\0");
    file.close();
  });

  test("an interrupted call is made again", async () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    const { writevSync, readSync, writev } = fs;
    let interruptions = 0;
    const interrupt = (): boolean => (interruptions += 1) % 3 !== 0;
    mock.method(fs, "writevSync", (...parameters: Parameters<typeof writevSync>) => {
      if (interrupt()) throw interrupted();
      return writevSync(...parameters);
    });
    mock.method(fs, "readSync", (fd: number, buffer: Uint8Array, offset: number, length: number, position: number) => {
      if (interrupt()) throw interrupted();
      return readSync(fd, buffer, offset, length, position);
    });
    mock.method(fs, "writev", (fd: number, buffers: Uint8Array[], position: number, done: (error: Error | null) => void) => {
      if (interrupt()) done(interrupted());
      else writev(fd, buffers, position, done);
    });
    file.writeSync([Buffer.from("01")], 0);
    await file.write([Buffer.from("23")], 2);
    const buffer = Buffer.alloc(4);
    assert.equal(file.readSync(buffer, 0), 4);
    assert.equal(buffer.toString(), "0123");
    assert.equal(interruptions, 9);
    file.close();
  });

  test("a call that is interrupted for ever fails in the end", () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    mock.method(fs, "writevSync", () => {
      throw interrupted();
    });
    assert.throws(() => file.writeSync([Buffer.from("x")], 0), { code: "EINTR" });
    file.close();
  });

  test("a failed sync is not tried again", async () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    const sync = mock.method(fs, "fdatasync", (_fd: number, done: (error: Error) => void) => done(interrupted()));
    await assert.rejects(file.datasync(), { code: "EINTR" });
    assert.equal(sync.mock.callCount(), 1);
    file.close();
  });

  test("no call is handed more than a piece", () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    const write = mock.method(fs, "writevSync");
    file.writeSync([Buffer.alloc(2.5 * writePieceMaxBytes)], 0);
    assert.deepEqual(
      write.mock.calls.map((call) => call.result),
      [writePieceMaxBytes, writePieceMaxBytes, writePieceMaxBytes / 2],
    );
    file.close();
  });

  test("the descriptor stays open until the last asynchronous call is through", async () => {
    const file = nodeDisk.open(join(root, "a"), "create");
    const finish: ((error: null) => void)[] = [];
    mock.method(fs, "fdatasync", (_fd: number, done: (error: null) => void) => finish.push(done));
    const close = mock.method(fs, "closeSync");
    const syncs = [file.datasync(), file.datasync()];
    file.close();
    assert.equal(file.fd, -1);
    finish[0]?.(null);
    await syncs[0];
    assert.equal(close.mock.callCount(), 0);
    finish[1]?.(null);
    await syncs[1];
    assert.equal(close.mock.callCount(), 1);
    file.close();
    assert.equal(close.mock.callCount(), 1);
  });

  test("makeDirectory syncs the parent of each directory that it makes, and no other", async () => {
    fs.mkdirSync(join(root, "a"));
    const opened = mock.method(fs, "open");
    const synced = mock.method(fs, "fsync");
    await nodeDisk.makeDirectory(join(root, "a/b/c"));
    assert.deepEqual(
      opened.mock.calls.map((call) => call.arguments[0]),
      [join(root, "a"), join(root, "a/b")],
    );
    assert.equal(synced.mock.callCount(), 2);
    await nodeDisk.makeDirectory(join(root, "a/b/c"));
    assert.equal(synced.mock.callCount(), 2);
  });

  test("syncDirectory gives its descriptor back, and the error of a failed sync", async () => {
    mock.method(fs, "fsync", (_fd: number, done: (error: Error) => void) =>
      done(Object.assign(new Error("EIO: i/o error, fsync"), { code: "EIO" })),
    );
    const close = mock.method(fs, "close");
    await assert.rejects(nodeDisk.syncDirectory(root), { code: "EIO" });
    assert.equal(close.mock.callCount(), 1);
  });

  test("files are mapped on ext4, xfs and tmpfs only, and nowhere where the file system can't be told", () => {
    const types: [number, boolean][] = [
      [0xef53, true],
      [0x58465342, true],
      [0x01021994, true],
      [0x9123683e, false], // btrfs
      [0x2fc12fc1, false], // zfs
      [0x794c7630, false], // overlayfs
      [0x6969, false], // nfs
      [0x65735546, false], // fuse
      [0xf2f52010, false], // f2fs
      [0x12345678, false],
    ];
    for (const [type, expected] of types) {
      mock.method(fs, "statfsSync", () => ({ type }));
      assert.equal(nodeDisk.canMap(root), expected && process.platform === "linux", type.toString(16));
      // Before the next one: mocks on top of each other are restored to each other, and every later test would meet them.
      mock.restoreAll();
    }
    assert.equal(nodeDisk.canMap(join(root, "nothing")), false);
  });
});
