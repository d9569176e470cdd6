import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { repository } from "../source-code.ts";

/**
 * Holds what a node answers, and what it takes, to docs/openapi.json. Answers are checked more strictly than the document tells
 * clients to: there a field that it doesn't know is to be passed over, here it is one that it forgot.
 */
export class Conformance {
  readonly #document: ApiDocument;
  readonly #ajv = new Ajv2020({ strict: false });
  readonly #checks = new Map<object, ValidateFunction>();

  constructor(document: ApiDocument) {
    this.#document = document;
  }

  /** What is wrong with an exchange, in a sentence; undefined when nothing is, or when it asks for what the document doesn't have. */
  findFault({ method, path, requestBody, requestType, status, mediaType, body }: Exchange): string | undefined {
    const operation = this.#findOperation(method, path);
    if (operation === undefined) return undefined;
    const response = operation.responses[String(status)];
    if (response === undefined) return `the document has no answer ${status}`;
    // Where any type is taken, the route makes of the body what it likes.
    const taken = operation.requestBody?.content;
    if (status < 300 && requestBody !== undefined && taken !== undefined && !("*/*" in taken)) {
      const schema = taken[requestType ?? "application/json"]?.schema;
      if (schema === undefined) return `the document takes no ${requestType}`;
      const fault = this.#findSchemaFault(schema, requestBody, requestType ?? "application/json", false);
      if (fault !== undefined) return `what was sent and taken isn't as the document has it: ${fault}`;
    }
    if (response.content === undefined) return body === "" ? undefined : "it has a body, and the document none";
    const schema = response.content[mediaType]?.schema;
    if (schema === undefined) return `it is ${mediaType}, and the document has ${Object.keys(response.content).join(", ")}`;
    return this.#findSchemaFault(schema, body, mediaType, true);
  }

  #findOperation(method: string, path: string): Operation | undefined {
    const bare = path.split("?", 1)[0] ?? "";
    const item = Object.entries(this.#document.paths).find(([template]) => {
      return new RegExp(`^${template.replaceAll(/\{[a-zA-Z]+\}/g, "[^/]+")}$`).test(bare);
    });
    return item?.[1][method.toLowerCase()];
  }

  #findSchemaFault(schema: object, text: string, mediaType: string, isStrict: boolean): string | undefined {
    const isJson = /\bjson$/.test(mediaType);
    const value: unknown = isJson ? parse(text) : text;
    if (value === undefined) return `it is no JSON: ${text.slice(0, 300)}`;
    const check = this.#checks.get(schema) ?? this.#compile(schema, isStrict);
    this.#checks.set(schema, check);
    if (check(value)) return undefined;
    return `${this.#ajv.errorsText(check.errors)}: ${text.slice(0, 300)}`;
  }

  #compile(schema: object, isStrict: boolean): ValidateFunction {
    const whole = { ...schema, components: this.#document.components };
    return this.#ajv.compile(isStrict ? (withoutUnknownFields(whole) as object) : whole);
  }
}

/** The document as it is kept in the repository: another test holds it to the one that is served. */
export function keptDocument(): ApiDocument {
  return JSON.parse(readFileSync(join(repository, "docs/openapi.json"), "utf8")) as ApiDocument;
}

export interface Exchange {
  readonly method: string;
  readonly path: string;
  readonly requestBody?: string | undefined;
  readonly requestType?: string | undefined;
  readonly status: number;
  readonly mediaType: string;
  readonly body: string;
}

export interface ApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

export interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly tags: readonly string[];
  readonly parameters?: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
}

type Content = Readonly<Record<string, { readonly schema: object }>>;

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The schema, but objects that list their fields have these and no others. */
function withoutUnknownFields(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutUnknownFields);
  if (typeof schema !== "object" || schema === null) return schema;
  const closed = Object.fromEntries(Object.entries(schema).map(([name, value]) => [name, withoutUnknownFields(value)]));
  const listsFields = "properties" in schema && "type" in schema && !("$ref" in schema);
  return listsFields && !("additionalProperties" in schema) ? { ...closed, additionalProperties: false } : closed;
}
