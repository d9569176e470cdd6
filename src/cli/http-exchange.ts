import { Agent, type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";
import { systemErrorCode } from "../base/disk.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import { cliAnswerMaxBytes, cliAnswerMaxMs, cliConnectMaxMs } from "../base/limits.ts";
import { HttpUpload } from "./http-upload.ts";
import { formatServerAddress, type ServerAddress } from "./server-address.ts";

/** One request and its whole answer, over connections that are kept. What goes wrong on the way is told from what the server says. */
export class HttpExchange {
  readonly address: string;
  readonly #server: ServerAddress;
  // One connection: commands ask one thing at a time.
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(server: ServerAddress) {
    this.#server = server;
    this.address = formatServerAddress(server);
  }

  /**
   * Throws UNAVAILABLE (no connection, or it was lost), TIMEOUT, or CANCELLED. `details.outcome` is "not-appended" when no
   * connection came about, so the server can't have heard of it, and "unknown" when it may have.
   */
  send(exchange: HttpRequest): Promise<HttpAnswer> {
    const { attempt, signal } = exchange;
    return new Promise((resolve, reject) => {
      let isConnected = false;
      let isTimedOut = false;
      const fail = (error: unknown): void => {
        clearTimeout(timer);
        if (signal?.aborted === true) reject(new ProglogError("CANCELLED", `Cannot ${attempt}: it was cancelled`));
        else if (isTimedOut) reject(this.#timeoutError(attempt, isConnected));
        else reject(this.#lostError(attempt, isConnected, error));
      };
      const outgoing = request({
        host: this.#server.host,
        port: this.#server.port,
        agent: this.#agent,
        method: exchange.method,
        path: exchange.path,
        headers: {
          ...exchange.headers,
          ...(exchange.body === undefined ? {} : { "content-length": exchange.body.length }),
        },
        ...(signal === undefined ? {} : { signal }),
      });
      let timer = setTimeout(onTimeout, cliConnectMaxMs);
      function onTimeout(): void {
        isTimedOut = true;
        outgoing.destroy();
      }
      const onConnected = (): void => {
        isConnected = true;
        clearTimeout(timer);
        timer = setTimeout(onTimeout, exchange.timeoutMs ?? cliAnswerMaxMs);
      };
      outgoing.on("socket", (socket) => {
        if (socket.connecting) socket.once("connect", onConnected);
        else onConnected();
      });
      outgoing.on("error", fail);
      outgoing.on("response", (incoming) => {
        readAnswer(incoming, attempt).then((answer) => {
          clearTimeout(timer);
          resolve(answer);
        }, fail);
      });
      outgoing.end(exchange.body);
    });
  }

  /**
   * A request whose body is written while its answer comes, as long as that has this media type and a status of success. Else it fails with what
   * `refusal` makes of the answer, or as `send` does; then nothing was appended when no connection came about.
   */
  upload({ attempt, path, mediaType, refusal }: UploadExchange): HttpUpload {
    let isConnected = false;
    const outgoing = request({
      host: this.#server.host,
      port: this.#server.port,
      agent: this.#agent,
      method: "POST",
      path,
      headers: { "content-type": mediaType },
    });
    const timer = setTimeout(() => outgoing.destroy(this.#timeoutError(attempt, false)), cliConnectMaxMs);
    const onConnected = (): void => {
      isConnected = true;
      clearTimeout(timer);
    };
    outgoing.on("socket", (socket) => {
      if (socket.connecting) socket.once("connect", onConnected);
      else onConnected();
    });
    outgoing.once("close", () => clearTimeout(timer));
    return new HttpUpload(outgoing, {
      timeoutMs: cliAnswerMaxMs,
      isAnswer: ({ statusCode = 0, headers }) => statusCode === 200 && mediaTypeOf(headers) === mediaType,
      refusal: async (incoming) => refusal(await readAnswer(incoming, attempt)),
      lostError: (cause) => this.#lostError(attempt, isConnected, cause),
      timeoutError: () => this.#timeoutError(attempt, isConnected),
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #lostError(attempt: string, isConnected: boolean, cause: unknown): ProglogError {
    if (cause instanceof ProglogError) return cause;
    const code = systemErrorCode(cause) ?? messageOf(cause);
    if (isConnected) {
      return new ProglogError("UNAVAILABLE", `Cannot ${attempt}: the connection to ${this.address} was lost (${code})`, {
        details: { outcome: "unknown" },
        cause,
      });
    }
    return new ProglogError("UNAVAILABLE", `Cannot ${attempt}: no server answers at ${this.address} (${code})`, {
      hint: "Start one with proglog serve, or name it with --server.",
      details: { outcome: "not-appended" },
      cause,
    });
  }

  #timeoutError(attempt: string, isConnected: boolean): ProglogError {
    return new ProglogError(
      "TIMEOUT",
      `Cannot ${attempt}: ${this.address} did not ${isConnected ? "answer" : "take the connection"} in time`,
      {
        details: { outcome: isConnected ? "unknown" : "not-appended" },
      },
    );
  }
}

export interface HttpRequest {
  /** For the errors: "produce to orders". */
  readonly attempt: string;
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: Buffer | undefined;
  /** How long the answer may take. Default: 30 s. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface UploadExchange {
  readonly attempt: string;
  readonly path: string;
  /** Of body and answer. */
  readonly mediaType: string;
  readonly refusal: (answer: HttpAnswer) => unknown;
}

export interface HttpAnswer {
  readonly status: number;
  /** Without parameters: "application/json". */
  readonly mediaType: string;
  readonly body: Buffer;
}

async function readAnswer(incoming: IncomingMessage, attempt: string): Promise<HttpAnswer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of incoming as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > cliAnswerMaxBytes) {
      throw new ProglogError("INTERNAL", `Cannot ${attempt}: the answer is larger than ${cliAnswerMaxBytes} bytes`);
    }
    pieces.push(piece);
  }
  return { status: incoming.statusCode ?? 0, mediaType: mediaTypeOf(incoming.headers), body: Buffer.concat(pieces) };
}

function mediaTypeOf(headers: IncomingHttpHeaders): string {
  const mediaType = (headers["content-type"] ?? "").split(";", 1)[0] ?? "";
  return mediaType.trim().toLowerCase();
}
