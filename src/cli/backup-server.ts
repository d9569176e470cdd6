import { Agent, type IncomingMessage, request } from "node:http";
import { backupAnswerMaxBytes, backupAnswerMaxMs, backupPieceBytes } from "../base/backup-limits.ts";
import { messageOf, ProglogError } from "../base/error.ts";
import type { BackupPartition, BackupSource, SegmentRange, StorePiece } from "../backup/index.ts";
import { parseBackupLog, parseBackupSegments, parseBackupTopics } from "../wire/backup-message.ts";
import { fromProblem } from "../wire/problem.ts";
import { formatServerAddress, type ServerAddress } from "./server-address.ts";

/**
 * A running node, or the nodes of a cluster, as a backup is made of them: over HTTP, where a partition's pieces are bytes as they lie in the
 * file. Whoever is asked for a partition that another node leads sends there.
 */
export class BackupServer implements BackupSource {
  readonly #addresses: readonly ServerAddress[];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });
  readonly #signal: AbortSignal;
  /** Who answered last, of the addresses. */
  #at = 0;
  /** Who leads, as it was said: so that not each piece is asked for twice. */
  readonly #leaders = new Map<string, string>();

  constructor(addresses: readonly ServerAddress[], signal: AbortSignal) {
    this.#addresses = addresses;
    this.#signal = signal;
  }

  async topics() {
    return parseBackupTopics((await this.#get("/v1/backup/topics", "", backupAnswerMaxBytes)).toString());
  }

  async log(partition: BackupPartition) {
    return parseBackupLog((await this.#ask(partition, "log", {}, backupAnswerMaxBytes)).toString());
  }

  async segments(partition: BackupPartition, range: SegmentRange) {
    return parseBackupSegments((await this.#ask(partition, "segments", { ...range }, backupAnswerMaxBytes)).toString());
  }

  read(partition: BackupPartition, piece: StorePiece): Promise<Buffer> {
    return this.#ask(partition, "store", { ...piece }, backupPieceBytes);
  }

  async close(): Promise<void> {
    this.#agent.destroy();
  }

  async #ask(
    { topic, partition, uuid }: BackupPartition,
    what: string,
    query: Readonly<Record<string, string | number>>,
    maxBytes: number,
  ): Promise<Buffer> {
    const search = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString();
    const path = `/v1/backup/topics/${encodeURIComponent(topic)}/partitions/${partition}/${what}`;
    return this.#get(search === "" ? path : `${path}?${search}`, uuid, maxBytes);
  }

  /** `about` is whose leader is remembered. */
  async #get(path: string, about: string, maxBytes: number): Promise<Buffer> {
    let base = this.#leaders.get(about) ?? this.#base();
    for (let hops = 0; ; hops += 1) {
      let answer: Answer;
      try {
        answer = await this.#send(new URL(path, base), maxBytes);
      } catch (error) {
        this.#leaders.delete(about);
        this.#at += 1;
        throw error;
      }
      const { status, location, body } = answer;
      if (status === 200) return body;
      const next = status === redirectStatus && location !== undefined ? URL.parse(location) : null;
      if (next === null || next.protocol !== "http:" || hops === hopsMax) {
        this.#leaders.delete(about);
        throw errorOf(answer, base);
      }
      base = next.origin;
      this.#leaders.set(about, base);
    }
  }

  #base(): string {
    const address = this.#addresses[this.#at % this.#addresses.length];
    return `http://${address === undefined ? "" : formatServerAddress(address)}`;
  }

  #send(url: URL, maxBytes: number): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const fail = (reason: string, cause?: unknown): void =>
      reject(
        new ProglogError("UNAVAILABLE", `Cannot read from ${url.host}: ${reason}`, {
          ...{ hint: "Is proglog serve running there? Name it with --server.", details: { outcome: "not-appended" }, cause },
        }),
      );
    const sent = request(url, { agent: this.#agent, signal: this.#signal, timeout: backupAnswerMaxMs });
    sent.once("timeout", () => sent.destroy(new Error(`no answer for ${backupAnswerMaxMs / 1000} s`)));
    sent.once("error", (error) => fail(messageOf(error), error));
    sent.once("response", (response) => {
      readAll(response, maxBytes).then(
        (body) => resolve({ status: response.statusCode ?? 0, location: response.headers.location, body }),
        (error: unknown) => {
          sent.destroy();
          fail(messageOf(error), error);
        },
      );
    });
    sent.end();
    return promise;
  }
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: Buffer;
}

const redirectStatus = 307;
const hopsMax = 3;

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

function errorOf({ status, body }: Answer, base: string): ProglogError {
  const problem = fromProblem(parseJson(body));
  // A release from before there were backups knows no such route.
  if (problem?.code === "ROUTE_NOT_FOUND") {
    return new ProglogError("UNSUPPORTED_FORMAT", `Cannot make a backup of ${base}: it has no routes for that`, {
      hint: "Is it an older release? Stop it, and make the backup of its --data-dir.",
    });
  }
  return (
    problem ??
    new ProglogError("UNAVAILABLE", `Cannot make a backup of ${base}: it answers ${status}, and is no proglog server`)
  );
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch {
    // What isn't JSON is no problem of ours, and is told of by its status.
    return undefined;
  }
}
