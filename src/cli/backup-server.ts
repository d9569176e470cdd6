import { Agent } from "node:http";
import { Agent as TlsAgent } from "node:https";
import { backupAnswerMaxBytes, backupAnswerMaxMs, backupPieceBytes } from "../base/backup-limits.ts";
import { ProglogError } from "../base/error.ts";
import type { BackupPartition, BackupSource, SegmentRange, StorePiece } from "../backup/index.ts";
import { parseBackupLog, parseBackupSegments, parseBackupTopics } from "../wire/backup-message.ts";
import { fromProblem } from "../wire/problem.ts";
import { askHttp, type HttpAnswer, parseAnswer } from "./http-request.ts";
import { type ServerChoice, urlsOf } from "./server-tls.ts";

/**
 * A running node, or the nodes of a cluster, as a backup is made of them: over HTTP, where a partition's pieces are bytes as they lie in the
 * file. Whoever is asked for a partition that another node leads sends there.
 */
export class BackupServer implements BackupSource {
  readonly #choice: ServerChoice;
  readonly #agent: Agent;
  readonly #signal: AbortSignal;
  readonly #token: string | undefined;
  /** Who answered last, of the addresses. */
  #at = 0;
  /** Who leads, as it was said: so that not each piece is asked for twice. */
  readonly #leaders = new Map<string, string>();

  /** With a token each request says who asks. */
  constructor(choice: ServerChoice, { signal, token }: { readonly signal: AbortSignal; readonly token?: string | undefined }) {
    this.#choice = choice;
    const shared = { keepAlive: true, maxSockets: 4 };
    this.#agent = choice.tls === undefined ? new Agent(shared) : new TlsAgent(shared);
    this.#signal = signal;
    this.#token = token;
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
      let answer: HttpAnswer;
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
      if (next === null || next.protocol !== new URL(base).protocol || hops === hopsMax) {
        this.#leaders.delete(about);
        throw errorOf(answer, base);
      }
      base = next.origin;
      this.#leaders.set(about, base);
    }
  }

  #base(): string {
    const urls = urlsOf(this.#choice);
    return urls[this.#at % urls.length] ?? "";
  }

  #send(url: URL, maxBytes: number): Promise<HttpAnswer> {
    const [agent, signal, token, tls] = [this.#agent, this.#signal, this.#token, this.#choice.tls];
    return askHttp(url, { attempt: "read from", maxBytes, timeoutMs: backupAnswerMaxMs, agent, signal, token, tls });
  }
}

const redirectStatus = 307;
const hopsMax = 3;

function errorOf(answer: HttpAnswer, base: string): ProglogError {
  const problem = fromProblem(parseAnswer(answer));
  // A release from before there were backups knows no such route.
  if (problem?.code === "ROUTE_NOT_FOUND") {
    return new ProglogError("UNSUPPORTED_FORMAT", `Cannot make a backup of ${base}: it has no routes for that`, {
      hint: "Is it an older release? Stop it, and make the backup of its --data-dir.",
    });
  }
  return (
    problem ??
    new ProglogError("UNAVAILABLE", `Cannot make a backup of ${base}: it answers ${answer.status}, and is no proglog server`)
  );
}
