import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { loseAll } from "../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import type { DiskFile } from "./disk.ts";
import { GatedDisk, type GatedDiskOptions } from "./gated-disk.ts";
import { diskSyncsMaxCount } from "./cluster-limits.ts";

async function gated(options?: GatedDiskOptions): Promise<{ inner: SimDisk; disk: GatedDisk }> {
  const inner = createSimDisk();
  const disk = new GatedDisk(inner, createVirtualClock(), options);
  await disk.makeDirectory("/d");
  return { inner, disk };
}

function written(disk: GatedDisk, name: string): DiskFile {
  const file = disk.open(`/d/${name}`, "create");
  file.writeSync([Buffer.from(name)], 0);
  return file;
}

const syncsOf = (disk: SimDisk): string[] => disk.operations.filter(({ kind }) => kind === "datasync").map(({ path }) => path);
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

describe("a gated disk", () => {
  test("no more than three syncs are under way, those of directories among them", async () => {
    const { inner, disk } = await gated();
    const hold = inner.holdSync();
    const syncs = ["a", "b", "c", "d"].map((name) => written(disk, name).datasync());
    const directory = disk.syncDirectory("/d");
    await hold.waiting(diskSyncsMaxCount);
    await settle();
    assert.equal(hold.waitingCount, diskSyncsMaxCount);
    assert.deepEqual([disk.syncsRunningCount, disk.syncsWaitingCount], [3, 2]);
    assert.equal(inner.operations.filter(({ kind }) => kind === "sync-directory").length, 1, "that of its making alone");
    hold.release();
    await Promise.all([...syncs, directory]);
    assert.deepEqual([disk.syncsRunningCount, disk.syncsWaitingCount], [0, 0]);
  });

  test("what is durable when it resolves is what was written before it was asked for", async () => {
    const { inner, disk } = await gated({ syncsMaxCount: 1 });
    const hold = inner.holdSync({ path: "/d/a" });
    const first = written(disk, "a").datasync();
    const file = written(disk, "b");
    const second = file.datasync();
    file.writeSync([Buffer.from("bb")], 1);
    const joined = file.datasync();
    hold.release();
    await Promise.all([first, second, joined]);
    await disk.syncDirectory("/d");
    assert.equal(inner.crash(loseAll).contentOf("/d/b").toString(), "bbb");
    assert.deepEqual(syncsOf(inner), ["/d/a", "/d/b"], "two that wait are one");
  });

  test("a sync that is running isn't joined, whether it had waited or not: it doesn't cover what was written since", async () => {
    const { inner, disk } = await gated({ syncsMaxCount: 1 });
    for (const hasWaited of [false, true]) {
      const name = hasWaited ? "waited" : "at-once";
      const file = written(disk, name);
      const hold = inner.holdSync();
      const before = hasWaited ? written(disk, "before").datasync() : undefined;
      const first = file.datasync();
      await hold.waiting(1);
      if (hasWaited) hold.releaseOne();
      await before;
      await hold.waiting(1);
      file.writeSync([Buffer.from("later")], 0);
      const [second, third] = [file.datasync(), file.datasync()];
      hold.release();
      await Promise.all([first, second, third]);
      assert.deepEqual(syncsOf(inner).slice(-2), [`/d/${name}`, `/d/${name}`]);
      await disk.syncDirectory("/d");
      assert.equal(inner.crash(loseAll).contentOf(`/d/${name}`).toString().slice(0, 5), "later");
    }
  });

  test("however often they are asked for, as many syncs wait as there are files and directories", async () => {
    const { inner, disk } = await gated({ syncsMaxCount: 1 });
    const hold = inner.holdSync();
    const first = written(disk, "a").datasync();
    const file = written(disk, "b");
    const syncs = Array.from({ length: 1000 }, () => [file.datasync(), disk.syncDirectory("/d")]).flat();
    assert.equal(disk.syncsWaitingCount, 2);
    hold.release();
    await Promise.all([first, ...syncs]);
  });

  test("a failure is told to all who asked for that sync, and to nobody else", async () => {
    const { inner, disk } = await gated({ syncsMaxCount: 1 });
    inner.fail({ kind: "datasync", path: "/d/b", code: "EIO" });
    const first = written(disk, "a").datasync();
    const file = written(disk, "b");
    const failing = [file.datasync(), file.datasync()];
    const last = written(disk, "c").datasync();
    for (const sync of failing) await assert.rejects(sync, /EIO/);
    await Promise.all([first, last]);
  });

  test("hard states go first", async () => {
    const { inner, disk } = await gated({ syncsMaxCount: 1, isUrgent: (path) => path.startsWith("/d/hard-state") });
    const syncs = ["a", "b", "hard-state"].map((name) => written(disk, name).datasync());
    await Promise.all(syncs);
    assert.deepEqual(syncsOf(inner), ["/d/a", "/d/hard-state", "/d/b"]);
  });

  test("a file that is closed while its sync waits is synced all the same, and then closed", async () => {
    const { inner, disk } = await gated({ syncsMaxCount: 1 });
    const other = written(disk, "a");
    const first = other.datasync();
    const file = written(disk, "b");
    const second = file.datasync();
    file.close();
    file.close();
    assert.equal(file.fd, -1);
    assert.throws(() => file.writeSync([Buffer.from("x")], 0), { code: "EBADF" });
    await assert.rejects(file.datasync(), { code: "EBADF" });
    await Promise.all([first, second]);
    other.close();
    assert.equal(inner.openFileCount, 0);
    assert.deepEqual(syncsOf(inner), ["/d/a", "/d/b"]);
  });
});
