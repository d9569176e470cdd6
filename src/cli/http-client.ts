import { type ErrorCode, ProglogError } from "../base/error.ts";
import { cliAnswerMaxMs, consumeRecordsMaxCount } from "../base/limits.ts";
import type { JsonRecord } from "../wire/json-record.ts";
import { fromProblem, problemMediaType } from "../wire/problem.ts";
import { formatStartingPoint } from "../wire/starting-point.ts";
import { type HttpAnswer, HttpExchange, type HttpRequest } from "./http-exchange.ts";
import type {
  ChangeTopicRequest,
  ConsumedRecords,
  ConsumeRequest,
  CreateTopicRequest,
  LogClient,
  RecordUpload,
  TopicDescription,
  UploadRequest,
} from "./log-client.ts";
import { unpackRecord } from "./record-json.ts";
import type { ServerAddress } from "./server-address.ts";

/** The server's HTTP routes under `/v1` as a `LogClient`. */
export class HttpClient implements LogClient {
  readonly #exchange: HttpExchange;

  constructor(server: ServerAddress) {
    this.#exchange = new HttpExchange(server);
  }

  get address(): string {
    return this.#exchange.address;
  }

  openUpload({ topic, partition }: UploadRequest): RecordUpload {
    const asked = {
      attempt: `produce to ${topic}`,
      method: "POST",
      path: recordsPath(topic, { partition }),
    } as const;
    return this.#exchange.upload({
      ...asked,
      mediaType: "application/x-ndjson",
      refusal: (answer) => {
        // A success of another kind isn't ours.
        if (isSuccess(answer)) return this.#strangerError(asked, answer);
        return this.#failureOf(asked, answer);
      },
    });
  }

  async consume({ topic, partition, from, limit, waitMs = 0, signal }: ConsumeRequest): Promise<ConsumedRecords> {
    const askedLimit = Math.min(limit ?? consumeRecordsMaxCount, consumeRecordsMaxCount);
    const answer = await this.#ask<ConsumeAnswer>({
      attempt: `consume ${topic}`,
      method: "GET",
      path: recordsPath(topic, { partition, from: formatStartingPoint(from), limit: askedLimit, waitMs }),
      timeoutMs: cliAnswerMaxMs + waitMs,
      signal,
    });
    return { ...answer, records: answer.records.map(unpackRecord) };
  }

  async listTopics(): Promise<readonly TopicDescription[]> {
    const { topics } = await this.#ask<{ readonly topics: readonly TopicDescription[] }>({
      attempt: "list the topics",
      method: "GET",
      path: "/v1/topics",
    });
    return topics;
  }

  createTopic({ topic, partitions, settings }: CreateTopicRequest): Promise<TopicDescription> {
    return this.#ask({
      attempt: `create the topic ${topic}`,
      method: "POST",
      path: "/v1/topics",
      headers: { "content-type": "application/json" },
      // What is undefined isn't there in JSON.
      body: Buffer.from(JSON.stringify({ name: topic, partitions, settings })),
    });
  }

  changeTopic({ topic, partitions, settings }: ChangeTopicRequest): Promise<TopicDescription> {
    return this.#ask({
      attempt: `change the topic ${topic}`,
      method: "PATCH",
      path: topicPath(topic),
      headers: { "content-type": "application/json" },
      body: Buffer.from(JSON.stringify({ partitions, settings })),
    });
  }

  describeTopic(topic: string): Promise<TopicDescription> {
    return this.#ask({ attempt: `describe the topic ${topic}`, method: "GET", path: topicPath(topic) });
  }

  async deleteTopic(topic: string): Promise<void> {
    await this.#ask({ attempt: `delete the topic ${topic}`, method: "DELETE", path: topicPath(topic) });
  }

  close(): void {
    this.#exchange.close();
  }

  /** The answer's JSON. Throws the server's own error, or says that what answers is no proglog. */
  async #ask<Answer>(request: HttpRequest): Promise<Answer> {
    let answer: HttpAnswer;
    try {
      answer = await this.#exchange.send(request);
    } catch (error) {
      throw request.method === "GET" ? withoutOutcome(error) : error;
    }
    if (isSuccess(answer) && answer.body.length === 0) return undefined as Answer;
    if (isSuccess(answer)) return this.#parse(request, answer) as Answer;
    const error = this.#failureOf(request, answer);
    throw request.method === "GET" ? withoutOutcome(error) : error;
  }

  /** What an answer that is no success says. */
  #failureOf(request: HttpRequest, answer: HttpAnswer): unknown {
    try {
      const json = this.#parse(request, answer);
      return fromProblem(json) ?? unknownProblem(json) ?? this.#strangerError(request, answer);
    } catch (error) {
      return error;
    }
  }

  #parse(request: HttpRequest, answer: HttpAnswer): unknown {
    if (!["application/json", problemMediaType].includes(answer.mediaType)) throw this.#strangerError(request, answer);
    try {
      return JSON.parse(answer.body.toString());
    } catch (error) {
      throw this.#strangerError(request, answer, error);
    }
  }

  #strangerError({ attempt, method }: HttpRequest, { status, mediaType }: HttpAnswer, cause?: unknown): ProglogError {
    const type = mediaType === "" ? "" : ` with ${mediaType}`;
    return new ProglogError(
      "UNAVAILABLE",
      `Cannot ${attempt}: what answers at ${this.address} is no proglog (HTTP ${status}${type})`,
      {
        hint: "Check --server and PROGLOG_SERVER.",
        // A proxy before a proglog may answer so, and then who knows.
        details: method === "GET" ? {} : { outcome: status >= 500 || status < 400 ? "unknown" : "not-appended" },
        cause,
      },
    );
  }
}

function isSuccess({ status }: HttpAnswer): boolean {
  return status >= 200 && status < 300;
}

interface ConsumeAnswer {
  readonly records: readonly JsonRecord[];
  readonly nextOffset: number;
  readonly highWatermark: number;
}

function topicPath(topic: string): string {
  return `/v1/topics/${encodeURIComponent(topic)}`;
}

function recordsPath(topic: string, parameters: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
  return `${topicPath(topic)}/records${query.size === 0 ? "" : `?${query.toString()}`}`;
}

/** What a read meets changes nothing, so there is no outcome to be in doubt of. */
function withoutOutcome(error: unknown): unknown {
  if (!(error instanceof ProglogError) || error.details["outcome"] === undefined) return error;
  const { outcome: _, ...details } = error.details;
  return new ProglogError(error.code, error.message, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details,
    cause: error.cause,
  });
}

/** A later server may know codes that we don't: they are shown as they are. */
function unknownProblem(json: unknown): ProglogError | undefined {
  if (typeof json !== "object" || json === null || !("code" in json) || !("detail" in json)) return undefined;
  const { code, detail } = json;
  if (typeof code !== "string" || !/^[A-Z_]+$/.test(code) || typeof detail !== "string") return undefined;
  const outcome = "outcome" in json && json.outcome === "not-appended" ? "not-appended" : "unknown";
  return new ProglogError(code as ErrorCode, detail, { details: { outcome } });
}
