import type { FastifyReply, FastifyRequest } from "fastify";
import { ProglogError } from "../base/error.ts";
import {
  consumeBytesDefault,
  consumeMaxBytes,
  consumeRecordsDefault,
  consumeRecordsMaxCount,
  consumeWaitMaxMs,
} from "../base/limits.ts";
import type { ReplicaRead } from "../replica/replica.ts";
import { formatJsonRecord } from "../wire/json-record.ts";
import { parseStartingPoint } from "../wire/starting-point.ts";
import { parseTailPosition } from "../wire/tail-position.ts";
import { formatEndOffset } from "./append-headers.ts";
import { HeldShare } from "./held-bytes.ts";
import { goneSignal, type HttpApp } from "./http-app.ts";
import { eventStreamMediaType, findAccepted, jsonMediaType, linesMediaType } from "./media-type.ts";
import { integerParameter } from "./query.ts";
import { consumeSchema, recordsPath, type TopicParams } from "./record-schemas.ts";
import type { RouteServices } from "./route-services.ts";
import { eventStreamFormat, linesFormat, type TailFormat } from "./tail-format.ts";

/** Consuming: an answer that ends, or a live tail (docs/http.md). */
export function addConsumeRoutes(app: HttpApp, { consume, tails, answers }: RouteServices): void {
  app.fastify.get<ConsumeRoute>(recordsPath, { schema: consumeSchema }, async (request, reply) => {
    const mediaType = findAccepted(request.headers.accept, [jsonMediaType, linesMediaType, eventStreamMediaType]);
    const format = chooseTail(mediaType, request.query);
    if (format !== undefined) return tail(request, reply, format);
    // Counted while it is read, before it is text, and until its client has it: one that doesn't take its answer holds it in memory.
    const held = new HeldShare(answers, "answer");
    const gone = goneSignal(reply);
    gone.addEventListener("abort", () => held.end(), { once: true });
    const read = await readOnce(request, gone, held.take);
    // What an append on a condition needs: that nothing came behind what was read here.
    reply.header("etag", formatEndOffset(read.nextOffset));
    const isLines = mediaType === linesMediaType;
    const text = isLines ? formatLines(read) : `${JSON.stringify(formatRead(read))}\n`;
    held.become(Buffer.byteLength(text));
    return isLines ? sendLines(reply, read, text) : reply.header("content-type", "application/json; charset=utf-8").send(text);
  });

  function readOnce(
    { params, query, caller }: FastifyRequest<ConsumeRoute>,
    signal: AbortSignal,
    take: (bytes: number) => void,
  ): Promise<ReplicaRead> {
    return consume.consume({
      topic: params.topic,
      partition: integerParameter(query.partition, "partition", 0),
      from: parseStartingPoint(query.from ?? "start"),
      limit: within(integerParameter(query.limit, "limit", consumeRecordsDefault), 1, consumeRecordsMaxCount),
      maxBytes: within(integerParameter(query.maxBytes, "maxBytes", consumeBytesDefault), 1, consumeMaxBytes),
      waitMs: within(integerParameter(query.waitMs, "waitMs", 0), 0, consumeWaitMaxMs),
      ...readersWish(query),
      signal,
      take,
      caller,
    });
  }

  async function tail(request: FastifyRequest<ConsumeRoute>, reply: FastifyReply, format: TailFormat): Promise<FastifyReply> {
    const { params, query, headers } = request;
    const lastId = headers["last-event-id"];
    app.letLast(request, reply);
    await tails.open({
      caller: request.caller,
      topic: params.topic,
      partition: integerParameter(query.partition, "partition", undefined),
      from: parseStartingPoint(query.from ?? "start"),
      ...readersWish(query),
      // A browser that has seen no id sends none or an empty one.
      behind: lastId === undefined || lastId === "" ? undefined : parseTailPosition(String(lastId)),
      format,
      signal: goneSignal(reply),
      answer: reply.raw,
      takeAnswer: () => {
        reply.hijack();
        for (const [name, value] of Object.entries(reply.getHeaders()))
          if (value !== undefined) reply.raw.setHeader(name, value);
        // Else a proxy would gather what is to be seen at once.
        reply.raw.setHeader("x-accel-buffering", "no");
      },
    });
    return reply;
  }
}

interface ConsumeRoute {
  readonly Params: TopicParams;
  readonly Querystring: ConsumeQuery;
}

interface ConsumeQuery {
  readonly partition?: string;
  readonly from?: string;
  readonly limit?: string;
  readonly maxBytes?: string;
  readonly waitMs?: string;
  readonly follow?: "true" | "false";
  readonly leaderOnly?: "true" | "false";
  readonly atLeastOffset?: string;
}

/** From whom to read in a cluster, and what it must have. */
function readersWish(query: ConsumeQuery): { readonly leaderOnly: boolean; readonly atLeastOffset: number } {
  return {
    leaderOnly: query.leaderOnly === "true",
    atLeastOffset: integerParameter(query.atLeastOffset, "atLeastOffset", 0),
  };
}

/** How a tail is written, when one is asked for. Bounds of an answer that ends are refused on it, as they would be ignored. */
function chooseTail(mediaType: string | undefined, query: ConsumeQuery): TailFormat | undefined {
  const isEventStream = mediaType === eventStreamMediaType;
  if (query.follow === "false" && isEventStream) throw refuse("an event stream always follows");
  if (query.follow !== "true" && !isEventStream) return undefined;
  for (const name of ["limit", "maxBytes", "waitMs"] as const)
    if (query[name] !== undefined) throw refuse(`a live tail has no ${name}`);
  if (isEventStream) return eventStreamFormat;
  if (mediaType === linesMediaType) return linesFormat;
  throw refuse(`follow=true needs Accept: ${linesMediaType} or ${eventStreamMediaType}`);
}

function refuse(reason: string): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot read the query: ${reason}`);
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
