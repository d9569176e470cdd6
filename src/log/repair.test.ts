import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createMemoryDisk } from "../base/memory-disk.ts";
import type { Disk } from "../base/disk.ts";
import { inspectFile, inspectLog, verifyLog } from "./inspect.ts";
import { openLog } from "./open-log.ts";
import { applyRepair, planRepair } from "./repair.ts";

const directory = "/log";
const options = { segmentMaxBytes: 2_000, index: "heap" } as const;
const recordCount = 80;

/** A closed log of 40 batches of two records, in four segments or more. */
async function makeLog(): Promise<Disk> {
  const disk = createMemoryDisk();
  const log = await openLog(directory, { ...options, disk });
  for (let i = 0; i < recordCount; i += 2) {
    await log.append([{ key: `k${i}`, value: `v${i}`.padEnd(20 + i) }, { value: `v${i + 1}` }]);
  }
  await log.close();
  return disk;
}

function stores(disk: Disk): string[] {
  return disk
    .list(directory)
    .filter((name) => name.endsWith(".store"))
    .map((name) => `${directory}/${name}`);
}

function flip(disk: Disk, path: string, position: number): void {
  const file = disk.open(path, "write");
  const byte = Buffer.alloc(1);
  file.readSync(byte, position);
  file.writeSync([Buffer.from([byte.readUInt8() ^ 4])], position);
  file.close();
}

function nameOf(disk: Disk, segment: number): string {
  const name = stores(disk).at(segment);
  assert.ok(name);
  return name;
}

interface DamageCase {
  readonly title: string;
  readonly damage: (disk: Disk) => void;
  /** Offsets `[first, next)` that are lost. */
  readonly lost: readonly [number, number] | undefined;
}

const cases: readonly DamageCase[] = [
  { title: "a bit in the middle of a segment", damage: (disk) => flip(disk, nameOf(disk, 2), 500), lost: [0, 0] },
  { title: "a bit of a segment's header", damage: (disk) => flip(disk, nameOf(disk, 1), 20), lost: undefined },
  { title: "a bit of the first segment's header", damage: (disk) => flip(disk, nameOf(disk, 0), 20), lost: undefined },
  { title: "a segment in the middle that is gone", damage: (disk) => disk.remove(nameOf(disk, 2)), lost: [0, 0] },
  { title: "the newest segment gone", damage: (disk) => disk.remove(nameOf(disk, -1)), lost: [0, recordCount] },
  {
    title: "a bit of the last batch",
    damage: (disk) => flip(disk, nameOf(disk, -1), (disk.size(nameOf(disk, -1)) ?? 0) - 5),
    lost: [recordCount - 2, recordCount],
  },
  {
    title: "a sealed segment cut short",
    damage: (disk) => {
      const file = disk.open(nameOf(disk, 1), "write");
      file.truncate(file.size() - 30);
      file.close();
    },
    lost: [0, 0],
  },
  {
    title: "both base records gone",
    damage: (disk) => {
      disk.remove(`${directory}/base-0`);
      disk.remove(`${directory}/base-1`);
    },
    lost: undefined,
  },
  {
    title: "the sync mark gone and a bit of the last batch",
    damage: (disk) => {
      disk.remove(`${directory}/sync-mark`);
      flip(disk, nameOf(disk, -1), (disk.size(nameOf(disk, -1)) ?? 0) - 5);
    },
    lost: [recordCount - 2, recordCount],
  },
];

describe("repair", () => {
  for (const { title, damage, lost } of cases) {
    test(`of ${title} keeps every other record at its offset, names what is lost, and never gives it out again`, async () => {
      const disk = await makeLog();
      damage(disk);
      const contents = new Map(stores(disk).map((path) => [path, disk.size(path)]));
      const verified = await verifyLog(directory, { disk });
      assert.equal(verified.ok, false);

      const plan = await planRepair(directory, { disk });
      assert.equal(plan.isNeeded, true);
      assert.deepEqual(new Map(stores(disk).map((path) => [path, disk.size(path)])), contents, "a plan changes nothing");
      const missing = new Set<number>();
      for (const { firstOffset, nextOffset } of plan.losses) for (let o = firstOffset; o < nextOffset; o += 1) missing.add(o);
      if (lost === undefined) assert.equal(missing.size, 0);
      else if (lost[1] > 0) assert.ok(missing.has(lost[1] - 1) && (lost[0] === 0 || missing.has(lost[0])));
      else assert.ok(missing.size > 0 && missing.size < recordCount / 2);

      const report = await applyRepair(plan, { copyTo: "/copy", disk });
      assert.deepEqual(report.losses, plan.losses);
      assert.equal(report.copiedBytes, plan.copyBytes);
      assert.equal((await planRepair(directory, { disk })).isNeeded, false, "once is enough");

      const log = await openLog(directory, { ...options, disk });
      const seen: number[] = [];
      for await (const { offset, value } of log.records()) {
        assert.equal(value?.toString().trimEnd(), `v${offset}`);
        seen.push(offset);
      }
      assert.deepEqual(
        seen,
        Array.from({ length: recordCount }, (_, offset) => offset).filter((offset) => !missing.has(offset)),
      );
      for (const offset of missing) await assert.rejects(log.read(offset), { code: "OFFSET_OUT_OF_RANGE" });
      assert.equal((await log.append({ value: `v${recordCount}` })).baseOffset, recordCount);
      assert.deepEqual((await log.scrub()).damages, []);
      await log.close();
      const after = await verifyLog(directory, { disk });
      assert.deepEqual([after.ok, after.records], [true, recordCount + 1 - missing.size]);
      assert.equal(disk.isDirectory("/copy"), true);
    });
  }

  test("refuses to copy over what is there, and a log that somebody has open", async () => {
    const disk = await makeLog();
    await disk.makeDirectory("/copy");
    await assert.rejects(applyRepair({ directory }, { copyTo: "/copy", disk }), { code: "INVALID_ARGUMENT" });
    const log = await openLog(directory, { ...options, disk });
    for (const use of [planRepair, verifyLog, inspectLog])
      await assert.rejects(use(directory, { disk }), { code: "LOG_LOCKED" });
    await log.close();
    await assert.rejects(planRepair("/nothing", { disk }), { code: "LOG_NOT_FOUND" });
  });
});

describe("verify", () => {
  test("takes a segment that a crash left half made for no damage", async () => {
    for (const bytes of [0, 20, 128]) {
      const disk = await makeLog();
      const next = `${directory}/${String(recordCount / 2 + 1).padStart(20, "0")}.store`;
      const file = disk.open(next, "create");
      file.writeSync([Buffer.alloc(bytes, 7)], 0);
      file.close();
      assert.deepEqual((await verifyLog(directory, { disk })).damages, []);
      assert.equal((await planRepair(directory, { disk })).isNeeded, false);
      const log = await openLog(directory, { ...options, disk });
      assert.equal(log.logEndOffset, recordCount);
      await log.close();
    }
  });

  test("takes a torn write behind the sync mark for no damage, and says so", async () => {
    const disk = await makeLog();
    const path = nameOf(disk, -1);
    const file = disk.open(path, "write");
    file.writeSync([Buffer.alloc(300, 9)], file.size());
    file.close();
    const { ok, notes } = await verifyLog(directory, { disk });
    assert.equal(ok, true);
    assert.ok(notes.some((note) => note.startsWith("300 bytes of a torn write")));
  });
});

describe("inspect", () => {
  test("tells what each of a log's files holds", async () => {
    const disk = await makeLog();
    const inspection = await inspectLog(directory, { disk });
    assert.equal(inspection.segments.length, stores(disk).length);
    assert.equal(inspection.segments[0]?.nextOffset, inspection.segments[1]?.baseOffset);
    assert.equal(inspection.syncMark?.["isClean"], true);
    const items = new Map<string, number>();
    for (const name of disk.list(directory).filter((listed) => !listed.startsWith("lock"))) {
      for await (const { item } of inspectFile(`${directory}/${name}`, { disk })) items.set(item, (items.get(item) ?? 0) + 1);
    }
    assert.equal(items.get("data"), recordCount / 2);
    assert.equal(items.get("segment-header"), stores(disk).length);
    assert.deepEqual([items.get("base-record"), items.get("sync-mark"), items.get("damage")], [2, 2, undefined]);
    await assert.rejects(inspectFile(`${directory}/nothing`, { disk }).next(), { code: "LOG_NOT_FOUND" });
  });
});
