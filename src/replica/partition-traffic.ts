import type { LogObserver } from "../log/index.ts";

/**
 * What went into and out of one log since this process opened it: plain numbers, counted up where it happens and asked for when somebody
 * wants to know. Counters by name would be looked up for each append.
 */
export class PartitionTraffic {
  appendedRecords = 0;
  appendedBatches = 0;
  /** Of frames whole. */
  appendedBytes = 0;
  readBatches = 0;
  /** Of batches as packed. */
  readBytes = 0;

  /** An observer that counts here what it passes on to `next`. */
  counting(next: LogObserver = {}): LogObserver {
    return {
      ...next,
      appended: (event) => {
        this.appendedRecords += event.records;
        this.appendedBatches += event.batches;
        this.appendedBytes += event.bytes;
        next.appended?.(event);
      },
      read: (event) => {
        this.readBatches += event.batches;
        this.readBytes += event.bytes;
        next.read?.(event);
      },
    };
  }
}
