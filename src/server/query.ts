import type { FastifySchemaValidationError } from "fastify/types/schema.js";
import { ProglogError } from "../base/error.ts";

/** Schemas of the values that stand in a path or behind its question mark. All are text; what they mean is parsed behind. */
export const querySchemas = {
  integer: { type: "string", pattern: "^[0-9]{1,16}$" },
  startingPoint: { type: "string", minLength: 1, maxLength: 64 },
} as const;

/** A query of these parameters and no others: a misspelt one would be ignored in silence. */
export function querySchema(properties: object): object {
  return { type: "object", additionalProperties: false, properties };
}

/**
 * The number that a parameter matching `querySchemas.integer` stands for; `fallback` when it is absent. Throws INVALID_ARGUMENT beyond
 * 2^53-1, where JSON and JavaScript lose digits.
 */
export function integerParameter<Fallback>(text: string | undefined, name: string, fallback: Fallback): number | Fallback {
  if (text === undefined) return fallback;
  const value = Number(text);
  if (!Number.isSafeInteger(value))
    throw new ProglogError("INVALID_ARGUMENT", `Cannot use ${name}=${text}: it is larger than 2^53-1`);
  return value;
}

/** What a schema found wrong, in our words. */
export function queryError(error: FastifySchemaValidationError | undefined, place: string): ProglogError {
  const name = error?.instancePath.slice(1) ?? "";
  const what = place === "body" ? "the body" : place === "querystring" ? "the query" : "the path";
  if (error?.keyword === "additionalProperties") {
    const unknown = String(error.params["additionalProperty"]).slice(0, 64);
    return new ProglogError("INVALID_ARGUMENT", `Cannot read ${what}: there is no ${JSON.stringify(unknown)} in it`);
  }
  const subject = name === "" ? "it" : name.replaceAll("/", ".");
  const reason = error?.keyword === "pattern" ? "isn't a whole number" : (error?.message ?? "is wrong");
  return new ProglogError("INVALID_ARGUMENT", `Cannot read ${what}: ${subject} ${reason}`);
}
