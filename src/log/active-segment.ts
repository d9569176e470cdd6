import { assert } from "../base/assert.ts";
import type { Disk, DiskFile } from "../base/disk.ts";
import { messageOf } from "../base/error.ts";
import { ActiveStore } from "./active-store.ts";
import { advanceChain, type ChainPoint } from "./chain.ts";
import { ActiveIndex, type EntryLocation, findSlotOfOffset, type SegmentSummary } from "./entry-index.ts";
import type { EntryHeader } from "./frame.ts";
import type { KnownEntries } from "./index-builder.ts";
import type { LogContext } from "./log-context.ts";
import { encodeSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { indexSuffix, segmentPath, storeSuffix, timeIndexSuffix } from "./segment-name.ts";
import { ActiveTimeIndex, encodeTimeIndex, type IndexRange, writeTimeIndex } from "./time-index.ts";

/** The newest segment: the one that entries are appended to. */
export class ActiveSegment {
  readonly baseIndex: number;
  readonly storePath: string;
  readonly store: ActiveStore;
  readonly #context: LogContext;
  readonly #before: ChainPoint;
  #index: ActiveIndex;
  #timeIndex: ActiveTimeIndex;
  #last: ChainPoint;
  #firstAppendTime: number | undefined;

  constructor(context: LogContext, parts: ActiveSegmentParts) {
    this.#context = context;
    this.baseIndex = parts.before.index + 1;
    this.storePath = segmentPath(context.directory, this.baseIndex, storeSuffix);
    this.#before = parts.before;
    this.store = parts.store;
    this.#index = parts.index;
    this.#timeIndex = parts.timeIndex;
    this.#last = parts.last;
    this.#firstAppendTime = parts.firstAppendTime;
    assert(this.#index.count === this.#last.index - this.#before.index, "an index has a slot for each entry");
  }

  /**
   * Makes the files of a new segment behind `before`, with its header, durable with their names. When it throws, nothing of
   * them is left. Both are opened before the first byte is written: where there is no descriptor left, nothing has happened.
   */
  static async create(context: LogContext, before: ChainPoint, durableIndex: number): Promise<ActiveSegment> {
    const { disk, directory, logId, clock } = context;
    const storePath = segmentPath(directory, before.index + 1, storeSuffix);
    const indexPath = segmentPath(directory, before.index + 1, indexSuffix);
    const header = encodeSegmentHeader({ logId, createdAt: Math.max(0, clock.now()) }, before, durableIndex);
    const file = disk.open(storePath, "create");
    let index: ActiveIndex | undefined;
    try {
      index = ActiveIndex.create(disk, indexPath, context.mmap);
      file.writeSync([header], 0);
      await file.datasync();
      await disk.syncDirectory(directory);
      const store = new ActiveStore(file, segmentHeaderBytes);
      return new ActiveSegment(context, {
        before,
        store,
        index,
        timeIndex: new ActiveTimeIndex(),
        last: before,
        firstAppendTime: undefined,
      });
    } catch (error) {
      index?.close();
      file.close();
      await removeUnborn(context, [indexPath, storePath], error);
      throw error;
    }
  }

  /**
   * Takes over an open store whose entries are known, and makes the index file anew, or keeps both files that were sealed with
   * just these entries until there are more. Closes the store when it throws.
   */
  static adopt(context: LogContext, file: DiskFile, entries: KnownEntries, indexes: "anew" | "sealed" = "anew"): ActiveSegment {
    const { before, end, slots, timeIndex, last, firstAppendTime } = entries;
    const indexPath = segmentPath(context.directory, before.index + 1, indexSuffix);
    try {
      const store = new ActiveStore(file, end);
      const { disk, mmap } = context;
      const index =
        indexes === "sealed"
          ? ActiveIndex.resume(disk, indexPath, mmap, slots)
          : ActiveIndex.create(disk, indexPath, mmap, slots);
      return new ActiveSegment(context, { before, store, index, timeIndex, last, firstAppendTime });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Makes a sealed segment the active one again, of which only `entries` are to stay: `cut` follows. */
  static reopen(context: LogContext, entries: KnownEntries): ActiveSegment {
    const { disk, directory, openFiles } = context;
    const baseIndex = entries.before.index + 1;
    const file = disk.open(segmentPath(directory, baseIndex, storeSuffix), "write");
    // Both are written anew at the next seal; a descriptor of the old ones would go on telling what was cut.
    openFiles.forget(segmentPath(directory, baseIndex, indexSuffix));
    openFiles.forget(segmentPath(directory, baseIndex, timeIndexSuffix));
    return ActiveSegment.adopt(context, file, entries);
  }

  /** The entry before the segment. */
  before(): ChainPoint {
    return this.#before;
  }

  /** Of the last entry, or of the entry before the segment while it has none. */
  get last(): ChainPoint {
    return this.#last;
  }

  get entryCount(): number {
    return this.#index.count;
  }

  get indexKind(): "mmap" | "heap" {
    return this.#index.memoryKind;
  }

  get firstAppendTime(): number | undefined {
    return this.#firstAppendTime;
  }

  baseOffset(): number {
    return this.#before.nextOffset;
  }

  /** Makes room in the index for `count` entries, so that noting them can't fail. */
  reserve(count: number): void {
    this.#index.reserve(count);
  }

  /** Takes note of an entry that was written at `position`. `maxTimestamp` is -1 where it has none. */
  note(header: EntryHeader, position: number, maxTimestamp: number): void {
    this.#index.append(header.baseOffset, position);
    this.#timeIndex.append(maxTimestamp, header.index, position);
    this.#last = advanceChain(header);
    this.#firstAppendTime ??= header.appendTime;
  }

  locateOffset(offset: number): EntryLocation {
    return this.#locationOf(Math.max(0, findSlotOfOffset(this.#index, offset)));
  }

  locateIndex(index: number): EntryLocation {
    return this.#locationOf(index - this.baseIndex);
  }

  #locationOf(slot: number): EntryLocation {
    assert(slot >= 0 && slot < this.#index.count, "a slot of the active index");
    return { index: this.baseIndex + slot, baseOffset: this.#index.first(slot), position: this.#index.second(slot) };
  }

  /** Position behind the frame of `index`. */
  endPositionOf(index: number): number {
    return index === this.#last.index ? this.store.end : this.locateIndex(index + 1).position;
  }

  findTimeRange(timestamp: number): IndexRange | undefined {
    return this.#timeIndex.findRange(timestamp);
  }

  /** Removes all entries but `entries`, the first ones of this segment. Durable when it resolves. */
  async cut(entries: KnownEntries): Promise<void> {
    const { disk, directory, mmap } = this.#context;
    await this.store.cut(entries.end);
    // The old one serves readers until the new one is there, and for good when it can't be made.
    const replaced = this.#index;
    this.#index = ActiveIndex.create(disk, replaced.path, mmap, entries.slots);
    replaced.close();
    this.#timeIndex = entries.timeIndex;
    this.#last = entries.last;
    this.#firstAppendTime = entries.firstAppendTime;
    // A crash must not bring the old index files back: valid as they are, they would speak of the entries that were cut.
    disk.remove(segmentPath(directory, this.baseIndex, timeIndexSuffix));
    await disk.syncDirectory(directory);
  }

  summary(): SegmentSummary {
    return {
      baseIndex: this.baseIndex,
      entryCount: this.#index.count,
      baseOffset: this.#before.nextOffset,
      nextOffset: this.#last.nextOffset,
      storeBytes: this.store.end,
      maxTimestamp: this.#timeIndex.maxTimestamp,
      lastAppendTime: this.#last.appendTime,
      lastTerm: this.#last.term,
    };
  }

  /** Cuts off the zeros behind the last entry; the entries themselves are durable already. `seal` follows. */
  async prepareSeal(): Promise<void> {
    await this.store.trimZeros();
  }

  /**
   * Writes the index files with their trailers and lets go of them. Nothing can be looked up here from then on, so it takes no
   * turn of the loop: whoever seals puts a sealed segment in this one's place before a reader can come. The index files are
   * hints, so a failure there is only logged; they are built anew when they are missed.
   */
  seal(): SegmentSummary {
    const { disk, directory, seed, logger } = this.#context;
    const summary = this.summary();
    // Nothing came since they were written.
    if (this.#index.isSealed) return summary;
    try {
      this.#index.seal(summary, seed);
      const timeIndexPath = segmentPath(directory, this.baseIndex, timeIndexSuffix);
      writeTimeIndex(disk, timeIndexPath, encodeTimeIndex(this.#timeIndex.sealedSlots(), this.baseIndex, seed));
    } catch (error) {
      removeIndexes(disk, directory, this.baseIndex);
      logger.warn(
        { segment: this.storePath, error },
        "could not write the index of a sealed segment; it is built when it is needed",
      );
    }
    return summary;
  }

  /** Lets go of the files without sealing. */
  async close(): Promise<void> {
    try {
      this.#index.close();
    } finally {
      await this.store.close();
    }
  }
}

export interface ActiveSegmentParts {
  readonly before: ChainPoint;
  readonly store: ActiveStore;
  readonly index: ActiveIndex;
  readonly timeIndex: ActiveTimeIndex;
  readonly last: ChainPoint;
  readonly firstAppendTime: number | undefined;
}

/**
 * Removes the files of a segment that couldn't be made, durably. Entries may yet go to the segment before: if a crash brought
 * this one back, it would be taken for the newest, and those entries would be passed over. So when their removal isn't certain,
 * nothing may be appended any more, and the error says so by not being that of a full disk.
 */
async function removeUnborn({ disk, directory }: LogContext, paths: readonly string[], cause: unknown): Promise<void> {
  try {
    for (const path of paths) disk.remove(path);
    await disk.syncDirectory(directory);
  } catch (error) {
    throw new Error(`a segment could neither be made nor be removed: ${messageOf(cause)}; ${messageOf(error)}`, {
      cause: error,
    });
  }
}

function removeIndexes(disk: Disk, directory: string, baseIndex: number): void {
  disk.remove(segmentPath(directory, baseIndex, indexSuffix));
  disk.remove(segmentPath(directory, baseIndex, timeIndexSuffix));
}
