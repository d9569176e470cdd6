import { isUint8Array } from "node:util/types";
import { type ErrorCode, ProglogError } from "../base/error.ts";
import { recordMaxBytes, recordMaxHeaders } from "../base/limits.ts";

/** What a user appends. Strings stand for their UTF-8 bytes. */
export interface RecordInput {
  /** Decides the partition and what compaction keeps. Default: null, no key. */
  readonly key?: Uint8Array | string | null | undefined;
  /** Null is a tombstone: under compaction it removes the key. */
  readonly value: Uint8Array | string | null;
  /** In order; a key may stand there more than once. Default: none. */
  readonly headers?: readonly RecordHeader[] | undefined;
  /** Milliseconds since 1970. Default: the time at which the record is packed. */
  readonly timestamp?: number | undefined;
}

export interface RecordHeader {
  readonly key: string;
  readonly value: Uint8Array | string | null;
}

/** About what a record's lengths and deltas take in a batch, beside its key, value and headers. */
export const packedRecordOverheadBytes = 16;

/** A record as read back. `key`, `value` and the headers' values are views into the bytes they were read from, not copies. */
export interface StoredRecord {
  readonly offset: number;
  /** Milliseconds since 1970; -1 where a foreign producer gave none. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: readonly StoredHeader[];
}

export interface StoredHeader {
  readonly key: string;
  readonly value: Buffer | null;
}

/**
 * Throws INVALID_RECORD for what can't be packed, and RECORD_TOO_LARGE for a record of more than `maxBytes` or
 * `recordMaxHeaders`. Returns its size: the bytes of key, value and headers together.
 */
export function checkRecord(record: RecordInput, maxBytes: number = recordMaxBytes): number {
  return measureRecord(record, new RecordMeasure(maxBytes));
}

/** How long the parts of a record are, as its encoder needs to know. One is used for many records. */
export class RecordMeasure {
  /** Key, value and headers of one record may take so much. */
  readonly maxBytes: number;

  constructor(maxBytes: number = recordMaxBytes) {
    this.maxBytes = maxBytes;
  }

  /** Bytes; -1 for null. */
  keyBytes = -1;
  /** Bytes; -1 for null. */
  valueBytes = -1;
  headerCount = 0;
  /** Bytes of all the headers' keys and values, without what encodes their lengths. */
  headerBytes = 0;
  /** -1 where the record brings none. */
  timestamp = -1;
}

/** Checks a record and measures it into `measure`. `number` is its place in a batch, for the errors; -1 when it stands alone. */
export function measureRecord(record: RecordInput, measure: RecordMeasure, number = -1): number {
  if (typeof record !== "object" || record === null) throw refuseRecord(number, `it is ${describe(record)}, not an object`);
  const { key, value, headers, timestamp } = record;
  measure.keyBytes = key === undefined ? -1 : fieldBytes(key, "key", number);
  measure.valueBytes = fieldBytes(value, "value", number);
  if (headers === undefined) {
    measure.headerCount = 0;
    measure.headerBytes = 0;
  } else {
    measureHeaders(headers, measure, number);
  }
  if (timestamp === undefined) {
    measure.timestamp = -1;
  } else {
    if (!Number.isSafeInteger(timestamp) || timestamp < 0) {
      throw refuseRecord(number, `its timestamp is ${describe(timestamp)}, not an integer of milliseconds from 0 to 2^53-1`);
    }
    measure.timestamp = timestamp;
  }
  const bytes = Math.max(0, measure.keyBytes) + Math.max(0, measure.valueBytes) + measure.headerBytes;
  if (bytes > measure.maxBytes) {
    const reason = `its key, value and headers take ${bytes} bytes, and ${measure.maxBytes} are allowed`;
    throw refuseRecord(number, reason, "RECORD_TOO_LARGE", "Keep large things in an object store, and append where they are.");
  }
  return bytes;
}

/** Bytes of a key or a value once encoded; -1 for null. */
export function fieldBytes(field: Uint8Array | string | null, name: string, number = -1): number {
  if (field === null) return -1;
  // Not `instanceof`: a test runner's sandbox has a Uint8Array of its own, and its buffers are none of ours.
  if (isUint8Array(field)) return field.length;
  if (typeof field !== "string") throw refuseRecord(number, `its ${name} is ${describe(field)}, not bytes, a string or null`);
  const bytes = Buffer.byteLength(field);
  // Only beyond ASCII can half a surrogate pair stand; it would come back as another character.
  if (bytes !== field.length && !field.isWellFormed()) {
    throw refuseRecord(number, `its ${name} is a string with half a surrogate pair, which UTF-8 can't hold`);
  }
  return bytes;
}

function measureHeaders(headers: readonly RecordHeader[], measure: RecordMeasure, number: number): void {
  // A name of its own type: `isArray` as a condition would make `any` of the elements.
  const isArray: boolean = Array.isArray(headers);
  if (!isArray) throw refuseRecord(number, `its headers are ${describe(headers)}, not an array`);
  if (headers.length > recordMaxHeaders) {
    throw refuseRecord(number, `it has ${headers.length} headers, and ${recordMaxHeaders} are allowed`, "RECORD_TOO_LARGE");
  }
  let bytes = 0;
  for (const header of headers) {
    if (typeof header !== "object" || header === null) {
      throw refuseRecord(number, `a header is ${describe(header)}, not an object`);
    }
    if (typeof header.key !== "string") throw refuseRecord(number, `a header's key is ${describe(header.key)}, not a string`);
    bytes += fieldBytes(header.key, "header's key", number) + Math.max(0, fieldBytes(header.value, "header's value", number));
  }
  measure.headerCount = headers.length;
  measure.headerBytes = bytes;
}

function refuseRecord(number: number, reason: string, code: ErrorCode = "INVALID_RECORD", hint?: string): ProglogError {
  const attempt = number < 0 ? "Cannot accept the record" : `Cannot pack record ${number} of the batch`;
  return new ProglogError(code, `${attempt}: ${reason}`, hint === undefined ? {} : { hint });
}

/** INVALID_RECORD for a log that is compacted by key. */
export function keyMissingError(attempt: string): ProglogError {
  return new ProglogError("INVALID_RECORD", `${attempt}: it has no key, and the log is compacted by key`, {
    hint: "Give each record a key, or change the log's cleanup to delete.",
  });
}

/** What was given instead, without repeating what may be long or secret. */
function describe(value: unknown): string {
  if (value === null || value === undefined || typeof value === "number" || typeof value === "boolean") return String(value);
  return Array.isArray(value) ? "an array" : `of type ${typeof value}`;
}
