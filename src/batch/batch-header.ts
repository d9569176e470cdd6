import { assert } from "../base/assert.ts";
import { readInt64BE, writeInt64BE } from "../base/bytes.ts";
import { type Compression, compressionNumber, compressions } from "./compression.ts";
import { crc32c } from "./crc32c.ts";
import { invalidBatch, type Refuse } from "./refusal.ts";

/**
 * A record batch as it lies on disk and goes over the wire: Kafka's version 2, byte for byte, all fields big-endian.
 *
 *     position
 *      0  baseOffset       i64   offset of the first record; stamped by the leader
 *      8  batchLength      i32   bytes that follow this field: those of the whole batch - 12
 *     12  leaderEpoch      i32   the term of the leader that stamped baseOffset
 *     16  magic            i8    2
 *     17  crc              u32   CRC-32C of everything from attributes to the end
 *     ── from here on the CRC covers every byte ──
 *     21  attributes       i16   bits 0-2 compression (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd), bit 3 timestamp type
 *                                (0 create, 1 append); Kafka's transactional (4), control (5) and all further bits are refused
 *     23  lastOffsetDelta  i32   offset of the last record - baseOffset
 *     27  baseTimestamp    i64   what the records' timestamp deltas are added to
 *     35  maxTimestamp     i64   create: the largest timestamp of the records; append: the timestamp of each of them
 *     43  producerId       i64   -1: none
 *     51  producerEpoch    i16   -1: none
 *     53  baseSequence     i32   the producer's sequence number of the first record; -1: none
 *     57  recordCount      i32
 *     61  records …              as many, one behind the other; compressed together where attributes say so
 *
 * A record, its integers zigzag varints:
 *
 *     length           varint   bytes that follow in this record
 *     attributes       i8       0
 *     timestampDelta   varlong  timestamp - baseTimestamp
 *     offsetDelta      varint   offset - baseOffset
 *     keyLength        varint   -1: null        key …
 *     valueLength      varint   -1: null        value …
 *     headerCount      varint   and as many of: keyLength varint, key (UTF-8) …, valueLength varint (-1: null), value …
 *
 * The leader stamps baseOffset and leaderEpoch without touching the CRC, since they lie before what it covers. At rest the
 * frame around the batch covers those 21 bytes.
 */

/** Bytes before the records. */
export const batchHeaderBytes = 61;

/** Bytes at the start that the batch's own CRC doesn't cover. */
export const batchUnprotectedBytes = 21;

/** Where fields stand, for those that look at or stamp one without reading the header. */
export const baseOffsetAt = 0;
export const batchLengthAt = 8;
export const leaderEpochAt = 12;
export const magicAt = 16;
export const crcAt = 17;
export const lastOffsetDeltaAt = 23;
const attributesAt = batchUnprotectedBytes;
const baseTimestampAt = 27;
const maxTimestampAt = 35;
const producerIdAt = 43;
const producerEpochAt = 51;
const baseSequenceAt = 53;
const recordCountAt = 57;

/** `batchLength` doesn't count the fields up to its own end. */
const uncountedBytes = 12;
const supportedMagic = 2;
const compressionBits = 0x07;
const appendTimeBit = 0x08;
const transactionalBit = 0x10;
const controlBit = 0x20;
const knownBits = compressionBits | appendTimeBit;

/** Who set the records' timestamps: whoever created them, or the log at the append. */
export type TimestampType = "create" | "append";

export interface BatchHeader {
  readonly baseOffset: number;
  /** Bytes of the whole batch, from `baseOffset` to the last record's end. */
  readonly byteLength: number;
  /** The term of the leader that stamped `baseOffset`; what a producer put there means nothing. */
  readonly leaderEpoch: number;
  readonly magic: number;
  readonly crc: number;
  /** The sixteen bits as they stand there; `compression` and `timestampType` are read from them. */
  readonly attributes: number;
  readonly compression: Compression;
  readonly timestampType: TimestampType;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  /** -1 when the producer has none; then `producerEpoch` and `baseSequence` mean nothing. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/**
 * Parses the header of the batch at position `at`, and judges nothing that can be parsed: `checkBatch` does. Throws
 * INVALID_BATCH for bytes that are too few, of another magic, of an impossible length or with a number beyond 2^53-1, and
 * UNSUPPORTED_COMPRESSION for a compression number that nothing stands for.
 */
export function readBatchHeader(buffer: Buffer, at = 0): BatchHeader {
  return parseBatchHeader(buffer, at, invalidBatch("Cannot read the batch header"));
}

/** Who sent a batch, and where its records stand among all that this producer sent. */
export interface BatchProducer {
  readonly producerId: number;
  readonly producerEpoch: number;
  /** Of the first record. */
  readonly baseSequence: number;
}

/** The producer of a batch that was checked once; undefined when it has none. For those who read many and want nothing else. */
export function findBatchProducer(batch: Buffer): BatchProducer | undefined {
  // The upper half of -1, as nearly all of them have it.
  if (batch.readInt32BE(producerIdAt) < 0) return undefined;
  const producer = {
    producerId: readInt64BE(batch, producerIdAt),
    producerEpoch: batch.readInt16BE(producerEpochAt),
    baseSequence: batch.readInt32BE(baseSequenceAt),
  };
  const isSound = Number.isSafeInteger(producer.producerId) && producer.producerEpoch >= 0 && producer.baseSequence >= 0;
  return isSound ? producer : undefined;
}

/** `readBatchHeader` for those whose errors have another code. */
export function parseBatchHeader(buffer: Buffer, at: number, refuse: Refuse): BatchHeader {
  assert(at >= 0, "a batch begins at a position");
  const presentBytes = Math.max(0, buffer.length - at);
  // Magic first: it stands at the same position in all of Kafka's versions, and the other fields don't.
  if (presentBytes > magicAt) {
    const magic = buffer.readInt8(at + magicAt);
    if (magic !== supportedMagic) throw refuse(`magic is ${magic}, and only ${supportedMagic} is supported`);
  }
  if (presentBytes < batchHeaderBytes) {
    throw refuse(`a batch has at least ${batchHeaderBytes} bytes, and ${presentBytes} are there`);
  }
  const batchLength = buffer.readInt32BE(at + batchLengthAt);
  if (batchLength < batchHeaderBytes - uncountedBytes) {
    throw refuse(`batchLength is ${batchLength}, less than a header takes`);
  }
  const attributes = buffer.readUInt16BE(at + attributesAt);
  const compression = compressions[attributes & compressionBits];
  if (compression === undefined) {
    const reason = `attributes ask for compression ${attributes & compressionBits}, and no compression has that number`;
    throw refuse(reason, { code: "UNSUPPORTED_COMPRESSION" });
  }
  return {
    baseOffset: readSafeInt64(buffer, at + baseOffsetAt, "baseOffset", refuse),
    byteLength: batchLength + uncountedBytes,
    leaderEpoch: buffer.readInt32BE(at + leaderEpochAt),
    magic: supportedMagic,
    crc: buffer.readUInt32BE(at + crcAt),
    attributes,
    compression,
    timestampType: (attributes & appendTimeBit) === 0 ? "create" : "append",
    lastOffsetDelta: buffer.readInt32BE(at + lastOffsetDeltaAt),
    baseTimestamp: readSafeInt64(buffer, at + baseTimestampAt, "baseTimestamp", refuse),
    maxTimestamp: readSafeInt64(buffer, at + maxTimestampAt, "maxTimestamp", refuse),
    producerId: readSafeInt64(buffer, at + producerIdAt, "producerId", refuse),
    producerEpoch: buffer.readInt16BE(at + producerEpochAt),
    baseSequence: buffer.readInt32BE(at + baseSequenceAt),
    recordCount: buffer.readInt32BE(at + recordCountAt),
  };
}

/** What is beyond a safe integer is refused: it would silently become another number. */
function readSafeInt64(buffer: Buffer, at: number, field: string, refuse: Refuse): number {
  const value = readInt64BE(buffer, at);
  if (!Number.isSafeInteger(value)) throw refuse(`${field} is beyond 2^53-1`);
  return value;
}

/** Throws when attributes have a bit whose meaning isn't served here: what it asks for would silently not happen. */
export function checkAttributes(attributes: number, refuse: Refuse): void {
  if ((attributes & ~knownBits) === 0) return;
  if ((attributes & transactionalBit) !== 0)
    throw refuse("attributes mark it as part of a transaction, and there are none here");
  if ((attributes & controlBit) !== 0)
    throw refuse("attributes mark it as a control batch, and only Kafka's own brokers write those");
  throw refuse(`attributes are 0x${attributes.toString(16)}, and only bits 0 to 3 are known`);
}

/** What a new batch's header says; the rest follows from the bytes behind it. */
export interface NewBatchHeader {
  readonly compression: Compression;
  /** Default: "create". */
  readonly timestampType?: TimestampType | undefined;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
  /** Default: recordCount - 1. A batch that was emptied spans offsets all the same. */
  readonly lastOffsetDelta?: number;
}

/** Writes all 61 bytes of a header at the start of `batch`, whose records must be there already: the CRC covers them. */
export function writeBatchHeader(batch: Buffer, header: NewBatchHeader): void {
  writeInt64BE(batch, 0, baseOffsetAt);
  batch.writeInt32BE(batch.length - uncountedBytes, batchLengthAt);
  batch.writeInt32BE(0, leaderEpochAt);
  batch.writeInt8(supportedMagic, magicAt);
  const timestampBit = header.timestampType === "append" ? appendTimeBit : 0;
  batch.writeInt16BE(compressionNumber(header.compression) | timestampBit, attributesAt);
  batch.writeInt32BE(header.lastOffsetDelta ?? header.recordCount - 1, lastOffsetDeltaAt);
  writeInt64BE(batch, header.baseTimestamp, baseTimestampAt);
  writeInt64BE(batch, header.maxTimestamp, maxTimestampAt);
  writeInt64BE(batch, header.producerId, producerIdAt);
  batch.writeInt16BE(header.producerEpoch, producerEpochAt);
  batch.writeInt32BE(header.baseSequence, baseSequenceAt);
  batch.writeInt32BE(header.recordCount, recordCountAt);
  batch.writeUInt32BE(crc32c(batch, batchUnprotectedBytes), crcAt);
}

/**
 * Writes the header of `original` at the start of `batch`, whose records, some of the original's in the same codec, must be
 * there already. All else stays as it was, base offset and leader epoch included.
 */
export function writeFilteredHeader(
  batch: Buffer,
  original: Buffer,
  filtered: { readonly recordCount: number; readonly maxTimestamp: number },
): void {
  original.copy(batch, 0, 0, batchHeaderBytes);
  batch.writeInt32BE(batch.length - uncountedBytes, batchLengthAt);
  writeInt64BE(batch, filtered.maxTimestamp, maxTimestampAt);
  batch.writeInt32BE(filtered.recordCount, recordCountAt);
  batch.writeUInt32BE(crc32c(batch, batchUnprotectedBytes), crcAt);
}

/** True when the batch in `buffer[start, end)` has the CRC that it says it has; false as well when it is too short for one. */
export function verifyBatchCrc(buffer: Buffer, start: number, end: number): boolean {
  if (end - start < batchHeaderBytes) return false;
  return buffer.readUInt32BE(start + crcAt) === crc32c(buffer, start + batchUnprotectedBytes, end);
}
