import { type DiskFile, systemErrorCode } from "../base/disk.ts";
import { isProglogError, ProglogError } from "../base/error.ts";
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
import type { SlotSource } from "./slots.ts";
import { scanStore } from "./store-scan.ts";
import { encodeTimeIndex, findIndexRange, type IndexRange, readTimeIndex, TimeSlots, writeTimeIndex } from "./time-index.ts";

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
  /** Whether index files may be written: not once it is retired, nor while its store isn't durably in its place. */
  #mayWrite = true;
  /** Both indexes, when there was no writing them: on a full or failing disk reading goes on. */
  #unwritten: { readonly slots: TimeSlots; readonly timeSlots: TimeSlots } | undefined;

  constructor(context: LogContext, baseIndex: number, summary?: SegmentSummary) {
    this.#context = context;
    this.baseIndex = baseIndex;
    this.storePath = segmentPath(context.directory, baseIndex, storeSuffix);
    this.#summary = summary;
  }

  /**
   * A segment whose store takes the place of an older one. Its index files are still the old one's, which a crash may bring back
   * together with the old store; so both indexes stay in memory until `settle`.
   */
  static replacing(context: LogContext, builder: IndexBuilder): SealedSegment {
    const summary = builder.summary();
    const segment = new SealedSegment(context, summary.baseIndex, summary);
    segment.#mayWrite = false;
    segment.#unwritten = { slots: new TimeSlots(builder.slotBytes), timeSlots: builder.timeIndex.sealedSlots() };
    return segment;
  }

  /** The store is durably in its place: the index files are written. */
  settle(): void {
    this.#mayWrite = true;
    if (this.#summary !== undefined) this.#writeIndexes(this.#summary);
  }

  /** It is no sealed segment of the log any more, trimmed away, replaced or active again: a rebuild that is under way writes nothing. */
  retire(): void {
    this.#mayWrite = false;
  }

  /** The entry before the segment, as its header tells. Throws LOG_CORRUPT when the header is bad. */
  before(): ChainPoint {
    if (this.#before !== undefined) return this.#before;
    const read = this.#readHeader();
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
      if (!isProglogError(error, "LOG_CORRUPT")) throw error;
      const summary = this.#readSummary();
      if (summary === undefined) throw error;
      return summary.baseOffset;
    }
  }

  /** What the segment holds, as far as its index's trailer is there and doesn't end before the store does. */
  findSummary(): SegmentSummary | undefined {
    if (this.#summary === undefined) {
      const summary = this.#readSummary();
      if (summary !== undefined && !this.#goesOnBehind(summary.storeBytes)) this.#summary = summary;
    }
    return this.#summary;
  }

  /**
   * Whether entries follow where an index says that the store ends: then it is that of an older store, of fewer entries, which a
   * crash brought back. Zeros may follow. A store that ends earlier holds the same entries, or was cut, which its readers find.
   */
  #goesOnBehind(position: number): boolean {
    if ((this.#context.disk.size(this.storePath) ?? 0) <= position) return false;
    const length = Buffer.alloc(8);
    return this.#withFile(storeSuffix, (file) => file.readSync(length, position)) > 0 && length.some((byte) => byte !== 0);
  }

  /** What the segment holds. Builds the index anew when its trailer isn't there; throws LOG_CORRUPT when the store is bad. */
  async summary(): Promise<SegmentSummary> {
    return this.findSummary() ?? (await this.rebuild());
  }

  /** Where the entry that holds `offset` is said to begin. */
  async locateOffset(offset: number): Promise<EntryLocation> {
    return this.#locate((slots) => findSlotOfOffset(slots, offset));
  }

  async locateIndex(index: number): Promise<EntryLocation> {
    return this.#locate(() => index - this.baseIndex);
  }

  async #locate(choose: (slots: SlotSource) => number): Promise<EntryLocation> {
    const summary = await this.summary();
    const locateIn = (slots: SlotSource): EntryLocation => {
      // A store that was cut short may hold no entry at all; position 0 is never one's.
      if (slots.count === 0) return { index: this.baseIndex, baseOffset: summary.baseOffset, position: 0 };
      const slot = Math.min(Math.max(choose(slots), 0), slots.count - 1);
      return { index: this.baseIndex + slot, baseOffset: slots.first(slot), position: slots.second(slot) };
    };
    const locateInFile = ({ entryCount }: SegmentSummary): EntryLocation =>
      this.#withFile(indexSuffix, (file) => locateIn(new FileSlots(file, entryCount)));

    const locateWhereItIs = (current: SegmentSummary): EntryLocation =>
      this.#unwritten === undefined ? locateInFile(current) : locateIn(this.#unwritten.slots);

    try {
      return locateWhereItIs(summary);
    } catch (error) {
      // It couldn't be written when the segment was sealed, or somebody removed it.
      if (systemErrorCode(error) !== "ENOENT") throw error;
      return locateWhereItIs(await this.rebuild());
    }
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
    const range = isThere && this.#unwritten === undefined ? read() : undefined;
    if (range !== undefined) return range;
    if (this.#unwritten === undefined) await this.rebuild();
    return this.#unwritten === undefined ? read() : findIndexRange(this.#unwritten.timeSlots, timestamp);
  }

  /** Builds both index files anew from the store. Throws LOG_CORRUPT, and leaves the files as they are, when it is bad. */
  rebuild(): Promise<SegmentSummary> {
    this.#rebuild ??= this.#rebuildIndexes().finally(() => {
      this.#rebuild = undefined;
    });
    return this.#rebuild;
  }

  async #rebuildIndexes(): Promise<SegmentSummary> {
    const { disk, directory, openFiles, seed } = this.#context;
    const before = this.before();
    const builder = new IndexBuilder(before);
    const file = openFiles.acquire(disk, this.storePath);
    try {
      await scanStore(file, { before, seed, onFrame: (frame) => builder.add(frame) }, this.storePath);
    } finally {
      openFiles.release(file);
    }
    const summary = builder.summary();
    this.#summary = summary;
    this.#unwritten = { slots: new TimeSlots(builder.slotBytes), timeSlots: builder.timeIndex.sealedSlots() };
    if (!this.#mayWrite || !this.#writeIndexes(summary)) return summary;
    const { logger } = this.#context;
    try {
      await disk.syncDirectory(directory);
      logger.warn({ segment: this.storePath, entries: summary.entryCount }, "built the index of a segment anew");
    } catch (error) {
      logger.warn(
        { segment: this.storePath, error },
        "could not sync the index of a segment; it is built anew when it is lost",
      );
    }
    return summary;
  }

  /** Writes the indexes that are in memory to their files. False when there is no writing them: they stay in memory. */
  #writeIndexes(summary: SegmentSummary): boolean {
    const { disk, directory, openFiles, seed, logger } = this.#context;
    if (this.#unwritten === undefined) return true;
    const { slots, timeSlots } = this.#unwritten;
    const indexPath = segmentPath(directory, this.baseIndex, indexSuffix);
    const timeIndexPath = segmentPath(directory, this.baseIndex, timeIndexSuffix);
    openFiles.forget(indexPath);
    openFiles.forget(timeIndexPath);
    try {
      ActiveIndex.create(disk, indexPath, undefined, slots.bytes).seal(summary, seed);
      writeTimeIndex(disk, timeIndexPath, encodeTimeIndex(timeSlots, this.baseIndex, seed));
      this.#unwritten = undefined;
      return true;
    } catch (error) {
      logger.warn({ segment: this.storePath, error }, "could not write the index of a segment; it is kept in memory");
      return false;
    }
  }

  #readSummary(): SegmentSummary | undefined {
    const { disk, directory, seed } = this.#context;
    if (disk.size(segmentPath(directory, this.baseIndex, indexSuffix)) === undefined) return undefined;
    return this.#withFile(indexSuffix, (file) => readIndexSummary(file, this.baseIndex, seed));
  }

  #readHeader(): ReturnType<typeof readSegmentHeader> {
    try {
      return this.#withFile(storeSuffix, (file) => {
        const bytes = Buffer.alloc(segmentHeaderBytes);
        return readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
      });
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") throw error;
      return { fault: "the file is missing" };
    }
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
