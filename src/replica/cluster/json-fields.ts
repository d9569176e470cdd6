import { ProglogError } from "../../base/error.ts";

/**
 * Reads an object out of JSON, field by field. What isn't as it should be throws `MalformedJson`; and so does, at the `end`, a
 * field that nobody asked for: whoever wrote it meant something by it, and to go on without it would be to do something else.
 */
export class JsonFields {
  readonly #what: string;
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #seen = new Set<string>();

  constructor(value: unknown, what: string) {
    if (!isJsonObject(value)) throw new MalformedJson(`${what} is no object`);
    this.#what = what;
    this.#object = value;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  text(name: string, { pattern = /^/, maxChars = Number.POSITIVE_INFINITY }: TextRule = {}): string {
    const value = this.value(name);
    if (typeof value === "string" && value.length <= maxChars && pattern.test(value)) return value;
    throw this.#wrong(name, "isn't the text that stands there");
  }

  integer(name: string, min = 0): number {
    const value = this.value(name);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= min) return value;
    throw this.#wrong(name, `isn't a whole number from ${min} on`);
  }

  flag(name: string): boolean {
    const value = this.value(name);
    if (typeof value === "boolean") return value;
    throw this.#wrong(name, "is neither true nor false");
  }

  object(name: string): Readonly<Record<string, unknown>> {
    const value = this.value(name);
    if (isJsonObject(value)) return value;
    throw this.#wrong(name, "is no object");
  }

  list<Item>(name: string, read: (value: unknown, position: number) => Item): readonly Item[] {
    const value = this.value(name);
    if (!Array.isArray(value)) throw this.#wrong(name, "is no list");
    return value.map((item: unknown, position) => read(item, position));
  }

  value(name: string): unknown {
    this.#seen.add(name);
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  end(): void {
    const unknown = Object.keys(this.#object).find((name) => !this.#seen.has(name));
    if (unknown !== undefined) throw new MalformedJson(`${this.#what} has an unknown field ${shown(unknown)}`);
  }

  #wrong(name: string, reason: string): MalformedJson {
    const reasonShown = this.has(name) ? reason : "is missing";
    return new MalformedJson(`${shown(name)} of ${this.#what} ${reasonShown}`);
  }
}

export interface TextRule {
  readonly pattern?: RegExp;
  readonly maxChars?: number;
}

/** The message says what is the case, as the second half of an error's sentence. */
export class MalformedJson extends Error {
  override readonly name = "MalformedJson";
}

export function isJsonObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Parses UTF-8 strictly. Throws `MalformedJson`. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (error) {
    throw new MalformedJson(error instanceof Error ? error.message : String(error));
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function shown(name: string): string {
  return JSON.stringify(name.slice(0, 64));
}

/** What another node says, as one JSON object with no field too many. Throws INVALID_ARGUMENT; `what` names it: "a group". */
export function decodeFields<Value>(body: Buffer, what: string, read: (fields: JsonFields) => Value): Value {
  try {
    const fields = new JsonFields(parseJson(body), "it");
    const value = read(fields);
    fields.end();
    return value;
  } catch (error) {
    if (!(error instanceof MalformedJson)) throw error;
    throw new ProglogError("INVALID_ARGUMENT", `Cannot read what is said of ${what}: ${error.message}`, { cause: error });
  }
}
