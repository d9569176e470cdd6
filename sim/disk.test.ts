import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { DiskFile } from "../src/base/disk.ts";
import { type CrashModel, countChoices, everyChoice, keepAll, loseAll, randomChoice } from "./crash.ts";
import { createSimDisk, type SimDisk } from "./disk.ts";
import { createSeededRandom } from "./random.ts";
import { sectorBytes } from "./sector-file.ts";

describe("simulated disk", () => {
  let disk: SimDisk;
  beforeEach(() => {
    disk = createSimDisk();
  });

  const sectors = (letters: string): Buffer =>
    Buffer.concat(letters.split("").map((letter) => Buffer.alloc(sectorBytes, letter)));

  /** A file whose first letter of each sector tells what is in it: "." for zeros. */
  function lettersOf(image: SimDisk, path = "a"): string {
    const content = image.contentOf(path);
    const letters: string[] = [];
    for (let position = 0; position < content.length; position += sectorBytes) {
      letters.push(content[position] === 0 ? "." : content.toString("latin1", position, position + 1));
    }
    return letters.join("");
  }

  /** A file and its name, durable. */
  async function durableFile(on: SimDisk, path: string, letters: string): Promise<DiskFile> {
    const file = on.open(path, "create");
    file.writeSync([sectors(letters)], 0);
    await file.datasync();
    await on.syncDirectory("/");
    return file;
  }

  function imagesOf(on: SimDisk): Set<string> {
    return new Set([...everyChoice(on.crashPoints())].map((choice) => lettersOf(on.crash(choice))));
  }

  async function rejectsCode(code: string, promise: Promise<unknown>): Promise<void> {
    await assert.rejects(promise, { code });
  }

  test("what was synced survives every crash", async () => {
    const file = await durableFile(disk, "a", "AB");
    assert.deepEqual(disk.crashPoints(), []);
    file.writeSync([sectors("C")], 2 * sectorBytes);
    const random = createSeededRandom(1);
    const choices = [
      loseAll,
      keepAll,
      ...everyChoice(disk.crashPoints()),
      ...Array.from({ length: 50 }, () => randomChoice(random)),
    ];
    for (const choice of choices) assert.equal(lettersOf(disk.crash(choice)).slice(0, 2), "AB");
  });

  test("each sector that wasn't synced is lost or kept for itself, and so is the size", async () => {
    const file = await durableFile(disk, "a", "AB");
    file.writeSync([sectors("bc")], sectorBytes);
    assert.deepEqual(
      disk.pendingSectors().map(({ path, sector, options }) => ({ path, sector, options })),
      [
        { path: "a", sector: 1, options: 2 },
        { path: "a", sector: 2, options: 2 },
      ],
    );
    assert.equal(countChoices(disk.crashPoints()), 8);
    assert.deepEqual(imagesOf(disk), new Set(["AB", "Ab", "AB.", "Ab.", "ABc", "Abc"]));
  });

  test("a sector written several times holds any one of its versions", async () => {
    const file = await durableFile(disk, "a", "AB");
    file.writeSync([sectors("1")], 0);
    file.writeSync([sectors("2")], 0);
    file.writeSync([sectors("2")], 0);
    file.writeSync([sectors("3")], 0);
    assert.deepEqual(imagesOf(disk), new Set(["AB", "1B", "2B", "3B"]));
    assert.equal(disk.pendingSectors()[0]?.options, 4);
  });

  test("a sector is never torn within: parts of it written one after the other come in that order", async () => {
    const file = await durableFile(disk, "a", "A");
    file.writeSync([Buffer.from("one")], 0);
    file.writeSync([Buffer.from("two")], 100);
    const seen = [...everyChoice(disk.crashPoints())].map((choice) => {
      const content = disk.crash(choice).contentOf("a").toString("latin1");
      return `${content.slice(0, 3)} ${content.slice(100, 103)}`;
    });
    assert.deepEqual(seen, ["AAA AAA", "one AAA", "one two"]);
  });

  test("a sync covers what was written before it was called, not what was written while it ran", async () => {
    const file = await durableFile(disk, "a", "A");
    const hold = disk.holdSync();
    file.writeSync([sectors("1")], 0);
    const sync = file.datasync();
    file.writeSync([sectors("2")], 0);
    await hold.waiting(1);
    assert.deepEqual(imagesOf(disk), new Set(["A", "1", "2"]));
    hold.release();
    await sync;
    assert.deepEqual(imagesOf(disk), new Set(["1", "2"]));
    await file.datasync();
    assert.deepEqual(imagesOf(disk), new Set(["2"]));
  });

  test("a truncation that wasn't synced leaves the old size or the new one, and bytes behind the end don't come back with the size", async () => {
    const file = await durableFile(disk, "a", "ABC");
    file.truncate(sectorBytes);
    assert.deepEqual(imagesOf(disk), new Set(["A", "ABC", "A.C", "AB.", "A.."]));
    await file.datasync();
    file.truncate(3 * sectorBytes);
    await file.datasync();
    assert.deepEqual(imagesOf(disk), new Set(["A.."]));
  });

  test("bytes behind the end of an image are never seen again", async () => {
    const file = disk.open("a", "create");
    file.writeSync([Buffer.from("head")], 0);
    await file.datasync();
    await disk.syncDirectory("/");
    file.writeSync([Buffer.from("tail")], 4);
    file.writeSync([Buffer.from("next")], sectorBytes);
    const image = disk.crash((point) => (point.kind === "size" ? 0 : point.options - 1));
    assert.equal(image.contentOf("a").toString(), "head");
    image.open("a", "write").writeSync([Buffer.from("x")], sectorBytes + 10);
    assert.equal(image.contentOf("a").toString("latin1"), `head${"\0".repeat(sectorBytes + 6)}x`);
  });

  test("in the ordered model a file doesn't grow over blocks that were never written, in the strict one it does", async () => {
    const imagesByModel: Record<CrashModel, string[]> = { strict: ["A", "A.", "AB"], ordered: ["A", "AB"] };
    for (const model of ["strict", "ordered"] as const) {
      const on = createSimDisk({ model });
      const file = await durableFile(on, "a", "A");
      file.writeSync([sectors("B")], sectorBytes);
      assert.deepEqual(imagesOf(on), new Set(imagesByModel[model]));
      // What is written over blocks that are there is lost or kept in both.
      await file.datasync();
      file.writeSync([sectors("ab")], 0);
      assert.deepEqual(imagesOf(on), new Set(["AB", "aB", "Ab", "ab"]));
    }
  });

  test("a created file is gone after a crash unless its directory was synced, whatever was done to its data", async () => {
    const file = disk.open("a", "create");
    file.writeSync([sectors("A")], 0);
    await file.datasync();
    assert.equal(disk.crash(loseAll).size("a"), undefined);
    assert.equal(lettersOf(disk.crash(keepAll)), "A");
    await disk.syncDirectory("/");
    assert.equal(lettersOf(disk.crash(loseAll)), "A");
  });

  test("a directory's sync makes names durable, not data", async () => {
    const file = disk.open("a", "create");
    file.writeSync([sectors("A")], 0);
    await disk.syncDirectory("/");
    assert.equal(disk.crash(loseAll).size("a"), 0);
  });

  test("a directory's sync covers the names that were there when it was called, not those that came while it ran", async () => {
    disk.open("a", "create");
    const sync = disk.syncDirectory("/");
    disk.open("b", "create");
    await sync;
    assert.deepEqual(disk.crash(loseAll).list("/"), ["a"]);
  });

  test("a removed file is back after a crash unless its directory was synced", async () => {
    const file = await durableFile(disk, "a", "A");
    file.close();
    disk.remove("a");
    assert.equal(lettersOf(disk.crash(loseAll)), "A");
    await disk.syncDirectory("/");
    assert.deepEqual(disk.crash(loseAll).list("/"), []);
  });

  test("a rename happens whole or not at all, and is durable with its directory's sync", async () => {
    await durableFile(disk, "a", "A");
    await durableFile(disk, "b", "B");
    disk.rename("a", "b");
    const images = [...everyChoice(disk.crashPoints())].map((choice) => {
      const image = disk.crash(choice);
      return image
        .list("/")
        .map((name) => name + lettersOf(image, name))
        .join(" ");
    });
    assert.deepEqual(images, ["aA bB", "bA"]);
    await disk.syncDirectory("/");
    assert.deepEqual(disk.crash(loseAll).list("/"), ["b"]);
  });

  test("names are lost one by one in the strict model, from the end in the ordered one", async () => {
    const imagesByModel: Record<CrashModel, string[]> = {
      strict: ["", "a", "ab", "abc", "ac", "b", "bc", "c"],
      ordered: ["", "a", "ab", "abc"],
    };
    for (const model of ["strict", "ordered"] as const) {
      const on = createSimDisk({ model });
      for (const name of ["a", "b", "c"]) on.open(name, "create");
      const images = [...everyChoice(on.crashPoints())].map((choice) => on.crash(choice).list("/").join("")).sort();
      assert.deepEqual(images, imagesByModel[model]);
    }
  });

  test("a rename whose creation is lost is lost with it, so that no file has two names", () => {
    disk.open("a", "create");
    disk.rename("a", "b");
    disk.rename("b", "c");
    const images = new Set([...everyChoice(disk.crashPoints())].map((choice) => disk.crash(choice).list("/").join(" ")));
    assert.deepEqual(images, new Set(["", "a", "b", "c"]));
  });

  test("a sync of one directory says nothing about another, but takes a rename between the two along", async () => {
    await disk.makeDirectory("/d");
    await disk.makeDirectory("/e");
    disk.open("/d/other", "create");
    disk.open("/e/a", "create");
    disk.rename("/e/a", "/d/b");
    disk.open("/e/c", "create");
    await disk.syncDirectory("/d");
    const image = disk.crash(loseAll);
    assert.deepEqual(image.list("/d"), ["b", "other"]);
    assert.deepEqual(image.list("/e"), []);
    await disk.syncDirectory("/e");
    assert.deepEqual(disk.crash(loseAll).list("/e"), ["c"]);
  });

  test("makeDirectory leaves directories that survive, and syncs the parent of each", async () => {
    await disk.makeDirectory("/d/e");
    assert.equal(disk.crash(loseAll).isDirectory("/d/e"), true);
    assert.deepEqual(
      disk.operations.map(({ kind, path }) => `${kind} ${path}`),
      [
        "make-directory /d",
        "sync-directory /",
        "directory-synced /",
        "make-directory /d/e",
        "sync-directory /d",
        "directory-synced /d",
      ],
    );
  });

  test("a crash image has everything on the platter and shares nothing with the disk it was taken of", async () => {
    const file = await durableFile(disk, "a", "A");
    file.writeSync([sectors("B")], 0);
    const image = disk.crash(keepAll);
    assert.deepEqual(image.crashPoints(), []);
    file.writeSync([sectors("C")], 0);
    image.flipBit("a", 0, 0);
    assert.equal(lettersOf(disk), "C");
    assert.equal(lettersOf(image), "C");
    assert.equal(image.contentOf("a")[1], "B".charCodeAt(0));
  });

  test("when a process ends its page cache stays: the next one sees what isn't durable yet", async () => {
    const file = await durableFile(disk, "a", "A");
    file.writeSync([sectors("B")], 0);
    const lock = disk.lock("/lock");
    const hold = disk.holdSync();
    let isSynced = false;
    void file.datasync().then(() => (isSynced = true));
    await hold.waiting(1);
    const next = disk.endProcess();
    hold.release();
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(isSynced, false);
    assert.throws(() => file.readSync(Buffer.alloc(1), 0), { code: "EIO" });
    assert.throws(() => disk.list("/"), { code: "EIO" });
    await rejectsCode("EIO", file.datasync());
    next.lock("/lock");
    lock.release();
    assert.equal(lettersOf(next), "B");
    assert.equal(lettersOf(next.crash(loseAll)), "A");
    await next.open("a", "write").datasync();
    assert.equal(lettersOf(next.crash(loseAll)), "B");
  });

  test("a lock is free on the image of a crash", () => {
    disk.lock("/lock");
    assert.throws(() => disk.lock("/lock"), { code: "LOG_LOCKED" });
    disk.crash(loseAll).lock("/lock");
  });

  test("syncs are held until they are let go, one by one or all, and only those of the files that are meant", async () => {
    const store = await durableFile(disk, "a.store", "A");
    const mark = await durableFile(disk, "mark", "A");
    const hold = disk.holdSync({ path: ".store" });
    const done: string[] = [];
    const syncs = [1, 2, 3].map((number) => store.datasync().then(() => done.push(`store ${number}`)));
    await mark.datasync();
    await hold.waiting(3);
    assert.equal(hold.waitingCount, 3);
    assert.deepEqual(done, []);
    hold.releaseOne();
    await syncs[0];
    assert.deepEqual(done, ["store 1"]);
    hold.release();
    await Promise.all(syncs);
    await store.datasync();
    assert.deepEqual(done, ["store 1", "store 2", "store 3"]);
  });

  test("operations tell what was asked in which order, and when a sync was through", async () => {
    const file = disk.open("a", "create");
    file.writeSync([Buffer.from("12"), Buffer.from("3")], 7);
    await file.datasync();
    file.truncate(5);
    file.readSync(Buffer.alloc(4), 1);
    file.close();
    disk.rename("a", "b");
    assert.deepEqual(disk.operations, [
      { kind: "create", path: "a" },
      { kind: "write", path: "a", position: 7, length: 3 },
      { kind: "datasync", path: "a" },
      { kind: "datasynced", path: "a" },
      { kind: "truncate", path: "a", position: 5 },
      { kind: "read", path: "a", position: 1, length: 4 },
      { kind: "close", path: "a" },
      { kind: "rename", path: "a" },
    ]);
  });

  test("every call can be met by a crash before it takes effect", async () => {
    const images: string[] = [];
    disk = createSimDisk({ onCall: (call) => images.push(`${call.kind}: ${disk.crash(keepAll).list("/").join(" ")}`) });
    await durableFile(disk, "a", "A");
    disk.remove("a");
    assert.deepEqual(images, ["create: ", "write: a", "datasync: a", "sync-directory: a", "remove: a"]);
  });

  test("one sequence of calls and one seed give one image", () => {
    const images = [1, 2].map(() => {
      const on = createSimDisk();
      for (const name of ["a", "b", "c", "d"]) on.open(name, "create").writeSync([sectors("ABCDEFGH")], 0);
      const image = on.crash(randomChoice(createSeededRandom("seed 7")));
      return image
        .list("/")
        .map((name) => name + lettersOf(image, name))
        .join(" ");
    });
    assert.equal(images[0], images[1]);
    assert.equal(images[0], "aABC.EFGH bABCDEFGH cABC.EFGH dABC.EFGH");
  });

  test("space is taken by sectors that are written for the first time, and given back by truncation and removal", async () => {
    disk.capacityBytes = 4 * sectorBytes;
    const file = disk.open("a", "create");
    file.writeSync([Buffer.from("x")], 0);
    assert.equal(disk.usedBytes, sectorBytes);
    file.writeSync([sectors("ABC")], 0);
    file.writeSync([sectors("DEF")], 0);
    assert.equal(disk.usedBytes, 3 * sectorBytes);
    // Holes are free.
    file.truncate(100 * sectorBytes);
    assert.equal(disk.usedBytes, 3 * sectorBytes);
    file.truncate(sectorBytes + 1);
    assert.equal(disk.usedBytes, 2 * sectorBytes);
    await file.datasync();
    await disk.syncDirectory("/");
    assert.equal(disk.crash(loseAll).usedBytes, 2 * sectorBytes);
    disk.remove("a");
    assert.equal(disk.usedBytes, 2 * sectorBytes, "an open file keeps its space");
    file.close();
    assert.equal(disk.usedBytes, 0);
  });

  test("a full disk takes what fits, then fails with ENOSPC, and overwriting still works", () => {
    disk.capacityBytes = 2 * sectorBytes;
    const file = disk.open("a", "create");
    file.writeSync([sectors("A")], 0);
    assert.throws(() => file.writeSync([sectors("bcd")], 100), { code: "ENOSPC" });
    assert.equal(file.size(), 2 * sectorBytes);
    assert.equal(disk.contentOf("a").toString("latin1", 99, 101), "Ab");
    file.writeSync([sectors("XY")], 0);
    assert.throws(() => file.writeSync([Buffer.from("z")], 2 * sectorBytes), { code: "ENOSPC" });
    assert.equal(lettersOf(disk), "XY");
    disk.capacityBytes = 3 * sectorBytes;
    file.writeSync([Buffer.from("z")], 2 * sectorBytes);
    assert.equal(lettersOf(disk), "XYz");
  });

  test("a rename over a file gives back its space", async () => {
    (await durableFile(disk, "a", "AAA")).close();
    (await durableFile(disk, "b", "B")).close();
    disk.rename("b", "a");
    assert.equal(disk.usedBytes, sectorBytes);
  });

  test("garbling at rest is there for readers and after every crash", async () => {
    const file = await durableFile(disk, "a", "ABC");
    file.writeSync([sectors("D")], 0);
    disk.flipBit("a", 0, 1);
    disk.corrupt("a", 600, Buffer.from("garble"));
    disk.zeroSector("a", 2);
    for (const image of [disk, disk.crash(loseAll), disk.crash(keepAll)]) {
      const content = image.contentOf("a");
      assert.equal(content[0], "D".charCodeAt(0) ^ 2);
      assert.equal(content.toString("latin1", 599, 607), "BgarbleB");
      assert.equal(lettersOf(image)[2], ".");
    }
  });

  test("a delay can be given to asynchronous calls, which take effect after it", async () => {
    const { promise: latency, resolve: pass } = Promise.withResolvers<void>();
    disk = createSimDisk({ delay: (call) => (call.kind === "write" ? latency : Promise.resolve()) });
    const file = disk.open("a", "create");
    const write = file.write([Buffer.from("late")], 0);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(file.size(), 0);
    pass();
    await write;
    assert.equal(file.size(), 4);
  });
});
