import type { DiskFile } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import type { ChainPoint } from "./chain.ts";
import {
  ActiveIndex,
  type EntryLocation,
  FileSlots,
  findSlotOfOffset,
  readIndexSummary,
  type SegmentSummary,
} from "./entry-index.ts";
import { IndexBuilder } from "./index-builder.ts";
import type { LogContext } from "./log-context.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { indexSuffix, segmentPath, storeSuffix, timeIndexSuffix } from "./segment-name.ts";
import { scanStore } from "./store-scan.ts";
import { encodeTimeIndex, findIndexRange, type IndexRange, readTimeIndex, writeTimeIndex } from "./time-index.ts";

/**
 * A segment that takes no more entries. Nothing of it is held in memory but what was asked for: 100,000 of them cost a name
 * each. Its index files are hints; when one turns out wrong it is built anew from the store, once.
 */
export class SealedSegment {
  readonly baseIndex: number;
  readonly storePath: string;
  readonly #context: LogContext;
  #summary: SegmentSummary | undefined;
  #before: ChainPoint | undefined;
  #rebuild: Promise<SegmentSummary> | undefined;
  #isRetired = false;

  constructor(context: LogContext, baseIndex: number, summary?: SegmentSummary) {
    this.#context = context;
    this.baseIndex = baseIndex;
    this.storePath = segmentPath(context.directory, baseIndex, storeSuffix);
    this.#summary = summary;
  }

  /** It is no sealed segment of the log any more, trimmed away or active again: a rebuild that is under way writes nothing. */
  retire(): void {
    this.#isRetired = true;
  }

  /** The entry before the segment, as its header tells. Throws LOG_CORRUPT when the header is bad. */
  before(): ChainPoint {
    if (this.#before !== undefined) return this.#before;
    const read = this.#withStore((file) => {
      const bytes = Buffer.alloc(segmentHeaderBytes);
      return readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
    });
    const fault =
      "fault" in read
        ? read.fault
        : !read.header.logId.equals(this.#context.logId)
          ? "it belongs to another log"
          : read.header.baseIndex !== this.baseIndex
            ? `its header says base index ${read.header.baseIndex}`
            : undefined;
    if (fault !== undefined || "fault" in read) {
      throw new ProglogError("LOG_CORRUPT", `Cannot read ${this.storePath}: ${fault}`, {
        hint: "Run `proglog verify` on the directory; `proglog repair` says what would be lost.",
        details: { file: this.storePath, position: 0 },
      });
    }
    this.#before = read.before;
    return read.before;
  }

  /** The offset of its first record. Taken from the index when the store's header is bad, so that other segments are found. */
  baseOffset(): number {
    try {
      return this.#summary?.baseOffset ?? this.before().nextOffset;
    } catch (error) {
      const summary = this.#readSummary();
      if (summary === undefined) throw error;
      return summary.baseOffset;
    }
  }

  /** What the segment holds. Builds the index anew when its trailer isn't there; throws LOG_CORRUPT when the store is bad. */
  async summary(): Promise<SegmentSummary> {
    this.#summary ??= this.#readSummary();
    return this.#summary ?? (await this.rebuild());
  }

  /** Where the entry that holds `offset` is said to begin. */
  async locateOffset(offset: number): Promise<EntryLocation> {
    return this.#locate((slots) => findSlotOfOffset(slots, offset));
  }

  async locateIndex(index: number): Promise<EntryLocation> {
    return this.#locate(() => index - this.baseIndex);
  }

  async #locate(choose: (slots: FileSlots) => number): Promise<EntryLocation> {
    const summary = await this.summary();
    return this.#withFile(indexSuffix, (file) => {
      // A store that was cut short may hold no entry at all; position 0 is never one's.
      if (summary.entryCount === 0) return { index: this.baseIndex, baseOffset: summary.baseOffset, position: 0 };
      const slots = new FileSlots(file, summary.entryCount);
      const slot = Math.min(Math.max(choose(slots), 0), summary.entryCount - 1);
      return { index: this.baseIndex + slot, baseOffset: slots.first(slot), position: slots.second(slot) };
    });
  }

  /** The indexes among which the first batch at or after `timestamp` lies; undefined when the segment has none. */
  async findTimeRange(timestamp: number): Promise<IndexRange | undefined> {
    const summary = await this.summary();
    if (summary.maxTimestamp < timestamp) return undefined;
    const path = segmentPath(this.#context.directory, this.baseIndex, timeIndexSuffix);
    const isThere = this.#context.disk.size(path) !== undefined;
    const read = (): IndexRange | undefined => {
      const slots = this.#withFile(timeIndexSuffix, (file) => readTimeIndex(file, this.baseIndex, this.#context.seed));
      return slots === undefined ? undefined : findIndexRange(slots, timestamp);
    };
    const range = isThere ? read() : undefined;
    if (range !== undefined) return range;
    await this.rebuild();
    return read();
  }

  /** Builds both index files anew from the store. Throws LOG_CORRUPT, and leaves the files as they are, when it is bad. */
  rebuild(): Promise<SegmentSummary> {
    this.#rebuild ??= this.#rebuildIndexes().finally(() => {
      this.#rebuild = undefined;
    });
    return this.#rebuild;
  }

  async #rebuildIndexes(): Promise<SegmentSummary> {
    const { disk, directory, openFiles, seed, logger } = this.#context;
    const before = this.before();
    const builder = new IndexBuilder(before);
    const file = openFiles.acquire(disk, this.storePath);
    try {
      await scanStore(file, { before, seed, onFrame: (frame) => builder.add(frame) }, this.storePath);
    } finally {
      openFiles.release(file);
    }
    const summary = builder.summary();
    if (this.#isRetired) return summary;
    const indexPath = segmentPath(directory, this.baseIndex, indexSuffix);
    const timeIndexPath = segmentPath(directory, this.baseIndex, timeIndexSuffix);
    openFiles.forget(indexPath);
    openFiles.forget(timeIndexPath);
    ActiveIndex.create(disk, indexPath, undefined, builder.slotBytes).seal(summary, seed);
    writeTimeIndex(disk, timeIndexPath, encodeTimeIndex(builder.timeIndex.sealedSlots(), this.baseIndex, seed));
    await disk.syncDirectory(directory);
    logger.warn({ segment: this.storePath, entries: summary.entryCount }, "built the index of a segment anew");
    this.#summary = summary;
    return summary;
  }

  #readSummary(): SegmentSummary | undefined {
    const { disk, directory, seed } = this.#context;
    if (disk.size(segmentPath(directory, this.baseIndex, indexSuffix)) === undefined) return undefined;
    return this.#withFile(indexSuffix, (file) => readIndexSummary(file, this.baseIndex, seed));
  }

  #withStore<T>(use: (file: DiskFile) => T): T {
    return this.#withFile(storeSuffix, use);
  }

  #withFile<T>(suffix: typeof storeSuffix | typeof indexSuffix | typeof timeIndexSuffix, use: (file: DiskFile) => T): T {
    const { disk, directory, openFiles } = this.#context;
    const file = openFiles.acquire(disk, segmentPath(directory, this.baseIndex, suffix));
    try {
      return use(file);
    } finally {
      openFiles.release(file);
    }
  }
}
