import { isProglogError, ProglogError } from "../base/error.ts";
import { defaultTopicName } from "../replica/topic-name.ts";
import { decodeBase64 } from "../wire/base64.ts";
import { parseFirstJsonValue } from "../wire/first-json-value.ts";
import type { Caller } from "./access/caller.ts";
import { goneSignal, type HttpApp, sendJson, sendText } from "./http-app.ts";
import type { RouteServices } from "./route-services.ts";

/**
 * The two routes of the book's first chapter, on the topic `default`: the same shapes, status codes and plain-text errors, so that a
 * client written for it works as it is. Its GET carries its offset in a body, which many clients can't send; `?offset=` says the same.
 */
export function addBookRoutes(app: HttpApp, { produce, consume, bodies }: RouteServices): void {
  app.fastify.post("/", { onRequest: forgetContentType }, async (request, reply) => {
    const body = parseBody(await bodies.read(request.raw, reply.raw));
    const value = parseValue(findField(findField(body, "record"), "value"));
    const place = { topic: defaultTopicName, partition: 0, caller: request.caller };
    const [range] = await produce.produce({ ...place, records: [{ value }], packing: "one" });
    return sendJson(reply, { offset: range?.baseOffset });
  });

  app.fastify.get<{ Querystring: { offset?: unknown } }>("/", async (request, reply) => {
    const text = request.query.offset;
    const offset =
      text === undefined
        ? parseOffset(findField(parseBody(await bodies.read(request.raw, reply.raw)), "offset") ?? 0)
        : parseOffset(typeof text === "string" && /^\d+$/.test(text) ? Number(text) : text);
    const record = await findRecord(offset, goneSignal(reply), request.caller).catch((error: unknown) => {
      if (isProglogError(error, "OFFSET_OUT_OF_RANGE") || isProglogError(error, "TOPIC_NOT_FOUND")) return undefined;
      throw error;
    });
    if (record === undefined) return sendText(reply, 404, "offset not found\n");
    return sendJson(reply, { record: { value: record.value?.toString("base64") ?? null, offset: record.offset } });
  });

  /** Undefined for an offset whose record compaction or repair took away. */
  const findRecord = async (offset: number, signal: AbortSignal, caller: Caller) => {
    const bounds = { limit: 1, maxBytes: 1, waitMs: 0, signal };
    const { records } = await consume.consume({ topic: defaultTopicName, partition: 0, from: offset, caller, ...bounds });
    return records.find((record) => record.offset === offset);
  };
}

/** The book's server never looks at it; Fastify refuses one that is malformed. */
async function forgetContentType(request: { readonly raw: { readonly headers: NodeJS.Dict<unknown> } }): Promise<void> {
  if (request.raw.headers["content-type"] !== undefined) request.raw.headers["content-type"] = "application/octet-stream";
}

/** The first JSON value of the body, an object. As Go's decoder has it: nothing at all is `EOF`, and null leaves everything at zero. */
function parseBody(body: Buffer): JsonObject {
  let json: unknown;
  try {
    json = parseFirstJsonValue(body.toString());
  } catch (error) {
    throw new ProglogError("INVALID_ARGUMENT", error instanceof Error ? error.message : "invalid JSON", { cause: error });
  }
  if (json === undefined) throw new ProglogError("INVALID_ARGUMENT", "EOF");
  return checkObject(json ?? {}, "the body");
}

/** A field by name, whatever its case, the last of several: as Go's decoder has it. A client that relied on it would lose its value. */
function findField(json: unknown, name: string): unknown {
  if (json === undefined || json === null) return undefined;
  const fields = Object.entries(checkObject(json, "record"));
  return fields.findLast(([key]) => key.toLowerCase() === name)?.[1];
}

function parseValue(value: unknown): Buffer | null {
  if (value === undefined || value === null) return null;
  const bytes = typeof value === "string" ? decodeBase64(value) : undefined;
  if (bytes === undefined) throw new ProglogError("INVALID_RECORD", "illegal base64 data in value");
  return bytes;
}

function parseOffset(offset: unknown): number {
  if (typeof offset === "number" && Number.isSafeInteger(offset) && offset >= 0) return offset;
  throw new ProglogError("INVALID_ARGUMENT", "offset is no integer from 0 to 2^53-1");
}

type JsonObject = Readonly<Record<string, unknown>>;

function checkObject(json: unknown, what: string): JsonObject {
  if (typeof json === "object" && json !== null && !Array.isArray(json)) return json as JsonObject;
  throw new ProglogError("INVALID_ARGUMENT", `${what} is no JSON object`);
}
