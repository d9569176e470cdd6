import { readInt64BE } from "../base/bytes.ts";
import { ProglogError } from "../base/error.ts";
import { batchInflatedMaxBytes, batchMaxRecords } from "../base/limits.ts";
import {
  type BatchHeader,
  baseOffsetAt,
  batchHeaderBytes,
  checkAttributes,
  lastOffsetDeltaAt,
  parseBatchHeader,
} from "./batch-header.ts";
import { inflate } from "./compression.ts";
import type { StoredHeader, StoredRecord } from "./record.ts";
import { RecordReader, recordMinBytes } from "./record-reader.ts";
import type { RefusalOptions, Refuse } from "./refusal.ts";

/**
 * The records of a stored batch. Keys and values are views into `batch`, or into what it inflates to: they cost nothing, and
 * keep those bytes in memory for as long as one of them is kept.
 *
 * It takes more than `checkBatch` does: compaction leaves batches with gaps between the offsets, and empty ones; and the limits on
 * bytes that come in don't hold here, since what was once acknowledged must stay readable when one is lowered. Those on counts and
 * on what it may inflate to do hold: a compressed batch was taken unopened, and some kilobytes can unfold to gigabytes of objects.
 * The CRC isn't looked at: who brings bytes from a disk or a wire asks `verifyBatchCrc` once.
 *
 * Whatever the bytes are, the only error is UNDECODABLE_BATCH. Its details `baseOffset` and `nextOffset` are what the batch says
 * of itself, `nextOffset` being where a reader goes on that skips it; null where that can't be read either. Whoever knows better
 * says so by `range`. Where what lacks is the package of its compression, details name the `compression` and the `package`.
 */
export function decodeBatch(batch: Buffer, range?: OffsetSpan): StoredRecord[] {
  return decodeRecords(openStoredBatch(batch, range));
}

/** A stored batch whose header makes sense, with its records as they stand there or as they inflate. */
export interface OpenedBatch {
  readonly header: BatchHeader;
  /** The records lie in `bytes[start, …)`, as many as the header says. */
  readonly bytes: Buffer;
  readonly start: number;
  readonly refuse: Refuse;
}

/** The first half of `decodeBatch`: for who makes no objects of the records. */
export function openStoredBatch(batch: Buffer, range?: OffsetSpan): OpenedBatch {
  const refuse: Refuse = (reason, options = {}) => undecodable(range ?? statedRange(batch), reason, options);
  const header = parseBatchHeader(batch, 0, refuse);
  checkShape(batch, header, refuse);
  const { compression, recordCount } = header;
  const isPlain = compression === "none" || (recordCount === 0 && batch.length === batchHeaderBytes);
  const bytes = isPlain ? batch : inflate(compression, batch.subarray(batchHeaderBytes), batchInflatedMaxBytes, refuse);
  const start = isPlain ? batchHeaderBytes : 0;
  if (recordCount > (bytes.length - start) / recordMinBytes) {
    throw refuse(`recordCount is ${recordCount}, and ${bytes.length - start} bytes can't hold so many`);
  }
  return { header, bytes, start, refuse };
}

function checkShape(batch: Buffer, header: BatchHeader, refuse: Refuse): void {
  const { byteLength, baseOffset, lastOffsetDelta, recordCount } = header;
  if (byteLength !== batch.length)
    throw refuse(`batchLength asks for ${byteLength} bytes in all, and ${batch.length} are there`);
  checkAttributes(header.attributes, refuse);
  if (baseOffset < 0 || lastOffsetDelta < 0 || !Number.isSafeInteger(baseOffset + lastOffsetDelta + 1)) {
    throw refuse(`baseOffset is ${baseOffset} and lastOffsetDelta ${lastOffsetDelta}, which is no range of offsets`);
  }
  if (recordCount < 0) throw refuse(`recordCount is ${recordCount}`);
  if (recordCount > batchMaxRecords) throw refuse(`recordCount is ${recordCount}, and ${batchMaxRecords} are allowed`);
}

function decodeRecords({ header, bytes, start, refuse }: OpenedBatch): StoredRecord[] {
  const { recordCount, baseOffset, lastOffsetDelta, baseTimestamp, maxTimestamp } = header;
  const reader = new RecordReader(bytes, start, bytes.length, refuse);
  const isCreateTime = header.timestampType === "create";
  const records: StoredRecord[] = [];
  let previousDelta = -1;
  for (let number = 0; number < recordCount; number += 1) {
    reader.readRecord();
    const offsetDelta = reader.offsetDelta;
    if (offsetDelta <= previousDelta || offsetDelta > lastOffsetDelta) {
      throw refuse(
        `record ${number}: offsetDelta is ${offsetDelta}, behind ${previousDelta} and with ${lastOffsetDelta} as the last`,
      );
    }
    previousDelta = offsetDelta;
    const timestamp = isCreateTime ? baseTimestamp + reader.timestampDelta : maxTimestamp;
    if (!Number.isSafeInteger(timestamp)) throw refuse(`record ${number}: the timestamp is beyond 2^53-1`);
    records.push({
      offset: baseOffset + offsetDelta,
      timestamp,
      key: view(bytes, reader.keyStart, reader.keyBytes),
      value: view(bytes, reader.valueStart, reader.valueBytes),
      headers: reader.headerCount === 0 ? noHeaders : decodeHeaders(bytes, reader),
    });
    reader.endRecord();
  }
  reader.endRecords(refuse);
  return records;
}

/** One for all records that have none. */
const noHeaders: readonly StoredHeader[] = Object.freeze([]);

function decodeHeaders(bytes: Buffer, reader: RecordReader): StoredHeader[] {
  const headers: StoredHeader[] = [];
  for (let count = reader.headerCount; count > 0; count -= 1) {
    reader.readHeader();
    headers.push({
      key: bytes.toString("utf8", reader.headerKeyStart, reader.headerKeyStart + reader.headerKeyBytes),
      value: view(bytes, reader.headerValueStart, reader.headerValueBytes),
    });
  }
  return headers;
}

function view(bytes: Buffer, start: number, length: number): Buffer | null {
  return length < 0 ? null : bytes.subarray(start, start + length);
}

/** The offsets `[baseOffset, nextOffset)` that a batch takes. */
export interface OffsetSpan {
  readonly baseOffset: number;
  readonly nextOffset: number;
}

function undecodable(
  { baseOffset, nextOffset }: StatedRange,
  reason: string,
  { hint, details, cause }: RefusalOptions,
): ProglogError {
  const what = baseOffset === null || nextOffset === null ? "the batch" : describeBatch(baseOffset, nextOffset - 1);
  const skip = nextOffset === null ? "skip the batch" : `go on reading at offset ${nextOffset}`;
  return new ProglogError("UNDECODABLE_BATCH", `Cannot decode ${what}: ${reason}`, {
    hint: hint === undefined ? `${skip.charAt(0).toUpperCase()}${skip.slice(1)}.` : `${hint}; or ${skip}.`,
    details: { ...details, baseOffset, nextOffset },
    cause,
  });
}

function describeBatch(first: number, last: number): string {
  return first === last ? `the batch of offset ${first}` : `the batch of offsets ${first} to ${last}`;
}

interface StatedRange {
  readonly baseOffset: number | null;
  readonly nextOffset: number | null;
}

/** Which offsets a batch says it holds, as far as that can be read and makes sense. */
function statedRange(batch: Buffer): StatedRange {
  const none = { baseOffset: null, nextOffset: null };
  if (batch.length < baseOffsetAt + 8) return none;
  const baseOffset = readInt64BE(batch, baseOffsetAt);
  if (!Number.isSafeInteger(baseOffset) || baseOffset < 0) return none;
  if (batch.length < lastOffsetDeltaAt + 4) return { baseOffset, nextOffset: null };
  const nextOffset = baseOffset + batch.readInt32BE(lastOffsetDeltaAt) + 1;
  return { baseOffset, nextOffset: nextOffset > baseOffset && Number.isSafeInteger(nextOffset) ? nextOffset : null };
}
