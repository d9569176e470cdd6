import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { Clock } from "../base/clock.ts";
import { type ErrorDetails, isProglogError, messageOf, ProglogError } from "../base/error.ts";
import {
  headersMaxBytes,
  headersMaxMs,
  keepAliveMaxMs,
  pipelinedRequestsMaxCount,
  requestMaxMs,
  uploadRestMaxMs,
} from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import type { HttpAccess } from "./access/http-access.ts";
import { type Problem, problemMediaType, toProblem } from "../wire/problem.ts";
import { naming } from "../replica/group/group-errors.ts";
import type { NodeStorage } from "../replica/node-storage.ts";
import { defaultTopicName } from "../replica/topic-name.ts";
import { checkBrowser } from "./browser-guard.ts";
import { answerPreflight, nameOrigin } from "./cross-origin.ts";
import type { Metrics } from "./metrics.ts";
import { queryError } from "./query.ts";
import { recordsPath } from "./record-schemas.ts";
import { RequestDeadlines } from "./request-deadlines.ts";

/**
 * The HTTP/1.1 side: what holds for every route. A request is admitted or refused here, its errors become problems (or the book's
 * plain text), and it is counted. It doesn't listen: the listener hands it connections.
 */
export class HttpApp {
  readonly fastify: FastifyInstance;
  readonly #options: HttpAppOptions;
  readonly #server: Server;
  readonly #deadlines: RequestDeadlines;
  /** Answers that a connection has open. */
  readonly #answers = new WeakMap<Socket, Set<ServerResponse>>();
  /** Requests that last as long as their clients like. */
  readonly #lasting = new WeakSet<IncomingMessage>();
  readonly #idle = Promise.withResolvers<void>();
  #requestCount = 0;
  #phase: "starting" | "serving" | "stopping" = "starting";

  constructor(options: HttpAppOptions) {
    this.#options = options;
    const { headersMs, requestMs, keepAliveMs, checkMs } = options.timeouts ?? defaultTimeouts;
    this.#server = createServer({
      maxHeaderSize: headersMaxBytes,
      headersTimeout: headersMs,
      // Kept by our own: it would cut off an upload that is alive.
      requestTimeout: 0,
      keepAliveTimeout: keepAliveMs,
      connectionsCheckingInterval: checkMs,
    });
    this.#server.on("clientError", (error, socket) => this.#refuseUnreadable(error, socket as Socket));
    const { clock } = options;
    this.#deadlines = new RequestDeadlines({ clock, requestMs, checkMs, onDue: (request) => this.#cutOff(request) });
    this.fastify = fastify({
      serverFactory: (handler) => this.#server.on("request", handler),
      exposeHeadRoutes: false,
      routerOptions: { maxParamLength: 1_024 },
      ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
      frameworkErrors: (error, request, reply) => {
        this.#sendError(error, request, reply);
      },
      schemaErrorFormatter: (errors, place) => queryError(errors[0], place),
    });
    this.#addHooks();
    this.#refuseUnknown();
  }

  get phase(): "starting" | "serving" | "stopping" {
    return this.#phase;
  }

  /** To be called when all routes are there, before the first connection. */
  async ready(): Promise<void> {
    await this.fastify.ready();
    // node:http looks after its timeouts and idle connections from this event on; it never comes, as this server doesn't listen itself.
    this.#server.emit("listening");
  }

  serve(): void {
    this.#phase = "serving";
  }

  /**
   * The request lasts as long as its client likes: its body may take any time to arrive, and its duration says nothing. When it is
   * answered, what is left of its body has little time: it is read only so that the client gets to see the answer.
   */
  letLast(request: FastifyRequest, reply: FastifyReply): void {
    this.#lasting.add(request.raw);
    this.#deadlines.lift(request.raw);
    reply.raw.once("close", () => this.#deadlines.start(request.raw, uploadRestMaxMs));
  }

  takeConnection(socket: Socket): void {
    this.#server.emit("connection", socket);
  }

  /**
   * Refuses further requests, closes idle connections, and resolves when the requests under way are answered. What is left is for
   * the caller to cut off.
   */
  async drain(): Promise<void> {
    this.#phase = "stopping";
    this.#server.closeIdleConnections();
    if (this.#requestCount > 0) await this.#idle.promise;
    this.#server.closeIdleConnections();
  }

  async close(): Promise<void> {
    await this.fastify.close();
    this.#deadlines.stop();
    // Ends its timer; that it wasn't listening is no news.
    this.#server.close(() => {});
  }

  #addHooks(): void {
    const app = this.fastify;
    // Routes read their bodies themselves, bounded by what all requests hold together.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    app.addHook("onRequest", async (request, reply) => {
      this.#requestCount += 1;
      this.#addAnswer(request.raw.socket, reply.raw);
      this.#deadlines.start(request.raw);
      const startMs = this.#options.clock.monotonic();
      reply.raw.once("close", () => this.#requestEnded(request, reply, startMs));
      reply.header("cache-control", "no-store");
      checkBrowser(request.headers, this.#options);
      nameOrigin(request, reply, this.#options.allowedOrigins);
      if (answerPreflight(request, reply, this.#options.allowedOrigins)) return reply;
      const isAlwaysServed = request.routeOptions.config.isAlwaysServed === true;
      if (!isAlwaysServed) this.#checkStarted();
      await this.#options.access.admit(request);
      // Behind it: where to go instead is for those alone who may ask.
      if (!isAlwaysServed) this.#checkGoingOn(request);
      return undefined;
    });
    app.addHook("preHandler", async (request) => this.#options.access.admitBody(request));
    app.addHook("onRoute", ({ method, url }) => {
      for (const name of [method].flat()) this.#options.access.checkRoute(name, url);
    });
    app.addHook("onSend", async (_request, reply, payload) => {
      if (this.#phase === "stopping") reply.header("connection", "close");
      return payload;
    });
    app.setErrorHandler((error, request, reply) => this.#sendError(error, request, reply));
  }

  #checkStarted(): void {
    if (this.#phase !== "starting") return;
    throw new ProglogError("UNAVAILABLE", "Cannot serve yet: the node is opening its logs", {
      hint: "Try again.",
      details: { outcome: "not-appended" },
    });
  }

  #checkGoingOn(request: FastifyRequest): void {
    if (this.#phase !== "stopping") return;
    throw naming(
      new ProglogError("SHUTTING_DOWN", "Cannot serve any more: the node is stopping", { hint: "Try another node, or again." }),
      this.#successorFor(request),
    );
  }

  /** Who answers in this node's place what is asked of a partition's records. */
  #successorFor({ params, query, routeOptions }: FastifyRequest): ErrorDetails {
    const { topic = defaultTopicName } = params as { readonly topic?: string };
    const { partition } = query as { readonly partition?: string };
    const isOfRecords = routeOptions.url === recordsPath || routeOptions.url === "/";
    if (!isOfRecords || !/^\d*$/.test(partition ?? "")) return {};
    return this.#options.findSuccessor?.(topic, partition === undefined ? undefined : Number(partition)) ?? {};
  }

  #addAnswer(socket: Socket, answer: ServerResponse): void {
    const answers = this.#answers.get(socket) ?? new Set();
    this.#answers.set(socket, answers.add(answer));
    // node:http takes up any number of requests of a connection at once, and holds back only the answers.
    if (answers.size > pipelinedRequestsMaxCount) socket.destroy();
  }

  /** A request that is no HTTP, too long in the head, or too slow. Amid an answer there is no place for another. */
  #refuseUnreadable(error: Error, socket: Socket): void {
    const answers = this.#answers.get(socket) ?? new Set();
    const isAnswering = [...answers].some(({ headersSent }) => headersSent);
    if (isAnswering || !socket.writable) socket.destroy();
    else socket.end(`HTTP/1.1 ${unreadableStatus(error)}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }

  /** The request took too long to arrive. */
  #cutOff(request: IncomingMessage): void {
    const { socket } = request;
    const isAnswered = this.#answers.get(socket)?.size === 0;
    if (isAnswered) socket.destroy();
    else this.#refuseUnreadable(new RequestTimeout(), socket);
  }

  #requestEnded(request: FastifyRequest, reply: FastifyReply, startMs: number): void {
    const { metrics, clock, logger } = this.#options;
    const isLasting = this.#lasting.has(request.raw) && reply.raw.headersSent;
    // What lasts until the client has enough was answered.
    const status = reply.raw.writableFinished || isLasting ? reply.raw.statusCode : clientClosedStatus;
    const durationMs = clock.monotonic() - startMs;
    metrics.requestAnswered({ route: request.routeOptions.url ?? "none", status, ...(isLasting ? {} : { durationMs }) });
    logger.debug({ method: request.method, path: pathOf(request), status, durationMs }, "request");
    this.#answers.get(request.raw.socket)?.delete(reply.raw);
    this.#requestCount -= 1;
    if (this.#phase === "stopping" && this.#requestCount === 0) this.#idle.resolve();
  }

  #sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const problem = this.explain(thrown, request);
    const leader = leaderAddressOf(problem);
    if (leader !== undefined)
      return redirect(reply, { problem, url: `${this.#options.scheme ?? "http"}://${leader}${request.url}` });
    if (problem.status === 401) reply.header("www-authenticate", "Bearer");
    if (problem.status === 429) reply.header("retry-after", String(secondsOf(problem)));
    if (problem.status === 503) reply.header("retry-after", "1");
    return isV1(request) ? sendProblem(reply, problem) : sendPlainError(reply, problem);
  }

  /** What a client is told of an error. One that is our fault is logged with what it isn't told. */
  explain(thrown: unknown, request: FastifyRequest): Problem {
    const problem = toProblem(toProglogError(thrown));
    this.#options.metrics.errorAnswered(problem.code);
    if (problem.status === 500) {
      const cause = thrown instanceof Error ? thrown.stack : messageOf(thrown);
      this.#options.logger.error(
        { method: request.method, path: pathOf(request), code: problem.code, cause },
        "a request failed",
      );
    }
    return problem;
  }

  /** Paths that aren't there, and methods that aren't on a path that is. */
  #refuseUnknown(): void {
    const routes: { readonly pattern: RegExp; readonly method: string }[] = [];
    this.fastify.addHook("onRoute", ({ url, method }) => {
      const pattern = new RegExp(`^${url.replaceAll(/:[a-zA-Z]+/g, "[^/]+")}$`);
      for (const name of [method].flat()) routes.push({ pattern, method: name });
    });
    this.fastify.setNotFoundHandler((request, reply) => {
      const path = pathOf(request);
      const methods = routes.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
      if (methods.length > 0) {
        reply.header("allow", methods.join(", "));
        if (!isV1(request)) return reply.code(405).send();
        throw new ProglogError("METHOD_NOT_ALLOWED", `Cannot ${request.method} ${path}: it takes ${methods.join(" and ")}`);
      }
      if (!isV1(request)) return sendText(reply, 404, "404 page not found\n");
      throw new ProglogError("ROUTE_NOT_FOUND", `Cannot ${request.method} ${path.slice(0, 128)}: there is no such route`);
    });
  }
}

export interface HttpAppOptions {
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly access: HttpAccess;
  /** The node can be reached from this machine only. */
  readonly isLoopbackOnly: boolean;
  /** Sites whose pages may use the node, beside its own. Default: none. */
  readonly allowedOrigins?: readonly string[];
  readonly timeouts?: HttpTimeouts;
  /** Of this node, and so of the others of its cluster, where it sends clients to them. Default "http". */
  readonly scheme?: "http" | "https";
  /** See `NodeStorage.findSuccessor`: a request that comes while the node stops is sent there. Default: nobody is known. */
  readonly findSuccessor?: NodeStorage["findSuccessor"];
}

/** But for `requestMs`, node:http keeps them by timers of its own, not by our clock. */
export interface HttpTimeouts {
  /** Until a request's head is complete. */
  readonly headersMs: number;
  /** Until a request is complete. */
  readonly requestMs: number;
  /** Between requests. */
  readonly keepAliveMs: number;
  /** How often the first two are looked after. */
  readonly checkMs: number;
}

const defaultTimeouts: HttpTimeouts = {
  headersMs: headersMaxMs,
  requestMs: requestMaxMs,
  keepAliveMs: keepAliveMaxMs,
  checkMs: 1_000,
};

declare module "fastify" {
  interface FastifyContextConfig {
    /** Served while the node starts and stops. */
    readonly isAlwaysServed?: boolean;
  }
}

/** As others count a client that went away before it was answered. */
const clientClosedStatus = 499;

/** JSON with a line end, for those who read it in a terminal. */
export function sendJson(reply: FastifyReply, json: object): FastifyReply {
  return reply.header("content-type", "application/json; charset=utf-8").send(`${JSON.stringify(json)}\n`);
}

/** Aborted once the client is gone, or has its answer. */
export function goneSignal(reply: FastifyReply): AbortSignal {
  const gone = new AbortController();
  if (reply.raw.closed) gone.abort();
  else reply.raw.once("close", () => gone.abort());
  return gone.signal;
}

/** Text with a line end, of a kind that no browser takes for a page. */
export function sendText(reply: FastifyReply, status: number, text: string): FastifyReply {
  return reply
    .code(status)
    .header("content-type", "text/plain; charset=utf-8")
    .header("x-content-type-options", "nosniff")
    .send(text);
}

/**
 * The book knows 400, 404 and 500. What it had no notion of keeps its own status (too large, overloaded, stopping); every other
 * failure is its 500.
 */
function sendPlainError(reply: FastifyReply, problem: Problem): FastifyReply {
  const status = problem.status < 500 || problem.status === 503 ? problem.status : 500;
  return sendText(reply, status, `${problem.detail}\n`);
}

function sendProblem(reply: FastifyReply, problem: Problem): FastifyReply {
  return reply
    .code(problem.status)
    .header("content-type", problemMediaType)
    .send(`${JSON.stringify(problem)}\n`);
}

/** Where somebody else answers what this node can't. */
function leaderAddressOf({ code, details }: Problem): string | undefined {
  if (code !== "NOT_LEADER" && code !== "NOT_A_REPLICA" && code !== "SHUTTING_DOWN") return undefined;
  const address = details?.["leaderRpcAddr"];
  return typeof address === "string" && address !== "" ? address : undefined;
}

/** Until the caller is below its quota again. */
function secondsOf({ details }: Problem): number {
  const waitMs = details?.["retryAfterMs"];
  return typeof waitMs === "number" ? Math.ceil(waitMs / 1_000) : 1;
}

/** 307 keeps method and body, so that a client that follows redirects needs to know nothing of clusters. */
function redirect(reply: FastifyReply, { problem, url }: { readonly problem: Problem; readonly url: string }): FastifyReply {
  return reply
    .code(307)
    .header("location", url)
    .header("content-type", problemMediaType)
    .send(`${JSON.stringify({ ...problem, status: 307, title: "Temporary Redirect" })}\n`);
}

/** Errors of the other routes are plain text, as the book's are. */
function isV1(request: FastifyRequest): boolean {
  return request.url.startsWith("/v1/");
}

function pathOf(request: FastifyRequest): string {
  return request.url.split("?", 1)[0] ?? "";
}

/** Fastify's own refusals under our codes. Whatever else isn't ours stays what it is, and is answered as INTERNAL. */
function toProglogError(error: unknown): unknown {
  if (isProglogError(error) || !(error instanceof Error) || !("statusCode" in error)) return error;
  switch (error.statusCode) {
    case 400:
    case 414:
      return new ProglogError("INVALID_ARGUMENT", `Cannot read the request: ${error.message.slice(0, 256)}`, { cause: error });
    case 404:
      return new ProglogError("ROUTE_NOT_FOUND", "Cannot serve the request: there is no such route", { cause: error });
    case 413:
      return new ProglogError("REQUEST_TOO_LARGE", "Cannot read the request: it is too large", { cause: error });
    case 415:
      return new ProglogError("UNSUPPORTED_MEDIA_TYPE", "Cannot read the request: its content type is none", { cause: error });
    default:
      return error;
  }
}

class RequestTimeout extends Error {}

function unreadableStatus(error: Error): string {
  const code = "code" in error ? error.code : undefined;
  if (code === "HPE_HEADER_OVERFLOW") return "431 Request Header Fields Too Large";
  return code === "ERR_HTTP_REQUEST_TIMEOUT" || error instanceof RequestTimeout ? "408 Request Timeout" : "400 Bad Request";
}
