import { ProglogError } from "../base/error.ts";
import { recordMaxBytes } from "../base/limits.ts";

/** A record to produce. */
export interface InputRecord {
  readonly key: Buffer | null;
  readonly value: Buffer;
  readonly bytes: number;
}

/** How a line becomes a record. */
export interface LineShape {
  /** What stands between key and value in a line. Default: the whole line is the value. */
  readonly keySeparator?: string | undefined;
  /** The key of every record. Not together with `keySeparator`. */
  readonly key?: string | undefined;
}

/**
 * Makes the record of line `number`. The key ends at the first separator; a line without one is refused (INVALID_RECORD), since a
 * record that lost its key would go to another partition. Throws RECORD_TOO_LARGE as the server would, naming the line.
 */
export function recordOfLine(line: Buffer, number: number, shape: LineShape): InputRecord {
  const { key, value } = splitLine(line, number, shape);
  const bytes = value.length + (key?.length ?? 0);
  if (bytes > recordMaxBytes) {
    throw new ProglogError(
      "RECORD_TOO_LARGE",
      `Cannot produce line ${number}: it holds ${bytes} bytes, and ${recordMaxBytes} are allowed`,
      {
        hint: "Keep large things in an object store, and append where they are.",
        details: { line: number },
      },
    );
  }
  return { key, value, bytes };
}

function splitLine(line: Buffer, number: number, shape: LineShape): { key: Buffer | null; value: Buffer } {
  const { key, keySeparator } = shape;
  if (keySeparator === undefined) return { key: key === undefined ? null : Buffer.from(key), value: line };
  const at = line.indexOf(keySeparator);
  if (at === -1) {
    throw new ProglogError(
      "INVALID_RECORD",
      `Cannot produce line ${number}: it doesn't hold the key separator ${JSON.stringify(keySeparator)}`,
      {
        details: { line: number },
      },
    );
  }
  return { key: line.subarray(0, at), value: line.subarray(at + Buffer.byteLength(keySeparator)) };
}

/** Reads `--key-separator`: `\t`, `\n`… may be written with a backslash, as shells make them hard to type. */
export function parseKeySeparator(text: string): string {
  const separator = text.replace(/\\([tn0\\])/g, (_, letter: string) => escapes[letter] ?? letter);
  if (separator === "" || separator.includes("\n")) {
    throw new ProglogError(
      "INVALID_ARGUMENT",
      `Cannot use the key separator ${JSON.stringify(text)}: it is empty or holds a line break`,
    );
  }
  return separator;
}

const escapes: Readonly<Record<string, string>> = { t: "\t", n: "\n", "0": "\0", "\\": "\\" };
