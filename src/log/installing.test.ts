import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../sim/clock.ts";
import { countChoices, type CrashChoice, everyChoice, keepAll, loseAll, randomChoice } from "../../sim/crash.ts";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { createSeededRandom, type SeededRandom } from "../../sim/random.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { isProglogError } from "../base/error.ts";
import { KiB } from "../base/units.ts";
import { type BaseRecord, decodeBaseRecord } from "./base-record.ts";
import { encodeTrim } from "./control-entries.ts";
import { entryFlags } from "./frame.ts";
import { OpenFiles } from "./open-files.ts";
import { openIncomingLog, openReplicaLog, type ReplicaLog, type ReplicaLogOptions } from "./replica-log.ts";
import type { StampedEntry } from "./stamped-entry.ts";
import { readSyncMark } from "./sync-mark.ts";

const logId = Buffer.from("0123456789abcdef");
const startMs = 1_760_000_000_000;

describe("a log that is received", () => {
  test("takes the place of the one that was there: its base, its entries, and what is known of them", async () => {
    const { disk, log, source } = await begin();
    const received = await receive(disk, source);
    await log.install(received);
    assert.deepEqual(log.base, source.base);
    assert.deepEqual(log.last, endOfSealed(source));
    assert.deepEqual([log.shownIndex, log.log.logStartOffset], [source.base.index, source.log.logStartOffset]);
    assert.deepEqual(log.termHistory, source.termHistory);
    assert.deepEqual(await framesOf(log), await framesOf(source, log.last.index));
    const { states } = log.producers;
    assert.deepEqual(
      states.map(({ producerId }) => producerId),
      [7],
    );
    assert.equal(names(disk).join(), "log");
    await log.append(await readFrom(source, log.last.index + 1));
    const mark = readSyncMark(disk.crash(loseAll), "/log", logId);
    assert.ok(mark.state === "valid" && !mark.mark.isClean, "it is taken back that it was closed");
    await log.show(log.last.index);
    assert.deepEqual(await valuesOf(log), await valuesOf(source));
    await log.close();
    const again = await openReplicaLog("/log", optionsOf(disk));
    assert.equal(again.recovery.kind, "clean");
    assert.deepEqual(await framesOf(again), await framesOf(source));
    await again.close();
  });

  test("ends the readers of what was there with the new log start, and wakes who waits at its end", async () => {
    const { disk, log, source } = await begin();
    const reader = log.log.records();
    assert.equal((await reader.next()).value?.offset, 0);
    const waiting = log.log.waitForOffset(1);
    const received = await receive(disk, source);
    await log.install(received);
    await assert.rejects(log.log.read(0), { code: "OFFSET_OUT_OF_RANGE" });
    const tail = log.log.records({ from: 1 });
    await assert.rejects(tail.next(), { code: "OFFSET_OUT_OF_RANGE" });
    await log.append(await readFrom(source, log.last.index + 1));
    await log.show(log.last.index);
    await waiting;
    await log.close();
  });

  test("is gone on with where it stopped, unless it isn't wanted, or rotted", async () => {
    const { disk, log, source } = await begin();
    const base = baseOf(source);
    const open = (isFit = true) => openIncomingLog("/log", optionsOf(disk), { base, isFit: () => isFit });
    const received = await open();
    await received.append((await readFrom(source, base.baseIndex + 1)).slice(0, 3));
    await received.close();
    const again = await open();
    assert.equal(again.last.index, base.baseIndex + 3);
    await again.close();
    const anew = await open(false);
    assert.equal(anew.last.index, base.baseIndex);
    await anew.append((await readFrom(source, base.baseIndex + 1)).slice(0, 3));
    await anew.close();
    const [store] = disk.list("/log.incoming").filter((name) => name.endsWith(".store"));
    disk.flipBit(`/log.incoming/${store}`, 200, 1);
    disk.remove("/log.incoming/sync-mark");
    const rotten = await open();
    assert.equal(rotten.last.index, base.baseIndex);
    await rotten.close();
    await log.close();
  });

  for (const model of ["strict", "ordered"] as const) {
    test(`a power cut at any step of it leaves the old log or the new one whole, ${model} model`, async () => {
      const random = createSeededRandom(`install ${model}`);
      const images: { readonly disk: SimDisk; readonly isInstalled: boolean }[] = [];
      let isInstalled = false;
      let isWatched = false;
      const onCall = (): void => {
        if (!isWatched) return;
        for (const choice of choicesOf(disk, random))
          images.push({ disk: disk.crash(choice, { isRecording: false }), isInstalled });
      };
      const disk: SimDisk = createSimDisk({ model, isRecording: false, onCall });
      const { log, source } = await begin(disk);
      const [before, after] = [await framesOf(log), await framesOf(source, source.sealedIndex)];
      isWatched = true;
      await log.install(await receive(disk, source));
      isInstalled = true;
      await log.append((await readFrom(source, log.last.index + 1)).slice(0, 1));
      isWatched = false;
      await log.close();
      assert.ok(images.length > 100, `${images.length} images`);
      let oldCount = 0;
      for (const image of images) {
        const opened = await openReplicaLog("/log", optionsOf(image.disk));
        const frames = await framesOf(opened);
        const isOld = opened.base.index === 0;
        if (isOld) oldCount += 1;
        assert.ok(!(isOld && image.isInstalled), "what is reported is durable");
        if (isOld) assert.deepEqual(frames, before);
        else assert.deepEqual(frames.slice(0, after.length), after);
        assert.ok(!names(image.disk).includes("log.replaced"));
        await opened.close();
        const again = await openReplicaLog("/log", optionsOf(image.disk.crash(loseAll)));
        assert.deepEqual(await framesOf(again), frames, "what an opening found stays");
        await again.close();
      }
      assert.ok(oldCount > 0 && oldCount < images.length);
    });
  }

  test("whichever call fails, an opening finds the old log or the new one whole", async () => {
    let struck = true;
    let count = 0;
    for (let nth = 1; struck; nth += 1) {
      const disk = createSimDisk({ isRecording: false });
      const { log, source } = await begin(disk);
      const before = await framesOf(log);
      const received = await receive(disk, source);
      const fault = disk.fail({ kind: ["rename", "sync-directory", "open", "create", "remove"], nth, code: "EIO" });
      let isInstalled = true;
      await log.install(received).catch((error: unknown) => {
        assert.ok(isProglogError(error), String(error));
        isInstalled = false;
      });
      struck = fault.struckCount > 0;
      if (struck) count += 1;
      fault.cancel();
      for (const image of [disk.crash(loseAll), disk.crash(keepAll), disk.endProcess()]) {
        const opened = await openReplicaLog("/log", optionsOf(image));
        const isOld = opened.base.index === 0;
        assert.ok(!(isOld && isInstalled));
        assert.deepEqual(await framesOf(opened), isOld ? before : await framesOf(source, source.sealedIndex));
        await opened.close();
      }
    }
    assert.ok(count > 5, `${count} calls`);
  });
});

/** A log of a few entries in /log, and elsewhere one that was trimmed, from which it may be brought up to date. */
async function begin(
  disk: SimDisk = createSimDisk({ isRecording: false }),
): Promise<{ readonly disk: SimDisk; readonly log: ReplicaLog; readonly source: ReplicaLog }> {
  const log = await openReplicaLog("/log", optionsOf(disk));
  const source = await openReplicaLog("/log", optionsOf(createSimDisk({ isRecording: false })));
  const entries: StampedEntry[] = [];
  for (let index = 1, offset = 0; index <= 40; index += 1) {
    const kind = index === 1 || index === 20 ? "no-op" : index === 38 ? "trim" : "data";
    const payload =
      kind === "data"
        ? encodeBatch([{ value: `value ${index}` }], {
            now: 1,
            ...(index % 3 === 0 && { producerId: 7, producerEpoch: 0, baseSequence: index / 3 }),
          })
        : kind === "trim"
          ? encodeTrim(17)
          : Buffer.alloc(0);
    const span = kind === "data" ? 1 : 0;
    const flags = index > 1 && index % 5 === 1 ? entryFlags.beginsSegment : 0;
    const term = index < 20 ? 1 : 3;
    entries.push({ kind, index, term, span, baseOffset: offset, appendTime: startMs + index, flags, payload });
    offset += span;
  }
  await log.append(entries.slice(0, 3));
  await log.show(2);
  await source.append(entries);
  await source.show(40);
  await source.trim(17);
  assert.ok(source.base.index > 3);
  return { disk, log, source };
}

/** All that is sealed in `source`, in two pieces. */
async function receive(disk: SimDisk, source: ReplicaLog): Promise<ReplicaLog> {
  const received = await openIncomingLog("/log", optionsOf(disk), { base: baseOf(source), isFit: () => true });
  const frames = await readFrom(source, source.base.index + 1);
  const sealed = frames.filter(({ index }) => index <= source.sealedIndex);
  await received.append(sealed.slice(0, 4));
  await received.append(sealed.slice(4));
  await received.finish(source.log.logStartOffset);
  return received;
}

function baseOf(source: ReplicaLog): BaseRecord {
  const base = decodeBaseRecord(source.describeBase())?.record;
  assert.ok(base !== undefined);
  return base;
}

function endOfSealed(source: ReplicaLog) {
  const index = source.sealedIndex;
  return { index, term: 3, appendTime: startMs + index, nextOffset: index - 2 };
}

async function readFrom(log: ReplicaLog, index: number): Promise<StampedEntry[]> {
  const entries: StampedEntry[] = [];
  for (let next = index; next <= log.last.index; next = (entries.at(-1)?.index ?? 0) + 1)
    entries.push(...(await log.read(next, 64 * KiB)));
  return entries;
}

async function framesOf(log: ReplicaLog, lastIndex = log.last.index): Promise<string[]> {
  const entries = log.last.index > log.base.index ? await readFrom(log, log.base.index + 1) : [];
  return entries.filter(({ index }) => index <= lastIndex).map((entry) => log.encodeForPeer(entry).toString("hex"));
}

async function valuesOf(log: ReplicaLog): Promise<string[]> {
  const values: string[] = [];
  for await (const record of log.log.records()) values.push(record.value?.toString() ?? "");
  return values;
}

function names(disk: SimDisk): string[] {
  return disk.list("/");
}

function optionsOf(disk: SimDisk): ReplicaLogOptions & { readonly disk: SimDisk } {
  const clock = createVirtualClock(startMs);
  return { disk, clock, logId, index: "heap", openFiles: new OpenFiles(), takesLock: false };
}

function choicesOf(disk: SimDisk, random: SeededRandom): Iterable<CrashChoice> {
  const points = disk.crashPoints();
  if (countChoices(points) <= 16) return everyChoice(points);
  return [loseAll, keepAll, ...Array.from({ length: 3 }, () => randomChoice(random))];
}
