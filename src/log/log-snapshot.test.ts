import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../sim/random.ts";
import { LogWorld } from "../../test/log-world.ts";
import { KiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { decodeBaseRecord } from "./base-record.ts";
import { entryFlags } from "./frame.ts";
import { openMemoryLog } from "./open-log.ts";
import { openReplicaLog, type ReplicaLog } from "./replica-log.ts";
import { snapshotsOf } from "./log-snapshot.ts";
import type { Log } from "./log.ts";

const small = { segmentMaxBytes: 1 * KiB } as const;

async function fill(log: Log, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) await log.append({ value: `${i}`.padEnd(100, ".") });
}

function openReplica({ disk, clock, openFiles, directory }: LogWorld, seed = "replica"): Promise<ReplicaLog> {
  const logId = Buffer.from("0123456789abcdef");
  return openReplicaLog(directory, { logId, disk, clock, openFiles, random: createSeededRandom(seed) });
}

/** Entries of one record each; those of `beginsAt` begin a segment. */
async function appendTo(log: ReplicaLog, count: number, beginsAt: readonly number[] = []): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const { index, nextOffset, appendTime } = log.last;
    const flags = beginsAt.includes(index + 1) ? entryFlags.beginsSegment : 0;
    const payload = encodeBatch([{ value: `${index + 1}` }], { now: 1 });
    await log.append([
      { kind: "data", index: index + 1, term: 1, span: 1, baseOffset: nextOffset, appendTime, flags, payload },
    ]);
  }
}

describe("a snapshot of an open log", () => {
  test("tells of every segment, and the bytes of each are those of its store", async () => {
    const world = new LogWorld();
    const log = await world.open(small);
    await fill(log, 8);
    const snapshots = snapshotsOf(log);
    assert.equal(snapshotsOf(log), snapshots, "one for each log");
    const { version, lastIndex, nextOffset, baseIndex, isCompacted } = await snapshots.take();
    assert.deepEqual([lastIndex, nextOffset, baseIndex, isCompacted], [8, 8, 0, false]);
    const segments = await snapshots.segments({ version, fromIndex: 1, lastIndex, maxCount: 9 });
    assert.deepEqual(
      segments.map((segment) => [segment.baseIndex, segment.lastIndex, segment.isSealed, segment.end?.nextOffset]),
      [
        [1, 3, true, 3],
        [4, 6, true, 6],
        [7, 8, false, undefined],
      ],
    );
    for (const { baseIndex: base, bytes } of segments) {
      const read = await snapshots.read({ version, baseIndex: base, position: 0, endPosition: bytes, maxBytes: bytes });
      assert.deepEqual(read, world.disk.contentOf(world.path(base)).subarray(0, bytes));
    }
    const page = await snapshots.segments({ version, fromIndex: 4, lastIndex, maxCount: 1 });
    assert.deepEqual(page, segments.slice(1, 2));
    await log.close();
  });

  test("ends where readers have to, amid a segment, and nothing behind is given away", async () => {
    const world = new LogWorld();
    const log = await openReplica(world);
    await appendTo(log, 9, [4]);
    const snapshots = snapshotsOf(log.log);
    await log.show(5);
    const { version, lastIndex, nextOffset } = await snapshots.take();
    assert.deepEqual([lastIndex, nextOffset], [5, 5]);
    const [first, second] = await snapshots.segments({ version, fromIndex: 1, lastIndex, maxCount: 9 });
    assert.deepEqual([first?.isSealed, second?.isSealed, second?.lastIndex], [true, false, 5]);
    const wanted = { version, baseIndex: 4, position: 0, endPosition: 1_000_000, maxBytes: 1_000_000 };
    assert.equal((await snapshots.read(wanted)).length, second?.bytes);
    // Of a sealed segment that isn't committed whole no more is told either.
    await log.close();
    const reopened = await openReplica(world, "another opening");
    await reopened.show(3);
    const before = snapshotsOf(reopened.log);
    const { version: other } = await before.take();
    assert.notEqual(other, version);
    const partly = await before.segments({ version: other, fromIndex: 1, lastIndex: 2, maxCount: 9 });
    assert.deepEqual(
      partly.map((segment) => [segment.lastIndex, segment.isSealed]),
      [[2, false]],
    );
    await reopened.close();
  });

  test("isn't taken while its base record tells of what isn't committed", async () => {
    const log = await openReplica(new LogWorld());
    // The roll describes all nine, twice, and none of them is committed.
    await appendTo(log, 9, [4, 8]);
    await assert.rejects(snapshotsOf(log.log).take(), { code: "CHANGE_IN_PROGRESS" });
    await log.show(9);
    const { baseRecord, lastIndex } = await snapshotsOf(log.log).take();
    assert.ok((decodeBaseRecord(baseRecord)?.record.describedIndex ?? Number.NaN) <= lastIndex);
    await log.close();
  });

  test("no longer holds once a segment was compacted, trimmed away or the log was opened anew", async () => {
    const world = new LogWorld();
    const log = await world.open({ ...small, cleanup: "both" });
    for (let i = 0; i < 12; i += 1) await log.append({ key: "k", value: `${i}`.padEnd(100, ".") });
    const snapshots = snapshotsOf(log);
    const taken = await snapshots.take();
    assert.equal(taken.isCompacted, true);
    const wanted = { baseIndex: 1, position: 0, endPosition: 500, maxBytes: 500 };
    await snapshots.read({ version: taken.version, ...wanted });
    await log.compact();
    await assert.rejects(snapshots.read({ version: taken.version, ...wanted }), { code: "CHANGE_IN_PROGRESS" });
    const { version: last } = await snapshots.take();
    await log.close();
    await assert.rejects(snapshots.take(), { code: "LOG_CLOSED" });
    await assert.rejects(snapshots.read({ version: last, ...wanted }), { code: "LOG_CLOSED" });

    const other = await world.openAt("/other", small);
    await fill(other, 8);
    const { version } = await snapshotsOf(other).take();
    await other.trim(7);
    const trimmed = { code: "CHANGE_IN_PROGRESS", message: /no segment begins at entry 1$/ };
    await assert.rejects(snapshotsOf(other).read({ version, ...wanted }), trimmed);
    await assert.rejects(snapshotsOf(other).segments({ version, fromIndex: 1, lastIndex: 3, maxCount: 1 }), trimmed);
    await other.close();
  });

  test("a store that takes another's place while it is read isn't taken for that one", async () => {
    const world = new LogWorld();
    const log = await world.open({ ...small, cleanup: "compact" });
    for (let i = 0; i < 12; i += 1) await log.append({ key: "k", value: `${i}`.padEnd(100, ".") });
    const snapshots = snapshotsOf(log);
    const { version } = await snapshots.take();
    // Compaction has read the segment, and is about to put another store in its place.
    const replacing = world.hold({ kind: "datasync", path: `${world.path(1)}.tmp` });
    const compacted = log.compact();
    await replacing.arrived;
    const reading = world.hold({ kind: "read", path: world.path(1) });
    const read = snapshots.read({ version, baseIndex: 1, position: 0, endPosition: 500, maxBytes: 500 });
    await reading.arrived;
    replacing.release();
    while ((await snapshots.take()).version === version) await world.settle();
    reading.release();
    await assert.rejects(read, { code: "CHANGE_IN_PROGRESS" });
    await compacted;
    await log.close();
  });

  test("of a log in memory is as good", async () => {
    const log = await openMemoryLog();
    await log.append({ value: "a" });
    assert.equal((await snapshotsOf(log).take()).lastIndex, 1);
    await log.close();
  });
});
