import { request } from "node:http";
import { request as requestByTls } from "node:https";
import { connect, type Socket } from "node:net";
import type { Clock } from "../src/base/clock.ts";
import type { Disk } from "../src/base/disk.ts";
import type { Logger } from "../src/base/logger.ts";
import { createMemoryDisk } from "../src/base/memory-disk.ts";
import { Conformance, keptDocument } from "./openapi/conformance.ts";
import { type Node, parseConfig, startNode } from "../src/server/index.ts";
import type { PeerConnect } from "../src/server/peer-context.ts";
import type { ClientTls } from "./ask-tls.ts";

/** Every answer that a test gets by `send` is held to the API's document. */
const conformance = new Conformance(keptDocument());

/** A node on a free port, in memory unless told otherwise, and what a test asks of it. */
export class TestNode implements AsyncDisposable {
  readonly node: Node;
  readonly disk: Disk;
  /** What it logged. */
  readonly lines: readonly LoggedLine[];
  readonly #tls: Partial<ClientTls>;

  constructor(node: Node, disk: Disk, lines: readonly LoggedLine[], tls: Partial<ClientTls> = {}) {
    this.node = node;
    this.disk = disk;
    this.lines = lines;
    this.#tls = tls;
  }

  get port(): number {
    return Number(new URL(this.node.url).port);
  }

  /** Sends a request on a connection of its own. A GET may have a body, too. */
  send(method: string, path: string, options: SendOptions = {}): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const body = options.body === undefined ? undefined : Buffer.from(options.body);
    const send = this.node.url.startsWith("https:") ? requestByTls : request;
    const sent = send(this.node.url, {
      ...this.#tls,
      method,
      path,
      agent: false,
      headers: options.headers ?? {},
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    sent.once("error", reject);
    sent.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const text = Buffer.concat(chunks).toString();
        const status = response.statusCode ?? 0;
        const fault = conformance.findFault({
          method,
          path,
          requestBody: body?.toString(),
          requestType: options.headers?.["content-type"]?.split(";", 1)[0],
          status,
          mediaType: (response.headers["content-type"] ?? "").split(";", 1)[0] ?? "",
          body: text,
        });
        if (fault !== undefined) reject(new Error(`${method} ${path}: ${status} isn't as docs/openapi.json has it: ${fault}`));
        else resolve({ status, headers: response.headers, text });
      });
    });
    const isChunked = options.headers?.["transfer-encoding"] !== undefined;
    if (body !== undefined && !isChunked) sent.setHeader("content-length", body.length);
    sent.end(body);
    return promise;
  }

  async get(path: string, options?: SendOptions): Promise<Answer> {
    return this.send("GET", path, options);
  }

  async post(path: string, body: string | object, headers: Record<string, string> = {}): Promise<Answer> {
    return this.send("POST", path, { body: typeof body === "string" ? body : JSON.stringify(body), headers });
  }

  /** The answer's JSON; fails unless its status is as expected. */
  async json<Shape = JsonObject>(
    method: string,
    path: string,
    options: SendOptions & { readonly status?: number } = {},
  ): Promise<Shape> {
    const { status = 200, ...rest } = options;
    const answer = await this.send(method, path, rest);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return JSON.parse(answer.text) as Shape;
  }

  /** The value of a line of /metrics, by its text before the value. */
  async metric(line: string): Promise<number> {
    const { text } = await this.get("/metrics");
    const found = text.split("\n").find((candidate) => candidate.startsWith(`${line} `));
    return found === undefined ? Number.NaN : Number(found.slice(line.length + 1));
  }

  /** Asks again until `isDone` says so: for what another connection has set going, and nothing tells when it has come. */
  async until(isDone: () => Promise<boolean>): Promise<void> {
    for (let asked = 0; !(await isDone()); asked += 1)
      if (asked >= asksMax) throw new Error(`It didn't come about: ${isDone.toString()}`);
  }

  connect(): TestSocket {
    return new TestSocket(connect(this.port, "127.0.0.1"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.node.close();
  }
}

/** Each takes a millisecond or so: what hasn't come by then won't. */
const asksMax = 5_000;

export async function startTestNode(options: TestNodeOptions = {}): Promise<TestNode> {
  const { flags = {}, disk = createMemoryDisk(), clock, connectPeer } = options;
  const lines: LoggedLine[] = [];
  const config = parseConfig({ flags: { "data-dir": "/data", "rpc-port": 0, ...flags } });
  const node = await startNode(config, {
    ...{ disk, logger: collectingLogger(lines) },
    ...(clock === undefined ? {} : { clock }),
    ...(connectPeer === undefined ? {} : { connectPeer }),
  });
  return new TestNode(node, disk, lines, options.tls);
}

/** A connection of plain bytes. */
export class TestSocket {
  readonly socket: Socket;
  readonly #received: Buffer[] = [];
  readonly #closed = Promise.withResolvers<string>();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#received.push(chunk));
    // A reset is an end as good as another here.
    socket.on("error", () => {});
    socket.once("close", () => this.#closed.resolve(this.text));
  }

  get text(): string {
    return Buffer.concat(this.#received).toString("latin1");
  }

  /** All that was received, once the other end has closed. */
  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  write(bytes: string | Buffer): this {
    this.socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    return this;
  }

  async waitFor(pattern: RegExp): Promise<void> {
    while (!pattern.test(this.text)) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.socket.once("data", () => resolve());
      this.socket.once("close", () => resolve());
      if (this.socket.closed) throw new Error(`The connection closed after ${JSON.stringify(this.text)}`);
      await promise;
    }
  }
}

export interface TestNodeOptions {
  /** What its own requests trust and show, PEM. */
  readonly tls?: ClientTls;
  readonly flags?: Readonly<Record<string, unknown>>;
  readonly disk?: Disk;
  readonly clock?: Clock;
  readonly connectPeer?: PeerConnect;
}

export interface SendOptions {
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly text: string;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export interface LoggedLine {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

export function collectingLogger(lines: LoggedLine[]): Logger {
  const at =
    (level: string) =>
    (fields: object, message: string): void => {
      lines.push({ level, fields, message });
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}
