import { batchBlocksMaxCount } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { type Codec, type Inflated, OutputTooLongError } from "./codec.ts";
import { xxhash32 } from "./xxhash32.ts";

/**
 * LZ4 as it stands in Kafka's batches: one frame of LZ4's frame format, its fields little-endian.
 *
 *     position
 *      0  magic            u32  0x184d2204
 *      4  flags            u8   bits 7-6 version 01, 5 blocks don't refer to each other, 4 each block has a checksum, 3 content
 *                               size is there, 2 content checksum is there, 1 zero, 0 a dictionary is needed
 *      5  block size       u8   bits 6-4 what a block may inflate to: 4 64 KiB, 5 256 KiB, 6 1 MiB, 7 4 MiB; the rest zero
 *      6  content size     u64  where flags say so
 *      …  header checksum  u8   the second byte of xxHash32 over flags to content size
 *      …  blocks                size u32, its top bit set: these are the bytes themselves; the bytes; their xxHash32 where
 *                               flags say so
 *      …  end              u32  0, and the xxHash32 of all inflated bytes where flags say so
 *
 * The frame is read here and only blocks go through the package: a function that takes a whole frame allocates whatever it
 * unfolds to, and that can be 255 times the frame. A block can't unfold to more than the frame says. What Java's client reads is
 * written: blocks of 64 KiB that don't refer to each other. Others' blocks may, and are read.
 */
export function createLz4Codec(lz4: Lz4Package): Codec {
  return {
    compress: (body, maxBytes) => compress(lz4, body, maxBytes),
    inflate: (body, maxBytes) => new FrameReader(lz4, body).inflate(maxBytes),
  };
}

/** What is used of the package lz4-napi: blocks with the length that they inflate to before them, as u32. */
export interface Lz4Package {
  compressSync(block: Buffer): Buffer;
  /** The length may be more than the block inflates to. */
  uncompressSync(block: Buffer, dictionary?: Buffer): Buffer;
}

const frameMagic = 0x184d2204;
const versionBits = 0xc0;
const version = 0x40;
const independentBit = 0x20;
const blockChecksumBit = 0x10;
const contentSizeBit = 0x08;
const contentChecksumBit = 0x04;
const reservedBit = 0x02;
const dictionaryBit = 0x01;
const isStoredBit = 0x8000_0000;
const endMark = Buffer.alloc(4);

/** How far back a block may refer. */
const windowBytes = 64 * KiB;
const writtenBlockBytes = 64 * KiB;

/** Flags, block size and header checksum are always the same for what is written here. */
const writtenHeader = Buffer.from([0x04, 0x22, 0x4d, 0x18, version | independentBit, 0x40, 0x82]);

function compress(lz4: Lz4Package, body: Buffer, maxBytes: number): Buffer {
  const pieces: Buffer[] = [writtenHeader];
  let bytes = writtenHeader.length + endMark.length;
  for (let start = 0; start < body.length; start += writtenBlockBytes) {
    const block = body.subarray(start, start + writtenBlockBytes);
    const packed = lz4.compressSync(block);
    const packedBytes = packed.length - 4;
    if (packedBytes < block.length) {
      // The inflated length gives way to the packed one.
      packed.writeUInt32LE(packedBytes);
      pieces.push(packed);
      bytes += packed.length;
    } else {
      const length = Buffer.allocUnsafe(4);
      length.writeUInt32LE(isStoredBit + block.length);
      pieces.push(length, block);
      bytes += 4 + block.length;
    }
    if (bytes > maxBytes) throw new OutputTooLongError();
  }
  if (bytes > maxBytes) throw new OutputTooLongError();
  pieces.push(endMark);
  return Buffer.concat(pieces, bytes);
}

/** Reads one frame from its start to its end. */
class FrameReader {
  readonly #lz4: Lz4Package;
  readonly #frame: Buffer;
  #position = 0;

  constructor(lz4: Lz4Package, frame: Buffer) {
    this.#lz4 = lz4;
    this.#frame = frame;
  }

  inflate(maxBytes: number): Inflated {
    const { flags, blockMaxBytes, contentBytes } = this.#readHeader();
    if (contentBytes !== undefined && contentBytes > maxBytes) throw new OutputTooLongError();
    const isLinked = (flags & independentBit) === 0;
    const pieces: Buffer[] = [];
    let bytes = 0;
    for (;;) {
      const word = this.#take(4, "a block's size").readUInt32LE();
      if (word === 0) break;
      if (pieces.length === batchBlocksMaxCount) throw new Error(`it has more than ${batchBlocksMaxCount} blocks`);
      const isStored = word >= isStoredBit;
      const size = isStored ? word - isStoredBit : word;
      if (size > blockMaxBytes) throw new Error(`a block has ${size} bytes, and the frame allows ${blockMaxBytes}`);
      const block = this.#take(size, "a block");
      if ((flags & blockChecksumBit) !== 0) this.#checkSum(block, "a block");
      const piece = isStored ? block : this.#inflateBlock(block, blockMaxBytes, isLinked ? pieces : []);
      // Nobody writes these, and millions of them fit into a batch.
      if (piece.length === 0) throw new Error("a block is empty");
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > maxBytes) throw new OutputTooLongError();
    }
    const [only] = pieces;
    const body = pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces, bytes);
    if (contentBytes !== undefined && contentBytes !== bytes) {
      throw new Error(`it inflates to ${bytes} bytes, and its header says ${contentBytes}`);
    }
    if ((flags & contentChecksumBit) !== 0) this.#checkSum(body, "the content");
    return { body, consumedBytes: this.#position };
  }

  #readHeader(): { readonly flags: number; readonly blockMaxBytes: number; readonly contentBytes: number | undefined } {
    const magic = this.#take(4, "the magic").readUInt32LE();
    if (magic !== frameMagic) throw new Error(`it begins with 0x${magic.toString(16)}, which is no frame's magic`);
    const start = this.#position;
    const flags = this.#take(1, "the flags").readUInt8();
    const sizeByte = this.#take(1, "the block size").readUInt8();
    if ((flags & versionBits) !== version || (flags & reservedBit) !== 0) {
      throw new Error(`its flags are 0x${flags.toString(16)}, which is no known version`);
    }
    if ((flags & dictionaryBit) !== 0) throw new Error("it needs a dictionary, and there is none");
    const blockMaxBytes = blockSizes[sizeByte];
    if (blockMaxBytes === undefined) throw new Error(`0x${sizeByte.toString(16)} is no known block size`);
    const contentBytes =
      (flags & contentSizeBit) === 0 ? undefined : Number(this.#take(8, "the content size").readBigUInt64LE());
    const expected = (xxhash32(this.#frame.subarray(start, this.#position)) >>> 8) & 0xff;
    if (this.#take(1, "the header checksum").readUInt8() !== expected) throw new Error("its header's checksum is wrong");
    return { flags, blockMaxBytes, contentBytes };
  }

  /** A byte of a block becomes 255 at the most: that, or what the frame allows, is what the package may allocate. */
  #inflateBlock(block: Buffer, blockMaxBytes: number, before: readonly Buffer[]): Buffer {
    const sized = Buffer.allocUnsafe(4 + block.length);
    sized.writeUInt32LE(Math.min(blockMaxBytes, 255 * block.length));
    sized.set(block, 4);
    return before.length === 0 ? this.#lz4.uncompressSync(sized) : this.#lz4.uncompressSync(sized, lastBytes(before));
  }

  #checkSum(data: Buffer, what: string): void {
    if (this.#take(4, `the checksum of ${what}`).readUInt32LE() !== xxhash32(data)) {
      throw new Error(`the checksum of ${what} is wrong`);
    }
  }

  #take(length: number, what: string): Buffer {
    const end = this.#position + length;
    if (end > this.#frame.length) throw new Error(`it ends within ${what}`);
    const taken = this.#frame.subarray(this.#position, end);
    this.#position = end;
    return taken;
  }
}

const blockSizes: Readonly<Record<number, number>> = {
  0x40: 64 * KiB,
  0x50: 256 * KiB,
  0x60: 1024 * KiB,
  0x70: 4096 * KiB,
};

/** As much of the end as a block may refer to. */
function lastBytes(pieces: readonly Buffer[]): Buffer {
  const last: Buffer[] = [];
  let bytes = 0;
  for (let number = pieces.length - 1; number >= 0 && bytes < windowBytes; number -= 1) {
    const piece = pieces[number];
    if (piece === undefined) break;
    last.unshift(piece);
    bytes += piece.length;
  }
  const [only] = last;
  const joined = last.length === 1 && only !== undefined ? only : Buffer.concat(last, bytes);
  return joined.subarray(Math.max(0, bytes - windowBytes));
}
