import { setImmediate } from "node:timers/promises";
import type { Timer } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { lineBatchBytes, lineBatchMaxCount, lineMaxBytes, lineOverheadBytes } from "../base/limits.ts";
import type { RecordInput } from "../batch/record.ts";
import { LineSplitter } from "../base/line-splitter.ts";
import { parseLine } from "../wire/record-body.ts";
import type { HeldBytes } from "./held-bytes.ts";
import type { LiveBody } from "./live-body.ts";
import { measuredBytes, type ProducedRange } from "./produce-service.ts";

/**
 * Appends the records of an NDJSON body while it comes, and tells of each group of lines as soon as it is appended.
 *
 * One append is under way at a time. So groups are appended in the order of their lines, and when one fails nothing behind it was
 * appended. What comes meanwhile goes together in the next, up to a batch; then the body is left unread. Lines go off as soon as
 * no more are there to be read: a slow source has its answers at once and a fast one gets large batches, without a delay to be set.
 */
export async function* uploadLines({ body, append, held }: UploadOptions): AsyncGenerator<UploadAnswer, void, undefined> {
  const lines = new LineReader(body, held);
  let reading: Promise<Turn> | undefined;
  let pausing: Promise<Turn> | undefined;
  let appending: Promise<Turn> | undefined;
  let watching: Timer | undefined;
  let isPaused = false;
  let end: Extract<Turn, { kind: "ended" }> | undefined;
  try {
    for (;;) {
      if (reading === undefined && end === undefined && !lines.isFull) {
        reading = lines.read();
        pausing = setImmediate<Turn>({ kind: "paused" });
        isPaused = false;
      }
      if (appending === undefined && !lines.isEmpty && (isPaused || end !== undefined || lines.isFull))
        appending = appendGroup(lines.take());
      if (reading === undefined && appending === undefined) break;

      const turn: Turn = await Promise.race([reading, pausing, appending].filter((one) => one !== undefined));
      switch (turn.kind) {
        case "read":
          reading = undefined;
          break;
        case "ended":
          reading = undefined;
          end = turn;
          break;
        case "paused":
          pausing = undefined;
          isPaused = body.isWaiting;
          break;
        case "appended":
          appending = undefined;
          // A client that doesn't take its answers holds it here.
          watching = body.watchClient();
          yield turn;
          watching.cancel();
          break;
        case "refused":
          yield turn;
          return;
      }
    }
    if (end?.failure !== undefined) yield { kind: "refused", ...end.failure };
    else if (!lines.hadAny) yield { kind: "refused", error: emptyError(), line: 1 };
  } finally {
    watching?.cancel();
    body.leave();
    lines.drop();
  }

  async function appendGroup({ records, firstLine, lastLine, bytes }: LineGroup): Promise<Turn> {
    try {
      return { kind: "appended", ranges: await append(records), firstLine, lastLine };
    } catch (error) {
      return { kind: "refused", error, line: firstLine, lastLine };
    } finally {
      held.giveBack(bytes);
    }
  }
}

export interface UploadOptions {
  readonly body: LiveBody;
  /** Appends the records of a group: some `lineBatchBytes`, or one record that is larger. */
  readonly append: (records: readonly RecordInput[]) => Promise<readonly ProducedRange[]>;
  /** Counts what is read and not appended yet. */
  readonly held: HeldBytes;
}

/** Lines count from 1, empty ones too. */
export type UploadAnswer =
  | {
      readonly kind: "appended";
      readonly ranges: readonly ProducedRange[];
      readonly firstLine: number;
      readonly lastLine: number;
    }
  | RefusedLines;

export interface RefusedLines {
  readonly kind: "refused";
  readonly error: unknown;
  /** The first that isn't appended. All before it are. */
  readonly line: number;
  /** Where the outcome is unknown: the last that may be appended all the same. */
  readonly lastLine?: number;
}

type Turn =
  | UploadAnswer
  | { readonly kind: "read" }
  | { readonly kind: "ended"; readonly failure?: { readonly error: unknown; readonly line: number } }
  /** Every other event of the loop had its turn since reading began. */
  | { readonly kind: "paused" };

interface LineGroup {
  readonly records: readonly RecordInput[];
  readonly firstLine: number;
  readonly lastLine: number;
  readonly bytes: number;
}

/** The body's records that were read and aren't under way yet: a batch's worth, and what came with one read. */
class LineReader {
  readonly #body: LiveBody;
  readonly #held: HeldBytes;
  readonly #splitter = new LineSplitter({ lineMaxBytes });
  #queue: QueuedLine[] = [];
  #packedBytes = 0;
  /** Counted in `held`, for the line that hasn't ended. */
  #unfinishedBytes = 0;
  #lineNumber = 0;
  #isDropped = false;
  #hadAny = false;

  constructor(body: LiveBody, held: HeldBytes) {
    this.#body = body;
    this.#held = held;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  get isFull(): boolean {
    return this.#packedBytes >= lineBatchBytes || this.#queue.length >= lineBatchMaxCount;
  }

  get hadAny(): boolean {
    return this.#hadAny;
  }

  /** Never rejects. What came before an error is in the queue. */
  async read(): Promise<Turn> {
    let line = this.#lineNumber + 1;
    try {
      const chunk = await this.#body.next();
      const lines = chunk === undefined ? [this.#splitter.end()] : this.#splitter.push(chunk);
      for (const bytes of lines) {
        if (bytes === undefined) break;
        this.#lineNumber = line;
        this.#add(bytes, line);
        line += 1;
        // A read of short lines takes milliseconds to parse.
        if (line % linesPerTurn === 0) await setImmediate();
      }
      if (chunk === undefined) return { kind: "ended" };
      this.#countUnfinished();
      return { kind: "read" };
    } catch (error) {
      return { kind: "ended", failure: { error, line } };
    }
  }

  /** The oldest lines that fit in one batch, but at least one. */
  take(): LineGroup {
    let count = 0;
    let packedBytes = 0;
    let bytes = 0;
    for (const line of this.#queue) {
      if (count > 0 && (packedBytes + line.packedBytes > lineBatchBytes || count === lineBatchMaxCount)) break;
      count += 1;
      packedBytes += line.packedBytes;
      bytes += line.heldBytes;
    }
    this.#packedBytes -= packedBytes;
    const taken = this.#queue.splice(0, count);
    return {
      records: taken.map(({ record }) => record),
      firstLine: taken[0]?.number ?? 0,
      lastLine: taken.at(-1)?.number ?? 0,
      bytes,
    };
  }

  /** Forgets what isn't taken. */
  drop(): void {
    this.#isDropped = true;
    for (const { heldBytes } of this.#queue) this.#held.giveBack(heldBytes);
    this.#held.giveBack(this.#unfinishedBytes);
    this.#queue = [];
    this.#unfinishedBytes = 0;
  }

  #add(bytes: Buffer, number: number): void {
    const record = parseLine(bytes, number);
    if (record === undefined || this.#isDropped) return;
    const heldBytes = bytes.length + lineOverheadBytes;
    this.#held.take(heldBytes, `take line ${number}`);
    const packedBytes = measuredBytes(record);
    this.#queue.push({ record, number, heldBytes, packedBytes });
    this.#packedBytes += packedBytes;
    this.#hadAny = true;
  }

  #countUnfinished(): void {
    if (this.#isDropped) return;
    const { heldBytes } = this.#splitter;
    this.#held.giveBack(this.#unfinishedBytes);
    this.#unfinishedBytes = 0;
    this.#held.take(heldBytes, `take line ${this.#lineNumber + 1}`);
    this.#unfinishedBytes = heldBytes;
  }
}

interface QueuedLine {
  readonly record: RecordInput;
  readonly number: number;
  /** What it takes in memory, about. */
  readonly heldBytes: number;
  /** What it takes in a batch, about. */
  readonly packedBytes: number;
}

/** Some two milliseconds' worth. */
const linesPerTurn = 1_000;

function emptyError(): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", "Cannot produce: the body holds no record");
}
