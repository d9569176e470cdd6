import type { IncomingHttpHeaders } from "node:http";
import { ProglogError } from "../base/error.ts";
import { decodeBase64 } from "../wire/base64.ts";

/**
 * The key of a record whose value is the body: text in the query or, as far as it is ASCII, in a header; any bytes in Base64 in either.
 * Null when there is none. Throws INVALID_ARGUMENT for more than one, and for what isn't what its name says.
 */
export function parseRecordKey(query: KeyQuery, headers: IncomingHttpHeaders): string | Buffer | null {
  const texts = { key: query.key, "Proglog-Key": headerOf(headers, "proglog-key") };
  const base64s = { keyBase64: query.keyBase64, "Proglog-Key-Base64": headerOf(headers, "proglog-key-base64") };
  const given = [...Object.entries(texts), ...Object.entries(base64s)].filter(([, value]) => value !== undefined);
  if (given.length > 1)
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot tell the record's key: it stands in ${given.map(([name]) => name).join(" and in ")}`,
    );
  const [name, value] = given[0] ?? [];
  if (name === undefined || value === undefined) return null;
  if (name in base64s) return parseBase64(value, name);
  // A header's bytes have no agreed meaning beyond ASCII, and what clients send there differs.
  if (name === "Proglog-Key" && !/^[\x20-\x7e]*$/.test(value))
    throw new ProglogError("INVALID_ARGUMENT", "Cannot read Proglog-Key: it isn't ASCII", {
      hint: "Send it in Base64 as Proglog-Key-Base64, or as ?key=.",
    });
  return value;
}

/** Throws INVALID_ARGUMENT when a key is named beside the body, where records have their own. */
export function refuseRecordKey(query: KeyQuery, headers: IncomingHttpHeaders): void {
  if (parseRecordKey(query, headers) === null) return;
  throw new ProglogError("INVALID_ARGUMENT", "Cannot use a key beside the body: its records have keys of their own", {
    hint: "Put it into the record, or send the value as application/octet-stream.",
  });
}

export interface KeyQuery {
  readonly key?: string;
  readonly keyBase64?: string;
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}

function parseBase64(text: string, name: string): Buffer {
  const bytes = decodeBase64(text);
  if (bytes === undefined) throw new ProglogError("INVALID_ARGUMENT", `Cannot read ${name}: it isn't padded Base64`);
  return bytes;
}
