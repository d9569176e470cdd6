import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { OpenFiles } from "./open-files.ts";

describe("open files", () => {
  let disk: SimDisk;
  beforeEach(() => {
    disk = createSimDisk();
    for (const name of ["a", "b", "c", "d"]) {
      const file = disk.open(`/${name}`, "create");
      file.writeSync([Buffer.from(name)], 0);
      file.close();
    }
  });

  const opened = (): string[] => disk.operations.filter(({ kind }) => kind === "open").map(({ path }) => path);
  /** Leaves out what making the files closed. */
  const closed = (): string[] => disk.operations.slice(12).flatMap(({ kind, path }) => (kind === "close" ? [path] : []));
  const use = (files: OpenFiles, path: string): void => files.release(files.acquire(disk, path));

  test("a file that is open is opened once", () => {
    const files = new OpenFiles(2);
    const first = files.acquire(disk, "/a");
    assert.equal(files.acquire(disk, "/a"), first);
    files.release(first);
    files.release(first);
    use(files, "/a");
    assert.deepEqual(opened(), ["/a"]);
    assert.deepEqual(closed(), []);
  });

  test("past the limit the least recently used one is closed", () => {
    const files = new OpenFiles(2);
    use(files, "/a");
    use(files, "/b");
    use(files, "/a");
    use(files, "/c");
    assert.equal(files.count, 2);
    assert.deepEqual(closed(), ["/b"]);
    use(files, "/a");
    use(files, "/b");
    assert.deepEqual(opened(), ["/a", "/b", "/c", "/b"]);
    assert.deepEqual(closed(), ["/b", "/c"]);
  });

  test("a file in use is never closed, and the limit holds again once it isn't", () => {
    const files = new OpenFiles(1);
    const a = files.acquire(disk, "/a");
    const b = files.acquire(disk, "/b");
    assert.equal(files.count, 2);
    const bytes = Buffer.alloc(1);
    a.readSync(bytes, 0);
    assert.equal(bytes.toString(), "a");
    files.release(a);
    files.release(b);
    use(files, "/c");
    assert.equal(files.count, 1);
    assert.deepEqual(closed().sort(), ["/a", "/b"]);
  });

  test("a forgotten file is closed by its last user, and the path opened anew", () => {
    const files = new OpenFiles(4);
    const old = files.acquire(disk, "/a");
    assert.equal(files.acquire(disk, "/a"), old);
    disk.remove("/a");
    const made = disk.open("/a", "create");
    made.writeSync([Buffer.from("new")], 0);
    files.forget("/a");
    const renewed = files.acquire(disk, "/a");
    assert.notEqual(renewed, old);
    const bytes = Buffer.alloc(3);
    assert.equal(old.readSync(bytes, 0), 1);
    assert.equal(renewed.readSync(bytes, 0), 3);
    files.release(old);
    assert.equal(old.readSync(bytes, 0), 1, "somebody still reads from it");
    files.release(old);
    assert.throws(() => old.readSync(bytes, 0), { code: "EBADF" });
    files.release(renewed);
    assert.equal(files.count, 1);
  });

  test("an idle file that is forgotten is closed at once", () => {
    const files = new OpenFiles(4);
    use(files, "/a");
    files.forget("/a");
    files.forget("/never");
    assert.deepEqual(closed(), ["/a"]);
    assert.equal(files.count, 0);
  });

  test("all files below a directory are forgotten, and no others", () => {
    const files = new OpenFiles(4);
    for (const name of ["a", "b", "c"]) use(files, `/${name}`);
    files.forgetAll("/a");
    files.forgetAll("/b");
    assert.equal(files.count, 1);
    assert.deepEqual(closed(), ["/a", "/b"]);
  });

  test("a file that can't be opened leaves nothing behind", () => {
    const files = new OpenFiles(4);
    assert.throws(() => files.acquire(disk, "/absent"), { code: "ENOENT" });
    assert.equal(files.count, 0);
  });
});
