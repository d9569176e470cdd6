import { readBatchHeader } from "../batch/batch-header.ts";
import { decodeBatch } from "../batch/decode-batch.ts";
import type { StoredRecord } from "../batch/record.ts";
import type { Frame } from "./frame.ts";
import type { StoredBatch } from "./log.ts";

/** A data frame as readers get it. Its header is parsed when somebody asks. */
export class FrameBatch implements StoredBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly appendTime: number;
  readonly index: number;
  readonly term: number;
  readonly batch: Buffer;

  constructor(frame: Frame) {
    this.baseOffset = frame.baseOffset;
    this.nextOffset = frame.baseOffset + frame.span;
    this.appendTime = frame.appendTime;
    this.index = frame.index;
    this.term = frame.term;
    this.batch = frame.payload;
  }

  get recordCount(): number {
    return readBatchHeader(this.batch).recordCount;
  }

  get maxTimestamp(): number {
    return readBatchHeader(this.batch).maxTimestamp;
  }

  records(): StoredRecord[] {
    // The batch may not be able to say which offsets it holds; the entry can, so that a reader can go on behind it.
    return decodeBatch(this.batch, this);
  }
}
