import { isUtf8 } from "node:buffer";
import { isProglogError, ProglogError } from "../base/error.ts";
import { checkRecord, type RecordHeader, type RecordInput, type StoredRecord } from "../batch/record.ts";
import { decodeBase64 } from "./base64.ts";

/**
 * A record in JSON. Bytes are a string where they are UTF-8, and otherwise stand in the field of the same name with `Base64` behind
 * it, so that nothing is lost and the common case stays readable. `key: null` is no key; `value: null` is a tombstone.
 */
export interface JsonRecord {
  readonly offset: number;
  /** Milliseconds since 1970; -1 where a foreign producer gave none. */
  readonly timestamp: number;
  readonly key?: string | null;
  readonly keyBase64?: string;
  readonly value?: string | null;
  readonly valueBase64?: string;
  /** A list and no object: a key may stand there twice, and their order is the producer's. */
  readonly headers: readonly JsonHeader[];
}

export interface JsonHeader {
  readonly key: string;
  readonly value?: string | null;
  readonly valueBase64?: string;
}

export function formatJsonRecord(record: StoredRecord): JsonRecord {
  return {
    offset: record.offset,
    timestamp: record.timestamp,
    ...(isText(record.key) ? { key: textOf(record.key) } : { keyBase64: base64Of(record.key) }),
    ...formatValue(record.value),
    headers: record.headers.map(({ key, value }) => ({ key, ...formatValue(value) })),
  };
}

/**
 * The record that a client's JSON stands for. `place` names it in errors ("record 3"). An unknown field is refused: it is a
 * misspelt one, and what it held would be lost in silence. Throws INVALID_RECORD and RECORD_TOO_LARGE.
 */
export function parseJsonRecord(json: unknown, place: string): RecordInput {
  const refuse: Refuse = (reason) => new ProglogError("INVALID_RECORD", `Cannot accept ${place}: ${reason}`);
  if (!isObject(json)) throw refuse("it isn't a JSON object");
  checkFields(json, recordFields, refuse);
  const value = parseBytes(json, "value", refuse);
  if (value === undefined) throw refuse("it has neither value nor valueBase64; a tombstone is value: null");
  const record: RecordInput = {
    key: parseBytes(json, "key", refuse) ?? null,
    value,
    headers: parseHeaders(json["headers"], refuse),
    timestamp: parseTimestamp(json["timestamp"], refuse),
  };
  checkSize(record, place);
  return record;
}

type Refuse = (reason: string) => ProglogError;

const recordFields = ["key", "keyBase64", "value", "valueBase64", "headers", "timestamp"];
const headerFields = ["key", "value", "valueBase64"];

/** A list of `{ key, value }`, or for short an object of strings. */
function parseHeaders(headers: unknown, refuse: Refuse): readonly RecordHeader[] {
  if (headers === undefined) return [];
  if (Array.isArray(headers)) return headers.map((header) => parseHeader(header, refuse));
  if (!isObject(headers)) throw refuse("its headers are neither a list nor an object");
  return Object.entries(headers).map(([key, value]) => {
    if (typeof value !== "string" && value !== null) throw refuse(`its header ${quote(key)} isn't a string or null`);
    return { key, value };
  });
}

function parseHeader(header: unknown, refuse: Refuse): RecordHeader {
  if (!isObject(header)) throw refuse("a header isn't a JSON object");
  checkFields(header, headerFields, (reason) => refuse(`a header is wrong: ${reason}`));
  const { key } = header;
  if (typeof key !== "string") throw refuse("a header has no key, or one that isn't a string");
  const value = parseBytes(header, "value", refuse);
  if (value === undefined) throw refuse(`its header ${quote(key)} has neither value nor valueBase64`);
  return { key, value };
}

/** `json[name]` or `json[name + "Base64"]`; undefined when neither is there. */
function parseBytes(json: JsonObject, name: "key" | "value", refuse: Refuse): string | Buffer | null | undefined {
  const text = json[name];
  const base64 = json[`${name}Base64`];
  if (base64 === undefined) {
    if (text !== undefined && text !== null && typeof text !== "string") throw refuse(`its ${name} isn't a string or null`);
    return text;
  }
  if (text !== undefined) throw refuse(`it has both ${name} and ${name}Base64`);
  const bytes = typeof base64 === "string" ? decodeBase64(base64) : undefined;
  if (bytes === undefined) throw refuse(`its ${name}Base64 isn't padded Base64`);
  return bytes;
}

function parseTimestamp(timestamp: unknown, refuse: Refuse): number | undefined {
  if (timestamp === undefined || timestamp === null) return undefined;
  if (typeof timestamp === "number" && Number.isSafeInteger(timestamp) && timestamp >= 0) return timestamp;
  throw refuse("its timestamp isn't an integer of milliseconds from 0 to 2^53-1");
}

/** The limits are the log's own, and are met here so that one record too large refuses the whole request. */
function checkSize(record: RecordInput, place: string): void {
  try {
    checkRecord(record);
  } catch (error) {
    if (!isProglogError(error)) throw error;
    throw new ProglogError(error.code, error.message.replace("the record", place), {
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      details: error.details,
      cause: error,
    });
  }
}

function checkFields(json: JsonObject, known: readonly string[], refuse: Refuse): void {
  for (const name of Object.keys(json)) {
    if (!known.includes(name)) throw refuse(`it has an unknown field ${quote(name)}; known are ${known.join(", ")}`);
  }
}

function formatValue(value: Buffer | null): { value: string | null } | { valueBase64: string } {
  return isText(value) ? { value: textOf(value) } : { valueBase64: base64Of(value) };
}

function isText(bytes: Buffer | null): boolean {
  return bytes === null || isUtf8(bytes);
}

function textOf(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString();
}

function base64Of(bytes: Buffer | null): string {
  return bytes === null ? "" : bytes.toString("base64");
}

/** A name from outside, short enough for an error. */
function quote(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(json: unknown): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}
