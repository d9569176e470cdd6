import { Readable } from "node:stream";
import type { FastifyReply, FastifyRequest } from "fastify";
import { assert } from "../base/assert.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
import { uploadAnswerMaxBytes, uploadRestMaxMs } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import type { Problem } from "../wire/problem.ts";
import { parseJsonBody } from "../wire/record-body.ts";
import { formatEndOffset, parseAppendOptions } from "./append-headers.ts";
import { goneSignal, type HttpApp, sendJson } from "./http-app.ts";
import { type RefusedLines, type UploadAnswer, uploadLines } from "./line-upload.ts";
import { bytesMediaType, jsonMediaType, linesMediaType, parseMediaType } from "./media-type.ts";
import type { ProducedRange, ProduceTarget } from "./produce-service.ts";
import { integerParameter } from "./query.ts";
import { type KeyQuery, parseRecordKey, refuseRecordKey } from "./record-key.ts";
import { produceSchema, recordsPath, type TopicParams } from "./record-schemas.ts";
import type { RouteServices } from "./route-services.ts";

/** Producing (docs/http.md). */
export function addProduceRoutes(app: HttpApp, { produce, bodies }: RouteServices): void {
  app.fastify.post<{ Params: TopicParams; Querystring: ProduceQuery }>(
    recordsPath,
    { schema: produceSchema },
    async (request, reply) => {
      const { query, headers } = request;
      const mediaType = checkMediaType(headers["content-type"]);
      const partition = integerParameter(query.partition, "partition", undefined);
      if (mediaType !== bytesMediaType) refuseRecordKey(query, headers);
      const key = mediaType === bytesMediaType ? parseRecordKey(query, headers) : null;
      const options = parseAppendOptions(headers);
      if (mediaType === linesMediaType && options !== undefined) throw linesWithOptions();
      const target = produce.findTarget({ topic: request.params.topic, partition, caller: request.caller });
      const { acks } = query;
      if (mediaType === linesMediaType) return upload(request, reply, { target, acks });
      const body = await bodies.read(request.raw, reply.raw);
      const records: readonly RecordInput[] = mediaType === bytesMediaType ? [{ key, value: body }] : parseJsonBody(body);
      const ranges = await target.append({ records, packing: "one", options, acks }).catch((error: unknown) => {
        const { logEndOffset } = isProglogError(error, "CONDITION_FAILED") ? error.details : {};
        if (typeof logEndOffset === "number") reply.header("etag", formatEndOffset(logEndOffset));
        throw error;
      });
      const [range] = ranges;
      if (range !== undefined && ranges.length === 1) reply.header("etag", formatEndOffset(range.baseOffset + range.count));
      return sendJson(reply, formatRanges(ranges));
    },
  );

  async function upload(
    request: FastifyRequest<{ Params: TopicParams }>,
    reply: FastifyReply,
    { target, acks }: { readonly target: ProduceTarget; readonly acks: ProduceQuery["acks"] },
  ): Promise<FastifyReply> {
    const body = bodies.open(request.raw);
    app.letLast(request, reply);
    const release = produce.hold(
      request.caller,
      () => [request.params.topic],
      (error) => body.stop(error),
    );
    reply.raw.once("close", release);
    const gone = goneSignal(reply);
    const append = async (records: readonly RecordInput[]) => {
      await produce.quota.whenAllowed(request.caller, gone);
      return target.append({ records, packing: "one", acks });
    };
    const answers = uploadLines({ body, append, held: bodies.held });
    const first = await answers.next();
    // As long as nothing is appended, the answer may have a status of its own.
    assert(first.done !== true, "an upload has an answer");
    if (first.value.kind === "refused") {
      await answers.return();
      await dropRest();
      throw namingLine(first.value);
    }
    const text = Readable.from(formatAnswers(first.value), { objectMode: false, highWaterMark: uploadAnswerMaxBytes });
    return reply.header("content-type", linesMediaType).send(text);

    async function* formatAnswers(firstAnswer: UploadAnswer): AsyncGenerator<string, void, undefined> {
      try {
        yield formatAnswer(firstAnswer, explain);
        for await (const answer of answers) yield formatAnswer(answer, explain);
        await dropRest();
      } finally {
        // Also when nobody asked for more than the first.
        await answers.return();
      }
    }

    function explain(error: unknown): Problem {
      return app.explain(error, request);
    }

    async function dropRest(): Promise<void> {
      if (!reply.raw.shouldKeepAlive) await body.dropRest(uploadRestMaxMs);
    }
  }
}

interface ProduceQuery extends KeyQuery {
  readonly partition?: string;
  /** There is no "none": a request has an answer, which nobody needs to read. */
  readonly acks?: "quorum" | "leader";
}

/** Strict, so that a form or a file sent by mistake isn't taken for records. A request that says nothing means JSON. */
function checkMediaType(contentType: string | undefined): RecordsMediaType {
  const mediaType = parseMediaType(contentType) ?? jsonMediaType;
  const known = recordsMediaTypes.find((one) => one === mediaType);
  if (known !== undefined) return known;
  throw new ProglogError("UNSUPPORTED_MEDIA_TYPE", `Cannot read records from ${JSON.stringify(mediaType.slice(0, 64))}`, {
    hint: `Send ${recordsMediaTypes.join(" or ")}, and say so in Content-Type.`,
  });
}

const recordsMediaTypes = [jsonMediaType, linesMediaType, bytesMediaType] as const;

type RecordsMediaType = (typeof recordsMediaTypes)[number];

/** One range in the open; several, where keys led to several partitions, in a list. */
function formatRanges(ranges: readonly ProducedRange[]): object {
  const [range] = ranges;
  if (range !== undefined && ranges.length === 1) return formatRange(range);
  return { count: ranges.reduce((sum, { count }) => sum + count, 0), partitions: ranges.map(formatRange) };
}

function formatRange({ partition, baseOffset, count, isDurable, isDuplicate }: ProducedRange): object {
  return { partition, baseOffset, count, isDurable, ...(isDuplicate ? { duplicate: true } : {}) };
}

/** A retry must be cut into the batches of the first try, and where lines are cut depends on when they come. */
function linesWithOptions(): ProglogError {
  return new ProglogError(
    "INVALID_ARGUMENT",
    "Cannot append lines on a condition or with a sequence: they go off in batches as they come",
    { hint: "Send an array, which is one batch." },
  );
}

function formatAnswer(answer: UploadAnswer, explain: (error: unknown) => Problem): string {
  if (answer.kind === "appended") {
    const { ranges, firstLine, lastLine } = answer;
    return `${JSON.stringify({ ...formatRanges(ranges), firstLine, lastLine })}\n`;
  }
  const problem = explain(answer.error);
  const lastLine = problem.outcome === "unknown" ? answer.lastLine : undefined;
  return `${JSON.stringify({ error: problem, line: answer.line, ...(lastLine === undefined ? {} : { lastLine }) })}\n`;
}

/** The error with its line among its details, as there is no line of an answer for it to stand in. */
function namingLine({ error, line, lastLine }: RefusedLines): unknown {
  if (!isProglogError(error)) return error;
  return new ProglogError(error.code, error.message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: { ...error.details, line, ...(lastLine === undefined ? {} : { lastLine }) },
    cause: error,
  });
}
