import { batchHeaderBytes, writeFilteredHeader } from "./batch-header.ts";
import { compress } from "./compression.ts";
import { type OpenedBatch, openStoredBatch } from "./decode-batch.ts";
import { encodeEmptyBatch } from "./empty-batch.ts";
import { RecordReader } from "./record-reader.ts";
import { batchMaxBytes } from "../base/limits.ts";

/**
 * Goes through the records of a stored batch, one at each `next`, without making objects of them. It checks all that
 * `decodeBatch` does: what passes can be decoded. Throws UNDECODABLE_BATCH.
 */
export class RecordWalk {
  /** Of the current record. */
  offset = 0;
  timestamp = 0;
  isTombstone = false;
  keyStart = 0;
  /** -1 for null. */
  keyBytes = -1;
  /** Where its bytes lie, its length field included. */
  start = 0;
  end = 0;
  /** What keys and records lie in. */
  readonly bytes: Buffer;
  readonly #opened: OpenedBatch;
  readonly #reader: RecordReader;
  #previousDelta = -1;

  constructor(opened: OpenedBatch) {
    const { bytes, start, refuse } = opened;
    this.bytes = bytes;
    this.#opened = opened;
    this.#reader = new RecordReader(bytes, start, bytes.length, refuse);
  }

  /** False behind the last one. */
  next(): boolean {
    const { header, refuse } = this.#opened;
    const reader = this.#reader;
    const number = reader.number + 1;
    if (number === header.recordCount) {
      reader.endRecords(refuse);
      return false;
    }
    reader.readRecord();
    const { offsetDelta } = reader;
    if (offsetDelta <= this.#previousDelta || offsetDelta > header.lastOffsetDelta) {
      throw refuse(`record ${number}: offsetDelta is ${offsetDelta}, behind ${this.#previousDelta}`);
    }
    this.#previousDelta = offsetDelta;
    this.offset = header.baseOffset + offsetDelta;
    this.timestamp = header.timestampType === "create" ? header.baseTimestamp + reader.timestampDelta : header.maxTimestamp;
    if (!Number.isSafeInteger(this.timestamp)) throw refuse(`record ${number}: the timestamp is beyond 2^53-1`);
    this.isTombstone = reader.valueBytes < 0;
    this.keyStart = reader.keyStart;
    this.keyBytes = reader.keyBytes;
    this.start = reader.recordStart;
    this.end = reader.recordEnd;
    for (let count = reader.headerCount; count > 0; count -= 1) reader.readHeader();
    reader.endRecord();
    return true;
  }
}

/**
 * The batch with those of its records only that `keeps` says; undefined when it keeps all of them. What stays has its bytes as
 * they were: offsets and times are told from the header's, which stay. A batch that loses all is an empty one that spans the
 * same offsets. Its producer fields stay in any case: they tell a retry whatever became of the records.
 *
 * `keeps` is called once for each record, in order. Throws UNDECODABLE_BATCH, UNSUPPORTED_COMPRESSION when the rest can't
 * be packed as it was, and BATCH_TOO_LARGE when it would be larger than the batch was and than batches may be.
 */
export function filterBatch(batch: Buffer, keeps: (record: RecordWalk) => boolean): Buffer | undefined {
  const opened = openStoredBatch(batch);
  const { header } = opened;
  const walk = new RecordWalk(opened);
  /** Ranges of bytes that stay, each a run of records: start, end, start, end … */
  const ranges: number[] = [];
  let keptCount = 0;
  let keptBytes = 0;
  let largestTimestamp = -1;
  while (walk.next()) {
    if (!keeps(walk)) continue;
    const { start, end, timestamp } = walk;
    if (ranges.at(-1) === start) ranges[ranges.length - 1] = end;
    else ranges.push(start, end);
    keptCount += 1;
    keptBytes += end - start;
    if (timestamp > largestTimestamp) largestTimestamp = timestamp;
  }
  if (keptCount === header.recordCount) return undefined;
  if (keptCount === 0) {
    const empty = encodeEmptyBatch(header.lastOffsetDelta + 1, header);
    // Base offset and leader epoch, as they were stamped.
    batch.copy(empty, 0, 0, 8);
    batch.copy(empty, 12, 12, 16);
    return empty;
  }
  const body = Buffer.allocUnsafeSlow(keptBytes);
  let at = 0;
  for (let i = 0; i < ranges.length; i += 2) at += walk.bytes.copy(body, at, ranges[i], ranges[i + 1]);
  // It was packed once by who knew how, and may take more room when it is packed again here, though not more than readers take.
  const packed = compress(header.compression, body, Math.max(batchMaxBytes, batch.length) - batchHeaderBytes);
  const filtered = Buffer.allocUnsafeSlow(batchHeaderBytes + packed.length);
  packed.copy(filtered, batchHeaderBytes);
  writeFilteredHeader(filtered, batch, { recordCount: keptCount, maxTimestamp: largestTimestamp });
  return filtered;
}
