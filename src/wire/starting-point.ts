import { ProglogError } from "../base/error.ts";

/** Where to begin to read: the same words in the library, over HTTP and on the command line. */
export type StartingPoint = "start" | "end" | number | { readonly timestamp: number };

/**
 * Reads `start`, `end`, an offset (`42`), `@` and milliseconds since 1970 (`@1760000000000`), or a time in ISO 8601 with its zone
 * (`2026-01-31T08:00Z`; a date alone is its midnight in UTC). Throws INVALID_ARGUMENT.
 */
export function parseStartingPoint(text: string): StartingPoint {
  if (text === "start" || text === "end") return text;
  if (/^\d+$/.test(text)) return checkInteger(text, Number(text));
  if (/^@\d+$/.test(text)) return { timestamp: checkInteger(text, Number(text.slice(1))) };
  if (!isoPattern.test(text)) throw refuse(text, "it is no starting point");
  const timestamp = Date.parse(text);
  // Date.parse lets February have 31 days, and moves the time into March.
  const isReal = !Number.isNaN(timestamp) && isDayOfMonth(text);
  if (!isReal) throw refuse(text, "there is no such time");
  if (timestamp < 0) throw refuse(text, "it lies before 1970");
  return { timestamp };
}

/** The text that `parseStartingPoint` reads as the same. */
export function formatStartingPoint(from: StartingPoint): string {
  if (typeof from === "object") return `@${from.timestamp}`;
  return String(from);
}

/** With its zone: a time without one would mean another moment on the server than on the reader's machine. */
const isoPattern = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/;

function isDayOfMonth(text: string): boolean {
  const [year, month, day] = text.slice(0, 10).split("-").map(Number) as [number, number, number];
  return day <= new Date(Date.UTC(year, month, 0)).getUTCDate();
}

function checkInteger(text: string, value: number): number {
  if (!Number.isSafeInteger(value)) throw refuse(text, "it is larger than 2^53-1");
  return value;
}

function refuse(text: string, reason: string): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot begin at ${JSON.stringify(text.slice(0, 64))}: ${reason}`, {
    hint: "Say start, end, an offset (42), milliseconds (@1760000000000) or a time with its zone (2026-01-31T08:00Z).",
  });
}
