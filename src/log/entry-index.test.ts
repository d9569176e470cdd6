import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import fc from "fast-check";
import type { Disk } from "../base/disk.ts";
import { createMemoryDisk } from "../base/memory-disk.ts";
import { loadMmap, type Mmap } from "../base/mmap.ts";
import { nodeDisk } from "../base/node-disk.ts";
import { crc32c } from "../batch/crc32c.ts";
import {
  ActiveIndex,
  decodeIndexTrailer,
  encodeIndexTrailer,
  FileSlots,
  findSlotOfOffset,
  indexTrailerBytes,
  readIndexSummary,
  readSealedSlots,
  type SegmentSummary,
} from "./entry-index.ts";

const logId = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");
const seed = crc32c(logId);
const otherSeed = crc32c(Buffer.alloc(16));

const summary: SegmentSummary = {
  baseIndex: 10,
  entryCount: 3,
  baseOffset: 40,
  nextOffset: 47,
  storeBytes: 900,
  maxTimestamp: -1,
  lastAppendTime: 1_760_000_000_000,
  lastTerm: 3,
};

const worlds: {
  readonly name: string;
  readonly skip: string | false;
  readonly make: () => { disk: Disk; root: string; mmap: Mmap | undefined };
}[] = [
  {
    name: "heap",
    skip: false,
    make() {
      const disk = createMemoryDisk();
      void disk.makeDirectory("/log");
      return { disk, root: "/log", mmap: undefined };
    },
  },
  {
    name: "mmap",
    skip: loadMmap() === undefined ? "koffi isn't installed, or this isn't Linux" : false,
    make: () => ({ disk: nodeDisk, root: mkdtempSync(join(tmpdir(), "proglog-index-")), mmap: loadMmap() }),
  },
];

for (const { name, skip, make } of worlds) {
  describe(`entry index, ${name}`, { skip }, () => {
    let disk: Disk;
    let root: string;
    let mmap: Mmap | undefined;
    let path: string;
    beforeEach(() => {
      ({ disk, root, mmap } = make());
      path = join(root, "00000000000000000010.index");
    });
    afterEach(() => {
      if (disk === nodeDisk) rmSync(root, { recursive: true, force: true });
    });

    const create = (slots?: Buffer): ActiveIndex => ActiveIndex.create(disk, path, mmap, slots);
    const contentOf = (): Buffer => {
      const file = disk.open(path, "read");
      const bytes = Buffer.alloc(file.size());
      file.readSync(bytes, 0);
      file.close();
      return bytes;
    };
    const append = (index: ActiveIndex, slots: readonly (readonly [number, number])[]): void => {
      index.reserve(slots.length);
      for (const [offset, position] of slots) index.append(offset, position);
    };
    const three: readonly (readonly [number, number])[] = [
      [40, 128],
      [42, 300],
      [43, 700],
    ];

    test("slots are read back as soon as they are appended", () => {
      const index = create();
      assert.equal(index.count, 0);
      assert.equal(index.memoryKind, name);
      append(index, three);
      assert.deepEqual(
        three.map((_, slot) => [index.first(slot), index.second(slot)]),
        three,
      );
      index.close();
    });

    test("a sealed file holds the slots and the trailer, and nothing else", () => {
      const index = create();
      append(index, three);
      index.seal(summary, seed);
      const bytes = contentOf();
      const slots = Buffer.from(
        "2800000000000000" +
          "8000000000000000" +
          "2a00000000000000" +
          "2c01000000000000" +
          "2b00000000000000" +
          "bc02000000000000",
        "hex",
      );
      assert.equal(bytes.length, 48 + 80);
      assert.deepEqual(bytes.subarray(0, 48), slots);
      const file = disk.open(path, "read");
      assert.deepEqual(readIndexSummary(file, 10, seed), summary);
      assert.deepEqual(readSealedSlots(file, 10, seed), { summary, slots });
      file.close();
    });

    test("a sealed file that is gone on with stays as it is until there are more slots", () => {
      const sealed = create();
      append(sealed, three);
      sealed.seal(summary, seed);
      const before = contentOf();
      const slots = before.subarray(0, 48);
      const unchanged = ActiveIndex.resume(disk, path, mmap, slots);
      assert.deepEqual([unchanged.count, unchanged.isSealed, unchanged.memoryKind], [3, true, name]);
      assert.deepEqual([unchanged.first(1), unchanged.second(2)], [42, 700]);
      unchanged.seal(summary, seed);
      unchanged.close();
      assert.deepEqual(contentOf(), before);

      const index = ActiveIndex.resume(disk, path, mmap, slots);
      append(index, [[44, 900]]);
      assert.equal(index.isSealed, false);
      assert.deepEqual([index.count, index.first(0), index.first(3)], [4, 40, 44]);
      index.seal({ ...summary, entryCount: 4 }, seed);
      const file = disk.open(path, "read");
      const read = readSealedSlots(file, 10, seed);
      file.close();
      assert.equal(read?.summary.entryCount, 4);
      assert.deepEqual(read?.slots.subarray(0, 48), slots);
    });

    test("many slots, reserved a few at a time, are all there", () => {
      const index = create();
      const count = 20_000;
      for (let slot = 0; slot < count; slot += 1) {
        if (slot % 7 === 0) index.reserve(7);
        index.append(2 * slot, 1000 * slot);
      }
      index.seal({ ...summary, entryCount: count }, seed);
      const file = disk.open(path, "read");
      assert.equal(file.size(), 16 * count + 80);
      const slots = new FileSlots(file, count);
      for (const slot of [0, 1, 4095, 4096, count - 1])
        assert.deepEqual([slots.first(slot), slots.second(slot)], [2 * slot, 1000 * slot]);
      assert.ok(readSealedSlots(file, 10, seed) !== undefined);
      file.close();
    });

    test("an index goes on from the slots of a sealed one, and replaces its file", () => {
      const sealed = create();
      append(sealed, three);
      sealed.seal(summary, seed);
      const index = create(contentOf().subarray(0, 48));
      assert.equal(index.count, 3);
      append(index, [[47, 900]]);
      assert.deepEqual([index.first(2), index.second(3)], [43, 900]);
      index.seal({ ...summary, entryCount: 4 }, seed);
      const file = disk.open(path, "read");
      assert.equal(readSealedSlots(file, 10, seed)?.slots.length, 64);
      file.close();
    });

    test("an empty index is sealed as a trailer", () => {
      const index = create();
      index.seal({ ...summary, entryCount: 0 }, seed);
      const file = disk.open(path, "read");
      assert.equal(file.size(), indexTrailerBytes);
      assert.equal(readSealedSlots(file, 10, seed)?.slots.length, 0);
      file.close();
    });

    test("an index that was let go without sealing is no sealed one", () => {
      const index = create();
      append(index, three);
      index.close();
      const file = disk.open(path, "read");
      assert.equal(readIndexSummary(file, 10, seed), undefined);
      file.close();
    });
  });
}

describe("index trailer", () => {
  const trailer = encodeIndexTrailer(summary, 77, seed);

  test("its bytes are those of docs/format.md", () => {
    const bytes = Buffer.alloc(80);
    bytes.write("PLINDEX1", "latin1");
    bytes.writeUInt32LE(77, 12);
    [10n, 3n, 40n, 47n, 900n].forEach((number, i) => bytes.writeBigUInt64LE(number, 16 + 8 * i));
    bytes.writeBigInt64LE(-1n, 56);
    bytes.writeBigUInt64LE(1_760_000_000_000n, 64);
    bytes.writeUInt32LE(3, 72);
    bytes.writeUInt32LE(crc32c(bytes, 12, 80, seed), 8);
    assert.deepEqual(trailer, bytes);
  });

  test("it is read as it was written", () => {
    const safe = fc.maxSafeNat();
    const model = {
      baseIndex: safe,
      entryCount: safe,
      baseOffset: safe,
      nextOffset: safe,
      storeBytes: safe,
      maxTimestamp: fc.maxSafeInteger(),
      lastAppendTime: safe,
      lastTerm: fc.nat(2 ** 31 - 1),
    };
    fc.assert(
      fc.property(fc.record(model, { noNullPrototype: true }), fc.nat(2 ** 31 - 1), (any, entriesCrc) => {
        assert.deepEqual(decodeIndexTrailer(encodeIndexTrailer(any, entriesCrc, seed), seed), { summary: any, entriesCrc });
      }),
    );
  });

  test("one with any bit flipped, cut at any byte or of another log is none", () => {
    for (let bit = 0; bit < 8 * trailer.length; bit += 1) {
      const flipped = Buffer.from(trailer);
      flipped.writeUInt8(trailer.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.equal(decodeIndexTrailer(flipped, seed), undefined, `bit ${bit & 7} of byte ${bit >> 3}`);
    }
    for (let end = 0; end < trailer.length; end += 1)
      assert.equal(decodeIndexTrailer(trailer.subarray(0, end), seed), undefined);
    assert.equal(decodeIndexTrailer(trailer, otherSeed), undefined);
  });
});

describe("a sealed index file", () => {
  const slots = Buffer.alloc(48, 1);
  const sealed = Buffer.concat([slots, encodeIndexTrailer(summary, crc32c(slots, 0, 48, seed), seed)]);

  function withFile<T>(bytes: Uint8Array, use: (file: ReturnType<Disk["open"]>) => T): T {
    const disk = createMemoryDisk();
    const file = disk.open("/index", "create");
    file.writeSync([bytes], 0);
    return use(file);
  }

  test("with any bit flipped has no slots to go by", () => {
    assert.ok(withFile(sealed, (file) => readSealedSlots(file, 10, seed)) !== undefined);
    for (let bit = 0; bit < 8 * sealed.length; bit += 1) {
      const flipped = Buffer.from(sealed);
      flipped.writeUInt8(sealed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      assert.equal(
        withFile(flipped, (file) => readSealedSlots(file, 10, seed)),
        undefined,
      );
    }
  });

  test("cut at any byte, longer by anything, or of another segment has no summary", () => {
    for (let end = 0; end < sealed.length; end += 1) {
      assert.equal(
        withFile(sealed.subarray(0, end), (file) => readIndexSummary(file, 10, seed)),
        undefined,
      );
    }
    for (const more of [1, 16, 80]) {
      const longer = Buffer.concat([sealed, Buffer.alloc(more)]);
      assert.equal(
        withFile(longer, (file) => readIndexSummary(file, 10, seed)),
        undefined,
      );
    }
    const another = Buffer.concat([slots.subarray(0, 32), sealed.subarray(48)]);
    assert.equal(
      withFile(another, (file) => readIndexSummary(file, 10, seed)),
      undefined,
    );
    assert.equal(
      withFile(sealed, (file) => readIndexSummary(file, 11, seed)),
      undefined,
    );
  });
});

test("of slots with one offset the last one has the records, and control entries before it are passed over", () => {
  const offsets = [40, 40, 40, 42, 43, 43];
  const slots = { count: offsets.length, first: (slot: number) => offsets[slot] ?? 0, second: () => 0 };
  assert.equal(findSlotOfOffset(slots, 40), 2);
  assert.equal(findSlotOfOffset(slots, 41), 2);
  assert.equal(findSlotOfOffset(slots, 42), 3);
  assert.equal(findSlotOfOffset(slots, 43), 5);
  assert.equal(findSlotOfOffset(slots, 39), -1);
});
