import { readBatchHeader } from "../batch/batch-header.ts";
import { assert } from "../base/assert.ts";
import { advanceChain, type ChainPoint } from "./chain.ts";
import type { SegmentSummary } from "./entry-index.ts";
import type { Frame } from "./frame.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import { slotBytes, writeSlot } from "./slots.ts";
import { ActiveTimeIndex } from "./time-index.ts";

/** Gathers both indexes of a segment from its frames, in order. */
export class IndexBuilder {
  readonly timeIndex = new ActiveTimeIndex();
  readonly #before: ChainPoint;
  #last: ChainPoint;
  #slots = Buffer.alloc(0);
  #count = 0;
  #storeBytes = segmentHeaderBytes;
  #firstAppendTime: number | undefined;

  /** `before` is the entry before the segment. */
  constructor(before: ChainPoint) {
    this.#before = before;
    this.#last = before;
  }

  /** The entry slots as they stand in the file. */
  get slotBytes(): Buffer {
    return this.#slots.subarray(0, this.#count * slotBytes);
  }

  get last(): ChainPoint {
    return this.#last;
  }

  /** Position behind the last frame. */
  get storeBytes(): number {
    return this.#storeBytes;
  }

  /** Of the segment's first entry; undefined when it has none. */
  get firstAppendTime(): number | undefined {
    return this.#firstAppendTime;
  }

  add(frame: Frame): void {
    assert(frame.index === this.#before.index + 1 + this.#count, "entries are added in order");
    if ((this.#count + 1) * slotBytes > this.#slots.length) {
      const grown = Buffer.alloc(Math.max(256 * slotBytes, 2 * this.#slots.length));
      this.#slots.copy(grown);
      this.#slots = grown;
    }
    writeSlot(this.#slots, this.#count, frame.baseOffset, frame.position);
    this.#count += 1;
    this.#storeBytes = frame.position + frame.byteLength;
    this.#last = advanceChain(frame);
    this.#firstAppendTime ??= frame.appendTime;
    if (frame.kind === "data") this.timeIndex.append(readBatchHeader(frame.payload).maxTimestamp, frame.index, frame.position);
  }

  /** What an active segment needs to know of them. */
  entries(): Omit<KnownEntries, "before"> {
    return {
      end: this.#storeBytes,
      slots: this.slotBytes,
      timeIndex: this.timeIndex,
      last: this.#last,
      firstAppendTime: this.#firstAppendTime,
    };
  }

  summary(): SegmentSummary {
    return {
      baseIndex: this.#before.index + 1,
      entryCount: this.#count,
      baseOffset: this.#before.nextOffset,
      nextOffset: this.#last.nextOffset,
      storeBytes: this.#storeBytes,
      maxTimestamp: this.timeIndex.maxTimestamp,
      lastAppendTime: this.#last.appendTime,
      lastTerm: this.#last.term,
    };
  }
}

/** What is known of the entries of a store. */
export interface KnownEntries {
  /** The entry before the segment. */
  readonly before: ChainPoint;
  /** Position behind the last frame. */
  readonly end: number;
  /** The slots of the index. */
  readonly slots: Buffer;
  readonly timeIndex: ActiveTimeIndex;
  readonly last: ChainPoint;
  readonly firstAppendTime: number | undefined;
}
