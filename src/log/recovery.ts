import { join } from "node:path";
import type { DiskFile } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { readPieceBytes } from "../base/limits.ts";
import { ActiveSegment } from "./active-segment.ts";
import { findDataEnd, zeroTail } from "./active-store.ts";
import type { BaseRecord } from "./base-record.ts";
import type { BaseSlots } from "./base-slots.ts";
import type { ChainPoint } from "./chain.ts";
import { corruptError } from "./corrupt-error.ts";
import { DescriptionRecovery } from "./description-recovery.ts";
import { readSealedSlots } from "./entry-index.ts";
import { FrameScanner } from "./frame-scanner.ts";
import { IndexBuilder } from "./index-builder.ts";
import type { LogContext } from "./log-context.ts";
import { finishMerge } from "./merge-note.ts";
import { findMissingSegment } from "./missing-segment.ts";
import type { LogDescription } from "./log-description.ts";
import { SealedSegment } from "./sealed-segment.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { indexSuffix, segmentPath, storeSuffix, temporarySuffix, timeIndexSuffix } from "./segment-name.ts";
import { listBaseIndexes, removeIndexes, removeSegment } from "./segment-files.ts";
import { Segments } from "./segments.ts";
import { findScanFault } from "./store-scan.ts";
import { type SyncMark, SyncMarkFile, type SyncMarkRead } from "./sync-mark.ts";
import { ActiveTimeIndex, readTimeIndex } from "./time-index.ts";
import { findVouchedIndex } from "./vouching.ts";
import { isDiskFull } from "./write-failure.ts";

/**
 * Opening a log that is there (docs/format.md, "Opening after a crash").
 *
 * The problem: at the first bad frame, is it a write that a crash tore, or acknowledged data that rotted? Cutting the latter
 * loses what was promised; refusing the former makes a log that won't start after a power cut. The way: what was durable is
 * known. The sync mark says so, and each frame says how far the log was synced when it was written, so any frame found behind
 * the bad one is a witness. Nothing is changed before the verdict is clear.
 */
export interface RecoveredLog {
  readonly segments: Segments;
  readonly markFile: SyncMarkFile;
  readonly description: LogDescription;
  readonly kind: "clean" | "recovered";
  readonly scannedBytes: number;
  readonly rewrittenBytes: number;
  readonly cut: RecoveryCut | undefined;
  readonly notes: readonly string[];
}

interface RecoveryCut {
  readonly file: string;
  readonly position: number;
  readonly bytes: number;
  readonly reason: string;
}

/** The store, its parsed header and what lies before it. */
interface NewestStore {
  readonly baseIndex: number;
  readonly path: string;
  readonly before: ChainPoint;
  readonly createdAt: number;
}

export async function recoverLog(context: LogContext, baseSlots: BaseSlots, markRead: SyncMarkRead): Promise<RecoveredLog> {
  return new Recovery(context, baseSlots, markRead).run();
}

class Recovery {
  readonly #context: LogContext;
  readonly #baseSlots: BaseSlots;
  readonly #base: BaseRecord;
  readonly #markRead: SyncMarkRead;
  readonly #mark: SyncMark | undefined;
  readonly #notes: string[] = [];
  readonly #description: DescriptionRecovery;
  #baseIndexes: number[];
  #cut: RecoveryCut | undefined;
  #scannedBytes = 0;
  #rewrittenBytes = 0;

  constructor(context: LogContext, baseSlots: BaseSlots, markRead: SyncMarkRead) {
    this.#context = context;
    this.#baseSlots = baseSlots;
    this.#base = baseSlots.record;
    this.#markRead = markRead;
    this.#mark = markRead.state === "valid" ? markRead.mark : undefined;
    this.#description = new DescriptionRecovery(context, baseSlots, this.#mark, (note) => this.#note(note));
    this.#baseIndexes = listBaseIndexes(context);
  }

  async run(): Promise<RecoveredLog> {
    if (this.#mark === undefined) this.#note(`the sync mark is ${this.#markRead.state}`);
    const merge = await finishMerge(this.#context);
    if (merge !== undefined) {
      this.#note(merge);
      this.#baseIndexes = listBaseIndexes(this.#context);
    }
    await this.#removeTrimmed();
    const missing = findMissingSegment(this.#context, this.#baseIndexes, (baseIndex) => {
      removeIndexes(this.#context, baseIndex);
      this.#note(`removed the index of segment ${baseIndex}, which was that of another store`);
    });
    if (missing !== undefined) throw corruptError(`open ${this.#context.directory}`, missing);
    if (this.#mark?.isCutting === true) await this.#removeCutSegments(this.#mark);
    const newest = await this.#findNewest();
    if (newest !== undefined) await this.#description.replay(this.#sealedBefore(newest), newest.baseIndex);
    const clean = newest === undefined ? undefined : this.#openClean(newest);
    if (clean !== undefined) return this.#finish(clean, "clean");
    const active = newest === undefined ? await this.#beginAnew() : await this.#openScanned(newest);
    return this.#finish(active, "recovered");
  }

  #note(note: string): void {
    this.#notes.push(note);
  }

  /** Segments wholly below the base record, which a crash in the middle of a trim left, and files half made. */
  async #removeTrimmed(): Promise<void> {
    const { disk, directory } = this.#context;
    const keepFrom = this.#baseIndexes.findLastIndex((baseIndex) => baseIndex <= this.#base.baseIndex + 1);
    const trimmed = this.#baseIndexes.splice(0, Math.max(0, keepFrom));
    // A base record that strayed here from another log has other numbers: nothing may go by those.
    if (trimmed.length > 0 || !this.#baseSlots.doSlotsAgree)
      for (const baseIndex of [...trimmed, ...this.#baseIndexes.slice(-1)]) this.#checkOwner(baseIndex);
    const isBaseSafe = await this.#secureBase(trimmed.length > 0);
    if (!isBaseSafe) trimmed.length = 0;
    for (const baseIndex of trimmed) removeSegment(this.#context, baseIndex);
    const temporary = disk.list(directory).filter((name) => name.endsWith(temporarySuffix));
    for (const name of temporary) disk.remove(join(directory, name));
    if (trimmed.length + temporary.length > 0) {
      await disk.syncDirectory(directory);
      if (trimmed.length > 0) this.#note(`removed ${trimmed.length} segments that had been trimmed`);
    }
    const first = this.#baseIndexes[0];
    if (first !== undefined && first > this.#base.baseIndex + 1) {
      throw this.#rot(
        segmentPath(directory, this.#base.baseIndex + 1, storeSuffix),
        0,
        this.#base.nextOffset,
        "the file is missing",
      );
    }
  }

  /**
   * Brings the base record to the disk, and to both of its files, before anything is done that relies on it. Returns whether
   * both are there: only then may what they alone know be removed. For want of room one has to do, and the next opening tries again.
   */
  async #secureBase(isToRemove: boolean): Promise<boolean> {
    const isClosed = this.#mark?.isClean === true;
    if (!isClosed || isToRemove || !this.#baseSlots.doSlotsAgree) await this.#baseSlots.sync();
    if (this.#baseSlots.doSlotsAgree) return true;
    try {
      await this.#baseSlots.restoreOther();
      return true;
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#note("one file of the base record couldn't be written: the disk is full");
      return false;
    }
  }

  /** Throws LOG_CORRUPT when a store's header says that it belongs to another log than the base record. */
  #checkOwner(baseIndex: number): void {
    const { disk, directory, logId } = this.#context;
    const path = segmentPath(directory, baseIndex, storeSuffix);
    const read = withFile(disk.open(path, "read"), readHeaderOf);
    if (!("fault" in read) && !read.header.logId.equals(logId)) throw this.#rot(path, 0, 0, "it belongs to another log");
  }

  /** A truncation was under way: goes on with it, newest segment first. */
  async #removeCutSegments(mark: SyncMark): Promise<void> {
    const { disk, directory } = this.#context;
    for (;;) {
      const newest = this.#baseIndexes.at(-1);
      if (newest === undefined || newest <= mark.index || this.#baseIndexes.length === 1) return;
      removeSegment(this.#context, newest);
      await disk.syncDirectory(directory);
      this.#baseIndexes.pop();
    }
  }

  /**
   * The newest store with a sound header. One whose header is torn was being made when a crash came, and nothing in it was
   * acknowledged, unless somebody vouches for an entry in it: then it rotted.
   */
  async #findNewest(): Promise<NewestStore | undefined> {
    const { disk, directory, seed, logId } = this.#context;
    for (;;) {
      const baseIndex = this.#baseIndexes.at(-1);
      if (baseIndex === undefined) return undefined;
      const path = segmentPath(directory, baseIndex, storeSuffix);
      const file = disk.open(path, "read");
      try {
        const read = readHeaderOf(file);
        if (!("fault" in read)) {
          if (!read.header.logId.equals(logId)) throw this.#rot(path, 0, 0, "it belongs to another log");
          if (read.header.baseIndex !== baseIndex)
            throw this.#rot(path, 0, 0, `its header says base index ${read.header.baseIndex}`);
          return { baseIndex, path, before: read.before, createdAt: read.header.createdAt };
        }
        const vouched = findVouchedIndex(file, 0, file.size(), { seed, lastIndex: baseIndex - 1 });
        const dataEnd = findDataEnd(file, 0);
        // A header is durable before anything is written behind it: with something there, it can't be half made.
        if (dataEnd > segmentHeaderBytes) throw this.#rot(path, 0, 0, read.fault);
        this.#judge({ path, position: 0, lastIndex: baseIndex - 1, nextOffset: 0, vouched, reason: read.fault, isBad: true });
        this.#cut = { file: path, position: 0, bytes: dataEnd, reason: read.fault };
      } finally {
        file.close();
      }
      removeSegment(this.#context, baseIndex);
      await disk.syncDirectory(directory);
      this.#baseIndexes.pop();
    }
  }

  /** Throws LOG_CORRUPT when an entry is missing that was acknowledged, or when nobody can tell. */
  #judge(verdict: {
    readonly path: string;
    readonly position: number;
    /** The last entry that is sound. */
    readonly lastIndex: number;
    readonly nextOffset: number;
    /** By frames found behind the bad one. */
    readonly vouched: number;
    readonly reason: string;
    /** Whether there are bad bytes, and not just an end. */
    readonly isBad: boolean;
  }): void {
    const { path, position, lastIndex, nextOffset } = verdict;
    const durableIndex = Math.max(this.#mark?.index ?? 0, verdict.vouched);
    if (durableIndex > lastIndex) {
      throw this.#rot(path, position, nextOffset, `${verdict.reason}, and entries up to ${durableIndex} had been synced`);
    }
    if (verdict.isBad && this.#mark === undefined) {
      const reason = `${verdict.reason}, and the sync mark is ${this.#markRead.state}, so what had been synced can't be known`;
      throw this.#rot(path, position, nextOffset, reason);
    }
  }

  #rot(file: string, position: number, firstOffset: number, reason: string): ProglogError {
    const nextOffset = this.#mark === undefined ? firstOffset : Math.max(firstOffset, this.#mark.nextOffset);
    return corruptError(`open ${this.#context.directory}`, { file, position, firstOffset, nextOffset, reason });
  }

  /** A log that was closed: its index files are whole and nothing lies behind the mark. Undefined when that isn't so. */
  #openClean(newest: NewestStore): ActiveSegment | undefined {
    const { disk, directory, seed } = this.#context;
    const mark = this.#mark;
    if (mark === undefined || !mark.isClean || mark.isCutting || mark.isPoisoned) return undefined;
    if (mark.segmentBaseIndex !== newest.baseIndex) return undefined;
    const indexPath = segmentPath(directory, newest.baseIndex, indexSuffix);
    const timeIndexPath = segmentPath(directory, newest.baseIndex, timeIndexSuffix);
    if (disk.size(indexPath) === undefined || disk.size(timeIndexPath) === undefined) return undefined;
    const sealed = withFile(disk.open(indexPath, "read"), (file) => readSealedSlots(file, newest.baseIndex, seed));
    const timeSlots = withFile(disk.open(timeIndexPath, "read"), (file) => readTimeIndex(file, newest.baseIndex, seed));
    if (sealed === undefined || timeSlots === undefined || disk.size(newest.path) !== mark.position) return undefined;
    const { summary } = sealed;
    const lastIndex = newest.before.index + summary.entryCount;
    if (lastIndex !== mark.index || summary.storeBytes !== mark.position || summary.nextOffset !== mark.nextOffset)
      return undefined;
    // Index files aren't synced: of the time index, a power cut may have brought back the one that was there when the log was opened.
    const timeIndex = new ActiveTimeIndex(timeSlots);
    if (timeIndex.maxTimestamp !== summary.maxTimestamp) return undefined;
    const last: ChainPoint = { index: mark.index, term: mark.term, nextOffset: mark.nextOffset, appendTime: mark.appendTime };
    const entries = {
      before: newest.before,
      end: mark.position,
      slots: sealed.slots,
      timeIndex,
      last,
      // Age counts from when the segment was made then: a little early, and no frame has to be read for it.
      firstAppendTime: summary.entryCount === 0 ? undefined : newest.createdAt,
    };
    return ActiveSegment.adopt(this.#context, disk.open(newest.path, "write"), entries, "sealed");
  }

  /**
   * No store is left: fine when nobody vouches for an entry behind the base record. What comes next must not fall behind the
   * append times of what was there, of which the mark knows the last.
   */
  async #beginAnew(): Promise<ActiveSegment> {
    const { baseIndex, baseTerm, nextOffset } = this.#base;
    const path = segmentPath(this.#context.directory, baseIndex + 1, storeSuffix);
    if (this.#cut === undefined) {
      const isBad = this.#mark === undefined;
      this.#judge({ path, position: 0, lastIndex: baseIndex, nextOffset, vouched: 0, reason: "the file is missing", isBad });
    }
    const before: ChainPoint = { index: baseIndex, term: baseTerm, nextOffset, appendTime: this.#mark?.appendTime ?? 0 };
    return ActiveSegment.create(this.#context, before, baseIndex);
  }

  async #openScanned(newest: NewestStore): Promise<ActiveSegment> {
    const { disk, seed } = this.#context;
    const file = disk.open(newest.path, "write");
    const builder = new IndexBuilder(newest.before);
    try {
      const cutIndex = this.#mark?.isCutting === true ? this.#mark.index : Number.POSITIVE_INFINITY;
      const scanner = new FrameScanner({
        file,
        position: segmentHeaderBytes,
        endPosition: file.size(),
        chain: newest.before,
        seed,
        reusesMemory: true,
      });
      let isCut = newest.before.index >= cutIndex;
      while (scanner.end === undefined && !isCut) {
        for (const frame of await scanner.next()) {
          isCut ||= frame.index > cutIndex;
          if (isCut) break;
          builder.add(frame);
          this.#description.noteFrame(frame);
        }
      }
      isCut ||= builder.last.index >= cutIndex;
      const end = builder.storeBytes;
      this.#scannedBytes += end;
      this.#judgeEnd(newest, file, scanner, { end, isCut, last: builder.last });
      await this.#makeDurable(newest, file, end);
    } catch (error) {
      file.close();
      throw error;
    }
    // Of a poisoned log, the name stands for another file now.
    const isCopied = this.#mark?.isPoisoned === true;
    if (isCopied) file.close();
    const store = isCopied ? disk.open(newest.path, "write") : file;
    return ActiveSegment.adopt(this.#context, store, { before: newest.before, ...builder.entries() });
  }

  #judgeEnd(
    newest: NewestStore,
    file: DiskFile,
    scanner: FrameScanner,
    scan: { readonly end: number; readonly isCut: boolean; readonly last: ChainPoint },
  ): void {
    const { path } = newest;
    const { end, last } = scan;
    const dataEnd = findDataEnd(file, end);
    if (scan.isCut) {
      this.#note(`finished a truncation behind entry ${last.index}`);
      if (dataEnd > end) this.#cut = { file: path, position: end, bytes: dataEnd - end, reason: "a truncation was under way" };
      return;
    }
    if (scanner.end?.kind === "unsupported") {
      throw new ProglogError("UNSUPPORTED_FORMAT", `Cannot open ${path}: position ${end} holds ${scanner.end.reason}`, {
        hint: "Use the version of proglog that wrote it, or a newer one.",
      });
    }
    const fault = findScanFault(file, scanner);
    const vouched =
      fault === undefined ? 0 : findVouchedIndex(file, end, dataEnd, { seed: this.#context.seed, lastIndex: last.index });
    this.#judge({
      path,
      position: end,
      lastIndex: last.index,
      nextOffset: last.nextOffset,
      vouched,
      reason: fault ?? "the log ends",
      isBad: fault !== undefined,
    });
    if (fault !== undefined) this.#cut = { file: path, position: end, bytes: dataEnd - end, reason: fault };
  }

  /**
   * Brings what was recovered to the disk: what a crash left in memory may be on no disk, and after a failed sync its pages
   * are even marked clean, so a sync alone would do nothing. It is written again, and only then synced. What is torn is
   * zeroed, so that it can't come back behind what will be appended.
   */
  async #makeDurable(newest: NewestStore, file: DiskFile, end: number): Promise<void> {
    const { disk, directory } = this.#context;
    const mark = this.#mark;
    // They are built anew from the store. The old ones mustn't come back in a crash: see `ActiveSegment.cut`.
    for (const suffix of [indexSuffix, timeIndexSuffix] as const) disk.remove(segmentPath(directory, newest.baseIndex, suffix));
    const isMarkHere = mark !== undefined && mark.segmentBaseIndex === newest.baseIndex && mark.position <= end;
    const from = isMarkHere ? mark.position : 0;
    if (mark?.isPoisoned === true) {
      await this.#copyToNewFile(newest.path, file, end);
      await disk.syncDirectory(directory);
      return;
    }
    const piece = Buffer.allocUnsafeSlow(Math.min(readPieceBytes, Math.max(0, end - from)));
    for (let at = from; at < end; at += piece.length) {
      const bytes = piece.subarray(0, Math.min(piece.length, end - at));
      file.readSync(bytes, at);
      await file.write([bytes], at);
    }
    this.#rewrittenBytes += Math.max(0, end - from);
    await zeroTail(file, end);
    await file.datasync();
    await disk.syncDirectory(directory);
  }

  async #copyToNewFile(path: string, file: DiskFile, end: number): Promise<void> {
    const { disk } = this.#context;
    const temporaryPath = path + temporarySuffix;
    disk.remove(temporaryPath);
    const copy = disk.open(temporaryPath, "create");
    try {
      for (let at = 0; at < end; at += readPieceBytes) {
        const bytes = Buffer.allocUnsafeSlow(Math.min(readPieceBytes, end - at));
        await file.read(bytes, at);
        await copy.write([bytes], at);
      }
      await copy.datasync();
    } finally {
      copy.close();
    }
    disk.rename(temporaryPath, path);
    this.#rewrittenBytes += end;
    this.#note("copied the newest segment to a new file, since a write or sync had failed");
  }

  #sealedBefore(newest: { readonly baseIndex: number }): SealedSegment[] {
    return this.#baseIndexes
      .filter((baseIndex) => baseIndex < newest.baseIndex)
      .map((baseIndex) => new SealedSegment(this.#context, baseIndex));
  }

  async #finish(active: ActiveSegment, kind: "clean" | "recovered"): Promise<RecoveredLog> {
    const segments = new Segments(this.#sealedBefore(active), active);
    try {
      // Nothing is left to read of one that was scanned.
      await this.#description.replay([active], active.last.index + 1);
      const description = await this.#description.finish(active.last);
      const markFile = await this.#openMark(active, kind, description.newsIndex);
      return {
        segments,
        markFile,
        description,
        kind,
        scannedBytes: this.#scannedBytes,
        rewrittenBytes: this.#rewrittenBytes,
        cut: this.#cut,
        notes: this.#notes,
      };
    } catch (error) {
      await active.close();
      throw error;
    }
  }

  async #openMark(active: ActiveSegment, kind: "clean" | "recovered", newsIndex: number): Promise<SyncMarkFile> {
    const { disk, directory, logId } = this.#context;
    // A clean mark stays until the first append takes it back.
    if (kind === "clean" && this.#markRead.state === "valid") {
      return SyncMarkFile.open(disk, directory, logId, this.#markRead.sequence, this.#markRead.mark);
    }
    const mark = markAt(active, newsIndex);
    const file =
      this.#markRead.state === "valid"
        ? SyncMarkFile.open(disk, directory, logId, this.#markRead.sequence, { ...this.#markRead.mark, isPoisoned: false })
        : await SyncMarkFile.create(disk, directory, logId, mark);
    try {
      if (this.#markRead.state === "valid") await file.writeBoth(mark);
      else await disk.syncDirectory(directory);
      return file;
    } catch (error) {
      file.close();
      throw error;
    }
  }
}

/** A mark that vouches for everything up to the end of `active`. */
export function markAt(active: ActiveSegment, newsIndex: number): SyncMark {
  const { last } = active;
  return {
    index: last.index,
    term: last.term,
    nextOffset: last.nextOffset,
    appendTime: last.appendTime,
    segmentBaseIndex: active.baseIndex,
    position: active.store.end,
    newsIndex,
    isClean: false,
    isCutting: false,
    isPoisoned: false,
  };
}

function readHeaderOf(file: DiskFile): ReturnType<typeof readSegmentHeader> {
  const bytes = Buffer.alloc(segmentHeaderBytes);
  return readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
}

function withFile<T>(file: DiskFile, use: (file: DiskFile) => T): T {
  try {
    return use(file);
  } finally {
    file.close();
  }
}
