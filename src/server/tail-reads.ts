import { consumeRecordsMaxCount, tailUnsentMaxBytes } from "../base/limits.ts";
import type { Replica } from "../replica/replica.ts";
import { formatJsonRecord } from "../wire/json-record.ts";

/**
 * Reads for live tails. An append wakes everybody who waits at a partition's end, and all of them ask for the same records in the same
 * turn: so a read that is under way is shared, its JSON too, and a thousand tails cost one.
 */
export class TailReads {
  readonly #underWay = new Map<Replica, Map<number, Promise<TailRead>>>();

  /** Throws as `Replica.read` does. */
  read(replica: Replica, offset: number): Promise<TailRead> {
    const ofReplica = this.#underWay.get(replica) ?? new Map<number, Promise<TailRead>>();
    const found = ofReplica.get(offset);
    if (found !== undefined) return found;
    const reading = readLines(replica, offset).finally(() => {
      ofReplica.delete(offset);
      if (ofReplica.size === 0) this.#underWay.delete(replica);
    });
    this.#underWay.set(replica, ofReplica.set(offset, reading));
    return reading;
  }
}

export interface TailRead {
  readonly lines: readonly TailLine[];
  /** Where to go on. */
  readonly nextOffset: number;
  readonly highWatermark: number;
}

export interface TailLine {
  readonly offset: number;
  /** The record with its partition, on one line. */
  readonly json: string;
}

async function readLines(replica: Replica, offset: number): Promise<TailRead> {
  const { records, nextOffset, highWatermark } = await replica.read(offset, bounds);
  const { partition } = replica.identity;
  const lines = records.map((record) => ({
    offset: record.offset,
    json: JSON.stringify({ partition, ...formatJsonRecord(record) }),
  }));
  return { lines, nextOffset, highWatermark };
}

/** Bytes as many as a tail may have unsent, so that little of what is read must be read again, whatever it unfolds to. */
const bounds = { limit: consumeRecordsMaxCount, maxBytes: tailUnsentMaxBytes };
