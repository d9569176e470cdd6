import { type Agent, type IncomingMessage, request } from "node:http";
import { messageOf, ProglogError } from "../base/error.ts";

export interface HttpQuestion {
  readonly method?: "GET" | "PUT";
  /** Goes as JSON. */
  readonly body?: object;
  /** For errors: "read from". */
  readonly attempt: string;
  /** Of the answer. */
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** Default: a connection of its own. */
  readonly agent?: Agent;
  readonly signal?: AbortSignal;
  /** Says who asks. */
  readonly token?: string | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: Buffer;
}

/** Asks a server over HTTP. Throws UNAVAILABLE where it isn't reached, is silent, or answers with more than it may; any status is an answer. */
export function askHttp(url: URL, question: HttpQuestion): Promise<HttpAnswer> {
  const { method = "GET", body, attempt, maxBytes, timeoutMs, agent, signal, token } = question;
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const fail = (reason: string, cause?: unknown): void =>
    reject(
      new ProglogError("UNAVAILABLE", `Cannot ${attempt} ${url.host}: ${reason}`, {
        ...{ hint: "Is proglog serve running there? Name it with --server.", details: { outcome: "not-appended" }, cause },
      }),
    );
  const sent = request(url, {
    ...{ method, agent: agent ?? false, timeout: timeoutMs },
    ...(signal === undefined ? {} : { signal }),
    headers: {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
  });
  sent.once("timeout", () => sent.destroy(new Error(`no answer for ${timeoutMs / 1000} s`)));
  sent.once("error", (error) => fail(messageOf(error), error));
  sent.once("response", (response) => {
    readAll(response, maxBytes).then(
      (bytes) => resolve({ status: response.statusCode ?? 0, location: response.headers.location, body: bytes }),
      (error: unknown) => {
        sent.destroy();
        fail(messageOf(error), error);
      },
    );
  });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

/** The value that an answer's body holds; undefined for what is no JSON. */
export function parseAnswer({ body }: HttpAnswer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    // What isn't JSON is no answer of ours, and is told of by its status.
    return undefined;
  }
}

async function readAll(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw new Error(`its answer has more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  if (!response.complete) throw new Error("the connection was lost amid its answer");
  return Buffer.concat(chunks);
}
