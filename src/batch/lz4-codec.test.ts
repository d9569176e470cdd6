import assert from "node:assert/strict";
import { test } from "node:test";
import { batchBlocksMaxCount, batchInflatedMaxBytes } from "../base/limits.ts";
import { KiB, MiB } from "../base/units.ts";
import { compress, inflate } from "./compression.ts";
import { createLz4Codec } from "./lz4-codec.ts";
import { xxhash32 } from "./xxhash32.ts";

test("a batch is written as Java's client reads it: blocks of 64 KiB at most that don't refer to each other", () => {
  const packed = compress("lz4", Buffer.from("hello"));
  const stored = u32(0x8000_0000 + 5);
  assert.deepEqual(packed, Buffer.concat([header(0x60, 0x40), stored, Buffer.from("hello"), u32(0)]));
  const large = compress("lz4", Buffer.from("0123456789".repeat(20_000)));
  const sizes: number[] = [];
  for (let at = 7; large.readUInt32LE(at) !== 0; at += 4 + large.readUInt32LE(at)) {
    const block = large.subarray(at, at + 4 + large.readUInt32LE(at));
    sizes.push(inflate("lz4", Buffer.concat([header(0x60, 0x40), block, u32(0)])).length);
  }
  assert.deepEqual(sizes, [64 * KiB, 64 * KiB, 64 * KiB, 200_000 - 3 * 64 * KiB]);
});

test("bytes that don't get smaller are written as they are", () => {
  const noise = Buffer.from(Array.from({ length: 70_000 }, (_, i) => xxhash32(u32(i)) & 0xff));
  const packed = compress("lz4", noise);
  assert.equal(packed.length, 7 + 4 + 64 * KiB + 4 + (70_000 - 64 * KiB) + 4);
  assert.deepEqual(inflate("lz4", packed), noise);
});

test("a block that refers to the blocks before it inflates, over more than one of them", () => {
  const linked = header(0x40, 0x40);
  // A match of 18 bytes, 10 back, and five bytes as they are, which a block must end with.
  const referring = Buffer.from("0e" + "0a00" + "50" + "2d2d2d2d2d", "hex");
  const stored = ["01234", "56789"].flatMap((text) => [u32(0x8000_0000 + text.length), Buffer.from(text)]);
  const frame = Buffer.concat([linked, ...stored, u32(referring.length), referring, u32(0)]);
  assert.equal(inflate("lz4", frame).toString(), "0123456789012345678901234567-----");
});

test("a block is given no more room than its frame or its own length allow", () => {
  const rooms: number[] = [];
  const codec = createLz4Codec({
    compressSync: () => assert.fail("nothing is compressed"),
    uncompressSync: (block) => {
      rooms.push(block.readUInt32LE());
      return Buffer.from("x");
    },
  });
  const frame = (blockSize: number, bytes: number): Buffer =>
    Buffer.concat([header(0x60, blockSize), u32(bytes), Buffer.alloc(bytes), u32(0)]);
  for (const [blockSize, bytes] of [
    [0x40, 100],
    [0x70, 100],
    [0x40, 1000],
    [0x70, MiB],
  ] as const)
    codec.inflate(frame(blockSize, bytes), batchInflatedMaxBytes);
  assert.deepEqual(rooms, [25_500, 25_500, 64 * KiB, 4 * MiB]);
});

test("an LZ4 bomb is refused, by what it claims or with the block that passes the limit", () => {
  let inflated = 0;
  const codec = createLz4Codec({
    compressSync: () => assert.fail("nothing is compressed"),
    uncompressSync: () => {
      inflated += 1;
      return Buffer.alloc(4 * MiB);
    },
  });
  const block = Buffer.concat([u32(20_000), Buffer.alloc(20_000)]);
  const bomb = Buffer.concat([header(0x60, 0x70), ...Array.from({ length: 100 }, () => block), u32(0)]);
  assert.throws(() => codec.inflate(bomb, batchInflatedMaxBytes), { code: "ERR_BUFFER_TOO_LARGE" });
  assert.equal(inflated, 5);
  const claim = Buffer.concat([header(0x68, 0x70, batchInflatedMaxBytes + 1), block, u32(0)]);
  assert.throws(() => codec.inflate(claim, batchInflatedMaxBytes), { code: "ERR_BUFFER_TOO_LARGE" });
  assert.equal(inflated, 5);
});

test(`a frame has ${batchBlocksMaxCount} blocks at the most`, () => {
  const block = Buffer.concat([u32(0x8000_0001), Buffer.from("x")]);
  const blocks = Array.from({ length: batchBlocksMaxCount }, () => block);
  assert.equal(inflate("lz4", Buffer.concat([header(0x60, 0x40), ...blocks, u32(0)])).length, batchBlocksMaxCount);
  assert.throws(() => inflate("lz4", Buffer.concat([header(0x60, 0x40), ...blocks, block, u32(0)])), /more than 16384 blocks/);
});

const hello = Buffer.concat([u32(0x8000_0005), Buffer.from("hello")]);
const wrong: readonly (readonly [what: string, frame: Buffer, reason: RegExp])[] = [
  ["another magic", Buffer.from("02214c1860408200000000", "hex"), /0x184c2102, which is no frame's magic/],
  ["a skippable frame", Buffer.from("502a4d1800000000", "hex"), /no frame's magic/],
  ["another version", Buffer.concat([header(0xa0, 0x40), hello, u32(0)]), /flags are 0xa0/],
  ["an unknown flag", Buffer.concat([header(0x62, 0x40), hello, u32(0)]), /flags are 0x62/],
  ["a dictionary", Buffer.concat([header(0x61, 0x40), hello, u32(0)]), /needs a dictionary/],
  ["an unknown block size", Buffer.concat([header(0x60, 0x30), hello, u32(0)]), /0x30 is no known block size/],
  ["a header with a wrong checksum", Buffer.concat([Buffer.from("04224d18604083", "hex"), hello, u32(0)]), /header's checksum/],
  [
    "a block larger than its frame allows",
    Buffer.concat([header(0x60, 0x40), u32(64 * KiB + 1), Buffer.alloc(70_000)]),
    /a block has/,
  ],
  ["an empty block", Buffer.concat([header(0x60, 0x40), u32(0x8000_0000), u32(0)]), /a block is empty/],
  ["no end", Buffer.concat([header(0x60, 0x40), hello]), /ends within a block's size/],
  ["a wrong content size", Buffer.concat([header(0x68, 0x40, 6), hello, u32(0)]), /inflates to 5 bytes, and its header says 6/],
  ["a wrong checksum of a block", Buffer.concat([header(0x70, 0x40), hello, u32(1), u32(0)]), /checksum of a block is wrong/],
  ["a wrong checksum of the content", Buffer.concat([header(0x64, 0x40), hello, u32(0), u32(1)]), /checksum of the content/],
  [
    "a block of no sense",
    Buffer.concat([header(0x60, 0x40), u32(3), Buffer.from("ffffff", "hex"), u32(0)]),
    /no whole lz4 data/,
  ],
];
for (const [what, frame, reason] of wrong)
  test(`lz4: ${what} is refused`, () => {
    assert.throws(() => inflate("lz4", frame), { code: "INVALID_BATCH", message: reason });
  });

function header(flags: number, blockSize: number, contentBytes?: number): Buffer {
  const size = Buffer.alloc(contentBytes === undefined ? 0 : 8);
  if (contentBytes !== undefined) size.writeBigUInt64LE(BigInt(contentBytes));
  const descriptor = Buffer.concat([Buffer.from([flags, blockSize]), size]);
  return Buffer.concat([u32(0x184d2204), descriptor, Buffer.from([(xxhash32(descriptor) >>> 8) & 0xff])]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
