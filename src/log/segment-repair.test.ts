import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { keepAll, loseAll, randomChoice } from "../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { KiB } from "../base/units.ts";
import { entryFlags } from "./frame.ts";
import { OpenFiles } from "./open-files.ts";
import { openReplicaLog, type ReplicaLog, type ReplicaLogOptions } from "./replica-log.ts";
import type { FetchEntries } from "./segment-repair.ts";
import type { StampedEntry } from "./stamped-entry.ts";

const logId = Buffer.from("0123456789abcdef");
const startMs = 1_760_000_000_000;
const entryCount = 40;
/** The third of eight: entries 11 to 15. */
const storePath = "/log/00000000000000000011.store";

/** What may happen to it, and how many entries are gone with that. */
const rots: Readonly<Record<string, (disk: SimDisk) => void>> = {
  "in its header": (disk) => disk.flipBit(storePath, 20, 1),
  "in the head of its first entry": (disk) => disk.flipBit(storePath, 130, 1),
  "in a batch": (disk) => disk.flipBit(storePath, disk.contentOf(storePath).indexOf("value 13"), 1),
  "in its last batch": (disk) => disk.flipBit(storePath, disk.contentOf(storePath).indexOf("value 15"), 1),
  "in two places": (disk) => {
    disk.flipBit(storePath, disk.contentOf(storePath).indexOf("value 11"), 1);
    disk.flipBit(storePath, disk.contentOf(storePath).indexOf("value 14"), 1);
  },
  "over a whole sector": (disk) => disk.zeroSector(storePath, 0),
  "at its end, which is missing": (disk) => {
    const file = disk.open(storePath, "write");
    file.truncate(disk.contentOf(storePath).indexOf("value 14"));
    file.close();
  },
  "all of it": (disk) => disk.remove(storePath),
};

describe("a sealed segment in which something rotted", () => {
  for (const [where, rot] of Object.entries(rots)) {
    test(`${where}, is whole again with the entries that others have`, async () => {
      const { disk, log, entries, options } = await begin();
      rot(disk);
      options.openFiles?.forgetAll("/log/");
      const asked: string[] = [];
      const { entries: count, bytes } = await log.repairStore(storePath, fetchFrom(entries, asked));
      assert.ok(count <= 5 && (count > 0 || where === "in its header"));
      assert.equal(bytes > 0, count > 0);
      assert.deepEqual(await framesOf(log), framesOfEntries(log, entries));
      assert.deepEqual((await log.log.scrub()).damages, []);
      assert.ok(!disk.list("/log").some((name) => name.endsWith(".tmp")));
      assert.deepEqual(await log.repairStore(storePath, fetchFrom(entries, asked)), { entries: 0, bytes: 0 });
      await log.close();
      const again = await openReplicaLog("/log", options);
      assert.deepEqual(await framesOf(again), framesOfEntries(again, entries));
      await again.show(entryCount);
      assert.equal((await again.log.read(12)).value?.toString(), "value 13");
      await again.close();
    });
  }

  test("keeps what is whole of it: only what is bad is asked for", async () => {
    const { disk, log, entries } = await begin();
    rots["in two places"]?.(disk);
    const asked: string[] = [];
    await log.repairStore(storePath, fetchFrom(entries, asked));
    assert.deepEqual(asked, ["11-11", "14-14"]);
    await log.close();
  });

  test("stays as it is while nobody has them, or what they have doesn't fit", async () => {
    const { disk, log, entries } = await begin();
    rots["in a batch"]?.(disk);
    const before = disk.contentOf(storePath);
    const nobody: FetchEntries = () => Promise.reject(new Error("nobody"));
    await assert.rejects(log.repairStore(storePath, nobody));
    const others = entries.map((entry) => ({ ...entry, baseOffset: entry.baseOffset + 1 }));
    await assert.rejects(log.repairStore(storePath, fetchFrom(others, [])), { code: "LOG_CORRUPT" });
    assert.deepEqual(disk.contentOf(storePath), before);
    assert.ok(!disk.list("/log").some((name) => name.endsWith(".tmp")));
    await assert.rejects(log.log.read(12), { code: "LOG_CORRUPT" });
    assert.equal((await log.log.read(10)).value?.toString(), "value 11");
    await log.close();
  });

  test("that is written to is sealed for it, and the log goes on", async () => {
    const { disk, log, entries } = await begin();
    const path = "/log/00000000000000000036.store";
    disk.flipBit(path, disk.contentOf(path).indexOf("value 38"), 1);
    await assert.rejects(log.log.read(37), { code: "LOG_CORRUPT" });
    assert.equal(log.log.status().damages, 1);
    assert.equal((await log.repairStore(path, fetchFrom(entries, []))).entries, 1);
    assert.equal(log.log.status().damages, 0);
    assert.equal((await log.log.read(37)).value?.toString(), "value 38");
    const more = entryOf(entryCount + 1);
    await log.append([more]);
    assert.deepEqual(await framesOf(log), framesOfEntries(log, [...entries, more]));
    await log.close();
  });

  test("and was trimmed away meanwhile is let be", async () => {
    const { disk, log, entries } = await begin();
    rots["in a batch"]?.(disk);
    await log.repairStore(storePath, async (index, lastIndex) => {
      await log.trim(20);
      return fetchFrom(entries, [])(index, lastIndex);
    });
    assert.equal(log.base.index, 20);
    assert.deepEqual(disk.list("/log").filter((name) => name.endsWith(".store") || name.endsWith(".tmp")).length, 4);
    assert.deepEqual(await log.repairStore(storePath, fetchFrom(entries, [])), { entries: 0, bytes: 0 });
    await log.close();
  });

  test("a power cut at any step leaves it as it was or whole", async () => {
    const random = createSeededRandom("repair");
    const images: { readonly disk: SimDisk; readonly isRepaired: boolean }[] = [];
    let [isWatched, isRepaired] = [false, false];
    const onCall = (): void => {
      if (!isWatched) return;
      for (const choice of [loseAll, keepAll, ...Array.from({ length: 4 }, () => randomChoice(random))])
        images.push({ disk: disk.crash(choice, { isRecording: false }), isRepaired });
    };
    const disk: SimDisk = createSimDisk({ isRecording: false, onCall });
    const { log, entries } = await begin(disk);
    rots["in a batch"]?.(disk);
    isWatched = true;
    await log.repairStore(storePath, fetchFrom(entries, []));
    isRepaired = true;
    await log.append([entryOf(entryCount + 1)]);
    isWatched = false;
    await log.close();
    const outcomes = new Set<boolean>();
    for (const image of images) {
      const opened = await openReplicaLog("/log", optionsOf(image.disk));
      const { damages } = await opened.log.scrub();
      assert.ok(damages.length <= (image.isRepaired ? 0 : 1));
      outcomes.add(damages.length === 0);
      if (damages.length > 0) await opened.repairStore(storePath, fetchFrom(entries, []));
      assert.deepEqual((await framesOf(opened)).slice(0, entryCount), framesOfEntries(opened, entries));
      await opened.close();
    }
    assert.equal(outcomes.size, 2);
  });
});

async function begin(disk: SimDisk = createSimDisk({ isRecording: false })) {
  const options = optionsOf(disk);
  const log = await openReplicaLog("/log", options);
  const entries = Array.from({ length: entryCount }, (_, position) => entryOf(position + 1));
  await log.append(entries);
  await log.show(entryCount);
  return { disk, log, entries, options };
}

function entryOf(index: number): StampedEntry {
  const payload = encodeBatch([{ value: `value ${index}` }], { now: 1 });
  const flags = index > 1 && index % 5 === 1 ? entryFlags.beginsSegment : 0;
  const term = index < 13 ? 1 : 2;
  return { kind: "data", index, term, span: 1, baseOffset: index - 1, appendTime: startMs + index, flags, payload };
}

/** Two at a time. */
function fetchFrom(entries: readonly StampedEntry[], asked: string[]): FetchEntries {
  return async (index, lastIndex) => {
    asked.push(`${index}-${lastIndex}`);
    return entries.filter((entry) => entry.index >= index && entry.index <= lastIndex).slice(0, 2);
  };
}

async function framesOf(log: ReplicaLog): Promise<string[]> {
  const entries: StampedEntry[] = [];
  for (let next = log.base.index + 1; next <= log.last.index; next = (entries.at(-1)?.index ?? 0) + 1)
    entries.push(...(await log.read(next, 64 * KiB)));
  return framesOfEntries(log, entries);
}

function framesOfEntries(log: ReplicaLog, entries: readonly StampedEntry[]): string[] {
  return entries.map((entry) => log.encodeForPeer(entry).toString("hex"));
}

function optionsOf(disk: SimDisk): ReplicaLogOptions & { readonly disk: SimDisk } {
  return { disk, clock: createVirtualClock(startMs), logId, index: "heap", openFiles: new OpenFiles(), takesLock: false };
}
