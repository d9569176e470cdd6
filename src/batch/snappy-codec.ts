import { batchBlocksMaxCount } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { type Codec, type Inflated, OutputTooLongError } from "./codec.ts";

/**
 * Snappy as it stands in Kafka's batches, which is one of two forms. Java's clients write the stream of snappy-java:
 *
 *     position
 *      0  magic         82 "SNAPPY" 00
 *      8  version       i32  1
 *     12  compatible    i32  1: the oldest version whose readers can read it
 *     16  blocks …           length i32 and as many bytes: one raw block, which begins with its inflated length as a varint
 *
 * librdkafka, and all that is built on it, writes one raw block and nothing around it. Readers of either, Java's included, look
 * for the magic and take both; so do we. Written is the first: it is the reference's own.
 *
 * A raw block says its inflated length before anything else, up to 4 GiB, and a decoder allocates that much before it looks
 * any further. So all lengths are added up first.
 */
export function createSnappyCodec(snappy: SnappyPackage): Codec {
  return {
    compress: (body, maxBytes) => compress(snappy, body, maxBytes),
    inflate: (body, maxBytes) => inflate(snappy, body, maxBytes),
  };
}

/** What is used of the package snappy: raw blocks. */
export interface SnappyPackage {
  compressSync(data: Buffer, options: { readonly copyOutputData: boolean }): Buffer;
  uncompressSync(data: Buffer, options: { readonly asBuffer: true; readonly copyOutputData: boolean }): Buffer;
}

/** Memory that native code allocated costs V8 more to adopt than these bytes cost to copy: some five times at 64 KiB. */
const copied = { copyOutputData: true } as const;
const copiedBuffer = { asBuffer: true, copyOutputData: true } as const;

const magic = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const version = 1;
const headerBytes = 16;

/** Within a block nothing refers further back than this, so larger ones don't come out smaller. Java takes half of it. */
const blockBytes = 64 * KiB;

function compress(snappy: SnappyPackage, body: Buffer, maxBytes: number): Buffer {
  const pieces: Buffer[] = [streamHeader];
  let bytes = streamHeader.length;
  for (let start = 0; start < body.length; start += blockBytes) {
    const block = snappy.compressSync(body.subarray(start, start + blockBytes), copied);
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(block.length);
    pieces.push(length, block);
    bytes += 4 + block.length;
    if (bytes > maxBytes) throw new OutputTooLongError();
  }
  if (bytes > maxBytes) throw new OutputTooLongError();
  return Buffer.concat(pieces, bytes);
}

const streamHeader = Buffer.concat([magic, Buffer.from([0, 0, 0, version, 0, 0, 0, version])]);

function inflate(snappy: SnappyPackage, body: Buffer, maxBytes: number): Inflated {
  const blocks = isStream(body) ? streamBlocks(body) : [body];
  let bytes = 0;
  for (const block of blocks) {
    bytes += inflatedLength(block);
    if (bytes > maxBytes) throw new OutputTooLongError();
  }
  const pieces = blocks.map((block) => snappy.uncompressSync(block, copiedBuffer));
  const [only] = pieces;
  const whole = pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces, bytes);
  return { body: whole, consumedBytes: body.length };
}

function isStream(body: Buffer): boolean {
  return body.length >= magic.length && magic.equals(body.subarray(0, magic.length));
}

function streamBlocks(body: Buffer): Buffer[] {
  if (body.length < headerBytes) throw new Error("its header is cut");
  const compatible = body.readInt32BE(12);
  if (compatible > version) throw new Error(`only readers of version ${compatible} and newer can read it`);
  const blocks: Buffer[] = [];
  for (let position = headerBytes; position < body.length; ) {
    if (blocks.length === batchBlocksMaxCount) throw new Error(`it has more than ${batchBlocksMaxCount} blocks`);
    if (body.length - position < 4) throw new Error(`${body.length - position} bytes are left, which is no length of a block`);
    const length = body.readInt32BE(position);
    position += 4;
    if (length < 0 || length > body.length - position) {
      throw new Error(`a block has ${length} bytes, and ${body.length - position} are there`);
    }
    blocks.push(body.subarray(position, position + length));
    position += length;
  }
  return blocks;
}

/** What a raw block says it inflates to. */
function inflatedLength(block: Buffer): number {
  let length = 0;
  for (let at = 0; at < 5; at += 1) {
    const byte = block[at];
    if (byte === undefined) throw new Error("a block ends within its length");
    length += (byte & 0x7f) * 2 ** (7 * at);
    if (byte < 0x80) return length;
  }
  throw new Error("a block's length has more than 32 bits");
}
