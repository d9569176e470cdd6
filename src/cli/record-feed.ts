import { batchMaxRecords, cliRequestMaxBytes } from "../base/limits.ts";
import type { AppendedRange, LogClient, PackedRecord } from "./log-client.ts";

/**
 * Sends records in the order in which they come, and holds few of them. One request is under way at a time: so order is kept, and
 * an error leaves no doubt about what lies before it. What comes while it is under way goes together in the next one, so
 * a slow source gets its acknowledgements at once, and a fast one gets large batches, without a delay to be set.
 */
export interface FeedOptions {
  readonly client: LogClient;
  readonly topic: string;
  readonly partition?: number | undefined;
  /** Records in groups, as they become known together. May throw: what came before is sent. */
  readonly source: AsyncIterable<readonly PackedRecord[]>;
  /** When aborted, nothing more is sent; what is under way is waited for. */
  readonly signal: AbortSignal;
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
  /** Records behind those that were under way when it failed. */
  readonly failedCount: number;
  readonly failure?: { readonly of: "source" | "request"; readonly error: unknown };
}

export async function feedRecords(options: FeedOptions): Promise<FeedResult> {
  const { client, topic, partition, signal } = options;
  const source = options.source[Symbol.asyncIterator]();
  const queue = new RecordQueue();
  let reading: Promise<Turn> | undefined;
  let sending: Promise<Turn> | undefined;
  let sourceFailure: FeedResult["failure"];
  let hasEnded = false;
  let acknowledged = 0;

  for (;;) {
    if (sending === undefined && !queue.isEmpty && !signal.aborted) sending = send(queue.take());
    if (reading === undefined && !hasEnded && !queue.isFull && !signal.aborted) reading = read();
    if (sending === undefined && reading === undefined) break;

    const turn = await Promise.race([sending, reading].filter((one) => one !== undefined));
    switch (turn.kind) {
      case "read":
        reading = undefined;
        for (const record of turn.records) queue.add(record);
        break;
      case "ended":
        reading = undefined;
        hasEnded = true;
        sourceFailure = turn.failure;
        break;
      case "answered":
        sending = undefined;
        acknowledged += turn.appended.records;
        await options.onAppended(turn.appended);
        break;
      case "failed":
        return { acknowledged, failedCount: turn.records, failure: { of: "request", error: turn.error } };
      case "abandoned":
        reading = undefined;
        break;
    }
  }
  return { acknowledged, failedCount: 0, ...(sourceFailure === undefined ? {} : { failure: sourceFailure }) };

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

  async function send(records: readonly PackedRecord[]): Promise<Turn> {
    try {
      const ranges = await client.produce({ topic, partition, records });
      const bytes = records.reduce((sum, record) => sum + record.bytes, 0);
      return { kind: "answered", appended: { ranges, records: records.length, bytes } };
    } catch (error) {
      return { kind: "failed", records: records.length, error };
    }
  }
}

type Turn =
  | { readonly kind: "read"; readonly records: readonly PackedRecord[] }
  | { readonly kind: "ended"; readonly failure?: FeedResult["failure"] }
  | { readonly kind: "answered"; readonly appended: Appended }
  | { readonly kind: "failed"; readonly records: number; readonly error: unknown }
  | { readonly kind: "abandoned" };

/** What was read and is not under way yet. Full at one request's worth, so memory holds two and what was read at once. */
class RecordQueue {
  #records: PackedRecord[] = [];
  #bytes = 0;

  get isEmpty(): boolean {
    return this.#records.length === 0;
  }

  get isFull(): boolean {
    return this.#bytes >= cliRequestMaxBytes;
  }

  add(record: PackedRecord): void {
    this.#records.push(record);
    this.#bytes += record.bytes;
  }

  /** The oldest records that fit in one request, but at least one. */
  take(): readonly PackedRecord[] {
    let count = 0;
    let bytes = 0;
    for (const record of this.#records) {
      if (count > 0 && (bytes + record.bytes > cliRequestMaxBytes || count === batchMaxRecords)) break;
      count += 1;
      bytes += record.bytes;
    }
    this.#bytes -= bytes;
    return this.#records.splice(0, count);
  }
}
