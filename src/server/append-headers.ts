import type { IncomingHttpHeaders } from "node:http";
import { ProglogError } from "../base/error.ts";
import type { AppendOptions } from "../replica/replica.ts";

/**
 * What a request's headers say that its records are appended on: `If-Match`, the log end offset that there must be, and a producer's
 * numbers, by which a retry is known. Undefined when there are none. Throws INVALID_ARGUMENT.
 */
export function parseAppendOptions(headers: IncomingHttpHeaders): AppendOptions | undefined {
  const expectedOffset = parseIfMatch(headers["if-match"]);
  const producer = parseProducer(headers);
  if (expectedOffset === undefined && producer === undefined) return undefined;
  return { ...(expectedOffset === undefined ? {} : { expectedOffset }), ...(producer === undefined ? {} : { producer }) };
}

/** A log end offset as an entity tag. */
export function formatEndOffset(offset: number): string {
  return `"${offset}"`;
}

/** One end offset, quoted as a tag is or bare. `*` would be true of any. */
function parseIfMatch(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, quoted, bare = quoted] = /^(?:"(\d{1,16})"|(\d{1,16}))$/.exec(text.trim()) ?? [];
  if (bare === undefined) {
    const shown = JSON.stringify(text.slice(0, 64));
    throw new ProglogError("INVALID_ARGUMENT", `Cannot use If-Match ${shown}: it isn't one log end offset`, {
      hint: 'Send the ETag of an answer, as in "42".',
    });
  }
  return checkRange("If-Match", Number(bare), Number.MAX_SAFE_INTEGER);
}

function parseProducer(headers: IncomingHttpHeaders): AppendOptions["producer"] {
  const id = parseNumber(headers, "Producer-Id", Number.MAX_SAFE_INTEGER);
  const epoch = parseNumber(headers, "Producer-Epoch", 2 ** 15 - 1);
  const baseSequence = parseNumber(headers, "Producer-Sequence", 2 ** 31 - 1);
  if (id === undefined && epoch === undefined && baseSequence === undefined) return undefined;
  if (id === undefined || baseSequence === undefined) {
    const missing = id === undefined ? "Producer-Id" : "Producer-Sequence";
    throw new ProglogError("INVALID_ARGUMENT", `Cannot know a retry of the request: ${missing} is missing`, {
      hint: "Send Producer-Id and Producer-Sequence, and Producer-Epoch when it isn't 0.",
    });
  }
  return { id, epoch: epoch ?? 0, baseSequence };
}

function parseNumber(headers: IncomingHttpHeaders, name: string, max: number): number | undefined {
  const text = headers[name.toLowerCase()];
  if (text === undefined) return undefined;
  // One that stands there twice comes as one text with a comma.
  if (typeof text !== "string" || !/^\d{1,16}$/.test(text))
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot use ${name} ${JSON.stringify(String(text).slice(0, 64))}: it isn't a whole number`,
    );
  return checkRange(name, Number(text), max);
}

function checkRange(name: string, value: number, max: number): number {
  if (value <= max) return value;
  throw new ProglogError("INVALID_ARGUMENT", `Cannot use ${name} ${value}: the largest is ${max}`);
}
