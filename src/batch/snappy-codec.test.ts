import assert from "node:assert/strict";
import { test } from "node:test";
import { batchBlocksMaxCount, batchInflatedMaxBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { compress, inflate } from "./compression.ts";
import { createSnappyCodec } from "./snappy-codec.ts";

/** "hello" as one raw block: its length, a literal of five, and that. */
const rawHello = Buffer.from("0510" + "68656c6c6f", "hex");
const header = Buffer.from("82534e4150505900" + "00000001" + "00000001", "hex");

test("a batch is written as Java's stream of blocks, each of 64 KiB", () => {
  const packed = compress("snappy", Buffer.from("hello"));
  assert.deepEqual(packed, Buffer.concat([header, lengthOf(rawHello), rawHello]));
  const text = "0123456789".repeat(20_000);
  const blocks = blocksOf(compress("snappy", Buffer.from(text)));
  assert.deepEqual(
    blocks.map((block) => inflate("snappy", block).length),
    [64 * KiB, 64 * KiB, 64 * KiB, 200_000 - 3 * 64 * KiB],
  );
});

test("a raw block without a stream around it inflates, as librdkafka writes it", () => {
  assert.equal(inflate("snappy", rawHello).toString(), "hello");
});

test("blocks of any number come out in order, an empty one among them", () => {
  const blocks = [rawHello, Buffer.from([0]), rawHello].flatMap((block) => [lengthOf(block), block]);
  assert.equal(inflate("snappy", Buffer.concat([header, ...blocks])).toString(), "hellohello");
  assert.equal(inflate("snappy", header).length, 0);
});

test("what blocks claim to inflate to is added up before the package is asked to allocate it", () => {
  const untouchable = createSnappyCodec({
    compressSync: () => assert.fail("nothing is compressed"),
    uncompressSync: () => assert.fail("nothing is inflated"),
  });
  const claims = (bytes: number): Buffer => {
    const claim: number[] = [];
    for (let rest = bytes; ; rest = Math.floor(rest / 128)) {
      claim.push(rest >= 128 ? (rest % 128) + 128 : rest);
      if (rest < 128) return Buffer.from([...claim, 0]);
    }
  };
  const tooLong = { code: "ERR_BUFFER_TOO_LARGE" };
  assert.throws(() => untouchable.inflate(claims(2 ** 32 - 1), batchInflatedMaxBytes), tooLong);
  assert.throws(() => untouchable.inflate(claims(batchInflatedMaxBytes + 1), batchInflatedMaxBytes), tooLong);
  const half = claims(batchInflatedMaxBytes / 2);
  const two = [half, claims(batchInflatedMaxBytes / 2 + 1)].flatMap((block) => [lengthOf(block), block]);
  assert.throws(() => untouchable.inflate(Buffer.concat([header, ...two]), batchInflatedMaxBytes), tooLong);
});

test(`a stream has ${batchBlocksMaxCount} blocks at the most`, () => {
  const block = Buffer.from("00000003" + "010078", "hex");
  const most = Buffer.concat([header, ...Array.from({ length: batchBlocksMaxCount }, () => block)]);
  assert.equal(inflate("snappy", most).length, batchBlocksMaxCount);
  assert.throws(() => inflate("snappy", Buffer.concat([most, block])), /more than 16384 blocks/);
});

const wrong: readonly (readonly [what: string, bytes: string, reason: RegExp])[] = [
  ["nothing at all", "", /a block ends within its length/],
  ["a block's length that never ends", "ffffffffff", /more than 32 bits/],
  ["a block's length that is cut", "ff", /ends within its length/],
  ["a header that is cut", "82534e4150505900" + "00000001", /its header is cut/],
  ["a later version", "82534e4150505900" + "00000002" + "00000002", /version 2 and newer/],
  ["a block of a negative size", header.toString("hex") + "ffffffff", /a block has -1 bytes, and 0 are there/],
  ["a block beyond the end", header.toString("hex") + "00000008" + rawHello.toString("hex"), /a block has 8 bytes, and 7 are/],
  ["a block's size that is cut", header.toString("hex") + "000000", /3 bytes are left/],
  ["a block of another length than it says", "0610" + "68656c6c6f", /no whole snappy data/],
];
for (const [what, bytes, reason] of wrong)
  test(`snappy: ${what} is refused`, () => {
    assert.throws(() => inflate("snappy", Buffer.from(bytes, "hex")), { code: "INVALID_BATCH", message: reason });
  });

function lengthOf(block: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(block.length);
  return length;
}

function blocksOf(stream: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = header.length; at < stream.length; ) {
    const end = at + 4 + stream.readInt32BE(at);
    blocks.push(stream.subarray(at + 4, end));
    at = end;
  }
  return blocks;
}
