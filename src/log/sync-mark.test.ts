import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createSimDisk, type SimDisk } from "../../sim/disk.ts";
import { loseAll } from "../../sim/crash.ts";
import { crc32c } from "../batch/crc32c.ts";
import { logSeed } from "./frame.ts";
import { decodeSyncMark, encodeSyncMark, readSyncMark, type SyncMark, SyncMarkFile, syncMarkSlotBytes } from "./sync-mark.ts";

const logId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const seed = logSeed(logId);

const mark: SyncMark = {
  index: 12,
  term: 3,
  nextOffset: 40,
  appendTime: 1_760_000_000_000,
  segmentBaseIndex: 10,
  position: 4567,
  newsIndex: 9,
  isClean: true,
  isCutting: false,
  isPoisoned: true,
};

function markAt(index: number): SyncMark {
  return { ...mark, index, isClean: false, isPoisoned: false };
}

async function makeDisk(): Promise<SimDisk> {
  const disk = createSimDisk();
  await disk.makeDirectory("/log");
  return disk;
}

function indexRead(disk: SimDisk): number | string {
  const read = readSyncMark(disk, "/log", logId);
  return read.state === "valid" ? read.mark.index : read.state;
}

describe("sync mark", () => {
  test("a slot's bytes are those of docs/format.md", () => {
    const slot = Buffer.alloc(96);
    slot.write("PLSYNCM1", "latin1");
    slot.writeUInt16LE(1, 12);
    slot.writeUInt16LE(0b1101, 14);
    slot.writeBigUInt64LE(77n, 16);
    slot.writeBigUInt64LE(12n, 24);
    slot.writeBigUInt64LE(40n, 32);
    slot.writeBigUInt64LE(10n, 40);
    slot.writeBigUInt64LE(4567n, 48);
    slot.writeBigUInt64LE(1_760_000_000_000n, 56);
    slot.writeUInt32LE(3, 64);
    slot.writeBigUInt64LE(9n, 72);
    slot.writeUInt32LE(crc32c(slot, 12, 96, crc32c(logId)), 8);
    assert.deepEqual(encodeSyncMark(mark, 77, seed), slot);
    assert.equal(syncMarkSlotBytes, 96);
  });

  test("a slot is read as it was written", () => {
    const anyMark = {
      index: fc.maxSafeNat(),
      term: fc.nat(2 ** 31 - 1),
      nextOffset: fc.maxSafeNat(),
      appendTime: fc.maxSafeNat(),
      segmentBaseIndex: fc.maxSafeNat(),
      position: fc.maxSafeNat(),
      newsIndex: fc.oneof(fc.maxSafeNat(), fc.constant(null)),
      isClean: fc.boolean(),
      isCutting: fc.boolean(),
      isPoisoned: fc.boolean(),
    };
    fc.assert(
      fc.property(fc.record(anyMark, { noNullPrototype: true }), fc.maxSafeNat(), (any, sequence) => {
        assert.deepEqual(decodeSyncMark(encodeSyncMark(any, sequence, seed), seed), { mark: any, sequence });
      }),
    );
  });

  test("a slot with any bit flipped, cut at any byte or of another log is none", () => {
    const slot = encodeSyncMark(mark, 77, seed);
    for (let bit = 0; bit < 8 * slot.length; bit += 1) {
      const flipped = Buffer.from(slot);
      flipped.writeUInt8(slot.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.equal(decodeSyncMark(flipped, seed), undefined, `bit ${bit & 7} of byte ${bit >> 3}`);
    }
    for (let end = 0; end < slot.length; end += 1) assert.equal(decodeSyncMark(slot.subarray(0, end), seed), undefined);
    assert.equal(decodeSyncMark(slot, logSeed(Buffer.alloc(16))), undefined);
  });

  test("a slot with a number beyond 2^53-1 is none, however it is sealed", () => {
    for (const position of [16, 24, 32, 40, 48, 56, 72]) {
      const slot = encodeSyncMark(mark, 77, seed);
      slot.writeBigUInt64LE(2n ** 53n, position);
      slot.writeUInt32LE(crc32c(slot, 12, 96, seed), 8);
      assert.equal(decodeSyncMark(slot, seed), undefined, `at ${position}`);
    }
  });

  test("a slot of a later version is unsupported", () => {
    const slot = encodeSyncMark(mark, 77, seed);
    slot.writeUInt16LE(2, 12);
    slot.writeUInt32LE(crc32c(slot, 12, 96, seed), 8);
    assert.throws(() => decodeSyncMark(slot, seed), { code: "UNSUPPORTED_FORMAT" });
  });
});

describe("sync mark file", () => {
  test("a new one holds the mark in both slots, synced", async () => {
    const disk = await makeDisk();
    const file = await SyncMarkFile.create(disk, "/log", logId, markAt(1));
    assert.equal(file.isSynced, true);
    assert.deepEqual(disk.pendingSectors(), []);
    assert.equal(disk.contentOf("/log/sync-mark").length, 8192);
    for (const position of [0, 4096]) {
      const damaged = disk.crash(loseAllNames);
      damaged.corrupt("/log/sync-mark", position, Buffer.alloc(96));
      assert.equal(indexRead(damaged), 1);
    }
  });

  test("writes go to the slots in turn, and the higher sequence counts", async () => {
    const disk = await makeDisk();
    const file = await SyncMarkFile.create(disk, "/log", logId, markAt(1));
    for (let index = 2; index <= 5; index += 1) {
      file.write(markAt(index));
      assert.equal(file.isSynced, false);
      assert.equal(indexRead(disk), index);
      assert.equal(file.mark.index, index);
      const damaged = disk.crash((point) => point.options - 1);
      const sequence = 2 + index - 1;
      damaged.corrupt("/log/sync-mark", (sequence % 2) * 4096, Buffer.alloc(96));
      assert.equal(indexRead(damaged), index - 1, "the one before is in the other slot");
    }
  });

  test("a write that wasn't synced may be lost, and the one before it is there", async () => {
    const disk = await makeDisk();
    const file = await SyncMarkFile.create(disk, "/log", logId, markAt(1));
    await disk.syncDirectory("/log");
    file.write(markAt(2));
    assert.equal(indexRead(disk.crash(loseAll)), 1);
    await file.sync();
    assert.equal(file.isSynced, true);
    assert.equal(indexRead(disk.crash(loseAll)), 2);
  });

  test("a write while a sync runs isn't taken for synced", async () => {
    const disk = await makeDisk();
    const file = await SyncMarkFile.create(disk, "/log", logId, markAt(1));
    file.write(markAt(2));
    const hold = disk.holdSync();
    const synced = file.sync();
    await hold.waiting(1);
    file.write(markAt(3));
    hold.release();
    await synced;
    assert.equal(file.isSynced, false);
  });

  test("once both are written, no higher mark can come back in a crash", async () => {
    const disk = await makeDisk();
    const file = await SyncMarkFile.create(disk, "/log", logId, markAt(1));
    await disk.syncDirectory("/log");
    file.write(markAt(8));
    file.write(markAt(9));
    await file.writeBoth(markAt(4));
    const image = disk.crash(loseAll);
    for (const position of [0, 4096]) {
      const damaged = image.crash(loseAll);
      damaged.corrupt("/log/sync-mark", position, Buffer.alloc(96));
      assert.equal(indexRead(damaged), 4);
    }
  });

  test("an absent file, a short one and one without a valid slot are told apart from a mark", async () => {
    const disk = await makeDisk();
    assert.equal(indexRead(disk), "missing");
    const file = disk.open("/log/sync-mark", "create");
    assert.equal(indexRead(disk), "unreadable");
    file.writeSync([encodeSyncMark(markAt(7), 2, seed)], 0);
    assert.equal(indexRead(disk), 7);
    file.writeSync([encodeSyncMark(markAt(9), 2, logSeed(Buffer.alloc(16)))], 0);
    assert.equal(indexRead(disk), "unreadable");
  });
});

/** A crash that keeps names and loses data that wasn't synced. */
const loseAllNames = (point: { readonly kind: string; readonly options: number }): number =>
  point.kind === "sector" ? 0 : point.options - 1;
