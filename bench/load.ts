import { encodeBatch, type Log, type LogObserver, type RecordInput } from "../src/log/index.ts";

/** A record of `bytes` bytes. No compressor sees it, so its content doesn't matter. */
export function recordOf(bytes: number): RecordInput {
  return { value: Buffer.alloc(bytes, "0123456789abcdef") };
}

export interface PackedBatches {
  readonly batches: readonly Buffer[];
  readonly recordsPerBatch: number;
  readonly batchBytes: number;
}

/** `count` packed batches of about `batchBytes`, of records of `recordBytes`: each in memory of its own. */
export function packBatches(count: number, batchBytes: number, recordBytes: number): PackedBatches {
  const overhead =
    encodeBatch([recordOf(recordBytes), recordOf(recordBytes)], { now: 1 }).length -
    encodeBatch([recordOf(recordBytes)], { now: 1 }).length;
  // A record far into the batch has a longer offset delta: one byte more is counted for each.
  const recordsPerBatch = Math.max(1, Math.floor(batchBytes / (overhead + 1)));
  const records = Array.from({ length: recordsPerBatch }, () => recordOf(recordBytes));
  const batches = Array.from({ length: count }, () => encodeBatch(records, { now: Date.now() }));
  return { batches, recordsPerBatch, batchBytes: batches[0]?.length ?? 0 };
}

/** Remembers how large the groups were that a log wrote: `groups` are the bytes of each since `reset`. */
export class GroupRecorder {
  groups: number[] = [];

  readonly observer: LogObserver = {
    appended: ({ bytes }) => void this.groups.push(bytes),
  };

  reset(): void {
    this.groups = [];
  }
}

/** Appends `count` batches, `outstanding` at a time: each caller appends again as soon as it is answered. Returns seconds. */
export async function appendPacked(log: Log, batches: readonly Buffer[], count: number, outstanding: number): Promise<number> {
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < count) {
      const batch = batches[next % batches.length];
      next += 1;
      if (batch !== undefined) await log.appendBatch(batch);
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: outstanding }, caller));
  return (performance.now() - start) / 1000;
}
