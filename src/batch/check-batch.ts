import { isUtf8 } from "node:buffer";
import { batchInflatedMaxBytes, batchMaxBytes, batchMaxRecords, recordMaxBytes, recordMaxHeaders } from "../base/limits.ts";
import { type BatchHeader, batchHeaderBytes, checkAttributes, parseBatchHeader, verifyBatchCrc } from "./batch-header.ts";
import { inflate } from "./compression.ts";
import { RecordReader, recordMinBytes } from "./record-reader.ts";
import { keyMissingError } from "./record.ts";
import { invalidBatch, type Refuse } from "./refusal.ts";
import { skimRecords } from "./skim-records.ts";

export interface CheckBatchOptions {
  /** Inflate a compressed batch and check its records too. An uncompressed batch's records are always checked. Default: false. */
  readonly deep?: boolean | undefined;
  /** Bytes of the whole batch as it stands there. Default: `batchMaxBytes`. */
  readonly maxBytes?: number | undefined;
  /** Key, value and headers of one record. Default: `recordMaxBytes`. */
  readonly recordMaxBytes?: number | undefined;
  /** Refuse records without a key, with INVALID_RECORD; takes `deep` for a compressed batch. Default: false. */
  readonly requiresKeys?: boolean | undefined;
}

/**
 * The check at the door: what passes may be given offsets and kept for ever. No seal is trusted. The CRC only proves that the
 * batch is as its producer made it; a producer that counts wrongly seals its mistake as well, and the next batch's offsets
 * would begin in the middle of this one's. So, beside length, CRC and header, each record is walked through, without making
 * an object of it. A compressed batch stays closed unless `deep`: inflating costs many times what all else does, and reading
 * such a batch back is guarded (`decodeBatch`). What `baseOffset` and `leaderEpoch` say is up to the leader that stamps them.
 *
 * Timestamps are a claim that the time index believes. Kafka computes the maximum itself, and where the header says otherwise
 * it writes the right one in and seals anew. Here nobody seals but the producer, so a batch whose maximum is wrong is refused.
 *
 * Throws INVALID_BATCH, BATCH_TOO_LARGE, RECORD_TOO_LARGE, INVALID_RECORD or UNSUPPORTED_COMPRESSION.
 */
export function checkBatch(batch: Buffer, options: CheckBatchOptions = {}): BatchHeader {
  const { deep = false, maxBytes = batchMaxBytes } = options;
  const recordLimits = { maxBytes: options.recordMaxBytes ?? recordMaxBytes, requiresKeys: options.requiresKeys === true };
  if (batch.length > maxBytes) {
    const reason = `it has ${batch.length} bytes, and ${maxBytes} are allowed`;
    throw refuse(reason, { code: "BATCH_TOO_LARGE" });
  }
  const header = parseBatchHeader(batch, 0, refuse);
  if (header.byteLength !== batch.length) {
    throw refuse(`batchLength asks for ${header.byteLength} bytes in all, and ${batch.length} are there`);
  }
  // Before the other fields: where the CRC is wrong, what they say is no fact about the producer.
  if (!verifyBatchCrc(batch, 0, batch.length))
    throw refuse("its bytes don't have the CRC that it states: they were changed on the way");
  checkFields(header);
  if (header.compression === "none") {
    checkRecords(batch, batchHeaderBytes, header, recordLimits);
  } else if (deep) {
    openBatch(batch, header, recordLimits);
  } else if (batch.length === batchHeaderBytes) {
    throw refuse(`recordCount is ${header.recordCount}, and no bytes follow the header`);
  }
  return header;
}

/**
 * The deep half of `checkBatch`, for who goes on with the records: those of a compressed batch whose header was checked, inflated
 * and walked through. Throws what `checkBatch` does.
 */
export function openBatch(batch: Buffer, header: BatchHeader, limits: RecordLimits = ordinaryLimits): Buffer {
  const records = inflate(header.compression, batch.subarray(batchHeaderBytes), batchInflatedMaxBytes, refuse);
  checkRecords(records, 0, header, limits);
  return records;
}

/** What is asked of each record. */
export interface RecordLimits {
  /** Key, value and headers. */
  readonly maxBytes: number;
  readonly requiresKeys: boolean;
}

const ordinaryLimits: RecordLimits = { maxBytes: recordMaxBytes, requiresKeys: false };

const refuse: Refuse = invalidBatch("Cannot accept the batch");

function checkFields(header: BatchHeader): void {
  const { recordCount, lastOffsetDelta, baseOffset, maxTimestamp } = header;
  checkAttributes(header.attributes, refuse);
  if (recordCount < 1) throw refuse(`recordCount is ${recordCount}, and a batch holds at least one record`);
  if (recordCount > batchMaxRecords) throw refuse(`recordCount is ${recordCount}, and ${batchMaxRecords} are allowed`);
  if (lastOffsetDelta !== recordCount - 1) {
    throw refuse(`lastOffsetDelta is ${lastOffsetDelta}, and with ${recordCount} records it must be ${recordCount - 1}`);
  }
  if (baseOffset < 0) throw refuse(`baseOffset is ${baseOffset}, and offsets begin at 0`);
  if (!Number.isSafeInteger(baseOffset + recordCount)) throw refuse(`baseOffset is ${baseOffset}, and the offsets pass 2^53-1`);
  if (maxTimestamp < noTimestamp) throw refuse(`maxTimestamp is ${maxTimestamp}: before 1970`);
  checkProducer(header);
}

/**
 * A producer has an id, an epoch and a sequence, or nothing. Nothing is -1 in all three for Java's client; others write a 0 for
 * epoch or sequence, which says as little, since nobody looks at them without an id.
 */
function checkProducer({ producerId, producerEpoch, baseSequence }: BatchHeader): void {
  const isNone = producerId === -1 && isNoneOrZero(producerEpoch) && isNoneOrZero(baseSequence);
  const isSome = producerId >= 0 && producerEpoch >= 0 && baseSequence >= 0;
  if (isNone || isSome) return;
  throw refuse(
    `producerId ${producerId}, producerEpoch ${producerEpoch} and baseSequence ${baseSequence} don't go together:` +
      " all are -1, or none is negative",
  );
}

function isNoneOrZero(value: number): boolean {
  return value === -1 || value === 0;
}

/** How Kafka writes "no timestamp". */
const noTimestamp = -1;

function checkRecords(bytes: Buffer, start: number, header: BatchHeader, limits: RecordLimits): void {
  const { maxBytes, requiresKeys } = limits;
  const { recordCount, baseTimestamp, maxTimestamp } = header;
  if (recordCount > (bytes.length - start) / recordMinBytes) {
    throw refuse(`recordCount is ${recordCount}, and ${bytes.length - start} bytes can't hold so many`);
  }
  // Most batches are of plain records throughout. Before 1970 not even those with a delta above zero are.
  const plain = skimRecords(bytes, start, baseTimestamp < noTimestamp ? 0 : recordCount, maxBytes, requiresKeys);
  const reader = new RecordReader(bytes, plain.position, bytes.length, refuse);
  reader.number = plain.count - 1;
  const isCreateTime = header.timestampType === "create";
  let largestTimestamp = plain.count === 0 ? noTimestamp : baseTimestamp + plain.largestTimestampDelta;
  for (let number = plain.count; number < recordCount; number += 1) {
    reader.readRecord();
    if (reader.attributes !== 0)
      throw refuse(`record ${number}: attributes are ${reader.attributes}, and no bit of them is known`);
    if (reader.offsetDelta !== number) throw refuse(`record ${number}: offsetDelta is ${reader.offsetDelta}`);
    if (requiresKeys && reader.keyBytes < 0) throw keyMissingError(`Cannot accept the batch: record ${number}`);
    checkSize(bytes, reader, maxBytes);
    reader.endRecord();
    if (isCreateTime) {
      const timestamp = baseTimestamp + reader.timestampDelta;
      if (timestamp < noTimestamp) throw refuse(`record ${number}: the timestamp is ${timestamp}: before 1970`);
      // A sum beyond 2^53-1 is no exact one; it is larger than maxTimestamp, which is a safe integer, and so refused below.
      if (timestamp > largestTimestamp) largestTimestamp = timestamp;
    }
  }
  reader.endRecords(refuse);
  if (isCreateTime && largestTimestamp !== maxTimestamp) {
    throw refuse(`maxTimestamp is ${maxTimestamp}, and the largest of its records is ${largestTimestamp}`);
  }
}

/** The limits that a record has when it comes alone hold for a packed one. Reads its headers to their end. */
function checkSize(bytes: Buffer, reader: RecordReader, recordLimit: number): void {
  let recordBytes = Math.max(0, reader.keyBytes) + Math.max(0, reader.valueBytes);
  if (reader.headerCount > recordMaxHeaders) {
    const reason = `record ${reader.number}: it has ${reader.headerCount} headers, and ${recordMaxHeaders} are allowed`;
    throw refuse(reason, { code: "RECORD_TOO_LARGE" });
  }
  for (let count = reader.headerCount; count > 0; count -= 1) {
    reader.readHeader();
    recordBytes += reader.headerKeyBytes + Math.max(0, reader.headerValueBytes);
    if (!isText(bytes, reader.headerKeyStart, reader.headerKeyStart + reader.headerKeyBytes)) {
      throw refuse(`record ${reader.number}: a header's key isn't UTF-8, and would come back as another`);
    }
  }
  if (recordBytes > recordLimit) {
    const reason = `record ${reader.number}: its key, value and headers take ${recordBytes} bytes, and ${recordLimit} are allowed`;
    throw refuse(reason, { code: "RECORD_TOO_LARGE" });
  }
}

/** Header keys are ASCII as a rule: only where one isn't is a view made of it. */
function isText(bytes: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    // The cast says what the reader has shown: the key lies within the bytes.
    if ((bytes[at] as number) >= 0x80) return isUtf8(bytes.subarray(start, end));
  }
  return true;
}
