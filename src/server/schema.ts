/** A JSON Schema (2020-12), as plain data. */
export type Schema = Readonly<Record<string, unknown>>;

/** One of the API's named shapes. */
export function ref(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

export function uuid(): Schema {
  return { type: "string", pattern: "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" };
}
