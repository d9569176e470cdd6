import { messageOf, ProglogError } from "../base/error.ts";
import type { RecordInput } from "../batch/record.ts";
import { parseJsonRecord } from "./json-record.ts";

/**
 * The records of a request's body: one JSON record, or an array of them. Throws INVALID_ARGUMENT for what is no JSON or holds no
 * record, and what `parseJsonRecord` throws.
 */
export function parseJsonBody(body: Buffer): RecordInput[] {
  const json = parseJson(body, "the body");
  const records = Array.isArray(json)
    ? json.map((record, number) => parseJsonRecord(record, `record ${number}`))
    : [parseJsonRecord(json, "the record")];
  if (records.length === 0) throw new ProglogError("INVALID_ARGUMENT", "Cannot produce: the body holds no record");
  return records;
}

/** The record of line `number` of an NDJSON body, undefined for a blank one. Throws as `parseJsonBody`, naming the line. */
export function parseLine(line: Buffer, number: number): RecordInput | undefined {
  if (isBlank(line)) return undefined;
  return parseJsonRecord(parseJson(line, `line ${number}`), `line ${number}`);
}

function isBlank(line: Buffer): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

/** JSON in UTF-8. Wrong bytes are refused: replaced ones would be stored in the place of what was sent. */
export function parseJson(bytes: Buffer, place: string): unknown {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (error) {
    throw refuse(place, bytes.length === 0 ? "it is empty" : messageOf(error), error);
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true });

function refuse(place: string, reason: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot read ${place} as JSON: ${reason}`, { cause });
}
