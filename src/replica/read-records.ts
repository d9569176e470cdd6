import type { Clock } from "../base/clock.ts";
import { recordOverheadBytes, readTurnBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import type { StoredRecord } from "../batch/record.ts";
import type { Log } from "../log/index.ts";

/**
 * Reads records for one answer. What is bounded is what they take unpacked: some KiB on disk may unfold to a gigabyte. So the bound may
 * lie amid a batch; the next read unpacks that batch again, which costs no more than the batch's own bound.
 *
 * Batches that hold no records (compaction leaves them) are passed over within the read and count for nothing: a reader with a small
 * bound would come back for each of them.
 */
export async function readRecords(log: Log, offset: number, bounds: ReadBounds, clock: Clock): Promise<RecordsRead> {
  const { limit, maxBytes, signal, take } = bounds;
  const records: StoredRecord[] = [];
  let nextOffset = offset;
  let leftBytes = maxBytes;
  let turnBytes = 0;
  const maxPieceBytes = Math.max(pieceMinBytes, maxBytes);
  try {
    for await (const batch of log.batches({ from: offset, maxPieceBytes })) {
      if (signal?.aborted === true) break;
      const wanted = batch.records().filter((record) => record.offset >= nextOffset);
      const { count, bytes } = fit(wanted, {
        limit: limit - records.length,
        maxBytes: leftBytes,
        isFirst: records.length === 0,
      });
      if (count > 0) take?.(bytes);
      for (const record of wanted.slice(0, count)) records.push(record);
      leftBytes -= bytes;
      if (count < wanted.length) {
        nextOffset = wanted[count]?.offset ?? nextOffset;
        break;
      }
      nextOffset = batch.nextOffset;
      if (records.length >= limit || leftBytes <= 0) break;
      turnBytes += batch.batch.length + bytes;
      if (turnBytes < readTurnBytes) continue;
      turnBytes = 0;
      await clock.turn();
    }
  } catch (error) {
    if (nextOffset === offset) throw error;
  }
  return { records, nextOffset };
}

export interface ReadBounds {
  /** Records at most. */
  readonly limit: number;
  /** Bytes of records at most, as `unpackedBytes` counts them; one record is read in any case. */
  readonly maxBytes: number;
  /** Once aborted, the read ends with what it has. */
  readonly signal?: AbortSignal;
  /** Told of bytes before they are kept. When it throws, the read ends before them; when they are the first, with that error. */
  readonly take?: (bytes: number) => void;
}

export interface RecordsRead {
  readonly records: readonly StoredRecord[];
  /** Where to go on. */
  readonly nextOffset: number;
}

/** Key, value and headers as they are unpacked, and something for each object: a million empty headers take a hundred megabytes. */
export function unpackedBytes({ key, value, headers }: StoredRecord): number {
  let bytes = recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const header of headers) bytes += recordOverheadBytes + Buffer.byteLength(header.key) + (header.value?.length ?? 0);
  return bytes;
}

/** How many of the records, from the one at `start` on, keep the bounds, and their bytes; the first of all is taken whatever its size. */
export function fit(
  records: readonly StoredRecord[],
  { start = 0, limit, maxBytes, isFirst }: FitBounds,
): { readonly count: number; readonly bytes: number } {
  let count = 0;
  let bytes = 0;
  for (let at = start; count < limit; at += 1) {
    const record = records[at];
    if (record === undefined) break;
    const more = unpackedBytes(record);
    if (bytes + more > maxBytes && !(isFirst && count === 0)) break;
    count += 1;
    bytes += more;
  }
  return { count, bytes };
}

interface FitBounds {
  /** Default 0. */
  readonly start?: number;
  readonly limit: number;
  readonly maxBytes: number;
  readonly isFirst: boolean;
}

/** The least that a log reads at once. */
const pieceMinBytes = 4 * KiB;
