import type { ClientRequest, IncomingMessage } from "node:http";
import { ProglogError } from "../base/error.ts";
import { cliAnswerLineMaxBytes } from "../base/limits.ts";
import { LineSplitter } from "../wire/line-splitter.ts";
import { fromProblem } from "../wire/problem.ts";
import type { Acknowledged, AppendedRange, PackedRecord, RecordUpload } from "./log-client.ts";

/** One request whose body goes on while its answer comes: lines of records there, lines of acknowledgements back. */
export class HttpUpload implements RecordUpload {
  readonly #outgoing: ClientRequest;
  readonly #options: UploadOptions;
  readonly #answers: Acknowledged[] = [];
  #end: UploadEnd | undefined;
  #waiting: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isEnded = false;
  #unacknowledged = 0;

  /** `outgoing` has its head, and nothing of its body. */
  constructor(outgoing: ClientRequest, options: UploadOptions) {
    this.#outgoing = outgoing;
    this.#options = options;
    outgoing.on("error", (error) => this.#finish({ kind: "failed", error: options.lostError(error) }));
    outgoing.on("response", (incoming) => void this.#read(incoming));
  }

  write(records: readonly PackedRecord[]): void {
    this.#unacknowledged += records.length;
    this.#outgoing.write(records.map(({ text }) => text).join(""));
    this.#watch();
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#outgoing.end();
    this.#watch();
  }

  async next(): Promise<Acknowledged | undefined> {
    for (;;) {
      const answer = this.#answers.shift();
      if (answer !== undefined) return answer;
      if (this.#end?.kind === "failed") throw this.#end.error;
      if (this.#end !== undefined) return undefined;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting = resolve;
      await promise;
    }
  }

  async #read(incoming: IncomingMessage): Promise<void> {
    try {
      if (!this.#options.isAnswer(incoming)) throw await this.#options.refusal(incoming);
      const splitter = new LineSplitter({ lineMaxBytes: cliAnswerLineMaxBytes });
      for await (const chunk of incoming as AsyncIterable<Buffer>) for (const line of splitter.push(chunk)) this.#take(line);
      // One that ends before it has acknowledged everything, without an error, is no answer.
      if (this.#unacknowledged > 0 || !this.#isEnded) throw new Error("the answer ended early");
      this.#finish({ kind: "well" });
    } catch (error) {
      const known = error instanceof ProglogError ? error : this.#options.lostError(error);
      this.#finish({ kind: "failed", error: known });
    }
  }

  #take(line: Buffer): void {
    const json = JSON.parse(line.toString()) as AnswerLine;
    if ("error" in json) throw namingLine(json);
    const ranges = "partitions" in json ? json.partitions : [json];
    const records = ranges.reduce((sum, { count }) => sum + count, 0);
    this.#unacknowledged -= records;
    this.#answers.push({ records, ranges });
    this.#watch();
    this.#wake();
  }

  /** What was sent is to be acknowledged in time; nothing is waited for while there is nothing to acknowledge. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#end !== undefined || (this.#unacknowledged === 0 && !this.#isEnded)) return;
    this.#timer = setTimeout(
      () => this.#finish({ kind: "failed", error: this.#options.timeoutError() }),
      this.#options.timeoutMs,
    );
  }

  #finish(end: UploadEnd): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    clearTimeout(this.#timer);
    if (end.kind === "failed") this.#outgoing.destroy();
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.();
    this.#waiting = undefined;
  }
}

type UploadEnd = { readonly kind: "well" } | { readonly kind: "failed"; readonly error: unknown };

export interface UploadOptions {
  /** How long an acknowledgement may take. */
  readonly timeoutMs: number;
  /** Whether it is acknowledgements that come. */
  readonly isAnswer: (incoming: IncomingMessage) => boolean;
  /** The error that comes instead of them. */
  readonly refusal: (incoming: IncomingMessage) => Promise<unknown>;
  readonly lostError: (cause: unknown) => unknown;
  readonly timeoutError: () => unknown;
}

type AnswerLine =
  | AppendedRange
  | { readonly partitions: readonly AppendedRange[] }
  | { readonly error: unknown; readonly line: number; readonly lastLine?: number };

function namingLine({ error, line, lastLine }: Extract<AnswerLine, { error: unknown }>): unknown {
  const known = fromProblem(error);
  if (known === undefined) return new Error("the answer has an error that is none");
  return new ProglogError(known.code, known.message, {
    ...(known.hint === undefined ? {} : { hint: known.hint }),
    details: { ...known.details, line, ...(lastLine === undefined ? {} : { lastLine }) },
    cause: known,
  });
}
