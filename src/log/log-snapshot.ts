import { assert } from "../base/assert.ts";
import { ProglogError } from "../base/error.ts";
import { encodeBaseRecord } from "./base-record.ts";
import { CommitLog, type LogParts } from "./commit-log.ts";
import { compactionMarkName } from "./compaction-mark.ts";
import { ActiveSegment } from "./active-segment.ts";
import type { Log } from "./log.ts";
import { segmentHeaderBytes } from "./segment-header.ts";
import type { Segment } from "./segments.ts";

/**
 * What a copy of an open log is made of: its base record, and of each segment the bytes of its store up to the high watermark. Nothing
 * is pinned or held back for it. What has been committed stays as it is at its place, unless a segment is compacted or put right: then
 * what was described before no longer holds, `version` is another, and whoever copies begins again with what is there. So does who finds
 * a segment trimmed away.
 */
export interface LogSnapshot {
  /** All that is read for one copy is read under the same version. */
  readonly version: string;
  /** 32 hex digits. */
  readonly logId: string;
  /** As it stands in the file, and describing nothing behind `lastIndex`. */
  readonly baseRecord: Buffer;
  readonly baseIndex: number;
  readonly logStartOffset: number;
  /** Up to here it is committed. */
  readonly lastIndex: number;
  readonly nextOffset: number;
  /** Its stores may be replaced by others that hold the same entries, with fewer records in them. */
  readonly isCompacted: boolean;
}

/** One segment up to the last index of a snapshot. The last four tell whether a copy of before is of the same entries. */
export interface SnapshotSegment {
  readonly baseIndex: number;
  /** One below the base index where nothing of it is committed. */
  readonly lastIndex: number;
  /** Of the store, from its front: its header and the entries. */
  readonly bytes: number;
  /** False where it is still written to, or not all of it is committed. */
  readonly isSealed: boolean;
  /** Of a sealed segment. */
  readonly end?: SegmentIdentity;
}

export interface SegmentIdentity {
  readonly lastTerm: number;
  readonly nextOffset: number;
  readonly lastAppendTime: number;
}

/** The snapshots of an open log. It must be one that `openLog` made. */
export function snapshotsOf(log: Log): LogSnapshots {
  assert(log instanceof CommitLog, "a log of files is copied");
  const known = snapshots.get(log) ?? new LogSnapshots(log.parts());
  snapshots.set(log, known);
  return known;
}

const snapshots = new WeakMap<Log, LogSnapshots>();

export class LogSnapshots {
  readonly #parts: LogParts;
  /** Another one for each opening: the counters below begin anew with each. */
  readonly #opening: string;

  constructor(parts: LogParts) {
    this.#parts = parts;
    this.#opening = parts.state.context.random.bytes(8).toString("hex");
  }

  get #version(): string {
    const { truncations, replacements } = this.#parts.state;
    return `${this.#opening}-${truncations}-${replacements}`;
  }

  /** Throws CHANGE_IN_PROGRESS while that isn't known which is to be copied: it is asked for again. */
  take(): Promise<LogSnapshot> {
    const { state, reads, limit, options } = this.#parts;
    return reads.run("describe the log", async () => {
      reads.checkOpen("describe the log");
      const { context } = state;
      const { index: lastIndex, nextOffset } = limit();
      const base = state.findBaseUpTo(lastIndex);
      // A segment was just begun, and what the base record says of it isn't committed yet.
      if (base === undefined) throw changed(context.directory, "not all that its base record describes is committed yet");
      return {
        version: this.#version,
        logId: context.logId.toString("hex"),
        baseRecord: encodeBaseRecord(base, 1),
        baseIndex: base.baseIndex,
        logStartOffset: base.logStartOffset,
        lastIndex,
        nextOffset,
        isCompacted:
          options.cleanup !== "delete" || context.disk.size(`${context.directory}/${compactionMarkName}`) !== undefined,
      };
    });
  }

  /** The segments from the one that begins at `fromIndex` on, up to the one that holds `lastIndex`; at most `maxCount`. */
  segments(options: {
    readonly version: string;
    readonly fromIndex: number;
    readonly lastIndex: number;
    readonly maxCount: number;
  }): Promise<readonly SnapshotSegment[]> {
    const { version, fromIndex, lastIndex, maxCount } = options;
    const { state, reads } = this.#parts;
    return reads.run("list the segments", async () => {
      this.#check(version);
      const found: SnapshotSegment[] = [];
      let segment: Segment | undefined = state.segments.findByIndex(fromIndex);
      if (segment.baseIndex !== fromIndex) throw changed(segment.storePath, `no segment begins at entry ${fromIndex}`);
      while (segment !== undefined && found.length < maxCount) {
        // Where nothing is committed of a log there is still its first segment, with its header.
        if (segment.baseIndex > Math.max(lastIndex, fromIndex)) break;
        found.push(await this.#describe(segment, lastIndex));
        this.#check(version);
        segment = state.segments.after(segment);
        // Summaries are read on the loop.
        if (found.length % 32 === 0) await state.context.clock.turn();
      }
      this.#check(version);
      return found;
    });
  }

  async #describe(segment: Segment, limitIndex: number): Promise<SnapshotSegment> {
    const { baseIndex } = segment;
    if (segment instanceof ActiveSegment) {
      const lastIndex = Math.min(limitIndex, segment.last.index);
      const bytes = lastIndex < baseIndex ? segmentHeaderBytes : segment.endPositionOf(lastIndex);
      return { baseIndex, lastIndex: Math.max(lastIndex, baseIndex - 1), bytes, isSealed: false };
    }
    const { entryCount, storeBytes, lastTerm, nextOffset, lastAppendTime } = await segment.summary();
    const lastIndex = baseIndex + entryCount - 1;
    if (lastIndex <= limitIndex)
      return { baseIndex, lastIndex, bytes: storeBytes, isSealed: true, end: { lastTerm, nextOffset, lastAppendTime } };
    const { position } = await segment.locateIndex(limitIndex + 1);
    return { baseIndex, lastIndex: limitIndex, bytes: position, isSealed: false };
  }

  /**
   * Bytes of a segment's store, of those that a description of this version told of: as many as `maxBytes` and `endPosition` allow. They
   * aren't verified: whoever copies them does that, and knows then that they came whole as well.
   */
  read(options: {
    readonly version: string;
    readonly baseIndex: number;
    readonly position: number;
    readonly endPosition: number;
    readonly maxBytes: number;
  }): Promise<Buffer> {
    const { version, baseIndex, position, endPosition, maxBytes } = options;
    const { state, reads } = this.#parts;
    return reads.run(`read the segment ${baseIndex}`, async () => {
      this.#check(version);
      const segment = state.segments.findByIndex(baseIndex);
      if (segment.baseIndex !== baseIndex) throw changed(segment.storePath, `no segment begins at entry ${baseIndex}`);
      const end = Math.min(endPosition, (await this.#describe(segment, this.#parts.limit().index)).bytes);
      const buffer = Buffer.allocUnsafeSlow(Math.max(0, Math.min(maxBytes, end - position)));
      const { disk, openFiles } = state.context;
      const file = openFiles.acquire(disk, segment.storePath);
      let readBytes: number;
      try {
        readBytes = await file.read(buffer, position);
      } finally {
        openFiles.release(file);
      }
      // What was read may be of a store that took the place of the one described.
      this.#check(version);
      return buffer.subarray(0, readBytes);
    });
  }

  #check(version: string): void {
    this.#parts.reads.checkOpen("copy the log");
    const { directory } = this.#parts.state.context;
    if (version !== this.#version)
      throw changed(directory, "it was compacted, truncated or opened anew since it was described");
  }
}

function changed(what: string, reason: string): ProglogError {
  return new ProglogError("CHANGE_IN_PROGRESS", `Cannot copy ${what}: ${reason}`, {
    hint: "Describe it anew, and begin again.",
  });
}
