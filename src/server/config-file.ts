import { type Disk, systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { configFileMaxBytes } from "../base/limits.ts";

/** What a configuration file says: text, or a list of texts, by key as it is written there. What a value is worth is the schema's to say. */
export interface ConfigFile {
  readonly path: string;
  readonly values: Readonly<Record<string, unknown>>;
}

/** Throws INVALID_CONFIG for a file that isn't there, can't be read, or isn't understood. */
export function readConfigFile(disk: Disk, path: string): ConfigFile {
  let bytes: Buffer;
  try {
    const file = disk.open(path, "read");
    try {
      const size = file.size();
      if (size > configFileMaxBytes) throw unreadable(path, `it has ${size} bytes, and at most ${configFileMaxBytes} are read`);
      bytes = Buffer.alloc(size);
      bytes = bytes.subarray(0, file.readSync(bytes, 0));
    } finally {
      file.close();
    }
  } catch (error) {
    if (error instanceof ProglogError) throw error;
    throw unreadable(path, systemErrorCode(error) === "ENOENT" ? "there is no such file" : messageOf(error), error);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw unreadable(path, "it isn't UTF-8", error);
  }
  return { path, values: parseConfigText(text, path) };
}

/**
 * Reads JSON, or the part of YAML that a flat list of keys needs: `key: value` a line, values plain or in quotes, lists in brackets or
 * a line each behind a hyphen, comments. Nothing is guessed: all else of YAML is refused with its line, never read as something else.
 * So what is read here every YAML reader reads alike. `path` is for the errors only.
 */
export function parseConfigText(text: string, path: string): Readonly<Record<string, unknown>> {
  if (text.trimStart().startsWith("{")) return parseJson(text, path);
  const values: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  /** The key whose list the next lines may hold. */
  let openKey: string | undefined;
  let hasBegun = false;
  for (const [position, line] of text.split(/\r?\n/).entries()) {
    const refuse = (reason: string): ProglogError => unreadable(path, `line ${position + 1} ${reason}`);
    if (/^\s*(#.*)?$/.test(line)) continue;
    if (line.includes("\t") && /^\s*\t/.test(line)) throw refuse("is indented by a tab");
    if (/^---\s*(#.*)?$/.test(line) && !hasBegun) continue;
    hasBegun = true;
    const item = /^\s*-(?:\s+(.*))?$/.exec(line);
    if (item !== null) {
      const list = openKey === undefined ? undefined : (values[openKey] ??= []);
      if (!Array.isArray(list)) throw refuse("begins a list that belongs to no key");
      list.push(parseScalar(item[1] ?? "", refuse));
      continue;
    }
    if (openKey !== undefined && values[openKey] === undefined) throw refuse(`should be the value of ${openKey}, and is none`);
    const entry = /^([A-Za-z][\w-]*)\s*:(?:\s+(.*))?$/.exec(line);
    if (entry === null) throw refuse("isn't understood");
    const [, key = "", rest = ""] = entry;
    if (key in values) throw refuse(`has ${key} once more`);
    const isListBelow = /^(#.*)?$/.test(rest);
    openKey = isListBelow ? key : undefined;
    values[key] = isListBelow ? undefined : rest.startsWith("[") ? parseFlowList(rest, refuse) : parseScalar(rest, refuse);
  }
  if (openKey !== undefined && values[openKey] === undefined) throw unreadable(path, `${openKey} has no value`);
  return values;
}

type Refuse = (reason: string) => ProglogError;

function parseJson(text: string, path: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw unreadable(path, `it begins as JSON, and isn't: ${messageOf(error)}`, error);
  }
}

/** `[a, "b, c"]`, on one line. */
function parseFlowList(text: string, refuse: Refuse): readonly string[] {
  const items: string[] = [];
  let rest = text.slice(1).trimStart();
  while (!rest.startsWith("]")) {
    const found = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,[\]{}"'#]+)\s*(,|(?=\]))\s*/.exec(rest);
    if (found === null) throw refuse("has a list that isn't understood");
    items.push(parseScalar((found[1] ?? "").trim(), refuse));
    rest = rest.slice(found[0].length);
  }
  if (!/^\]\s*(#.*)?$/.test(rest)) throw refuse("goes on behind its list");
  return items;
}

/** One value, with a comment behind it or without. */
function parseScalar(text: string, refuse: Refuse): string {
  const quoted = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?:\s#.*)?$/.exec(text)?.[1];
  if (quoted?.startsWith("'") === true) return quoted.slice(1, -1).replaceAll("''", "'");
  if (quoted !== undefined) {
    try {
      return String(JSON.parse(quoted));
    } catch (error) {
      throw refuse(`has a text in quotes that isn't understood: ${messageOf(error)}`);
    }
  }
  const plain = text.replace(/(^|\s)#.*$/, "").trim();
  if (plain === "") throw refuse("has no value");
  // Each of these begins or makes something else in YAML than the text that it looks like.
  if (/^["'&*!|>%@`{}[\],?]/.test(plain) || /:(\s|$)/.test(plain) || /^-\s/.test(plain))
    throw refuse("has a value that needs quotes");
  if (/^(~|null|Null|NULL)$/.test(plain)) throw refuse("has no value");
  return plain;
}

function unreadable(path: string, reason: string, cause?: unknown): ProglogError {
  return new ProglogError("INVALID_CONFIG", `Cannot read the configuration ${path}: ${reason}`, {
    hint: "One `key: value` a line, keys as the flags without their hyphens in front; a list in brackets, or a line each behind a hyphen. Or JSON.",
    details: { source: path },
    cause,
  });
}
