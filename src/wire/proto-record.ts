import { ProglogError } from "../base/error.ts";
import { recordMaxHeaders } from "../base/limits.ts";
import type { RecordHeader, RecordInput, StoredHeader, StoredRecord } from "../batch/record.ts";
import type { ProtoReader } from "./proto-reader.ts";
import { fieldSpanBytes, intBytes, type ProtoWriter, spanBytes, uintBytes } from "./proto-writer.ts";

/**
 * `log.v1.Record`, both ways. A record without a value says `is_null`, since the book's clients leave out an empty value and
 * mean an empty one. What they may send in `offset`, `term` and `type` is ignored.
 */
export interface ProtoRecord extends RecordInput {
  /** Where it lies; 0 in a request. */
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly StoredHeader[];
}

const fields = { value: 1, offset: 2, key: 5, headers: 6, timestamp: 7, isNull: 8 } as const;
const headerFields = { key: 1, value: 2 } as const;
const empty = Buffer.alloc(0);
const noHeaders: readonly StoredHeader[] = [];
/** What a stored record has where its producer gave none. */
const noTimestamp = -1;

/** Key, value and headers are views into the message. */
export function readProtoRecord(reader: ProtoReader): ProtoRecord {
  let value: Buffer = empty;
  let offset = 0;
  let key: Buffer | null = null;
  let headers: StoredHeader[] | undefined;
  let timestamp: number | undefined;
  let isNull = false;
  while (reader.next()) {
    switch (reader.field) {
      case fields.value:
        value = reader.bytes();
        break;
      case fields.offset:
        offset = reader.uint64();
        break;
      case fields.key:
        key = reader.bytes();
        break;
      case fields.headers:
        headers ??= [];
        if (headers.length >= recordMaxHeaders) {
          throw new ProglogError("RECORD_TOO_LARGE", `Cannot accept the record: it has more than ${recordMaxHeaders} headers`);
        }
        headers.push(readHeader(reader.message("Header")));
        break;
      case fields.timestamp:
        timestamp = reader.int64();
        break;
      case fields.isNull:
        isNull = reader.bool();
        break;
      default:
        reader.skip();
    }
  }
  if (isNull && value.length > 0) {
    throw new ProglogError("INVALID_RECORD", "Cannot accept the record: it says that it is null, and has a value", {
      hint: "Leave out the value, or is_null.",
    });
  }
  return { key, value: isNull ? null : value, headers: headers ?? noHeaders, timestamp, offset };
}

function readHeader(reader: ProtoReader): StoredHeader {
  let key = "";
  let value: Buffer | null = null;
  while (reader.next()) {
    if (reader.field === headerFields.key) key = reader.string();
    else if (reader.field === headerFields.value) value = reader.bytes();
    else reader.skip();
  }
  return { key, value };
}

/** Bytes of the message, without what stands before it in another. */
export function protoRecordBytes(record: RecordInput | StoredRecord, offset: number): number {
  const { key, value, headers, timestamp } = record;
  let bytes = value === null ? 2 : value.length === 0 ? 0 : fieldSpanBytes(value);
  if (offset !== 0) bytes += uintBytes(offset);
  if (key !== null && key !== undefined) bytes += fieldSpanBytes(key);
  if (headers !== undefined) for (const header of headers) bytes += spanBytes(headerBytes(header));
  if (timestamp !== undefined && timestamp !== noTimestamp) bytes += intBytes(timestamp);
  return bytes;
}

export function writeProtoRecord(writer: ProtoWriter, record: RecordInput | StoredRecord, offset: number): void {
  const { key, value, headers, timestamp } = record;
  if (value !== null && value.length > 0) writer.field(fields.value, value);
  if (offset !== 0) writer.uint(fields.offset, offset);
  if (key !== null && key !== undefined) writer.field(fields.key, key);
  if (headers !== undefined) {
    for (const header of headers) {
      writer.message(fields.headers, headerBytes(header));
      if (header.key.length > 0) writer.field(headerFields.key, header.key);
      if (header.value !== null) writer.field(headerFields.value, header.value);
    }
  }
  if (timestamp !== undefined && timestamp !== noTimestamp) writer.int(fields.timestamp, timestamp);
  if (value === null) writer.bool(fields.isNull);
}

function headerBytes({ key, value }: RecordHeader): number {
  return (key.length === 0 ? 0 : fieldSpanBytes(key)) + (value === null ? 0 : fieldSpanBytes(value));
}
