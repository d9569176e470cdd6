import { ProglogError } from "../base/error.ts";
import type { StoredRecord } from "../batch/record.ts";
import { ProtoReader } from "./proto-reader.ts";
import { type ProtoRecord, protoRecordBytes, readProtoRecord, writeProtoRecord } from "./proto-record.ts";
import { fieldSpanBytes, intBytes, ProtoWriter, spanBytes, uintBytes } from "./proto-writer.ts";
import type { StartingPoint } from "./starting-point.ts";

/** `log.v1.ConsumeRequest` and `ConsumeResponse` (proto/log/v1/log.proto), by hand, as the produce messages are. */
export interface ConsumeRequest {
  /** "" for the default one. */
  readonly topic: string;
  readonly partition: number;
  readonly from: StartingPoint;
  /** 0: one record, in `ConsumeResponse.record`. */
  readonly maxRecords: number;
  /** 0: the default. */
  readonly maxBytes: number;
  readonly waitMs: number;
  readonly isPacked: boolean;
  readonly stopsAtEnd: boolean;
  readonly atLeastOffset: number;
  readonly leaderOnly: boolean;
}

const requestFields = {
  offset: 1,
  topic: 2,
  partition: 3,
  from: 4,
  timestamp: 5,
  maxRecords: 6,
  maxBytes: 7,
  waitMs: 8,
  isPacked: 9,
  stopsAtEnd: 10,
  atLeastOffset: 11,
  leaderOnly: 12,
} as const;
const fromWords = { offset: 0, start: 1, end: 2, timestamp: 3 } as const;

/** Throws INVALID_ARGUMENT. */
export function decodeConsumeRequest(bytes: Buffer): ConsumeRequest {
  const reader = new ProtoReader(bytes, "ConsumeRequest");
  let topic = "";
  let [offset, partition, from, timestamp, maxRecords, maxBytes, waitMs, atLeastOffset] = [0, 0, 0, 0, 0, 0, 0, 0];
  let [isPacked, stopsAtEnd, leaderOnly] = [false, false, false];
  while (reader.next()) {
    switch (reader.field) {
      case requestFields.offset:
        offset = reader.uint64();
        break;
      case requestFields.topic:
        topic = reader.string();
        break;
      case requestFields.partition:
        partition = reader.uint32();
        break;
      case requestFields.from:
        from = reader.uint32();
        break;
      case requestFields.timestamp:
        timestamp = reader.int64();
        break;
      case requestFields.maxRecords:
        maxRecords = reader.uint32();
        break;
      case requestFields.maxBytes:
        maxBytes = reader.uint32();
        break;
      case requestFields.waitMs:
        waitMs = reader.uint32();
        break;
      case requestFields.isPacked:
        isPacked = reader.bool();
        break;
      case requestFields.stopsAtEnd:
        stopsAtEnd = reader.bool();
        break;
      case requestFields.atLeastOffset:
        atLeastOffset = reader.uint64();
        break;
      case requestFields.leaderOnly:
        leaderOnly = reader.bool();
        break;
      default:
        reader.skip();
    }
  }
  const point = toStartingPoint(from, { offset, timestamp });
  return { topic, partition, from: point, maxRecords, maxBytes, waitMs, isPacked, stopsAtEnd, atLeastOffset, leaderOnly };
}

function toStartingPoint(
  from: number,
  { offset, timestamp }: { readonly offset: number; readonly timestamp: number },
): StartingPoint {
  switch (from) {
    case fromWords.offset:
      return offset;
    case fromWords.start:
      return "start";
    case fromWords.end:
      return "end";
    case fromWords.timestamp:
      return { timestamp };
    default:
      throw new ProglogError(
        "INVALID_ARGUMENT",
        `Cannot consume from ${from}: there are 0 (offset), 1 (start), 2 (end) and 3 (timestamp)`,
      );
  }
}

export function encodeConsumeRequest(request: ConsumeRequest): Buffer {
  const { topic, partition, from, maxRecords, maxBytes, waitMs, isPacked, stopsAtEnd, atLeastOffset, leaderOnly } = request;
  const offset = typeof from === "number" ? from : 0;
  const timestamp = typeof from === "object" ? from.timestamp : 0;
  const word = typeof from === "number" ? fromWords.offset : typeof from === "object" ? fromWords.timestamp : fromWords[from];
  const numbers: readonly (readonly [field: number, value: number])[] = [
    [requestFields.partition, partition],
    [requestFields.from, word],
    [requestFields.timestamp, timestamp],
    [requestFields.maxRecords, maxRecords],
    [requestFields.maxBytes, maxBytes],
    [requestFields.waitMs, waitMs],
    [requestFields.isPacked, isPacked ? 1 : 0],
    [requestFields.stopsAtEnd, stopsAtEnd ? 1 : 0],
    [requestFields.atLeastOffset, atLeastOffset],
    [requestFields.leaderOnly, leaderOnly ? 1 : 0],
  ];
  let byteLength = offset === 0 ? 0 : uintBytes(offset);
  if (topic !== "") byteLength += fieldSpanBytes(topic);
  for (const [, value] of numbers) if (value !== 0) byteLength += intBytes(value);

  const writer = new ProtoWriter(byteLength);
  if (offset !== 0) writer.uint(requestFields.offset, offset);
  if (topic !== "") writer.field(requestFields.topic, topic);
  for (const [field, value] of numbers) if (value !== 0) writer.int(field, value);
  return writer.finish();
}

export interface ConsumeRange {
  readonly nextOffset: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
}

export interface ConsumeResponse extends ConsumeRange {
  /** What the book's clients know. */
  readonly record?: StoredRecord | undefined;
  readonly records: readonly StoredRecord[];
  /** Record batches v2, one behind the other, in as many buffers as is convenient. */
  readonly batches: readonly Buffer[];
}

const responseFields = { record: 2, records: 3, batches: 4, nextOffset: 5, logStartOffset: 6, highWatermark: 7 } as const;

export function encodeConsumeResponse(response: ConsumeResponse): Buffer {
  const { record, records, batches, nextOffset, logStartOffset, highWatermark } = response;
  const recordSize = record === undefined ? 0 : protoRecordBytes(record, record.offset);
  let byteLength = record === undefined ? 0 : spanBytes(recordSize);
  const sizes = records.map((each) => protoRecordBytes(each, each.offset));
  for (const size of sizes) byteLength += spanBytes(size);
  const batchesSize = batches.reduce((sum, batch) => sum + batch.length, 0);
  if (batchesSize > 0) byteLength += spanBytes(batchesSize);
  for (const offset of [nextOffset, logStartOffset, highWatermark]) if (offset !== 0) byteLength += uintBytes(offset);

  const writer = new ProtoWriter(byteLength);
  if (record !== undefined) {
    writer.message(responseFields.record, recordSize);
    writeProtoRecord(writer, record, record.offset);
  }
  records.forEach((each, i) => {
    writer.message(responseFields.records, sizes[i] ?? 0);
    writeProtoRecord(writer, each, each.offset);
  });
  if (batchesSize > 0) {
    writer.message(responseFields.batches, batchesSize);
    for (const batch of batches) writer.raw(batch);
  }
  if (nextOffset !== 0) writer.uint(responseFields.nextOffset, nextOffset);
  if (logStartOffset !== 0) writer.uint(responseFields.logStartOffset, logStartOffset);
  if (highWatermark !== 0) writer.uint(responseFields.highWatermark, highWatermark);
  return writer.finish();
}

/** What stands in a `ConsumeResponse` before `batchesBytes` bytes of batches, with which it ends. */
export function encodeConsumeResponseHead(
  { nextOffset, logStartOffset, highWatermark }: ConsumeRange,
  batchesBytes: number,
): Buffer {
  const numbers: readonly (readonly [field: number, value: number])[] = [
    [responseFields.nextOffset, nextOffset],
    [responseFields.logStartOffset, logStartOffset],
    [responseFields.highWatermark, highWatermark],
  ];
  let byteLength = spanBytes(batchesBytes) - batchesBytes;
  for (const [, value] of numbers) if (value !== 0) byteLength += uintBytes(value);
  const writer = new ProtoWriter(byteLength);
  for (const [field, value] of numbers) if (value !== 0) writer.uint(field, value);
  writer.message(responseFields.batches, batchesBytes);
  return writer.finish();
}

/** Throws INVALID_ARGUMENT. Records and batches are views into the message; `batches` has one element, or none. */
export function decodeConsumeResponse(bytes: Buffer): ConsumeResponse {
  const reader = new ProtoReader(bytes, "ConsumeResponse");
  let record: StoredRecord | undefined;
  const records: StoredRecord[] = [];
  let batches: readonly Buffer[] = [];
  let [nextOffset, logStartOffset, highWatermark] = [0, 0, 0];
  while (reader.next()) {
    switch (reader.field) {
      case responseFields.record:
        record = toStored(readProtoRecord(reader.message("Record")));
        break;
      case responseFields.records:
        records.push(toStored(readProtoRecord(reader.message("Record"))));
        break;
      case responseFields.batches:
        batches = [reader.bytes()];
        break;
      case responseFields.nextOffset:
        nextOffset = reader.uint64();
        break;
      case responseFields.logStartOffset:
        logStartOffset = reader.uint64();
        break;
      case responseFields.highWatermark:
        highWatermark = reader.uint64();
        break;
      default:
        reader.skip();
    }
  }
  return { record, records, batches, nextOffset, logStartOffset, highWatermark };
}

function toStored({ offset, timestamp, key, value, headers }: ProtoRecord): StoredRecord {
  return { offset, timestamp: timestamp ?? -1, key, value, headers };
}
