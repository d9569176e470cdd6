import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { type PlainRecord, readAll } from "../../test/dumb-log.ts";
import { LogWorld } from "../../test/log-world.ts";
import { readBatchHeader } from "../batch/batch-header.ts";
import { crc32c } from "../batch/crc32c.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { KiB, minuteMs, secondMs } from "../base/units.ts";
import { compactionMarkName } from "./compaction-mark.ts";
import { logSeed } from "./frame.ts";
import { inspectLog, verifyLog } from "./inspect.ts";
import { encodeMergeNote, mergeNoteName } from "./merge-note.ts";
import type { CompactionReport, Log, LogOptions, StoredBatch } from "./log.ts";
import { temporarySuffix } from "./segment-name.ts";

const options = { cleanup: "compact", indexMaxBytes: 3 * 16 } as const satisfies LogOptions;

/** Appends "key=value" each as a batch of its own, three to a segment; "key" alone is a tombstone. */
async function fill(log: Log, ...entries: readonly string[]): Promise<void> {
  for (const entry of entries) {
    const [key = "", value = null] = entry.split("=");
    await log.append({ key, value });
  }
}

/** "offset key=value" of all that is left. */
async function contentOf(log: Log): Promise<string[]> {
  const records = await readAll(log);
  return records.map(({ offset, key, value }) => `${offset} ${key ?? "-"}${value === null ? "" : `=${value}`}`);
}

async function batchesOf(log: Log): Promise<StoredBatch[]> {
  const batches: StoredBatch[] = [];
  for await (const batch of log.batches()) batches.push(batch);
  return batches;
}

describe("compaction", () => {
  let world: LogWorld;
  let log: Log;

  beforeEach(async () => {
    world = new LogWorld();
    log = await world.open(options);
  });

  async function reopen(changed: LogOptions = {}): Promise<void> {
    await log.close();
    log = await world.open({ ...options, ...changed });
  }

  test("keeps the newest record of each key in the sealed segments, at its offset", async () => {
    await fill(log, "a=1", "b=1", "a=2", "c=1", "a=3", "b=2", "d=1", "a=4");
    const report = await log.compact();
    assert.deepEqual(await contentOf(log), ["3 c=1", "4 a=3", "5 b=2", "6 d=1", "7 a=4"]);
    const { isComplete, segments, recordsRemoved, tombstonesRemoved, undecodableBatches, passes } = report;
    assert.deepEqual(
      [isComplete, segments, recordsRemoved, tombstonesRemoved, undecodableBatches, passes],
      [true, 2, 3, 0, 0, 1],
    );
    assert.ok(report.bytesAfter < report.bytesBefore);
    assert.deepEqual([log.logStartOffset, log.logEndOffset], [0, 8]);
    await reopen();
    assert.deepEqual(await contentOf(log), ["3 c=1", "4 a=3", "5 b=2", "6 d=1", "7 a=4"]);
    const removed = "Cannot read offset 2: its record was removed by compaction or repair";
    await assert.rejects(log.read(2), { code: "OFFSET_OUT_OF_RANGE", message: removed });
    await log.close();
  });

  test("leaves an empty batch with index, term, span and producer where all records of one went", async () => {
    const producer = { producerId: 5, producerEpoch: 1, baseSequence: 9 };
    const pair = ["x", "y"].map((key) => ({ key, value: "1" }));
    await log.appendBatch(encodeBatch(pair, { now: 1, ...producer, compression: "gzip" }));
    await fill(log, "x=2", "y=2", "z=1");
    await log.compact();
    const batches = await batchesOf(log);
    assert.deepEqual(
      batches.map(({ index, baseOffset, nextOffset, recordCount }) => [index, baseOffset, nextOffset, recordCount]),
      [
        [1, 0, 2, 0],
        [2, 2, 3, 1],
        [3, 3, 4, 1],
        [4, 4, 5, 1],
      ],
    );
    const { producerId, producerEpoch, baseSequence, lastOffsetDelta } = readBatchHeader(batches[0]?.batch ?? assert.fail());
    assert.deepEqual({ producerId, producerEpoch, baseSequence, lastOffsetDelta }, { ...producer, lastOffsetDelta: 1 });
    assert.equal(batches[0]?.batch.length, 61);
    await log.close();
  });

  test("touches no file where there is nothing to remove", async () => {
    await fill(log, "a=1", "b=1", "c=1", "d=1", "e=1", "f=1", "g=1");
    const before = world.files();
    const { recordsRemoved, bytesBefore, bytesAfter } = await log.compact();
    assert.deepEqual([recordsRemoved, bytesAfter], [0, bytesBefore]);
    const after = world.files();
    after.delete(compactionMarkName);
    assert.deepEqual(after, before);
    await log.close();
  });

  test("keeps records without a key that are from before, and takes no more of them", async () => {
    await reopen({ cleanup: "delete" });
    await log.append({ value: "1" });
    await log.append({ key: "a", value: "1" });
    await log.append([{ value: "2" }, { key: "a", value: "2" }]);
    await reopen();
    const message = "Cannot pack record 1 of the batch: it has no key, and the log is compacted by key";
    const pair = [{ key: "k", value: "" }, { value: "v" }];
    await assert.rejects(log.append(pair), { code: "INVALID_RECORD", message });
    for (const compression of ["none", "zstd"] as const) {
      const refused = log.appendBatch(encodeBatch(pair, { now: 1, compression }));
      const why = "Cannot accept the batch: record 1: it has no key, and the log is compacted by key";
      await assert.rejects(refused, { code: "INVALID_RECORD", message: why });
    }
    await fill(log, "=empty", "a=3", "a=4");
    await log.compact();
    assert.deepEqual(await contentOf(log), ["0 -=1", "2 -=2", "3 a=2", "4 =empty", "5 a=3", "6 a=4"]);
    await log.close();
  });

  test("opens compressed batches at the door, and refuses what it couldn't open later", async () => {
    await assert.rejects(log.appendBatch(undecodableBatch("k")), { code: "INVALID_BATCH" });
    await log.close();
  });

  test("of a log that is to keep everything is refused", async () => {
    await reopen({ cleanup: "delete" });
    await assert.rejects(log.compact(), { code: "INVALID_ARGUMENT", details: { option: "cleanup" } });
    assert.equal(log.status().dirtyRatio, 0);
    await log.append({ value: "no key" });
    await log.close();
  });

  test("at a rate that is none is refused", async () => {
    for (const bytesPerSecond of [0, -5, 0.5, Number.NaN]) {
      await assert.rejects(log.compact({ bytesPerSecond }), {
        code: "INVALID_ARGUMENT",
        details: { option: "bytesPerSecond" },
      });
    }
    await log.close();
  });

  test("keeps no status from being told when its mark can't be read", async () => {
    await fill(log, "a=1", "a=2", "a=3", "a=4");
    await log.compact();
    await reopen();
    world.disk.fail({ kind: "open", path: compactionMarkName, code: "EMFILE" });
    assert.deepEqual([log.status().segments, log.status().dirtyRatio], [2, 0]);
    await log.close();
  });

  test("begins in an open log when its cleanup is changed, and ends so", async () => {
    await reopen({ cleanup: "delete" });
    await log.append({ value: "no key" });
    log.configure({ cleanup: "compact", tombstoneRetentionMs: 0 });
    await assert.rejects(log.append({ value: "no key" }), { code: "INVALID_RECORD" });
    await fill(log, "a=1", "a=2", "a=3", "b=1");
    assert.equal((await log.compact()).recordsRemoved, 1);
    assert.deepEqual(await contentOf(log), ["0 -=no key", "2 a=2", "3 a=3", "4 b=1"]);
    log.configure({ cleanup: "delete" });
    await log.append({ value: "no key" });
    await assert.rejects(log.compact(), { code: "INVALID_ARGUMENT" });
    await log.close();
  });

  test("goes together with retention where both are asked for, and instead of it where it is asked for alone", async () => {
    for (const [cleanup, logStartOffset] of [
      ["both", 6],
      ["compact", 0],
    ] as const) {
      await log.close();
      world = new LogWorld();
      log = await world.open({ ...options, cleanup, retentionMaxBytes: 0 });
      await fill(log, "a=1", "b=1", "a=2", "c=1", "a=3", "b=2", "d=1");
      await log.compact();
      assert.deepEqual(await contentOf(log), ["2 a=2", "3 c=1", "4 a=3", "5 b=2", "6 d=1"].slice(1));
      await log.applyRetention();
      assert.equal(log.logStartOffset, logStartOffset);
    }
    await log.close();
  });

  test("makes several passes where the keys don't fit into memory, with the same result", async () => {
    await reopen({ compactionMapMaxBytes: 1 * KiB });
    const keys = Array.from({ length: 60 }, (_, i) => `k${i}`);
    await fill(log, ...keys.map((key) => `${key}=1`), ...keys.map((key) => `${key}=2`), "end=1", "end=2");
    const { passes, recordsRemoved, isComplete } = await log.compact();
    assert.deepEqual([passes, recordsRemoved, isComplete], [5, 60, true]);
    assert.equal((await readAll(log)).length, 62);
    // From now on only what is new is mapped.
    await fill(log, "k1=3", "k2=3", "end=3", "end=4");
    assert.equal((await log.compact()).passes, 1);
    await log.close();
  });

  test("syncs a new store, renames it, syncs that, and only then writes its index files; the mark comes last", async () => {
    world = new LogWorld({ isRecording: true });
    log = await world.open(options);
    await fill(log, "a=1", "a=2", "b=1", "a=3", "b=2", "a=4", "c=1");
    const before = world.disk.operations.length;
    await log.compact();
    const steps = world.disk.operations
      .slice(before)
      .filter(({ kind }) => ["create", "datasynced", "rename", "directory-synced"].includes(kind))
      .map(({ kind, path }) => `${kind} ${path.replace(/^.log.?0*/, "")}`);
    const swapOf = (base: number): string[] => [
      `create ${base}.store.tmp`,
      `datasynced ${base}.store.tmp`,
      `rename ${base}.store.tmp`,
      "directory-synced ",
      `create ${base}.index`,
      `create ${base}.timeindex`,
    ];
    const mark = `${compactionMarkName}.tmp`;
    const marked = [`create ${mark}`, `datasynced ${mark}`, `rename ${mark}`, "directory-synced "];
    assert.deepEqual(steps, [...swapOf(1), ...swapOf(4), ...marked]);
    await log.close();
  });

  test("stops at a segment that is damaged, tells it, and changes nothing", async () => {
    await fill(log, "a=1", "a=2", "a=3", "b=1", "a=4", "a=5", "c=1");
    world.disk.flipBit(world.path(4), 250, 3);
    const before = world.files();
    await assert.rejects(log.compact(), { code: "LOG_CORRUPT", message: /^Cannot compact a segment: .*04\.store is damaged/ });
    assert.equal(log.status().damages, 1);
    assert.deepEqual(world.files(), before);
    await fill(log, "goes=on");
    await log.close();
  });

  describe("of tombstones", () => {
    const day = { tombstoneRetentionMs: 10 * minuteMs };

    beforeEach(async () => {
      await reopen(day);
      await fill(log, "a=1", "b=1", "a", "c=1", "d=1", "e=1", "f=1");
      await log.compact();
    });

    test("keeps each until its time has passed since nothing older was left, by append time", async () => {
      assert.deepEqual((await contentOf(log)).slice(0, 2), ["1 b=1", "2 a"]);
      // The clock alone says nothing: a log that nobody appends to stays as it is.
      world.clock.advance(60 * minuteMs);
      assert.equal((await log.compact()).tombstonesRemoved, 0);
      await log.close();
      world.clock.jumpWall(-51 * minuteMs);
      log = await world.open({ ...options, ...day });
      await fill(log, "g=1");
      assert.equal((await log.compact()).tombstonesRemoved, 0, "nine minutes are too few");
      world.clock.advance(1 * minuteMs);
      await fill(log, "h=1");
      const { tombstonesRemoved, recordsRemoved } = await log.compact();
      assert.deepEqual([tombstonesRemoved, recordsRemoved], [1, 1]);
      assert.deepEqual((await contentOf(log)).slice(0, 2), ["1 b=1", "3 c=1"]);
      await log.close();
    });

    test("that a newer record supersedes go at once", async () => {
      await fill(log, "a=2", "g=1", "h=1");
      assert.equal((await log.compact()).tombstonesRemoved, 1);
      assert.deepEqual((await contentOf(log)).slice(0, 2), ["1 b=1", "3 c=1"]);
      await log.close();
    });

    test("keeps those at or above the ceiling", async () => {
      world.clock.advance(60 * minuteMs);
      await fill(log, "g=1");
      let ceiling = 2;
      await reopen({ ...day, tombstoneCeiling: () => ceiling });
      assert.equal((await log.compact()).tombstonesRemoved, 0);
      ceiling = 3;
      assert.equal((await log.compact()).tombstonesRemoved, 1);
      await log.close();
    });

    test("forgets what was clean when the log is truncated below it", async () => {
      world.clock.advance(60 * minuteMs);
      await log.truncate(1);
      // Now "a" lies where "b" was, and its tombstone where others were that had their time.
      await fill(log, "a=7", "x=1", "y=1", "a", "z=1", "z=2", "z=3");
      assert.equal((await log.compact()).tombstonesRemoved, 0);
      assert.deepEqual(await contentOf(log), ["2 x=1", "3 y=1", "4 a", "5 z=1", "6 z=2", "7 z=3"]);
      await log.close();
    });

    test("keeps those behind a batch that can't be decoded, which it keeps, too", async () => {
      await reopen({ ...day, cleanup: "delete" });
      const sealed = undecodableBatch("a");
      await log.appendBatch(sealed);
      await reopen(day);
      await fill(log, "a", "g", "h=1", "i=1");
      assert.equal((await log.compact()).undecodableBatches, 1);
      world.clock.advance(60 * minuteMs);
      await fill(log, "j=1");
      const { tombstonesRemoved, undecodableBatches, isComplete } = await log.compact();
      assert.deepEqual([tombstonesRemoved, undecodableBatches, isComplete], [0, 1, true]);
      assert.equal((await log.compact()).undecodableBatches, 1);
      const batch = (await batchesOf(log)).find(({ baseOffset }) => baseOffset === 7);
      assert.ok(batch?.batch.subarray(21).equals(sealed.subarray(21)));
      // It is looked at again each time, and is yet no reason to begin.
      assert.equal(log.status().dirtyRatio, 0);
      await log.close();
    });
  });

  describe("that leaves little of segments", () => {
    const small = { segmentMaxBytes: 2 * KiB, indexMaxBytes: 16 * KiB } as const;
    const long = ".".repeat(300);

    /** Of 24 entries, four to a segment, the last six are left and what is in the newest segment. */
    beforeEach(async () => {
      await log.close();
      world = new LogWorld({ isRecording: true });
      log = await world.open({ ...options, ...small });
      for (let i = 0; i < 24; i += 1) {
        world.clock.advance(1);
        await log.append({ key: `k${i % 6}`, value: `${i}${long}` });
      }
      assert.deepEqual(world.segments(), [1, 5, 9, 13, 17, 21]);
    });

    async function offsets(): Promise<number[]> {
      return (await readAll(log)).map(({ offset }) => offset);
    }

    test("merges those that follow each other, as far as a segment may grow and its index takes", async () => {
      const before = await readAll(log);
      assert.equal((await log.compact()).segmentsMerged, 2);
      assert.deepEqual(world.segments(), [1, 13, 17, 21]);
      assert.deepEqual(await offsets(), [14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
      for (const { offset, timestamp } of before.slice(14)) {
        assert.equal((await log.read(offset)).offset, offset);
        assert.equal(await log.findOffset({ timestamp }), offset);
      }
      assert.deepEqual((await log.scrub()).damages, []);
      assert.equal(log.status().segments, 4);
      await reopen(small);
      assert.equal(log.recovery.kind, "clean");
      assert.deepEqual(await offsets(), [14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
      // Nothing is left to do.
      assert.equal((await log.compact()).segmentsMerged, 0);
      await log.truncate(7);
      assert.deepEqual([log.logEndOffset, await offsets()], [7, []]);
      await fill(log, "x=1");
      await log.trim(7);
      assert.deepEqual(await offsets(), [7]);
      await log.close();
    });

    test("notes it, puts the new store in its place, removes the others and then the note, each durable before the next", async () => {
      const before = world.disk.operations.length;
      await log.compact();
      const steps = world.disk.operations
        .slice(before)
        .filter(({ kind }) => ["datasynced", "rename", "remove", "directory-synced"].includes(kind))
        .map(({ kind, path }) => `${kind} ${path.replace(/^.log.?0*/, "")}`);
      const first = steps.indexOf("rename merging.tmp");
      assert.deepEqual(steps.slice(first - 1, first + 16), [
        "datasynced merging.tmp",
        "rename merging.tmp",
        "directory-synced ",
        "rename 1.store.tmp",
        "directory-synced ",
        ...[5, 9].flatMap((base) => [`remove ${base}.index`, `remove ${base}.timeindex`, `remove ${base}.store`]),
        // Should a crash bring them back, they would be of the first one's entries only.
        ...["remove 1.index", "remove 1.timeindex"],
        "directory-synced ",
        "remove merging.tmp",
        "remove merging",
        "directory-synced ",
      ]);
      await log.close();
    });

    test("is finished by the next opening when its process ends in between", async () => {
      // The first time it is to be written anew.
      world.disk.fail({ kind: "remove", path: "0009.index", code: "EIO", nth: 2 });
      await assert.rejects(log.compact(), { code: "DISK_FAILED" });
      assert.equal(log.status().state, "poisoned");
      world.kill();
      assert.deepEqual(world.segments(), [1, 9, 13, 17, 21]);
      const { damages, notes } = await verifyLog("/log", { disk: world.disk });
      assert.deepEqual(damages, []);
      assert.ok(notes.some((note) => note.startsWith("segments were being merged")));
      log = await world.open({ ...options, ...small });
      assert.deepEqual(log.recovery.notes.slice(0, 1), ["finished merging 3 segments"]);
      assert.deepEqual(world.segments(), [1, 13, 17, 21]);
      assert.deepEqual(await offsets(), [14, 15, 16, 17, 18, 19, 20, 21, 22, 23]);
      assert.equal((await log.compact()).isComplete, true);
      assert.deepEqual((await log.scrub()).damages, []);
      await log.close();
    });

    describe("and a power cut that brings the first one's index back", () => {
      /** That of the first store as it was, and as compaction left it before the merge. */
      let stale: ReadonlyMap<string, Buffer>[];
      let kept: readonly PlainRecord[];

      beforeEach(async () => {
        const indexes = (): ReadonlyMap<string, Buffer> =>
          new Map([...world.files()].filter(([name]) => /0001\.(index|timeindex)$/.test(name)));
        const asItWas = indexes();
        const hold = world.hold({ kind: "datasync", path: `${mergeNoteName}${temporarySuffix}` });
        const compacted = log.compact();
        await hold.arrived;
        stale = [asItWas, indexes()];
        hold.release();
        assert.equal((await compacted).segmentsMerged, 2);
        kept = await readAll(log);
        await log.close();
      });

      /** Each on a copy, before it is opened; and that of the smaller store in an open log, which is then no longer looked through. */
      async function forEachCopy(changed: LogOptions, check: (copy: LogWorld, opened: Log) => Promise<void>): Promise<void> {
        for (const [i, indexes] of stale.entries())
          for (const isOpenBefore of i === 0 ? [false] : [false, true]) {
            const copy = world.copy();
            const bringBack = (): void => {
              for (const [name, bytes] of indexes) copy.replace(copy.file(name), bytes);
            };
            if (!isOpenBefore) bringBack();
            const opened = await copy.open({ ...options, ...small, ...changed });
            if (isOpenBefore) bringBack();
            await check(copy, opened);
            await opened.close();
          }
      }

      test("keep no search by time from the others' records", async () => {
        await forEachCopy({}, async (_copy, opened) => {
          const { timestamp } = kept.at(-1) ?? assert.fail();
          assert.equal(await opened.findOffset({ timestamp }), kept.at(-1)?.offset);
        });
      });

      test("let retention remove nothing before its time", async () => {
        await forEachCopy({ cleanup: "both", retentionMaxAgeMs: 12 }, async (copy, opened) => {
          await opened.applyRetention();
          assert.deepEqual([copy.segments(), await readAll(opened)], [[1, 13, 17, 21], kept]);
          copy.clock.advance(1);
          await opened.applyRetention();
          assert.deepEqual(copy.segments(), [13, 17, 21]);
        });
      });

      test("are built anew by a scrub", async () => {
        await forEachCopy({}, async (copy, opened) => {
          assert.deepEqual((await opened.scrub()).damages, []);
          assert.equal(copy.disk.size(copy.path(1, ".index")), 12 * 16 + 80);
        });
      });
    });

    test("isn't taken for done where the first store doesn't hold everything, nor where the note is damaged", async () => {
      await log.close();
      const seed = logSeed(Buffer.from((await inspectLog("/log", { disk: world.disk })).logId, "hex"));
      for (const note of [encodeMergeNote({ baseIndexes: [1, 5], lastIndex: 8 }, seed), Buffer.from("garbage")]) {
        world.replace(world.file(mergeNoteName), note);
        log = await world.open({ ...options, ...small });
        assert.deepEqual(log.recovery.notes, ["gave up merging segments, which had not begun"]);
        assert.equal((await offsets()).length, 24);
        assert.deepEqual(world.segments(), [1, 5, 9, 13, 17, 21]);
        assert.equal(world.disk.size(world.file(mergeNoteName)), undefined);
        await log.close();
      }
    });
  });

  describe("in the background", () => {
    test("runs when enough is dirty, within its rate, and tells what it did", async () => {
      const told: CompactionReport[] = [];
      await log.close();
      const background = { compactionIntervalMs: 30 * secondMs, compactionBytesPerSecond: 1 * KiB };
      log = await world.open({ ...options, ...background, observer: { compacted: (event) => void told.push(event) } });
      await fill(log, "a=1", "a=2", "a=3", "b=1");
      assert.equal(log.status().dirtyRatio, 1);
      world.clock.advance(30 * secondMs);
      await world.settle();
      assert.equal(told.length, 0, "1,200 bytes take a second");
      world.clock.advance(3 * secondMs);
      await world.settle();
      const [report] = told;
      assert.deepEqual([told.length, report?.isComplete, report?.recordsRemoved], [1, true, 2]);
      assert.equal(log.status().dirtyRatio, 0);
      // Two thirds clean by now: it isn't worth it.
      await fill(log, "c=1", "d=1", "e=1", "f=1", "g=1", "h=1");
      await log.compact();
      await fill(log, "i=1", "j=1", "k=1");
      const { dirtyRatio } = log.status();
      assert.ok(dirtyRatio > 0.2 && dirtyRatio < 0.5);
      world.clock.advance(60 * secondMs);
      await world.settle();
      assert.equal(told.length, 2);
      await log.close();
    });

    test("of several logs of a disk takes turns, and one that is closed while it waits gives up", async () => {
      await fill(log, "a=1", "a=2", "a=3", "b=1");
      const other = await world.openAt("/other", options);
      await fill(other, "a=1", "a=2", "a=3", "b=1");
      const hold = world.hold({ kind: "read", path: "/log/00000000000000000001.store" });
      const first = log.compact();
      await hold.arrived;
      const second = other.compact();
      await world.settle();
      await other.close();
      assert.deepEqual([(await second).isComplete, (await second).segments], [false, 0]);
      hold.release();
      assert.equal((await first).isComplete, true);
      await log.close();
    });
  });

  describe("while it runs", () => {
    const content = ["a=1", "b=1", "a=2", "a=3", "b=2", "a=4", "c=1", "a=5", "b=3", "d=1"];

    /** A compaction that stands still before it reads the segment of this base index. */
    async function hold(baseIndex: number): Promise<{ compacted: Promise<CompactionReport>; release: () => void }> {
      await fill(log, ...content);
      let reads = 0;
      // The first is for the keys, the second for the records.
      const held = world.hold({ kind: "read", path: `${baseIndex}.store`, where: () => (reads += 1) === 2 });
      const compacted = log.compact();
      await held.arrived;
      return { compacted, release: () => held.release() };
    }

    function leftovers(): string[] {
      return world.disk.list("/log").filter((name) => name.endsWith(temporarySuffix));
    }

    test("goes on for who waits without a signal when another gives up", async () => {
      const { compacted, release } = await hold(4);
      const signal = new AbortController();
      const second = log.compact({ signal: signal.signal });
      signal.abort();
      assert.equal((await second).isComplete, false);
      release();
      assert.equal((await compacted).isComplete, true);
      await log.close();
    });

    test("isn't joined any more once everybody has given up on it", async () => {
      await fill(log, ...content);
      const held = world.hold({ kind: "read", path: "1.store" });
      const signal = new AbortController();
      const first = log.compact({ signal: signal.signal });
      await held.arrived;
      signal.abort();
      const second = log.compact();
      held.release();
      assert.deepEqual([(await first).isComplete, (await second).isComplete], [false, true]);
      await log.close();
    });

    test("a change of the log's cleanup ends it, and keeps one that waits for its turn from beginning", async () => {
      const { compacted, release } = await hold(4);
      const before = await contentOf(log);
      const begun: CompactionReport[] = [];
      const other = await world.openAt("/other", { ...options, observer: { compacted: (report) => void begun.push(report) } });
      await fill(other, ...content);
      const waiting = other.compact();
      await world.settle();
      for (const changed of [log, other]) changed.configure({ cleanup: "delete" });
      release();
      assert.deepEqual([(await compacted).isComplete, (await waiting).isComplete], [false, false]);
      assert.deepEqual([begun, (await contentOf(other)).length], [[], content.length]);
      // The first segment had been written anew; that of the read that was held is as it was.
      assert.deepEqual((await contentOf(log)).slice(-7), before.slice(-7));
      await other.close();
      await log.close();
    });

    test("the size of the log is told as it is at each step", async () => {
      await fill(log, ...content);
      const sizeOnDisk = (): number =>
        world.segments().reduce((sum, base) => sum + (world.disk.size(world.path(base)) ?? 0), 0);
      // Zeros are written ahead of the newest segment.
      const ahead = sizeOnDisk() - log.status().storeBytes;
      const held = world.hold({ kind: "sync-directory", where: () => sizeOnDisk() - ahead !== log.status().storeBytes });
      const compacted = log.compact();
      assert.notEqual(await Promise.race([compacted, held.arrived.then(() => "held")]), "held");
      assert.equal(sizeOnDisk() - ahead, log.status().storeBytes);
      await log.close();
    });

    test("a second call gets the report of the first", async () => {
      const { compacted, release } = await hold(4);
      const second = log.compact();
      release();
      assert.equal(await second, await compacted);
      await log.close();
    });

    test("a truncation ends it, and what it had looked at isn't taken for what is there", async () => {
      const { compacted, release } = await hold(4);
      await log.truncate(4);
      release();
      assert.equal((await compacted).isComplete, false);
      // For b=2 and a=5, which are gone, nothing may have been removed behind the truncation; before it, it had been.
      assert.deepEqual(await contentOf(log), ["3 a=3"]);
      assert.deepEqual(leftovers(), []);
      await fill(log, "b=4", "e=1", "a=6", "f=1");
      assert.equal((await log.compact()).isComplete, true);
      assert.deepEqual(await contentOf(log), ["3 a=3", "4 b=4", "5 e=1", "6 a=6", "7 f=1"]);
      await log.close();
    });

    test("a trim takes segments from under it, and it goes on", async () => {
      const { compacted, release } = await hold(4);
      await log.trim(6);
      release();
      assert.equal((await compacted).isComplete, true);
      assert.deepEqual(await contentOf(log), ["6 c=1", "7 a=5", "8 b=3", "9 d=1"]);
      assert.deepEqual([world.segments(), leftovers()], [[7, 10], []]);
      await log.close();
    });

    test("a trim takes a segment whose new store is about to be put in its place", async () => {
      await fill(log, ...content);
      const held = world.hold({ kind: "datasync", path: /0004\.store\.tmp$/ });
      const compacted = log.compact();
      await held.arrived;
      await log.trim(6);
      held.release();
      const { isComplete, segments } = await compacted;
      assert.deepEqual([isComplete, segments], [true, 2]);
      assert.deepEqual(await contentOf(log), ["6 c=1", "7 a=5", "8 b=3", "9 d=1"]);
      assert.deepEqual([world.segments(), leftovers()], [[7, 10], []]);
      await log.close();
    });

    test("its signal ends it; what was done before stays", async () => {
      await fill(log, ...content);
      const ending = new AbortController();
      const hold7 = world.hold({ kind: "datasync", path: /0007\.store\.tmp$/ });
      const hold4 = world.hold({ kind: "datasync", path: /0004\.store\.tmp$/ });
      const compacted = log.compact({ signal: ending.signal });
      await hold4.arrived;
      ending.abort();
      hold4.release();
      hold7.release();
      const { isComplete, segments } = await compacted;
      assert.deepEqual([isComplete, segments], [false, 1]);
      assert.deepEqual((await contentOf(log)).slice(0, 2), ["3 a=3", "4 b=2"]);
      assert.deepEqual(leftovers(), []);
      await log.close();
    });

    test("closing the log ends it, and nothing is left of it", async () => {
      const { compacted, release } = await hold(4);
      const closed = log.close();
      await world.settle();
      release();
      await closed;
      assert.equal((await compacted).isComplete, false);
      assert.deepEqual(leftovers(), []);
      assert.equal(world.disk.openFileCount, 0);
      log = await world.open(options);
      assert.equal((await log.compact()).isComplete, true);
      assert.deepEqual(await contentOf(log), ["6 c=1", "7 a=5", "8 b=3", "9 d=1"]);
      await log.close();
    });
  });
});

/** It says that it is compressed by gzip, and isn't; its seal is right. */
function undecodableBatch(key: string): Buffer {
  const batch = encodeBatch([{ key, value: "who knows" }], { now: 1 });
  batch.writeInt16BE(1, 21);
  batch.writeUInt32BE(crc32c(batch, 21), 17);
  return batch;
}
