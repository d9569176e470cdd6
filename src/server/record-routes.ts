import { setImmediate } from "node:timers/promises";
import type { FastifyReply } from "fastify";
import { ProglogError } from "../base/error.ts";
import {
  consumeBytesDefault,
  consumeMaxBytes,
  consumeRecordsDefault,
  consumeRecordsMaxCount,
  consumeWaitMaxMs,
} from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import type { ReplicaRead } from "../replica/replica.ts";
import { formatJsonRecord } from "../wire/json-record.ts";
import { parseJsonBody, parseLinesBody } from "../wire/record-body.ts";
import { parseStartingPoint } from "../wire/starting-point.ts";
import { type HttpApp, sendJson } from "./http-app.ts";
import type { ProducedRange } from "./produce-service.ts";
import { integerParameter, querySchema, querySchemas } from "./query.ts";
import type { RouteServices } from "./route-services.ts";

/** Producing to and consuming from a partition (docs/http.md). */
export function addRecordRoutes(app: HttpApp, { produce, consume, bodies, answers }: RouteServices): void {
  app.fastify.post<{ Params: TopicParams; Querystring: ProduceQuery }>(
    recordsPath,
    { schema: produceSchema },
    async (request, reply) => {
      const isLines = parseContentType(request.headers["content-type"]) === "lines";
      const partition = integerParameter(request.query.partition, "partition", undefined);
      const body = await bodies.read(request.raw, reply.raw);
      const records = isLines ? await readLines(body) : parseJsonBody(body);
      const { topic } = request.params;
      const ranges = await produce.produce({ topic, partition, records, packing: isLines ? "many" : "one" });
      return sendJson(reply, formatRanges(ranges));
    },
  );

  app.fastify.get<{ Params: TopicParams; Querystring: ConsumeQuery }>(
    recordsPath,
    { schema: consumeSchema },
    async (request, reply) => {
      const { topic } = request.params;
      const { query } = request;
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const read = await consume.consume({
        topic,
        partition: integerParameter(query.partition, "partition", 0),
        from: parseStartingPoint(query.from ?? "start"),
        limit: within(integerParameter(query.limit, "limit", consumeRecordsDefault), 1, consumeRecordsMaxCount),
        maxBytes: within(integerParameter(query.maxBytes, "maxBytes", consumeBytesDefault), 1, consumeMaxBytes),
        waitMs: within(integerParameter(query.waitMs, "waitMs", 0), 0, consumeWaitMaxMs),
        signal: gone.signal,
      });
      const isLines = acceptsLines(request.headers.accept);
      const text = isLines ? formatLines(read) : `${JSON.stringify(formatRead(read))}\n`;
      // A client that doesn't take its answer holds it in memory: so it is counted until it is gone.
      const bytes = Buffer.byteLength(text);
      answers.take(bytes, "answer");
      reply.raw.once("close", () => answers.giveBack(bytes));
      return isLines
        ? sendLines(reply, read, text)
        : reply.header("content-type", "application/json; charset=utf-8").send(text);
    },
  );
}

const recordsPath = "/v1/topics/:topic/records";

interface TopicParams {
  readonly topic: string;
}

interface ProduceQuery {
  readonly partition?: string;
}

interface ConsumeQuery {
  readonly partition?: string;
  readonly from?: string;
  readonly limit?: string;
  readonly maxBytes?: string;
  readonly waitMs?: string;
}

const { integer, startingPoint } = querySchemas;
const produceSchema = { querystring: querySchema({ partition: integer }) };
const consumeSchema = {
  querystring: querySchema({ partition: integer, from: startingPoint, limit: integer, maxBytes: integer, waitMs: integer }),
};

const linesMediaType = "application/x-ndjson";

/** Strict, so that a form or a file sent by mistake isn't taken for records. A request that says nothing means JSON. */
function parseContentType(contentType: string | undefined): "json" | "lines" {
  const mediaType = contentType?.split(";", 1)[0]?.trim().toLowerCase();
  if (mediaType === undefined || mediaType === "application/json") return "json";
  if (mediaType === linesMediaType) return "lines";
  throw new ProglogError("UNSUPPORTED_MEDIA_TYPE", `Cannot read records from ${JSON.stringify(mediaType.slice(0, 64))}`, {
    hint: `Send application/json or ${linesMediaType}, and say so in Content-Type.`,
  });
}

function acceptsLines(accept: string | undefined): boolean {
  return accept?.split(",").some((range) => range.split(";", 1)[0]?.trim().toLowerCase() === linesMediaType) ?? false;
}

/** All lines, with a turn for other requests now and then: a body of short lines takes a second to parse. */
async function readLines(body: Buffer): Promise<RecordInput[]> {
  const records: RecordInput[] = [];
  for (const record of parseLinesBody(body)) {
    records.push(record);
    if (records.length % linesPerTurn === 0) await setImmediate();
  }
  if (records.length === 0) throw new ProglogError("INVALID_ARGUMENT", "Cannot produce: the body holds no record");
  return records;
}

/** Some two milliseconds' worth. */
const linesPerTurn = 1_000;

/** One range in the open; several, where keys led to several partitions, in a list. */
function formatRanges(ranges: readonly ProducedRange[]): object {
  const [range] = ranges;
  if (range !== undefined && ranges.length === 1) return range;
  return { count: ranges.reduce((sum, { count }) => sum + count, 0), partitions: ranges };
}

function formatRead({ records, nextOffset, logStartOffset, highWatermark }: ReplicaRead): object {
  return { records: records.map(formatJsonRecord), nextOffset, logStartOffset, highWatermark };
}

function formatLines({ records }: ReplicaRead): string {
  return records.map((record) => `${JSON.stringify(formatJsonRecord(record))}\n`).join("");
}

/** What a JSON answer has beside its records stands in the head. */
function sendLines(
  reply: FastifyReply,
  { nextOffset, logStartOffset, highWatermark }: ReplicaRead,
  text: string,
): FastifyReply {
  return reply
    .header("content-type", linesMediaType)
    .header("proglog-next-offset", nextOffset)
    .header("proglog-log-start-offset", logStartOffset)
    .header("proglog-high-watermark", highWatermark)
    .send(text);
}

function within(value: number, min: number, max: number): number {
  return Math.min(Math.max(value, min), max);
}
