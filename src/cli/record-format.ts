import { ProglogError } from "../base/error.ts";
import type { StoredRecord } from "../client/index.ts";
import { formatJsonRecord } from "../wire/json-record.ts";

/** Turns a record into what `consume` prints for it, the newline at its end included. */
export type RecordFormatter = (record: StoredRecord) => Buffer;

/** The value as it is and a newline. A tombstone is an empty line. */
export function formatLine(record: StoredRecord): Buffer {
  return Buffer.concat([record.value ?? nothing, newline]);
}

/** One JSON object in a line. */
export function jsonFormatter(partition: number): RecordFormatter {
  return (record) => Buffer.from(`${JSON.stringify({ partition, ...formatJsonRecord(record) })}\n`);
}

export const formatHelp =
  "%o offset, %t time in ms, %T time in ISO 8601, %k key, %v value, %h headers, %p partition, %% a percent sign; \\t \\n \\\\";

/** Reads a format such as `%o\t%k\t%v`, once. Throws INVALID_ARGUMENT for a letter it doesn't know. */
export function parseFormat(format: string, partition: number): RecordFormatter {
  const parts: RecordFormatter[] = [];
  // Everything is a token, so that nothing is passed over: %x, \x, or a run of plain text.
  for (const [token] of format.matchAll(/%[^]?|\\[^]?|[^%\\]+/gu)) parts.push(parsePart(token, partition));
  return (record) => Buffer.concat([...parts.map((part) => part(record)), newline]);
}

function parsePart(token: string, partition: number): RecordFormatter {
  switch (token) {
    case "%o":
      return (record) => Buffer.from(String(record.offset));
    case "%t":
      return (record) => Buffer.from(String(record.timestamp));
    case "%T":
      return (record) => Buffer.from(isoTime(record.timestamp));
    case "%k":
      return (record) => record.key ?? nothing;
    case "%v":
      return (record) => record.value ?? nothing;
    case "%h":
      return formatHeaders;
    case "%p":
      return constant(String(partition));
    case "%%":
      return constant("%");
    case "\\n":
      return constant("\n");
    case "\\t":
      return constant("\t");
    case "\\\\":
      return constant("\\");
    default:
      if (token.startsWith("%") || token.startsWith("\\")) throw refuse(token);
      return constant(token);
  }
}

function constant(text: string): RecordFormatter {
  const bytes = Buffer.from(text);
  return () => bytes;
}

function formatHeaders(record: StoredRecord): Buffer {
  const pieces: Buffer[] = [];
  for (const { key, value } of record.headers) {
    if (pieces.length > 0) pieces.push(comma);
    pieces.push(Buffer.from(`${key}=`), value ?? nothing);
  }
  return Buffer.concat(pieces);
}

/** "-" for none, and for what no calendar holds. */
function isoTime(timestamp: number): string {
  const time = new Date(timestamp);
  return timestamp < 0 || Number.isNaN(time.getTime()) ? "-" : time.toISOString();
}

const nothing = Buffer.alloc(0);
const newline = Buffer.from("\n");
const comma = Buffer.from(",");

function refuse(token: string): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot use the format: it holds ${token}, which stands for nothing`, {
    hint: formatHelp,
  });
}
