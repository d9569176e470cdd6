import assert from "node:assert/strict";
import type { RecordInput, StoredRecord } from "../src/batch/record.ts";
import type { Log } from "../src/log/log.ts";

/** A record as plain values, so that two of them can be compared whatever buffers they came from. */
export interface PlainRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
}

/**
 * The dumb twin of a log: an array of batches. It has no files, no index and no segments, so what it can't know it is told:
 * how far retention went.
 */
export class DumbLog {
  readonly #batches: { readonly baseOffset: number; readonly records: readonly PlainRecord[] }[] = [];
  logStartOffset = 0;
  logEndOffset = 0;

  append(records: readonly PlainRecord[]): void {
    assert.ok(records.length > 0);
    this.#batches.push({ baseOffset: this.logEndOffset, records });
    this.logEndOffset += records.length;
  }

  truncate(offset: number): void {
    while ((this.#batches.at(-1)?.baseOffset ?? -1) >= offset) this.#batches.pop();
    this.logEndOffset = offset;
  }

  trim(offset: number): void {
    this.logStartOffset = Math.max(this.logStartOffset, offset);
    while (
      this.#batches[0] !== undefined &&
      this.#batches[0].baseOffset + this.#batches[0].records.length <= this.logStartOffset
    ) {
      this.#batches.shift();
    }
  }

  /** Offsets at which a truncation is allowed: the first ones of readable batches, and the end. */
  truncationPoints(): number[] {
    const starts = this.#batches.map(({ baseOffset }) => baseOffset).filter((offset) => offset >= this.logStartOffset);
    return [...starts, this.logEndOffset];
  }

  /** The readable records from `offset` on. */
  records(offset: number = this.logStartOffset): PlainRecord[] {
    return this.#batches
      .flatMap(({ records }) => records)
      .filter((record) => record.offset >= Math.max(offset, this.logStartOffset));
  }

  /** The offset of the first readable record at or after a time; the end when there is none. */
  offsetOfTime(timestamp: number): number {
    return this.records().find((record) => record.timestamp >= timestamp)?.offset ?? this.logEndOffset;
  }
}

export function plain({ offset, timestamp, key, value, headers }: StoredRecord): PlainRecord {
  return {
    offset,
    timestamp,
    key: key?.toString() ?? null,
    value: value?.toString() ?? null,
    headers: headers.map((header) => [header.key, header.value?.toString() ?? null]),
  };
}

/** What `record` is to be read back as. */
export function plainOf(record: RecordInput, offset: number, now: number): PlainRecord {
  const text = (bytes: Uint8Array | string | null | undefined): string | null =>
    bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString();
  return {
    offset,
    timestamp: record.timestamp ?? now,
    key: text(record.key),
    value: text(record.value),
    headers: (record.headers ?? []).map((header) => [header.key, text(header.value)]),
  };
}

export async function readAll(log: Log, options: Parameters<Log["records"]>[0] = {}): Promise<PlainRecord[]> {
  const records: PlainRecord[] = [];
  for await (const record of log.records(options)) records.push(plain(record));
  return records;
}
