import { isUtf8 } from "node:buffer";
import type { JsonRecord } from "../wire/json-record.ts";
import type { ConsumedRecord, PackedRecord } from "./log-client.ts";

/** The client's end of a record in JSON (`src/wire/json-record.ts` is the server's). Bytes come back as they were, UTF-8 or not. */

/** A record to produce, as one line of NDJSON. */
export function packRecord(record: { readonly key: Buffer | null; readonly value: Buffer }): PackedRecord {
  const key = record.key === null ? "" : `${packField("key", record.key)},`;
  const text = `{${key}${packField("value", record.value)}}\n`;
  return { text, bytes: Buffer.byteLength(text) };
}

/**
 * A string, or Base64 where the bytes are no UTF-8, or where escapes would make the string longer than that: a megabyte of
 * control characters would be six.
 */
function packField(name: string, bytes: Buffer): string {
  if (isUtf8(bytes)) {
    const text = JSON.stringify(bytes.toString());
    if (Buffer.byteLength(text) <= Math.ceil(bytes.length / 3) * 4 + shortEscapesBytes) return `"${name}":${text}`;
  }
  return `"${name}Base64":"${bytes.toString("base64")}"`;
}

/** A short string with an escape or two stays readable. */
const shortEscapesBytes = 16;

export function unpackRecord(json: JsonRecord): ConsumedRecord {
  return {
    offset: json.offset,
    timestamp: json.timestamp,
    key: unpackField(json.key, json.keyBase64),
    value: unpackField(json.value, json.valueBase64),
    headers: json.headers.map((header) => ({ key: header.key, value: unpackField(header.value, header.valueBase64) })),
  };
}

function unpackField(text: string | null | undefined, base64: string | undefined): Buffer | null {
  if (base64 !== undefined) return Buffer.from(base64, "base64");
  return text === undefined || text === null ? null : Buffer.from(text);
}
