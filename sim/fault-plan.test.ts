import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import type { DiskFile } from "../src/base/disk.ts";
import { keepAll, loseAll } from "./crash.ts";
import { createSimDisk, type SimDisk } from "./disk.ts";
import { FaultPlan } from "./fault-plan.ts";
import { sectorBytes } from "./sector-file.ts";

describe("planned faults", () => {
  let disk: SimDisk;
  let file: DiskFile;
  beforeEach(async () => {
    disk = createSimDisk();
    file = disk.open("a", "create");
    file.writeSync([Buffer.alloc(4 * sectorBytes, "o")], 0);
    await file.datasync();
    await disk.syncDirectory("/");
  });

  const content = (on: SimDisk = disk): string => {
    const bytes = on.contentOf("a");
    return [0, 1, 2, 3].map((sector) => bytes.toString("latin1", sector * sectorBytes, sector * sectorBytes + 1)).join("");
  };
  const newSectors = (count: number): Buffer[] => [Buffer.alloc(count * sectorBytes, "n")];

  test("a fault strikes the nth call of its kind and path, once", () => {
    const plan = new FaultPlan();
    const fault = plan.add({ kind: ["write", "read"], path: ".store", nth: 2, code: "EIO" });
    const calls = ["a.store", "a.index", "a.store", "a.store"].map((path) => plan.strike({ kind: "write", path })?.code);
    assert.deepEqual(calls, [undefined, undefined, "EIO", undefined]);
    assert.equal(plan.strike({ kind: "datasync", path: "a.store" }), undefined);
    assert.equal(fault.struckCount, 1);
  });

  test("a fault without a match counts every call, and strikes as often as it is told", () => {
    const plan = new FaultPlan();
    plan.add({ nth: 2, times: 2, code: "EIO" });
    const strikes = [1, 2, 3, 4].map(() => plan.strike({ kind: "list", path: "/" })?.code);
    assert.deepEqual(strikes, [undefined, "EIO", "EIO", undefined]);
  });

  test("a fault can look at the whole call, last for ever, and be cancelled", () => {
    const plan = new FaultPlan();
    const fault = plan.add({ path: /b$/, where: ({ position }) => position === 7, times: Infinity, code: "EIO" });
    assert.equal(plan.strike({ kind: "read", path: "ab", position: 6 }), undefined);
    for (let round = 0; round < 10; round += 1) assert.ok(plan.strike({ kind: "read", path: "ab", position: 7 }));
    fault.cancel();
    assert.equal(plan.strike({ kind: "read", path: "ab", position: 7 }), undefined);
    assert.equal(fault.struckCount, 10);
  });

  test("two faults for one call: both count it, the first one strikes", () => {
    const plan = new FaultPlan();
    const first = plan.add({ code: "EIO" });
    const second = plan.add({ nth: 2, code: "ENOSPC" });
    assert.equal(plan.strike({ kind: "write", path: "a" })?.code, "EIO");
    assert.equal(plan.strike({ kind: "write", path: "a" })?.code, "ENOSPC");
    assert.deepEqual([first.struckCount, second.struckCount], [1, 1]);
  });

  /** One call of each kind. */
  async function callEverything(on: SimDisk): Promise<void> {
    await on.makeDirectory("/d/e");
    const created = on.open("/d/e/a", "create");
    created.writeSync([Buffer.from("a")], 0);
    await created.write([Buffer.from("b")], 1);
    await created.datasync();
    created.truncate(1);
    created.size();
    created.readSync(Buffer.alloc(1), 0);
    await created.read(Buffer.alloc(1), 0);
    created.close();
    await on.syncDirectory("/d/e");
    on.rename("/d/e/a", "/d/e/b");
    on.list("/d/e");
    on.size("/d/e/b");
    on.isDirectory("/d/e");
    on.lock("/d/lock").release();
    on.remove("/d/e/b");
    on.removeDirectory("/d/e");
  }

  test("a scenario's calls can be failed one by one until it passes", async () => {
    const struck: string[] = [];
    for (let nth = 1; ; nth += 1) {
      const on = createSimDisk();
      const fault = on.fail({ nth, code: "EIO" });
      if (nth <= 20) await assert.rejects(callEverything(on), { code: "EIO" });
      else await callEverything(on);
      if (fault.struckCount === 0) break;
      struck.push(on.operations.find((operation) => operation.fault === "EIO")?.kind ?? "nothing");
    }
    const all =
      "make-directory sync-directory make-directory sync-directory create write write datasync truncate size read read";
    assert.equal(struck.join(" "), `${all} sync-directory rename list size is-directory lock remove remove-directory`);
  });

  test("a failed call leaves everything as it was, or does all its work and fails then", () => {
    disk.fail({ kind: "write", code: "EIO" });
    assert.throws(() => file.writeSync(newSectors(2), 0), { code: "EIO", syscall: "write", path: "a" });
    assert.equal(content(), "oooo");
    disk.fail({ kind: "write", code: "EIO", effect: "all" });
    assert.throws(() => file.writeSync(newSectors(2), 0), { code: "EIO" });
    assert.equal(content(), "nnoo");
    disk.fail({ kind: "create", code: "EMFILE" });
    assert.throws(() => disk.open("b", "create"), { code: "EMFILE" });
    disk.fail({ kind: "rename", code: "EIO", effect: "all" });
    assert.throws(() => disk.rename("a", "b"), { code: "EIO" });
    assert.deepEqual(disk.list("/"), ["b"]);
    disk.fail({ kind: "truncate", code: "EIO" });
    assert.throws(() => file.truncate(0), { code: "EIO" });
    assert.equal(file.size(), 4 * sectorBytes);
  });

  test("a write can fail half done", async () => {
    disk.fail({ kind: "write", code: "EIO", effect: "half" });
    await assert.rejects(file.write(newSectors(2), 0), { code: "EIO" });
    assert.equal(content(), "nooo");
  });

  test("after a failed sync its pages are clean and unwritten: readers see them, the next sync reports success, a crash loses them", async () => {
    disk.fail({ kind: "datasync", code: "EIO" });
    file.writeSync(newSectors(2), 0);
    await assert.rejects(file.datasync(), { code: "EIO" });
    assert.equal(content(), "nnoo");
    await file.datasync();
    assert.equal(content(), "nnoo");
    assert.equal(content(disk.crash(keepAll)), "oooo");
    // Only what is written again is safe again.
    file.writeSync(newSectors(1), 0);
    await file.datasync();
    assert.equal(content(disk.crash(loseAll)), "nooo");
  });

  test("a failed sync of a file that grew leaves it long and empty in the end", async () => {
    disk.fail({ kind: "datasync", code: "EIO" });
    file.writeSync(newSectors(1), 4 * sectorBytes);
    await assert.rejects(file.datasync(), { code: "EIO" });
    await file.datasync();
    const image = disk.crash(loseAll).contentOf("a");
    assert.equal(image.length, 5 * sectorBytes);
    assert.equal(image[4 * sectorBytes], 0);
  });

  test("a failed sync loses what was written before it was called, and nothing later", async () => {
    disk.fail({ kind: "datasync", code: "EIO" });
    file.writeSync(newSectors(1), 0);
    const sync = file.datasync();
    file.writeSync(newSectors(1), sectorBytes);
    await assert.rejects(sync, { code: "EIO" });
    await file.datasync();
    assert.equal(content(disk.crash(loseAll)), "onoo");
  });

  test("a sync can fail half done, or after all its work", async () => {
    file.writeSync(newSectors(4), 0);
    disk.fail({ kind: "datasync", code: "EIO", effect: "half" });
    await assert.rejects(file.datasync(), { code: "EIO" });
    await file.datasync();
    assert.equal(content(disk.crash(keepAll)), "nnoo");
    file.writeSync(newSectors(4), 0);
    disk.fail({ kind: "datasync", code: "EIO", effect: "all" });
    await assert.rejects(file.datasync(), { code: "EIO" });
    assert.equal(content(disk.crash(loseAll)), "nnnn");
  });

  test("a sync can fail and leave everything pending", async () => {
    file.writeSync(newSectors(1), 0);
    disk.fail({ kind: "datasync", code: "EINTR", effect: "none" });
    await assert.rejects(file.datasync(), { code: "EINTR" });
    assert.equal(content(disk.crash(loseAll)), "oooo");
    await file.datasync();
    assert.equal(content(disk.crash(loseAll)), "nooo");
  });

  test("a sync can lie: it reports success and did nothing", async () => {
    disk.fail({ kind: "datasync", effect: "lost" });
    file.writeSync(newSectors(1), 0);
    await file.datasync();
    assert.equal(content(), "nooo");
    assert.equal(content(disk.crash(keepAll)), "oooo");
  });

  test("a failed directory sync leaves names that a crash loses, whatever is synced later", async () => {
    disk.open("b", "create");
    disk.fail({ kind: "sync-directory", code: "EIO" });
    await assert.rejects(disk.syncDirectory("/"), { code: "EIO" });
    disk.open("c", "create");
    await disk.syncDirectory("/");
    assert.deepEqual(disk.list("/"), ["a", "b", "c"]);
    assert.deepEqual(disk.crash(keepAll).list("/"), ["a", "c"]);
  });

  test("a lost write is seen by readers and by nobody after a crash", async () => {
    disk.fail({ kind: "write", effect: "lost" });
    file.writeSync(newSectors(1), 0);
    await file.datasync();
    assert.equal(content(), "nooo");
    assert.equal(content(disk.crash(keepAll)), "oooo");
  });

  test("a misdirected write lands elsewhere on the platter, in this file or another, and only there", async () => {
    const other = disk.open("b", "create");
    other.writeSync([Buffer.alloc(2 * sectorBytes, "o")], 0);
    await other.datasync();
    await disk.syncDirectory("/");
    disk.fail({ kind: "write", effect: "misdirected", to: { position: 3 * sectorBytes } });
    disk.fail({ kind: "write", nth: 2, effect: "misdirected", to: { path: "b", position: 0 } });
    file.writeSync(newSectors(1), 0);
    file.writeSync(newSectors(1), sectorBytes);
    await file.datasync();
    await other.datasync();
    assert.equal(content(), "nnoo");
    const image = disk.crash(loseAll);
    assert.equal(content(image), "ooon");
    assert.equal(image.contentOf("b").toString("latin1", sectorBytes - 1, sectorBytes + 1), "no");
  });

  test("a read can return one wrong bit, once", () => {
    disk.fail({ kind: "read", effect: "flipped" });
    const buffer = Buffer.alloc(9);
    file.readSync(buffer, 0);
    assert.equal(buffer.toString(), "oooonoooo");
    file.readSync(buffer, 0);
    assert.equal(buffer.toString(), "ooooooooo");
  });

  test("what strikes is told in the record of operations", () => {
    disk.fail({ kind: "read", code: "EIO" });
    disk.fail({ kind: "write", effect: "lost" });
    assert.throws(() => file.readSync(Buffer.alloc(1), 0), { code: "EIO" });
    file.writeSync(newSectors(1), 0);
    assert.deepEqual(
      disk.operations.slice(-2).map(({ kind, fault }) => ({ kind, fault })),
      [
        { kind: "read", fault: "EIO" },
        { kind: "write", fault: "lost" },
      ],
    );
  });
});
