import type { Clock, Timer } from "../base/clock.ts";
import { isProglogError } from "../base/error.ts";
import { cliPendingMaxBytes, cliQuietMaxMs } from "../base/limits.ts";
import type { Acknowledged, AppendedRange, LogClient, PackedRecord, RecordUpload } from "./log-client.ts";

/**
 * Sends records in the order in which they come, and holds few of them. They go as they come, in one upload that lasts as long as its
 * source does; the server appends them batch by batch, in order, and acknowledges each. So a slow source gets its acknowledgements
 * at once and a fast one large batches, and an error leaves no doubt about what lies before it.
 *
 * An upload in which nothing came for a while is ended, and the next record begins another: no connection is kept for a source
 * that has gone quiet. One that is lost while all it had sent is acknowledged is no loss.
 */
export interface FeedOptions {
  readonly client: LogClient;
  readonly topic: string;
  readonly partition?: number | undefined;
  /** Records in groups, as they become known together. May throw: what came before is sent. */
  readonly source: AsyncIterable<readonly PackedRecord[]>;
  /** When aborted, nothing more is sent; what is under way is waited for. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Called after each acknowledgement. */
  readonly onAppended: (appended: Appended) => Promise<void>;
}

export interface Appended {
  readonly ranges: readonly AppendedRange[];
  readonly records: number;
  readonly bytes: number;
}

export interface FeedResult {
  /** Records that are acknowledged: the first so many of the source. */
  readonly acknowledged: number;
  /** Records behind those that may have been appended when it failed. */
  readonly failedCount: number;
  readonly failure?: { readonly of: "source" | "request"; readonly error: unknown };
}

export async function feedRecords(options: FeedOptions): Promise<FeedResult> {
  const { client, topic, partition, signal, clock } = options;
  const source = options.source[Symbol.asyncIterator]();
  const pending = new PendingRecords();
  let upload: RecordUpload | undefined;
  let reading: Promise<Turn> | undefined;
  let answering: Promise<Turn> | undefined;
  let quiet: { readonly timer: Timer; readonly turn: Promise<Turn> } | undefined;
  let sourceFailure: FeedResult["failure"];
  let hasEnded = false;
  let acknowledged = 0;
  /** Of this upload. */
  let uploaded = 0;

  for (;;) {
    const isOver = hasEnded || signal.aborted;
    if (reading === undefined && !isOver && !pending.isFull) reading = read();
    if (upload !== undefined && isOver) upload.end();
    if (upload !== undefined) answering ??= nextAnswer(upload);
    if (reading === undefined && answering === undefined) break;

    const turn = await Promise.race([answering, reading, quiet?.turn].filter((one) => one !== undefined));
    if (turn.kind !== "abandoned") quiet = endQuiet(quiet);
    switch (turn.kind) {
      case "read":
        reading = undefined;
        if (upload === undefined) {
          upload = client.openUpload({ topic, partition });
          uploaded = 0;
        }
        upload.write(turn.records);
        pending.add(turn.records);
        break;
      case "ended":
        reading = undefined;
        hasEnded = true;
        sourceFailure = turn.failure;
        break;
      case "answered": {
        answering = undefined;
        const { ranges, records } = turn.acknowledged;
        acknowledged += records;
        uploaded += records;
        await options.onAppended({ ranges, records, bytes: pending.take(records) });
        if (pending.count === 0 && !hasEnded) quiet = beginQuiet(clock);
        break;
      }
      case "failed":
        if (pending.count > 0) return failed(turn.error);
        upload = undefined;
        answering = undefined;
        break;
      case "closed":
        upload = undefined;
        answering = undefined;
        break;
      case "quiet":
        upload?.end();
        // Nothing of it is under way. What becomes of its end concerns nobody.
        upload = undefined;
        answering = undefined;
        break;
      case "abandoned":
        reading = undefined;
        break;
    }
  }
  return { acknowledged, failedCount: 0, ...(sourceFailure === undefined ? {} : { failure: sourceFailure }) };

  function failed(error: unknown): FeedResult {
    const lastLine = isProglogError(error) ? error.details["lastLine"] : undefined;
    const failedCount = typeof lastLine === "number" ? lastLine - uploaded : pending.count;
    return { acknowledged, failedCount, failure: { of: "request", error } };
  }

  /** Is over when we are told to stop, though the source may never come back: a terminal may not say another word. */
  function read(): Promise<Turn> {
    return new Promise((resolve) => {
      const abandon = (): void => resolve({ kind: "abandoned" });
      signal.addEventListener("abort", abandon, { once: true });
      void readSource()
        .then(resolve)
        .finally(() => signal.removeEventListener("abort", abandon));
    });
  }

  async function readSource(): Promise<Turn> {
    try {
      const next: IteratorResult<readonly PackedRecord[], unknown> = await source.next();
      return next.done === true ? { kind: "ended" } : { kind: "read", records: next.value };
    } catch (error) {
      return { kind: "ended", failure: { of: "source", error } };
    }
  }
}

type Turn =
  | { readonly kind: "read"; readonly records: readonly PackedRecord[] }
  | { readonly kind: "ended"; readonly failure?: FeedResult["failure"] }
  | { readonly kind: "answered"; readonly acknowledged: Acknowledged }
  /** The upload ended well. */
  | { readonly kind: "closed" }
  | { readonly kind: "failed"; readonly error: unknown }
  | { readonly kind: "quiet" }
  | { readonly kind: "abandoned" };

async function nextAnswer(upload: RecordUpload): Promise<Turn> {
  try {
    const acknowledged = await upload.next();
    return acknowledged === undefined ? { kind: "closed" } : { kind: "answered", acknowledged };
  } catch (error) {
    return { kind: "failed", error };
  }
}

function beginQuiet(clock: Clock): { readonly timer: Timer; readonly turn: Promise<Turn> } {
  const { promise, resolve } = Promise.withResolvers<Turn>();
  return { timer: clock.setTimer(cliQuietMaxMs, () => resolve({ kind: "quiet" })), turn: promise };
}

function endQuiet(quiet: { readonly timer: Timer } | undefined): undefined {
  quiet?.timer.cancel();
}

/** What was sent and isn't acknowledged yet: of the records only their sizes. */
class PendingRecords {
  #sizes: number[] = [];
  #bytes = 0;

  get count(): number {
    return this.#sizes.length;
  }

  get isFull(): boolean {
    return this.#bytes >= cliPendingMaxBytes;
  }

  add(records: readonly PackedRecord[]): void {
    for (const { bytes } of records) {
      this.#sizes.push(bytes);
      this.#bytes += bytes;
    }
  }

  /** Forgets the oldest. Returns their bytes. */
  take(count: number): number {
    const bytes = this.#sizes.splice(0, count).reduce((sum, size) => sum + size, 0);
    this.#bytes -= bytes;
    return bytes;
  }
}
