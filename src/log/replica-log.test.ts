import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LogWorld } from "../../test/log-world.ts";
import { loseAll } from "../../sim/crash.ts";
import { createSimDisk } from "../../sim/disk.ts";
import { AssertionError } from "../base/assert.ts";
import { isProglogError } from "../base/error.ts";
import { KiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { encodeTrim } from "./control-entries.ts";
import { entryFlags, type EntryKind } from "./frame.ts";
import { openReplicaLog, type ReplicaLog, storeBytesOf } from "./replica-log.ts";
import type { StampedEntry } from "./stamped-entry.ts";

const logId = Buffer.from("0123456789abcdef");

describe("a replica's log", () => {
  test("holds entries as they were stamped, control entries among them, and finds them by index", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    const entries = entriesBehind(log, ["no-op", "data", "membership", "data", "trim", "data"]);
    await log.append(entries.slice(0, 2));
    await log.append(entries.slice(2));
    assert.deepEqual(await contentsOf(log, 1), entries.map(contentOf));
    assert.deepEqual(await contentsOf(log, 4), entries.slice(3).map(contentOf));
    assert.deepEqual({ ...log.last, appendTime: 0 }, { index: 6, term: 1, nextOffset: 3, appendTime: 0 });
    assert.equal(log.durableIndex, 6);
    await log.close();
  });

  test("reads one entry at least, and then no more than was asked for, across segments", async () => {
    const log = await openIn(new LogWorld());
    const entries = entriesBehind(log, Array(9).fill("data"), { beginsAt: [4, 7] });
    await log.append(entries);
    const bytes = storeBytesOf(entries[0]!);
    const counts = [1, bytes, 2 * bytes - 1, 2 * bytes].map(async (maxBytes) => (await log.read(1, maxBytes)).length);
    assert.deepEqual(await Promise.all(counts), [1, 1, 1, 2]);
    assert.deepEqual(
      (await log.read(2, 1 * KiB * KiB)).map(({ index }) => index),
      [2, 3],
    );
    assert.deepEqual((await contentsOf(log, 1)).length, 9);
    await assert.rejects(async () => log.read(10, 1), AssertionError);
    await log.close();
  });

  test("begins segments where the leader says so, and the leader says so when one is full", async () => {
    const world = new LogWorld();
    const log = await openIn(world, { segmentMaxBytes: 1 * KiB });
    for (let count = 0; count < 20; count += 1) {
      const [entry] = entriesBehind(log, ["data"]);
      const bytes = storeBytesOf(entry!);
      const begins = log.isSegmentFull({ bytes, count: 1, isOfNewSegment: false });
      await log.append([{ ...entry!, flags: begins ? entryFlags.beginsSegment : 0 }]);
    }
    const segments = world.segments();
    assert.ok(segments.length > 2);
    const follower = new LogWorld();
    const twin = await openIn(follower);
    await twin.append((await log.read(1, 1)).concat(await readFrom(log, 2)));
    assert.deepEqual(follower.segments(), segments, "whatever its own limit is");
    assert.equal(log.isSegmentFull({ bytes: 5 * KiB, count: 1, isOfNewSegment: true }), false, "a first entry always fits");
    await log.close();
    await twin.close();
  });

  test("what it appended is durable, with how far the log was synced in each frame its own", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    const entries = entriesBehind(log, ["no-op", "data", "data"]);
    await log.append(entries.slice(0, 1));
    await log.append(entries.slice(1));
    assert.deepEqual(
      (await readFrom(log, 1)).map(({ syncedBack }) => syncedBack),
      [1, 1, 2],
    );
    const after = new LogWorld({ disk: world.disk.crash(loseAll) });
    const recovered = await openIn(after);
    assert.deepEqual(await contentsOf(recovered, 1), entries.map(contentOf));
    assert.equal(recovered.durableIndex, 3);
    await recovered.close();
  });

  test("truncates by index, and another entry of that index takes the place", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    const old = entriesBehind(log, ["no-op", "data", "data", "data", "no-op", "data"], { beginsAt: [3] });
    await log.append(old);
    await log.truncate(4);
    await log.truncate(9);
    assert.equal(log.last.index, 4);
    await log.truncate(1);
    assert.deepEqual(world.segments(), [1]);
    const [again] = entriesBehind(log, ["data"], { term: 2, value: "other" });
    await log.append([again!]);
    assert.deepEqual(await contentsOf(log, 1), [old[0]!, again!].map(contentOf));
    await log.truncate(0);
    assert.deepEqual([log.last.index, log.last.nextOffset], [0, 0]);
    await log.close();
  });

  test("shows readers what it was told to, and never truncates that", async () => {
    const log = await openIn(new LogWorld());
    await log.append(entriesBehind(log, ["no-op", "data", "data", "no-op", "data"], { beginsAt: [4] }));
    assert.equal(log.log.highWatermark, 0);
    const waiting = log.log.waitForOffset(0);
    await log.show(2);
    await waiting;
    assert.deepEqual([log.shownIndex, log.log.highWatermark], [2, 1]);
    await log.show(1);
    assert.equal(log.shownIndex, 2);
    await log.show(4);
    assert.equal(log.log.highWatermark, 2);
    const offsets: number[] = [];
    for await (const { baseOffset } of log.log.batches()) offsets.push(baseOffset);
    assert.deepEqual(offsets, [0, 1]);
    await assert.rejects(log.truncate(3), (error) => isProglogError(error, "INTERNAL"));
    await log.close();
  });

  test("trims to an offset, and removes nothing that isn't shown, whatever its offset", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    // The no-op spans no offsets, so the log start could be taken to lie behind its segment.
    await log.append(entriesBehind(log, ["data", "data", "no-op", "data"], { beginsAt: [3, 4] }));
    await log.show(2);
    await log.trim(2);
    assert.deepEqual([log.log.logStartOffset, log.base.index, world.segments()], [2, 2, [3, 4]]);
    await log.trim(1);
    assert.equal(log.log.logStartOffset, 2);
    await log.show(4);
    await log.trim(3);
    assert.deepEqual([log.base.index, world.segments()], [3, [4]], "and begins no segment for it");
    assert.equal(await log.findEndOf(3), 2);
    assert.equal(await log.findEndOf(4), 3);
    await log.close();
  });

  test("knows memberships and trims by their indexes after it was closed, killed, truncated and trimmed", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    await log.append(entriesBehind(log, ["data", "membership", "data", "trim", "membership"], { beginsAt: [3] }));
    const listOf = ({ controls }: ReplicaLog) => controls.entries.map(({ index, kind }) => `${index} ${kind}`);
    assert.deepEqual(listOf(log), ["2 membership", "4 trim", "5 membership"]);
    await log.truncate(4);
    assert.deepEqual(listOf(log), ["2 membership", "4 trim"]);
    await log.close();
    const closed = await openIn(world);
    // The trim here is to offset 0: it is done, and nobody needs it.
    assert.deepEqual(listOf(closed), ["2 membership"]);
    const [last] = entriesBehind(closed, ["trim"]);
    await closed.append([{ ...last!, payload: encodeTrim(1) }]);
    world.kill();
    const killed = await openIn(world);
    assert.deepEqual([listOf(killed), killed.controls.fromIndex], [["2 membership", "5 trim"], 1]);
    await killed.show(5);
    await killed.trim(1);
    await killed.close();
    const trimmed = await openIn(world);
    assert.deepEqual(listOf(trimmed), ["2 membership"], "the one in force at the base");
    await trimmed.close();
  });

  test("shows no more while a truncation is under way", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    await log.append(entriesBehind(log, ["no-op", "data", "data", "data"]));
    await log.show(2);
    const hold = world.disk.holdSync();
    const truncating = log.truncate(3);
    await hold.waiting(1);
    assert.equal(log.log.highWatermark, 1);
    hold.release();
    await truncating;
    assert.deepEqual([log.log.highWatermark, log.last.index], [1, 3]);
    await log.close();
  });

  test("knows after an opening where terms begin and which memberships it holds", async () => {
    const world = new LogWorld();
    const log = await openIn(world);
    const first = entriesBehind(log, ["no-op", "data", "membership"]);
    await log.append(first);
    await log.append(entriesBehind(log, ["no-op", "data"], { term: 4 }));
    const history = [
      { term: 1, firstIndex: 1, firstOffset: 0 },
      { term: 4, firstIndex: 4, firstOffset: 1 },
    ];
    assert.deepEqual(log.termHistory, history);
    world.kill();
    const again = await openIn(world);
    assert.deepEqual(again.termHistory, history);
    const memberships: string[] = [];
    await again.scan(
      1,
      (frame) => frame.kind === "membership" && memberships.push(`${frame.index} ${frame.payload.toString()}`),
    );
    assert.deepEqual(memberships, [`3 ${first[2]!.payload.toString()}`]);
    await again.truncate(3);
    assert.deepEqual(again.termHistory, history.slice(0, 1));
    await again.close();
  });

  test("a full disk takes nothing, and the same entries go in when there is room", async () => {
    const world = new LogWorld({ disk: createSimDisk({ capacityBytes: 256 * KiB }) });
    const log = await openIn(world);
    const entries = entriesBehind(log, ["data", "data"], { value: "x".repeat(20 * KiB) });
    world.disk.capacityBytes = world.disk.usedBytes + 1 * KiB;
    const many = Array.from({ length: 20 }, () => entries)
      .flat()
      .map((entry, i) => ({ ...entry, index: i + 1, baseOffset: i }));
    await assert.rejects(log.append(many), (error) => isProglogError(error, "DISK_FULL"));
    assert.equal(log.last.index, 0);
    world.disk.capacityBytes = Number.POSITIVE_INFINITY;
    await log.append(many);
    assert.equal(log.durableIndex, 40);
    await log.close();
  });

  test("a peer's frame is taken when both its checksums hold, and is of this group", async () => {
    const log = await openIn(new LogWorld());
    const other = await openReplicaLog("/other", { ...optionsIn(new LogWorld()), logId: Buffer.alloc(16, 7) });
    for (const entry of entriesBehind(log, ["no-op", "data", "membership"])) {
      const bytes = log.encodeForPeer(entry);
      assert.deepEqual(contentOf(log.decodeFromPeer(bytes)!), contentOf(entry));
      assert.equal(other.decodeFromPeer(bytes), undefined);
      assert.equal(log.decodeFromPeer(Buffer.concat([bytes, Buffer.alloc(1)])), undefined);
      assert.equal(log.decodeFromPeer(bytes.subarray(0, -1)), undefined);
      for (let at = 0; at < bytes.length; at += 7) {
        const flipped = Buffer.from(bytes);
        flipped[at] = bytes[at]! ^ 1;
        assert.equal(log.decodeFromPeer(flipped), undefined, `byte ${at}`);
      }
    }
    await log.close();
    await other.close();
  });

  test("an entry that doesn't follow the last one stops the log", async () => {
    const wrong: readonly Partial<StampedEntry>[] = [{ index: 3 }, { term: 0 }, { baseOffset: 7 }, { appendTime: 1 }];
    for (const change of wrong) {
      const log = await openIn(new LogWorld());
      await log.append(entriesBehind(log, ["data"]));
      const [next] = entriesBehind(log, ["data"]);
      await assert.rejects(log.append([{ ...next!, ...change }]), (error) => isProglogError(error, "INTERNAL"));
      await log.close();
    }
  });

  test("the log of another group isn't opened", async () => {
    const world = new LogWorld();
    await (await openIn(world)).close();
    const opening = openReplicaLog(world.directory, { ...optionsIn(world), logId: Buffer.alloc(16, 7) });
    await assert.rejects(opening, (error) => isProglogError(error, "LOG_CORRUPT") && /another group/.test(error.message));
    await (await openIn(world)).close();
  });

  test("a directory that openLog wrote becomes a replica's, in term 1", async () => {
    const world = new LogWorld();
    const alone = await world.open({ random: { bytes: () => logId, float: () => 0 } });
    await alone.append({ value: "before" });
    await alone.close();
    const log = await openIn(world);
    assert.deepEqual(log.termHistory, [{ term: 1, firstIndex: 1, firstOffset: 0 }]);
    await log.append(entriesBehind(log, ["no-op", "data"], { term: 2 }));
    await log.show(3);
    assert.equal(log.log.highWatermark, 2);
    await log.close();
  });
});

function optionsIn(world: LogWorld) {
  const { disk, clock, openFiles } = world;
  return { disk, clock, openFiles, index: "heap", logId } as const;
}

function openIn(world: LogWorld, options: { readonly segmentMaxBytes?: number } = {}): Promise<ReplicaLog> {
  return openReplicaLog(world.directory, { ...optionsIn(world), ...options });
}

interface Stamping {
  readonly term?: number;
  readonly value?: string;
  /** Indexes of entries that begin a segment. */
  readonly beginsAt?: readonly number[];
}

function entriesBehind(log: ReplicaLog, kinds: readonly EntryKind[], stamping: Stamping = {}): StampedEntry[] {
  const { term = Math.max(1, log.last.term), value = "a record".padEnd(100, "."), beginsAt = [] } = stamping;
  let { index, nextOffset: baseOffset } = log.last;
  const appendTime = Math.max(log.last.appendTime, 1_760_000_000_000);
  return kinds.map((kind) => {
    index += 1;
    const span = kind === "data" ? 1 : 0;
    const payload =
      kind === "data" ? encodeBatch([{ value: `${value}${index}` }], { now: 1 }) : Buffer.from(`${kind} ${index}`);
    const flags = beginsAt.includes(index) ? entryFlags.beginsSegment : 0;
    const entry = { kind, index, term, span, baseOffset, appendTime, flags, payload };
    baseOffset += span;
    return entry;
  });
}

async function readFrom(log: ReplicaLog, index: number) {
  const frames: Awaited<ReturnType<ReplicaLog["read"]>>[number][] = [];
  await log.scan(index, (frame) => frames.push(frame));
  return frames;
}

/** Of a batch, what its producer sealed. */
function contentOf({ kind, index, term, span, baseOffset, appendTime, flags, payload }: StampedEntry): string {
  const sealed = kind === "data" ? payload.subarray(17) : payload;
  return [kind, index, term, span, baseOffset, appendTime, flags, sealed.toString("hex")].join(" ");
}

async function contentsOf(log: ReplicaLog, index: number): Promise<string[]> {
  return (await readFrom(log, index)).map(contentOf);
}
