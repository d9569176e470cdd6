import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { keepAll, loseAll, randomChoice } from "../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { segmentHeaderBytes } from "../src/log/segment-header.ts";
import { indexSuffix, segmentPath, storeSuffix, timeIndexSuffix } from "../src/log/segment-name.ts";
import { syncMarkName } from "../src/log/sync-mark.ts";
import { logDirectory, OwingLog } from "./owing-log.ts";
import type { OwedRecords } from "./owed-records.ts";

/** What a power cut may do to the group that was being written, done to its bytes by hand, and completely. */
describe("a torn group", () => {
  const store = segmentPath(logDirectory, 1, storeSuffix);
  const random = createSeededRandom("torn groups");

  /** How the bytes of the group from `at` on may be found. */
  const tears: Readonly<Record<string, (disk: SimDisk, at: number, end: number) => void>> = {
    "cut off": (disk, at) => truncateFile(disk, store, at),
    "left as zeros": (disk, at, end) => disk.corrupt(store, at, Buffer.alloc(end - at)),
    "left as garbage": (disk, at, end) => disk.corrupt(store, at, random.bytes(end - at)),
  };

  for (const [tear, damage] of Object.entries(tears)) {
    test(`${tear} from any byte on goes, and its whole first frames stay`, async () => {
      const torn = await tornGroup(3);
      for (let at = torn.start; at < torn.end; at += 1) {
        const disk = torn.image.crash(keepAll);
        damage(disk, at, torn.end);
        await recovers(disk, torn.owed, torn.acknowledged + countWhole(torn, disk), `byte ${at - torn.start}`);
      }
    });
  }

  for (const how of ["lost", "garbled"] as const) {
    test(`with frames ${how} goes from the first of them on, whole frames behind it too`, async () => {
      const torn = await tornGroup(5);
      const frameCount = torn.frameEnds.length;
      for (let first = 0; first < frameCount; first += 1) {
        for (let second = first; second < frameCount; second += 1) {
          const disk = torn.image.crash(keepAll);
          for (const frame of new Set([first, second])) {
            const start = torn.frameEnds[frame - 1] ?? torn.start;
            const bytes = (torn.frameEnds[frame] ?? torn.end) - start;
            disk.corrupt(store, start, how === "lost" ? Buffer.alloc(bytes) : random.bytes(bytes));
          }
          await recovers(disk, torn.owed, torn.acknowledged + first, `frames ${first} and ${second}`);
        }
      }
    });
  }

  test("whose first frame is lost goes also when the sync mark lags by two groups", async () => {
    const torn = await tornGroup(3, { isMarkLagging: true });
    const disk = torn.image.crash(keepAll);
    disk.corrupt(store, torn.start, Buffer.alloc((torn.frameEnds[0] ?? 0) - torn.start));
    await recovers(disk, torn.owed, torn.acknowledged, "the mark lags");
  });

  test("reports what was cut", async () => {
    const torn = await tornGroup(3);
    const disk = torn.image.crash(keepAll);
    disk.corrupt(store, torn.start, Buffer.alloc(100));
    const owing = await OwingLog.open(disk, { owed: torn.owed });
    const { kind, cut } = owing.log.recovery;
    // The last byte of a batch without headers is zero, and zeros needn't be cut.
    assert.deepEqual([kind, cut?.file, cut?.position, cut?.bytes], ["recovered", store, torn.start, torn.end - 1 - torn.start]);
  });

  /** Opens with `end` records, the same a second time, goes on from there, and keeps that over one more cut. */
  async function recovers(disk: SimDisk, owed: OwedRecords, end: number, what: string): Promise<void> {
    const opened = await OwingLog.open(disk, { owed });
    assert.equal(opened.log.logEndOffset, end, what);
    const again = await OwingLog.open(disk.endProcess(), { owed: opened.owed() });
    assert.equal(again.log.recovery.cut, undefined, `${what}: nothing is left to cut`);
    await again.append("next");
    await OwingLog.open(again.disk.crash(randomChoice(random)), { owed: again.owed() });
  }

  interface TornGroup {
    /** Everything is in the store, and nothing of the last group was synced. */
    readonly image: SimDisk;
    readonly owed: OwedRecords;
    readonly acknowledged: number;
    /** Of the last group's first byte. */
    readonly start: number;
    readonly frameEnds: readonly number[];
    readonly end: number;
  }

  async function tornGroup(frameCount: number, options: { readonly isMarkLagging?: boolean } = {}): Promise<TornGroup> {
    const disk = createSimDisk();
    const owing = await OwingLog.open(disk);
    await owing.appendGroup("a", "b");
    await owing.append("c", "d");
    if (options.isMarkLagging !== true) await owing.idle();
    const start = owing.log.status().storeBytes;
    const acknowledged = owing.log.logEndOffset;

    const hold = disk.holdSync({ path: storeSuffix });
    void owing.appendGroup(...Array.from({ length: frameCount }, (_, i) => "x".repeat(i + 1)));
    await hold.waiting(1);
    const owed = owing.owed();
    const image = disk.crash((point) =>
      options.isMarkLagging === true && "path" in point && point.path.endsWith(syncMarkName) ? 0 : point.options - 1,
    );
    disk.turnOff();
    assert.deepEqual([acknowledged, owed.ends.length], [4, frameCount + 1]);
    return { image, owed, acknowledged, start, ...framesFrom(image.contentOf(store), start) };
  }

  /** How many frames from the first on are as they were: zeros over a zero tear nothing. */
  function countWhole(torn: TornGroup, disk: SimDisk): number {
    const before = torn.image.contentOf(store);
    const after = disk.contentOf(store);
    const isWhole = (end: number): boolean => before.subarray(torn.start, end).equals(after.subarray(torn.start, end));
    return torn.frameEnds.filter(isWhole).length;
  }

  function framesFrom(content: Buffer, start: number): { readonly frameEnds: readonly number[]; readonly end: number } {
    const frameEnds: number[] = [];
    let end = start;
    for (let length = content.readUInt32LE(end); length > 0; length = content.readUInt32LE(end)) {
      end += 8 + length;
      frameEnds.push(end);
    }
    return { frameEnds, end };
  }
});

describe("the end of a store", () => {
  const store = segmentPath(logDirectory, 1, storeSuffix);
  const tails = [...Array.from({ length: 140 }, (_, bytes) => bytes), 511, 512, 513, 4096, 65_536, 1_048_576, 1_100_000];

  for (const state of ["closed", "crashed"] as const) {
    test(`may have any number of zeros behind it in a log that was ${state}`, async () => {
      const { image, owed, end } = await smallLog(state);
      for (const bytes of tails) {
        const disk = image.crash(keepAll);
        truncateFile(disk, store, end);
        truncateFile(disk, store, end + bytes);
        const owing = await OwingLog.open(disk, { owed });
        assert.equal(owing.log.recovery.cut, undefined);
        await owing.append("next");
        await OwingLog.open(disk.crash(loseAll), { owed: owing.owed() });
      }
    });

    test(`is found whatever the index files say in a log that was ${state}`, async () => {
      const { image, owed } = await smallLog(state);
      const random = createSeededRandom("index files");
      for (const suffix of [indexSuffix, timeIndexSuffix] as const) {
        const path = segmentPath(logDirectory, 1, suffix);
        const size = image.size(path) ?? 0;
        for (let bytes = 0; bytes <= size + 40; bytes += 1) {
          const disk = image.crash(keepAll);
          if (disk.size(path) === undefined) disk.open(path, "create").close();
          truncateFile(disk, path, bytes);
          if (bytes > size) disk.corrupt(path, size, random.bytes(bytes - size));
          const owing = await OwingLog.open(disk, { owed });
          await owing.append("next");
          await owing.check();
        }
      }
    });
  }

  test("may be that of a log without entries, with any number of zeros behind it", async () => {
    const disk = createSimDisk();
    const { log } = await OwingLog.open(disk);
    assert.equal(log.logEndOffset, 0);
    for (const bytes of tails) {
      const image = disk.crash(keepAll);
      truncateFile(image, store, segmentHeaderBytes + bytes);
      await OwingLog.open(image);
    }
  });

  async function smallLog(state: "closed" | "crashed"): Promise<{ image: SimDisk; owed: OwedRecords; end: number }> {
    const disk = createSimDisk();
    const owing = await OwingLog.open(disk);
    await owing.appendGroup("a", "b", "c");
    owing.clock.advance(5);
    await owing.append("d", "e");
    const end = owing.log.status().storeBytes;
    if (state === "closed") await owing.close();
    return { image: disk.crash(keepAll), owed: owing.owed(), end };
  }
});

/** Cuts or stretches a file at rest. */
function truncateFile(disk: SimDisk, path: string, size: number): void {
  const file = disk.open(path, "write");
  file.truncate(size);
  file.close();
}
