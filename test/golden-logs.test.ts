import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import type { Disk } from "../src/base/disk.ts";
import { createVirtualClock } from "../sim/clock.ts";
import packageManifest from "../package.json" with { type: "json" };
import { openLog } from "../src/log/open-log.ts";
import { readSyncMark } from "../src/log/sync-mark.ts";
import { readBaseRecord } from "../src/log/base-record.ts";
import { type PlainRecord, plain, readAll } from "./dumb-log.ts";
import { goldenLogs, readFiles, writeGoldenLog } from "./golden/golden-logs.ts";

const goldenDirectory = join(import.meta.dirname, "golden");
const versions = readdirSync(goldenDirectory, { withFileTypes: true }).flatMap((entry) =>
  entry.isDirectory() ? [entry.name] : [],
);

function expectedOf(version: string, name: string): PlainRecord[] {
  return JSON.parse(readFileSync(join(goldenDirectory, version, `${name}.json`), "utf8"));
}

function filesOf(version: string, name: string): Map<string, Buffer> {
  const directory = join(goldenDirectory, version, name);
  return new Map(readdirSync(directory).map((file) => [file, readFileSync(join(directory, file))]));
}

async function diskWith(files: ReadonlyMap<string, Buffer>): Promise<Disk> {
  const disk = createMemoryDisk();
  await disk.makeDirectory("/log");
  for (const [name, bytes] of files) {
    const file = disk.open(`/log/${name}`, "create");
    file.writeSync([bytes], 0);
    file.close();
  }
  return disk;
}

for (const version of versions) {
  describe(`the logs that ${version} wrote`, () => {
    const entries = readdirSync(join(goldenDirectory, version), { withFileTypes: true });
    const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);

    for (const name of names) {
      test(`${name}: is read in full, by any way to begin, and goes on`, async () => {
        const expected = expectedOf(version, name);
        const disk = await diskWith(filesOf(version, name));
        const log = await openLog("/log", { disk });
        assert.deepEqual(await readAll(log), expected);
        for (const record of expected) assert.deepEqual(plain(await log.read(record.offset)), record);
        for (const { timestamp } of expected) {
          const found = expected.find((record) => record.timestamp >= timestamp);
          assert.equal(await log.findOffset({ timestamp }), found?.offset);
        }
        assert.deepEqual((await log.scrub()).damages, []);
        assert.equal(log.recovery.cut, undefined);

        const { baseOffset } = await log.append({ value: "by a later version" });
        assert.equal(baseOffset, log.logStartOffset + expected.length);
        await log.close();
        const again = await openLog("/log", { disk });
        assert.equal(again.recovery.kind, "clean");
        assert.deepEqual((await readAll(again)).slice(0, -1), expected);
        await again.close();
      });

      test(`${name}: is read from a real disk, and its files but for the index are the same after`, async () => {
        const directory = mkdtempSync(join(tmpdir(), "proglog-golden-"));
        try {
          cpSync(join(goldenDirectory, version, name), directory, { recursive: true });
          const log = await openLog(directory);
          assert.deepEqual(await readAll(log), expectedOf(version, name));
          await log.close();
          for (const [file, bytes] of filesOf(version, name)) {
            if (!/^base-|\.store$/.test(file)) continue;
            assert.deepEqual(withoutTail(readFileSync(join(directory, file))), withoutTail(bytes), file);
          }
        } finally {
          rmSync(directory, { recursive: true, force: true });
        }
      });
    }
  });
}

describe(`what ${packageManifest.version} writes`, () => {
  for (const golden of goldenLogs) {
    // What gzip and zstd make of the same bytes is up to their versions.
    if (golden.steps.some((step) => step.kind === "append" && step.compression !== undefined)) continue;
    test(`${golden.name}: is byte for byte what was written before`, async () => {
      const { files, records } = await writeGoldenLog(golden);
      const kept = filesOf(packageManifest.version, golden.name);
      assert.deepEqual([...files.keys()], [...kept.keys()].sort());
      for (const [name, bytes] of files) {
        // How often the mark is written, and how many zeros are written ahead, isn't format.
        if (name === "sync-mark") continue;
        assert.deepEqual(withoutTail(bytes), withoutTail(kept.get(name) ?? Buffer.alloc(0)), name);
      }
      assert.deepEqual(await markOf(files), await markOf(kept));
      assert.deepEqual(records, expectedOf(packageManifest.version, golden.name));
    });
  }

  test("the producers that golden files know are known", async () => {
    const disk = await diskWith(filesOf(packageManifest.version, "producers"));
    // By today's clock they have been idle for too long.
    const log = await openLog("/log", { disk, clock: createVirtualClock(0) });
    assert.equal(log.status().producers, 2);
    const retry = { producer: { id: 2, epoch: 3, baseSequence: 2 ** 31 - 2 } };
    const { baseOffset, lastOffset, isDuplicate } = await log.append(
      ["a", "b", "c"].map((value) => ({ value })),
      retry,
    );
    assert.deepEqual([baseOffset, lastOffset, isDuplicate], [2, 4, true]);
    await log.close();
  });

  test("golden files hold each kind of file, several segments and a trimmed start", () => {
    const files = filesOf(packageManifest.version, "closed");
    const suffixes = new Set([...files.keys()].map((name) => name.replace(/^\d+/, "")));
    assert.deepEqual([...suffixes].sort(), [".index", ".store", ".timeindex", "base-0", "base-1", "sync-mark"]);
    assert.ok([...files.keys()].filter((name) => name.endsWith(".store")).length >= 3);
    assert.ok((expectedOf(packageManifest.version, "closed")[0]?.offset ?? 0) > 0);
  });
});

async function markOf(files: ReadonlyMap<string, Buffer>): Promise<unknown> {
  const disk = await diskWith(files);
  const base = readBaseRecord(disk, "/log");
  assert.ok(base.state === "valid");
  const read = readSyncMark(disk, "/log", base.record.logId);
  assert.ok(read.state === "valid");
  assert.deepEqual(readFiles(disk, "/log").get("sync-mark")?.length, 8192);
  return read.mark;
}

/** Without zeros at the end, which may have been written ahead. */
function withoutTail(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return bytes.subarray(0, end);
}
