import { decodeBatch } from "../batch/decode-batch.ts";
import type { DiskFile } from "../base/disk.ts";
import { messageOf } from "../base/error.ts";
import { findDataEnd } from "./active-store.ts";
import type { BaseRecord } from "./base-record.ts";
import { advanceChain, type ChainPoint, findChainFault } from "./chain.ts";
import { dataHeadBytes, findEntryHeader, type Frame, logSeed } from "./frame.ts";
import { findNextFrame } from "./frame-search.ts";
import { FrameScanner } from "./frame-scanner.ts";
import type { LogContext } from "./log-context.ts";
import { listBaseIndexes } from "./segment-files.ts";
import { readSegmentHeader, segmentHeaderBytes } from "./segment-header.ts";
import { segmentPath, storeSuffix } from "./segment-name.ts";
import type { SyncMark } from "./sync-mark.ts";
import { findVouchedIndex } from "./vouching.ts";

/**
 * Reads a whole log as far as it can be read: unlike recovery and readers it doesn't stop at damage, but looks for the next
 * frame that is whole and goes on from there. What verify reports and repair works from. It changes nothing.
 */
export interface Survey {
  readonly segments: readonly SegmentSurvey[];
  readonly gaps: readonly Gap[];
  /** A torn write at the end that was never acknowledged: no damage, opening removes it. */
  readonly tear: { readonly file: string; readonly position: number; readonly bytes: number } | undefined;
  /** The last entry that is known of, in a frame or by the sync mark. */
  readonly end: ChainPoint;
  readonly batches: number;
  readonly records: number;
  readonly bytes: number;
  readonly undecodable: readonly {
    readonly file: string;
    readonly position: number;
    readonly frame: Frame;
    readonly reason: string;
  }[];
}

/** A segment as it should be: ranges of its file that are whole, and gaps between them, in order. */
export interface SegmentSurvey {
  readonly baseIndex: number;
  readonly path: string;
  readonly isMissing: boolean;
  readonly before: ChainPoint;
  readonly parts: readonly (IntactRange | Gap)[];
  readonly isHeaderSound: boolean;
}

export interface IntactRange {
  readonly kind: "intact";
  readonly position: number;
  readonly endPosition: number;
}

/** Entries that are lost: those between `before` and `after`, both exclusive and inclusive as the next whole frame says. */
export interface Gap {
  readonly kind: "gap";
  readonly file: string;
  readonly position: number;
  readonly before: ChainPoint;
  /** The last lost entry's coordinates: what the entry behind the gap is held against. */
  readonly last: ChainPoint;
  readonly reason: string;
}

/** Bad bytes at the end of a segment: how far they went is told by what comes next. */
interface PendingGap {
  readonly file: string;
  readonly position: number;
  readonly reason: string;
  /** The last entry that is known to have been there. */
  readonly reached: ChainPoint;
}

export interface SurveyOptions {
  readonly base: BaseRecord | undefined;
  readonly mark: SyncMark | undefined;
  readonly onProgress?: (progress: { readonly bytes: number; readonly totalBytes: number }) => void;
  /** Whether each batch is decoded, too. Default true. */
  readonly decodes?: boolean;
}

export async function surveyLog(
  context: Pick<LogContext, "disk" | "directory" | "logId">,
  options: SurveyOptions,
): Promise<Survey> {
  return new Surveyor(context, options).run();
}

class Surveyor {
  readonly #context: Pick<LogContext, "disk" | "directory" | "logId">;
  readonly #options: SurveyOptions;
  readonly #seed: number;
  readonly #segments: SegmentSurvey[] = [];
  readonly #gaps: Gap[] = [];
  readonly #undecodable: Survey["undecodable"][number][] = [];
  #tear: Survey["tear"];
  #batches = 0;
  #records = 0;
  #bytes = 0;
  #totalBytes = 0;

  constructor(context: Pick<LogContext, "disk" | "directory" | "logId">, options: SurveyOptions) {
    this.#context = context;
    this.#options = options;
    this.#seed = logSeed(context.logId);
  }

  async run(): Promise<Survey> {
    const { disk, directory } = this.#context;
    const { base } = this.#options;
    const listed = listBaseIndexes(this.#context);
    const firstKept =
      base === undefined
        ? 0
        : Math.max(
            0,
            listed.findLastIndex((index) => index <= base.baseIndex + 1),
          );
    const baseIndexes = listed.slice(firstKept);
    this.#totalBytes = baseIndexes.reduce(
      (sum, index) => sum + (disk.size(segmentPath(directory, index, storeSuffix)) ?? 0),
      0,
    );
    let end: ChainPoint | undefined =
      base === undefined
        ? undefined
        : { index: base.baseIndex, term: base.baseTerm, nextOffset: base.nextOffset, appendTime: 0 };
    for (const [i, baseIndex] of baseIndexes.entries()) {
      // A merge that a crash cut short left it: its entries lie in the store before, and opening removes it.
      if (end !== undefined && baseIndex <= end.index) continue;
      end = await this.#surveySegment(baseIndex, end, baseIndexes[i + 1]);
    }
    end = this.#addLostEnd(end ?? { index: 0, term: 0, nextOffset: 0, appendTime: 0 });
    return {
      segments: this.#segments,
      gaps: this.#gaps,
      tear: this.#tear,
      end,
      batches: this.#batches,
      records: this.#records,
      bytes: this.#bytes,
      undecodable: this.#undecodable,
    };
  }

  /** `end` is where the log stood before; undefined for the first segment of a log whose base record is lost. */
  async #surveySegment(baseIndex: number, end: ChainPoint | undefined, nextBaseIndex: number | undefined): Promise<ChainPoint> {
    const { disk, directory, logId } = this.#context;
    const path = segmentPath(directory, baseIndex, storeSuffix);
    const file = disk.open(path, "read");
    try {
      const bytes = Buffer.alloc(segmentHeaderBytes);
      const read = readSegmentHeader(bytes.subarray(0, file.readSync(bytes, 0)));
      const isHeaderSound = !("fault" in read) && read.header.logId.equals(logId) && read.header.baseIndex === baseIndex;
      let before: ChainPoint;
      if (!("fault" in read) && isHeaderSound) before = read.before;
      else if (end !== undefined && end.index + 1 === baseIndex) before = end;
      else before = this.#guessBefore(file, baseIndex, end);
      if (end !== undefined && end.index + 1 < baseIndex) this.#addMissingSegment(end, before);

      const parts: (IntactRange | Gap)[] = [];
      const isHalfMade = "fault" in read && nextBaseIndex === undefined && findDataEnd(file, 0) <= segmentHeaderBytes;
      if (isHalfMade && end !== undefined && this.#isTear(file, 0, file.size(), before)) {
        // It was being made when a crash came: opening removes it.
        this.#tear = { file: path, position: 0, bytes: file.size() };
        return end;
      }
      if (!isHeaderSound) {
        const reason = "fault" in read ? read.fault : "the segment header is another's";
        parts.push(this.#addGap({ file: path, position: 0, before, last: before, reason }));
      }
      const last = await this.#surveyFrames(file, { path, before, parts, isNewest: nextBaseIndex === undefined });
      this.#segments.push({ baseIndex, path, isMissing: false, before, parts, isHeaderSound });
      return last;
    } finally {
      file.close();
    }
  }

  /** A store without a sound header, and without what came before it: the first whole frame tells as much as can be known. */
  #guessBefore(file: DiskFile, baseIndex: number, end: ChainPoint | undefined): ChainPoint {
    const start = end ?? { index: baseIndex - 1, term: 0, nextOffset: 0, appendTime: 0 };
    const found = findNextFrame({
      file,
      from: 0,
      to: file.size(),
      seed: this.#seed,
      chain: { ...start, index: baseIndex - 1 },
    });
    if (found === undefined) return { ...start, index: baseIndex - 1 };
    const { term, baseOffset, appendTime } = found;
    return { index: baseIndex - 1, term: Math.min(term, Math.max(start.term, 1)), nextOffset: baseOffset, appendTime };
  }

  async #surveyFrames(
    file: DiskFile,
    segment: {
      readonly path: string;
      readonly before: ChainPoint;
      readonly parts: (IntactRange | Gap)[];
      readonly isNewest: boolean;
    },
  ): Promise<ChainPoint> {
    const { path, parts } = segment;
    let chain = segment.before;
    let position = segmentHeaderBytes;
    for (;;) {
      const scanner = new FrameScanner({
        file,
        position,
        endPosition: file.size(),
        chain,
        seed: this.#seed,
        reusesMemory: true,
      });
      while (scanner.end === undefined) {
        const from = scanner.position;
        for (const frame of await scanner.next()) this.#countFrame(path, frame);
        this.#bytes += scanner.position - from;
        this.#options.onProgress?.({ bytes: this.#bytes, totalBytes: this.#totalBytes });
      }
      if (scanner.position > position) parts.push({ kind: "intact", position, endPosition: scanner.position });
      ({ chain, position } = scanner);
      const dataEnd = findDataEnd(file, position);
      if (dataEnd === position) return chain;
      const reason =
        scanner.end.kind === "bad" || scanner.end.kind === "unsupported" ? scanner.end.reason : "zeros where a frame should be";
      if (segment.isNewest && this.#isTear(file, position, dataEnd, chain)) {
        this.#tear = { file: path, position, bytes: dataEnd - position };
        return chain;
      }
      const next = findNextFrame({ file, from: position, to: dataEnd, seed: this.#seed, chain });
      if (next === undefined) {
        // How far it went is told by the next segment's header, or by the sync mark: the gap is noted by whoever knows.
        this.#pending = { file: path, position, reason, reached: this.#findReach(file, position, chain) };
        return chain;
      }
      const last: ChainPoint = {
        index: next.index - 1,
        term: chain.term,
        nextOffset: next.baseOffset,
        appendTime: chain.appendTime,
      };
      parts.push(this.#addGap({ file: path, position, before: chain, last, reason }));
      chain = last;
      position = next.position;
    }
  }

  #pending: PendingGap | undefined;

  /** A frame whose head is whole while its batch isn't still tells which entry is lost. */
  #findReach(file: DiskFile, position: number, chain: ChainPoint): ChainPoint {
    const head = Buffer.alloc(dataHeadBytes);
    const header = findEntryHeader(head, 0, file.readSync(head, position), this.#seed);
    return header === undefined || findChainFault(chain, header) !== undefined ? chain : advanceChain(header);
  }

  #isTear(file: DiskFile, position: number, dataEnd: number, chain: ChainPoint): boolean {
    const { mark } = this.#options;
    if (mark === undefined) return false;
    const vouched = findVouchedIndex(file, position, dataEnd, { seed: this.#seed, lastIndex: chain.index });
    return Math.max(mark.index, vouched) <= chain.index;
  }

  #countFrame(path: string, frame: Frame): void {
    if (frame.kind !== "data") return;
    this.#batches += 1;
    if (this.#options.decodes === false) return;
    try {
      this.#records += decodeBatch(frame.payload).length;
    } catch (error) {
      const { position } = frame;
      this.#undecodable.push({ file: path, position, frame: { ...frame, payload: Buffer.alloc(0) }, reason: messageOf(error) });
    }
  }

  #addGap(gap: Omit<Gap, "kind">): Gap {
    const added: Gap = { kind: "gap", ...gap };
    this.#gaps.push(added);
    return added;
  }

  /** Entries are missing before a segment: the end of the one before is bad, or a whole file is gone. */
  #addMissingSegment(end: ChainPoint, before: ChainPoint): void {
    const { directory } = this.#context;
    const pending = this.#pending;
    this.#pending = undefined;
    const previous = this.#segments.at(-1);
    const path =
      previous !== undefined && pending !== undefined ? previous.path : segmentPath(directory, end.index + 1, storeSuffix);
    const gap = this.#addGap({
      file: pending?.file ?? path,
      position: pending?.position ?? 0,
      before: end,
      last: { ...before, index: before.index },
      reason: pending?.reason ?? "the file is missing",
    });
    if (previous !== undefined && pending !== undefined) {
      this.#segments[this.#segments.length - 1] = { ...previous, parts: [...previous.parts, gap] };
    } else {
      this.#segments.push({ baseIndex: end.index + 1, path, isMissing: true, before: end, parts: [gap], isHeaderSound: false });
    }
  }

  /** Entries that the sync mark knows of and no store holds any more. */
  #addLostEnd(end: ChainPoint): ChainPoint {
    const { mark } = this.#options;
    const pending = this.#pending;
    const reached = pending?.reached ?? end;
    const last: ChainPoint =
      mark !== undefined && mark.index > reached.index
        ? {
            index: mark.index,
            term: Math.max(end.term, mark.term),
            nextOffset: Math.max(end.nextOffset, mark.nextOffset),
            appendTime: Math.max(end.appendTime, mark.appendTime),
          }
        : reached;
    if (pending === undefined && last === end) return end;
    const previous = this.#segments.at(-1);
    const path = previous?.path ?? segmentPath(this.#context.directory, end.index + 1, storeSuffix);
    const gap = this.#addGap({
      file: pending?.file ?? path,
      position: pending?.position ?? 0,
      before: end,
      last,
      reason: pending?.reason ?? "the log ends before what had been synced",
    });
    if (previous === undefined) {
      this.#segments.push({ baseIndex: end.index + 1, path, isMissing: true, before: end, parts: [gap], isHeaderSound: false });
    } else {
      this.#segments[this.#segments.length - 1] = { ...previous, parts: [...previous.parts, gap] };
    }
    return last;
  }
}
