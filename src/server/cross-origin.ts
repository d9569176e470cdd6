import type { FastifyReply, FastifyRequest } from "fastify";

/**
 * What a browser wants to hear before it lets a page of another site use this node (CORS). Only sites that the operator has named
 * get that far: the browser guard refuses all others.
 */
export function nameOrigin(
  { headers: { origin } }: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[] = [],
): void {
  if (allowed.length > 0) reply.header("vary", "origin");
  if (origin === undefined || !allowed.includes(origin)) return;
  reply.header("access-control-allow-origin", origin).header("access-control-expose-headers", exposedHeaders);
}

/** Answers the question that a browser sends ahead of a request that no form could send. False when this is no such question. */
export function answerPreflight(request: FastifyRequest, reply: FastifyReply, allowed: readonly string[] = []): boolean {
  const { origin, "access-control-request-method": method } = request.headers;
  if (request.method !== "OPTIONS" || method === undefined || origin === undefined || !allowed.includes(origin)) return false;
  void reply
    .code(204)
    .header("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE")
    .header("access-control-allow-headers", requestHeaders)
    .header("access-control-max-age", preflightMaxAgeS)
    .send();
  return true;
}

/** Headers of ours that a request may have. */
const requestHeaders = [
  "authorization",
  "content-type",
  "if-match",
  "last-event-id",
  "producer-epoch",
  "producer-id",
  "producer-sequence",
  "proglog-key",
  "proglog-key-base64",
].join(", ");

/** Headers of ours that a page may read. */
const exposedHeaders = [
  "etag",
  "location",
  "proglog-high-watermark",
  "proglog-log-start-offset",
  "proglog-next-offset",
  "retry-after",
].join(", ");

/** As long as Chromium keeps it. */
const preflightMaxAgeS = 7_200;
