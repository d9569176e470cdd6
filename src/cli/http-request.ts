import { type Agent, type IncomingMessage, request } from "node:http";
import { request as requestByTls, type RequestOptions } from "node:https";
import { messageOf, ProglogError } from "../base/error.ts";
import type { ClientTls } from "../client/index.ts";

export interface HttpQuestion {
  readonly method?: "GET" | "PUT";
  /** Goes as JSON. */
  readonly body?: object;
  /** For errors: "read from". */
  readonly attempt: string;
  /** Of the answer. */
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** Default: a connection of its own. It has to be one for https where the URL says so. */
  readonly agent?: Agent;
  /** What is trusted and shown where the URL says https. Default: what the system trusts, and nothing. */
  readonly tls?: (() => ClientTls) | undefined;
  readonly signal?: AbortSignal;
  /** Says who asks. */
  readonly token?: string | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: Buffer;
}

/**
 * Asks a server over HTTP. Throws UNAVAILABLE where it isn't reached, is silent, or answers with more than it may, and UNAUTHENTICATED where
 * its listener refuses this client; any other status is an answer.
 */
export function askHttp(url: URL, question: HttpQuestion): Promise<HttpAnswer> {
  const { method = "GET", body, attempt, maxBytes, timeoutMs, agent, signal, token, tls } = question;
  const isEncrypted = url.protocol === "https:";
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  const fail = (reason: string, cause?: unknown): void =>
    reject(
      new ProglogError("UNAVAILABLE", `Cannot ${attempt} ${url.host}: ${reason}`, {
        hint: `Is proglog serve running there? Name it with --server${isEncrypted ? ", and its authority with --tls-ca-file" : ""}.`,
        ...{ details: { outcome: "not-appended" }, cause },
      }),
    );
  const send = isEncrypted ? requestByTls : request;
  const sent = send(url, {
    ...(isEncrypted && tls !== undefined ? tlsOptionsOf(tls()) : {}),
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
      (bytes) => {
        const refusal = findRefusal(response, bytes);
        if (refusal !== undefined) return reject(refusedError(`Cannot ${attempt} ${url.host}`, refusal));
        resolve({ status: response.statusCode ?? 0, location: response.headers.location, body: bytes });
      },
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

/** What a listener says to whom it doesn't take, in plain text and before it reads anything; undefined for all else. */
function findRefusal({ statusCode, headers }: IncomingMessage, body: Buffer): string | undefined {
  const isRefusal = (statusCode === 400 || statusCode === 403) && headers["content-type"]?.startsWith("text/plain") === true;
  return isRefusal ? body.toString().split("\n", 1)[0]?.slice(0, refusalMaxChars) : undefined;
}

const refusalMaxChars = 200;

function refusedError(attempt: string, refusal: string): ProglogError {
  return new ProglogError("UNAUTHENTICATED", `${attempt}: it refuses this client: ${refusal}`, {
    hint: "Name it by https://, and show a certificate that it takes by --tls-cert-file and its companions.",
    details: { outcome: "not-appended" },
  });
}

function tlsOptionsOf({ ca, cert, key, serverName }: ClientTls): RequestOptions {
  return {
    ...(ca === undefined ? {} : { ca: Buffer.from(ca) }),
    ...(cert === undefined ? {} : { cert: Buffer.from(cert) }),
    ...(key === undefined ? {} : { key: Buffer.from(key) }),
    ...(serverName === undefined ? {} : { servername: serverName }),
  };
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
