import { assert } from "../base/assert.ts";
import { ProglogError } from "../base/error.ts";
import { batchInflatedMaxBytes, batchMaxBytes, batchMaxHeaders, batchMaxRecords } from "../base/limits.ts";
import { batchHeaderBytes, type TimestampType, writeBatchHeader } from "./batch-header.ts";
import { type Compression, compress } from "./compression.ts";
import { fieldBytes, keyMissingError, measureRecord, type RecordHeader, type RecordInput, RecordMeasure } from "./record.ts";
import { varintSize, varlongSize, writeVarint, writeVarlong } from "./varint.ts";

export interface EncodeBatchOptions {
  /** Milliseconds since 1970, for the records that bring no timestamp. */
  readonly now: number;
  /** "append": all records have the time `now`, whatever they bring. Default: "create". */
  readonly timestampType?: TimestampType | undefined;
  /** Default: "none". */
  readonly compression?: Compression | undefined;
  /** Makes retries recognizable; given together with the next two, or not at all. */
  readonly producerId?: number | undefined;
  readonly producerEpoch?: number | undefined;
  /** The producer's sequence number of the first record. */
  readonly baseSequence?: number | undefined;
  /** Key, value and headers of one record. Default: `recordMaxBytes`. */
  readonly recordMaxBytes?: number | undefined;
  /** Whether a record without a key is refused. Default: false. */
  readonly requiresKeys?: boolean | undefined;
  /**
   * Whether a small batch may lie in a pool, together with other buffers, which costs a third: for who lets go of it soon, since
   * it keeps the whole pool in memory. Default: false.
   */
  readonly isShortLived?: boolean | undefined;
}

/**
 * Packs records into one batch, in order, with base offset and leader epoch 0, which the leader stamps.
 *
 * Two passes: the first checks and measures, the second writes into one allocation of exactly that size. That memory comes
 * uninitialised, and from no pool unless `isShortLived`, so that no other buffer shares it; each record is seen to end where it
 * was measured to, and so no byte of it is left as it came.
 *
 * Throws INVALID_RECORD or RECORD_TOO_LARGE, naming the record; INVALID_BATCH when there are none or more than
 * `batchMaxRecords`, or more than `batchMaxHeaders`; BATCH_TOO_LARGE when the batch would pass `batchMaxBytes`, or its records `batchInflatedMaxBytes`
 * before compression; UNSUPPORTED_COMPRESSION.
 */
export function encodeBatch(records: readonly RecordInput[], options: EncodeBatchOptions): Buffer {
  const {
    now,
    timestampType = "create",
    compression = "none",
    producerId = -1,
    producerEpoch = -1,
    baseSequence = -1,
  } = options;
  assert(Number.isSafeInteger(now) && now >= 0, "the time at which a batch is packed is an integer of milliseconds");
  assert(
    (producerId === -1 && producerEpoch === -1 && baseSequence === -1) ||
      (isUpTo(producerId, Number.MAX_SAFE_INTEGER) && isUpTo(producerEpoch, 2 ** 15 - 1) && isUpTo(baseSequence, 2 ** 31 - 1)),
    "producer id, epoch and sequence are given together",
  );
  const recordCount = records.length;
  if (recordCount === 0) throw new ProglogError("INVALID_BATCH", "Cannot pack a batch: there are no records");
  if (recordCount > batchMaxRecords) {
    throw new ProglogError("INVALID_BATCH", `Cannot pack ${recordCount} records: ${batchMaxRecords} are allowed in a batch`);
  }
  const isCompressed = compression !== "none";
  const measure = new RecordMeasure(options.recordMaxBytes);
  const measured = measureRecords(records, measure, {
    now,
    timestampType,
    maxBytes: isCompressed ? batchInflatedMaxBytes : batchMaxBytes - batchHeaderBytes,
    requiresKeys: options.requiresKeys === true,
  });
  const { baseTimestamp, maxTimestamp } = measured;
  let batch: Buffer;
  if (isCompressed) {
    const body = Buffer.allocUnsafeSlow(measured.bytes);
    writeRecords(body, 0, records, measured);
    const compressed = compress(compression, body, batchMaxBytes - batchHeaderBytes);
    batch = Buffer.allocUnsafeSlow(batchHeaderBytes + compressed.length);
    batch.set(compressed, batchHeaderBytes);
  } else {
    const batchBytes = batchHeaderBytes + measured.bytes;
    batch = options.isShortLived === true ? Buffer.allocUnsafe(batchBytes) : Buffer.allocUnsafeSlow(batchBytes);
    writeRecords(batch, batchHeaderBytes, records, measured);
  }
  writeBatchHeader(batch, {
    compression,
    timestampType,
    baseTimestamp,
    maxTimestamp,
    producerId,
    producerEpoch,
    baseSequence,
    recordCount,
  });
  return batch;
}

function isUpTo(value: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= 0 && value <= max;
}

interface MeasuredRecords {
  /** Of all records together. */
  readonly bytes: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  /** For each record three numbers: its bytes behind its length field, its key's and its value's, -1 for null. */
  readonly sizes: Int32Array;
  readonly timestamps: Float64Array;
}

function measureRecords(
  records: readonly RecordInput[],
  measure: RecordMeasure,
  options: {
    readonly now: number;
    readonly timestampType: TimestampType;
    readonly maxBytes: number;
    readonly requiresKeys: boolean;
  },
): MeasuredRecords {
  const { now, maxBytes, requiresKeys } = options;
  const isAppendTime = options.timestampType === "append";
  const sizes = new Int32Array(3 * records.length);
  const timestamps = new Float64Array(records.length);
  let bytes = 0;
  let baseTimestamp = 0;
  let maxTimestamp = 0;
  let headerTotal = 0;
  let number = 0;
  for (const record of records) {
    measureRecord(record, measure, number);
    if (requiresKeys && measure.keyBytes < 0) throw keyMissingError(`Cannot pack record ${number} of the batch`);
    const timestamp = isAppendTime || measure.timestamp < 0 ? now : measure.timestamp;
    if (number === 0) baseTimestamp = timestamp;
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    const { keyBytes, valueBytes, headerCount } = measure;
    let recordBytes = 1 + varlongSize(timestamp - baseTimestamp) + varintSize(number) + varintSize(headerCount);
    recordBytes += varintSize(keyBytes) + Math.max(0, keyBytes) + varintSize(valueBytes) + Math.max(0, valueBytes);
    if (headerCount > 0) recordBytes += measure.headerBytes + headerLengthsSize(record.headers ?? []);
    headerTotal += headerCount;
    timestamps[number] = timestamp;
    sizes[3 * number] = recordBytes;
    sizes[3 * number + 1] = keyBytes;
    sizes[3 * number + 2] = valueBytes;
    bytes += varintSize(recordBytes) + recordBytes;
    if (bytes > maxBytes) {
      const what = `Cannot pack ${records.length} records: the first ${number + 1} take ${bytes} bytes`;
      throw new ProglogError("BATCH_TOO_LARGE", `${what}, and a batch has room for ${maxBytes}`, {
        hint: "Pack fewer records in a batch.",
      });
    }
    number += 1;
  }
  if (headerTotal > batchMaxHeaders) {
    const what = `Cannot pack ${records.length} records: they have ${headerTotal} headers`;
    throw new ProglogError("INVALID_BATCH", `${what}, and ${batchMaxHeaders} are allowed in a batch`);
  }
  return { bytes, baseTimestamp, maxTimestamp, sizes, timestamps };
}

/** Bytes of what stands before the headers' keys and values. */
function headerLengthsSize(headers: readonly RecordHeader[]): number {
  let bytes = 0;
  for (const { key, value } of headers) {
    bytes += varintSize(fieldBytes(key, "header's key")) + varintSize(fieldBytes(value, "header's value"));
  }
  return bytes;
}

function writeRecords(buffer: Buffer, start: number, records: readonly RecordInput[], measured: MeasuredRecords): void {
  const { sizes, timestamps, baseTimestamp } = measured;
  let position = start;
  let number = 0;
  for (const record of records) {
    // The casts say what measuring has shown: there are three sizes and a timestamp for each record.
    const recordBytes = sizes[3 * number] as number;
    position = writeVarint(buffer, recordBytes, position);
    const end = position + recordBytes;
    buffer[position] = 0;
    position = writeVarlong(buffer, (timestamps[number] as number) - baseTimestamp, position + 1);
    position = writeVarint(buffer, number, position);
    position = writeField(buffer, record.key ?? null, sizes[3 * number + 1] as number, position);
    position = writeField(buffer, record.value, sizes[3 * number + 2] as number, position);
    const headers = record.headers;
    if (headers === undefined || headers.length === 0) {
      buffer[position] = 0;
      position += 1;
    } else {
      position = writeHeaders(buffer, headers, position);
    }
    // The caller's objects may have getters: what was measured need not be what was written.
    if (position !== end) throw changedWhilePacked();
    number += 1;
  }
  if (position !== buffer.length) throw changedWhilePacked();
}

function writeHeaders(buffer: Buffer, headers: readonly RecordHeader[], start: number): number {
  let position = writeVarint(buffer, headers.length, start);
  for (const { key, value } of headers) {
    position = writeField(buffer, key, fieldBytes(key, "header's key"), position);
    position = writeField(buffer, value, fieldBytes(value, "header's value"), position);
  }
  return position;
}

function writeField(buffer: Buffer, field: Uint8Array | string | null, bytes: number, start: number): number {
  const position = writeVarint(buffer, bytes, start);
  if (field === null) return position;
  // Room first: `set` throws beyond the buffer's end, and `write` writes less.
  if (bytes < 0 || bytes > buffer.length - position) throw changedWhilePacked();
  if (typeof field === "string") {
    // As many bytes as characters: all are ASCII, and Latin-1 is the quicker way to write those.
    const written = buffer.write(field, position, bytes, bytes === field.length ? "latin1" : "utf8");
    if (written !== bytes) throw changedWhilePacked();
  } else {
    if (field.length !== bytes) throw changedWhilePacked();
    buffer.set(field, position);
  }
  return position + bytes;
}

function changedWhilePacked(): ProglogError {
  return new ProglogError("INVALID_RECORD", "Cannot pack the batch: a record changed while it was packed");
}
