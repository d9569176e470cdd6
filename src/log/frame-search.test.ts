import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { DiskFile } from "../base/disk.ts";
import { readPieceBytes, searchedHeadMaxBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { encodeBatch } from "../batch/encode-batch.ts";
import { encodeControlFrame, encodeDataFrame, type EntryHeader, frameHeadBytes, logSeed } from "./frame.ts";
import { findNextFrame, FrameSearch } from "./frame-search.ts";
import { findVouchedIndex } from "./vouching.ts";

const seed = logSeed(Buffer.alloc(16, 7));
const batch = encodeBatch([{ value: "x".repeat(500) }], { now: 1 });

function headerOf(index: number, changes: Partial<EntryHeader> = {}): EntryHeader {
  return { kind: "data", index, term: 1, span: 1, baseOffset: index - 1, appendTime: 5, syncedBack: 1, flags: 0, ...changes };
}

function dataFrame(index: number): Buffer {
  const stamped = Buffer.from(batch);
  stamped.writeBigInt64BE(BigInt(index - 1), 0);
  stamped.writeInt32BE(1, 12);
  return encodeDataFrame(headerOf(index), stamped, seed);
}

function controlFrame(index: number, payloadBytes: number): Buffer {
  return encodeControlFrame(headerOf(index, { kind: "no-op", span: 0 }), Buffer.alloc(payloadBytes, 1), seed);
}

interface CountedFile extends DiskFile {
  readonly reads: { count: number };
}

function fileOf(bytes: Buffer): CountedFile {
  const reads = { count: 0 };
  const unused = (): never => assert.fail("a search only reads");
  return {
    path: "/store",
    fd: -1,
    reads,
    size: () => bytes.length,
    readSync(buffer, position) {
      reads.count += 1;
      return bytes.copy(buffer, 0, position, position + buffer.length);
    },
    read: unused,
    writeSync: unused,
    write: unused,
    truncate: unused,
    datasync: unused,
    close: unused,
  };
}

/** Bytes that seem to be the head of a control entry of `claimedBytes` at every sixteenth one, each with an index that could be. */
function fakeHeads(byteLength: number, claimedBytes: number): Buffer {
  const pattern = Buffer.alloc(16);
  pattern.writeUInt32LE(claimedBytes - 8, 0);
  pattern.write("PL", 12, "latin1");
  pattern.writeUInt8(2, 14);
  pattern.writeUInt8(1, 15);
  return Buffer.alloc(byteLength, pattern);
}

function indexesFound(file: DiskFile, to: number, lastIndex = 0): number[] {
  const search = new FrameSearch({ file, from: 0, to, seed, lastIndex });
  const indexes: number[] = [];
  while (!search.isDone) indexes.push(...search.next().map(({ header }) => header.index));
  return indexes;
}

describe("a search for frames among bad bytes", () => {
  test("finds each at whatever position, and once, across pieces too", () => {
    const frames = [dataFrame(3), dataFrame(4), controlFrame(5, 200), controlFrame(6, 60 * KiB), dataFrame(7)];
    for (const at of [1, readPieceBytes - 700, readPieceBytes - 78, readPieceBytes - 40, readPieceBytes - 1, readPieceBytes]) {
      const bytes = Buffer.concat([Buffer.alloc(at, 0xee), ...frames, Buffer.alloc(3 * KiB, 0xee)]);
      assert.deepEqual(indexesFound(fileOf(bytes), bytes.length), [3, 4, 5, 6, 7], `from ${at}`);
    }
  });

  test("passes over what is known, and what is further ahead than entries fit in between", () => {
    const bytes = Buffer.concat([dataFrame(3), dataFrame(900), dataFrame(4)]);
    assert.deepEqual(indexesFound(fileOf(bytes), bytes.length, 3), [4]);
    const room = Math.ceil(bytes.length / frameHeadBytes);
    assert.deepEqual(indexesFound(fileOf(bytes), bytes.length, 900 - room), [900]);
    assert.deepEqual(indexesFound(fileOf(bytes), bytes.length, 899 - room), []);
  });

  test("takes no more than what it reads, however many heads somebody has put there", () => {
    const sizes = [4 * MiB, 8 * MiB];
    for (const claimedBytes of [searchedHeadMaxBytes, searchedHeadMaxBytes + 1, 60 * KiB, 1 * MiB]) {
      const checked = sizes.map((size) => {
        const file = fileOf(fakeHeads(size, claimedBytes));
        // Each head's index is its claim and "PL" again: let it be one that can be.
        const search = new FrameSearch({ file, from: 0, to: size, seed, lastIndex: claimedBytes - 9 });
        while (!search.isDone) assert.deepEqual(search.next(), []);
        assert.equal(file.reads.count, size / readPieceBytes);
        return search.checkedBytes;
      });
      const [small = 0, large = 0] = checked;
      assert.ok(small > 0, "heads were checked");
      const perByte = claimedBytes > searchedHeadMaxBytes ? 1 : searchedHeadMaxBytes / 16;
      assert.ok(large <= perByte * 8 * MiB + readPieceBytes, `${large} bytes checked for heads of ${claimedBytes}`);
      assert.ok(large <= 2.2 * small, "twice the bytes, twice the work");
    }
  });

  test("finds the real one behind 8 MiB of false ones", () => {
    const garbage = fakeHeads(8 * MiB, 900 * KiB);
    const bytes = Buffer.concat([garbage, dataFrame(8), controlFrame(9, 100)]);
    assert.equal(findVouchedIndex(fileOf(bytes), 0, bytes.length, { seed, lastIndex: 6 }), 8);
    const chain = { index: 6, term: 1, nextOffset: 6, appendTime: 0 };
    const found = findNextFrame({ file: fileOf(bytes), from: 0, to: bytes.length, seed, chain });
    assert.deepEqual([found?.index, found?.position, found?.payload.length], [8, garbage.length, batch.length]);
  });

  test("takes for the next frame only one that is whole and can follow", () => {
    const torn = dataFrame(5);
    torn.writeUInt8(1, torn.length - 9);
    const bytes = Buffer.concat([Buffer.alloc(9, 1), dataFrame(4), torn, controlFrame(6, 3), dataFrame(7)]);
    const search = (index: number, nextOffset: number, term = 1): number | undefined => {
      const chain = { index, term, nextOffset, appendTime: 0 };
      return findNextFrame({ file: fileOf(bytes), from: 1, to: bytes.length, seed, chain })?.index;
    };
    assert.equal(search(2, 2), 4);
    assert.equal(search(4, 4), 6);
    assert.equal(search(2, 6), 7);
    assert.equal(search(2, 2, 2), undefined);
    assert.equal(search(7, 7), undefined);
  });
});
