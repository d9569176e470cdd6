import { isProglogError } from "../base/error.ts";
import { cliPendingMaxBytes, cliRecordOverheadBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import type { Producer, SentPart } from "../client/index.ts";
import type { AppendedRange } from "./appended-offsets.ts";
import type { InputRecord } from "./input-record.ts";

/**
 * Sends records in the order in which they come, and holds few of them. They go as they come; the producer packs what gathers while
 * others are on their way. Acknowledgements are told in the order of the records, though partitions answer each in its own time:
 * so at any moment it is known that the first so many are safe.
 *
 * The producer stops at its first failure. A batch is refused whole, so when one is refused for what a record of it holds, those
 * before that record are sent again, by halves, until it stands alone: then the error is about the first record that isn't appended,
 * and everything before it is.
 */
export interface FeedOptions {
  /** Makes a producer that stops at its first failure. */
  readonly openProducer: () => FeedProducer;
  /** Records in groups, as they become known together. May throw: what came before is sent. */
  readonly source: AsyncIterable<readonly InputRecord[]>;
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
  /** Records behind those that may have been appended when it failed; some of them may well be. */
  readonly doubtfulCount: number;
  readonly failure?: { readonly of: "source" | "request"; readonly error: unknown };
}

export async function feedRecords(options: FeedOptions): Promise<FeedResult> {
  const feed = new RecordFeed(options);
  return feed.run();
}

class RecordFeed {
  readonly #options: FeedOptions;
  readonly #producer: FeedProducer;
  /** What isn't told of yet, in its order. */
  readonly #pending: Group[] = [];
  #bytes = 0;
  #acknowledged = 0;
  #hasEnded = false;
  #sourceFailure: FeedResult["failure"];
  readonly #failed = new AbortController();
  /** Wakes who waits for an answer, or the end of the source. */
  #wake: (() => void) | undefined;
  #onRoom: (() => void) | undefined;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#producer = options.openProducer();
  }

  async run(): Promise<FeedResult> {
    const reading = this.#read();
    try {
      for (;;) {
        const head = this.#pending[0];
        if (head === undefined && this.#hasEnded) break;
        if (head?.parts === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
        else if (head.parts.some(({ range }) => range === undefined)) return await this.#fail();
        else await this.#acknowledge();
      }
      const failure = this.#sourceFailure;
      return { acknowledged: this.#acknowledged, doubtfulCount: 0, ...(failure === undefined ? {} : { failure }) };
    } finally {
      this.#failed.abort();
      await reading;
      await this.#producer.close();
    }
  }

  async #read(): Promise<void> {
    const stopped = AbortSignal.any([this.#options.signal, this.#failed.signal]);
    const source = this.#options.source[Symbol.asyncIterator]();
    try {
      while (!stopped.aborted) {
        const next = await untilAborted(source.next(), stopped);
        if (next === undefined || next.done === true) break;
        for (const records of inGroups(next.value)) this.#send(records);
        while (this.#bytes >= cliPendingMaxBytes && !stopped.aborted) {
          const room = new Promise<void>((resolve) => (this.#onRoom = resolve));
          await untilAborted(room, stopped);
        }
      }
    } catch (error) {
      this.#sourceFailure = { of: "source", error };
    }
    this.#hasEnded = true;
    this.#wake?.();
  }

  #send(records: readonly InputRecord[]): void {
    const group: Group = { records, parts: undefined };
    this.#pending.push(group);
    this.#bytes += bytesOf(records);
    void sendParts(this.#producer, records).then((parts) => {
      group.parts = parts;
      this.#wake?.();
    });
  }

  /** Tells of all at the head that are appended. */
  async #acknowledge(): Promise<void> {
    const ranges: AppendedRange[] = [];
    let [records, bytes, held] = [0, 0, 0];
    for (let group = this.#pending[0]; isAppended(group); group = this.#pending[0]) {
      this.#pending.shift();
      for (const { range } of group.parts) ranges.push(range);
      records += group.records.length;
      for (const record of group.records) bytes += record.bytes;
      held += bytesOf(group.records);
    }
    this.#bytes -= held;
    this.#acknowledged += records;
    if (this.#bytes < cliPendingMaxBytes) this.#onRoom?.();
    await this.#options.onAppended({ ranges: joined(ranges), records, bytes });
  }

  async #fail(): Promise<FeedResult> {
    this.#failed.abort();
    // The producer has stopped: everything that was sent is answered soon.
    while (this.#pending.some(({ parts }) => parts === undefined)) await new Promise<void>((resolve) => (this.#wake = resolve));
    const records = this.#pending.flatMap(recordsOf);
    const first = records.find(({ error }) => error !== undefined);
    if (isAboutContent(first?.error) && records.every(isCertain)) await this.#findRefused(records);
    const count = records.findIndex(({ range }) => range === undefined);
    if (count > 0) await this.#tell(records.slice(0, count));
    const doubtfulCount = records.findLastIndex((record) => !isRefused(record)) + 1 - count;
    const failure = { of: "request", error: records[count]?.error } as const;
    return { acknowledged: this.#acknowledged, doubtfulCount: Math.max(0, doubtfulCount), failure };
  }

  async #tell(records: readonly SentOrNot[]): Promise<void> {
    const ranges = records.flatMap(({ range }) => (range === undefined ? [] : [range]));
    const bytes = records.reduce((sum, { record }) => sum + record.bytes, 0);
    this.#acknowledged += records.length;
    await this.#options.onAppended({ ranges: joined(ranges), records: records.length, bytes });
  }

  /** Appends what stands before the record that isn't taken. */
  async #findRefused(records: readonly SentOrNot[]): Promise<void> {
    let left = records.filter(isRefused);
    while (left.length > 0) {
      const half = left.slice(0, Math.ceil(left.length / 2));
      await this.#sendAgain(half);
      const isWhole = half.every(({ range }) => range !== undefined);
      if (!isWhole && (half.length === 1 || !half.every(isCertain))) return;
      // Of a half that wasn't appended whole, what was stays behind.
      left = isWhole ? left.slice(half.length) : half.filter(isRefused);
    }
  }

  async #sendAgain(again: readonly SentOrNot[]): Promise<void> {
    const producer = this.#options.openProducer();
    const parts = await sendParts(
      producer,
      again.map(({ record }) => record),
    );
    await producer.close();
    const outcomes = new Map(recordsOf({ records: again.map(({ record }) => record), parts }).map((one) => [one.record, one]));
    for (const one of again) {
      const outcome = outcomes.get(one.record);
      one.range = outcome?.range;
      one.error = outcome?.error;
    }
  }
}

type FeedProducer = Pick<Producer, "sendParts" | "close">;

/** Records that were sent together. */
interface Group {
  readonly records: readonly InputRecord[];
  /** What became of them, once that is known. */
  parts: readonly SentPart[] | undefined;
}

interface SentOrNot {
  readonly record: InputRecord;
  range: AppendedRange | undefined;
  error: unknown;
}

/** So large that a promise each costs nothing, and so small that one is a single batch where there is one partition. */
function* inGroups(records: readonly InputRecord[]): Generator<readonly InputRecord[]> {
  let start = 0;
  let bytes = 0;
  for (let i = 0; i < records.length; i += 1) {
    bytes += (records[i]?.bytes ?? 0) + cliRecordOverheadBytes;
    if (bytes < groupBytes) continue;
    yield records.slice(start, i + 1);
    start = i + 1;
    bytes = 0;
  }
  if (start < records.length) yield records.slice(start);
}

const groupBytes = 64 * KiB;

/** One outcome for all where there is none for each. */
async function sendParts(producer: FeedProducer, records: readonly InputRecord[]): Promise<readonly SentPart[]> {
  try {
    return await producer.sendParts(records);
  } catch (error) {
    return [{ records, error }];
  }
}

function bytesOf(records: readonly InputRecord[]): number {
  return records.reduce((sum, { bytes }) => sum + bytes + cliRecordOverheadBytes, 0);
}

function isAppended(group: Group | undefined): group is Group & { readonly parts: readonly Required<SentPart>[] } {
  return group?.parts?.every(({ range }) => range !== undefined) === true;
}

/** The records of a group one by one, each with its own place. */
function recordsOf({ records, parts = [] }: Group): readonly SentOrNot[] {
  const outcomes = new Map<unknown, Pick<SentOrNot, "range" | "error">>();
  for (const { records: share, range, error } of parts)
    for (const [i, record] of share.entries()) {
      const own = range === undefined ? undefined : { ...range, baseOffset: range.baseOffset + i, count: 1 };
      outcomes.set(record, { range: own, error });
    }
  return records.map((record) => ({ record, range: undefined, error: undefined, ...outcomes.get(record) }));
}

function isRefused({ error }: SentOrNot): boolean {
  return isProglogError(error) && error.details["outcome"] === "not-appended";
}

function isCertain(record: SentOrNot): boolean {
  return record.range !== undefined || isRefused(record);
}

/** Whether it is what a record holds that wasn't taken. */
function isAboutContent(error: unknown): boolean {
  return isProglogError(error) && contentCodes.includes(error.code);
}

const contentCodes: readonly string[] = ["INVALID_RECORD", "INVALID_BATCH", "RECORD_TOO_LARGE", "BATCH_TOO_LARGE"];

/** Offsets that follow each other are one range. */
function joined(ranges: readonly AppendedRange[]): readonly AppendedRange[] {
  const found: { -readonly [Name in keyof AppendedRange]: AppendedRange[Name] }[] = [];
  for (const { partition, baseOffset, count, isDurable } of ranges) {
    const last = found.at(-1);
    const isNext = last?.partition === partition && last.baseOffset + last.count === baseOffset && last.isDurable === isDurable;
    if (isNext) last.count += count;
    else found.push({ partition, baseOffset, count, isDurable });
  }
  return found;
}

/** What the promise resolves with; undefined when the signal aborts first: a terminal may not say another word. */
async function untilAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value | undefined> {
  if (signal.aborted) return undefined;
  const aborted = Promise.withResolvers<undefined>();
  const abandon = (): void => aborted.resolve(undefined);
  signal.addEventListener("abort", abandon, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abandon);
  }
}
