import { ProglogError } from "../base/error.ts";
import { readPieceBytes } from "../base/limits.ts";
import { ActiveSegment } from "./active-segment.ts";
import type { ChainPoint } from "./chain.ts";
import {
  type CheckThere,
  chainBefore,
  damageError,
  describeEnd,
  findPlaceOfIndex,
  findPlaceOfOffset,
  type Piece,
  readPiece,
} from "./entry-lookup.ts";
import type { EntryLocation } from "./entry-index.ts";
import { type Frame, isWhole, nextOffsetOf } from "./frame.ts";
import { FrameStartBatch, type LargeBatchParts } from "./large-batch.ts";
import type { LogState } from "./log-state.ts";
import type { PieceMemory } from "./piece-memory.ts";
import type { Segment } from "./segments.ts";
import { segmentHeaderBytes } from "./segment-header.ts";

/** How far readers may go: the last visible entry. */
export interface ReadLimit {
  readonly index: number;
  readonly nextOffset: number;
}

export interface CursorOptions {
  readonly checkThere: CheckThere;
  /** Each piece is read over the one before, where its reader keeps none. */
  readonly memory: PieceMemory | undefined;
  /** Of a larger entry only its start is read: `largeBatch` has the rest. Undefined: all come whole. */
  readonly wholeMaxBytes: number | undefined;
}

interface Place {
  readonly position: number;
  /** The entry before it. */
  readonly chain: ChainPoint;
}

/** A place in a store as it was after so many replacements: compaction may put another store in its place at any time. */
interface KnownPlace extends Place {
  readonly baseIndex: number;
  readonly replacements: number;
}

/**
 * A place in the log, moving forward an entry at a time, across segments, never past the limit and never over a gap: an entry
 * that can't be read, was trimmed or was truncated is an error, never passed over in silence.
 */
export class LogCursor {
  readonly #state: LogState;
  readonly #limit: () => ReadLimit;
  /** The next entry, and the place where it begins when that is known. */
  #next: { index: number; nextOffset: number };
  /** The first offset that is wanted of the next entry: not its first where reading began inside a batch. */
  #wantedOffset: number;
  #place: KnownPlace | undefined;
  readonly #options: CursorOptions;
  /** What the last frames were read from. */
  #source: { readonly segment: Segment; readonly replacements: number } | undefined;
  #truncatedAt: number | undefined;
  #truncations = 0;

  private constructor(
    state: LogState,
    limit: () => ReadLimit,
    next: { index: number; nextOffset: number },
    wantedOffset: number,
    options: CursorOptions,
  ) {
    this.#state = state;
    this.#limit = limit;
    this.#next = next;
    this.#wantedOffset = wantedOffset;
    this.#options = options;
  }

  /** A cursor at the entry that holds `offset`, which lies between the log start and the limit, both inclusive. */
  static async open(state: LogState, limit: () => ReadLimit, offset: number, options: CursorOptions): Promise<LogCursor> {
    const { checkThere } = options;
    const end = limit();
    if (offset >= end.nextOffset) {
      const { index, nextOffset } = end;
      return new LogCursor(state, limit, { index: index + 1, nextOffset }, nextOffset, options);
    }
    const segment = state.segments.findByOffset(offset);
    const location = await findPlaceOfOffset(state.context, segment, offset, checkThere);
    checkThere();
    const cursor = new LogCursor(state, limit, { index: location.index, nextOffset: location.baseOffset }, offset, options);
    const { replacements } = state;
    cursor.#place = { baseIndex: segment.baseIndex, replacements, position: location.position, chain: chainBefore(location) };
    return cursor;
  }

  /** The offset of the next record. */
  get nextOffset(): number {
    return this.#next.nextOffset;
  }

  /** To be told when entries behind `index` were dropped. */
  noteTruncation(index: number, nextOffset: number): void {
    this.#truncations += 1;
    const isPassed = index + 1 < this.#next.index || nextOffset < this.#wantedOffset;
    if (isPassed) this.#truncatedAt = Math.min(this.#truncatedAt ?? nextOffset, nextOffset);
  }

  /** The next entries, of a kind whatever; none at the limit. */
  async next(pieceBytes: number = readPieceBytes): Promise<readonly Frame[]> {
    this.#checkReadable();
    const limit = this.#limit();
    if (this.#next.index > limit.index) return [];
    const segment = this.#state.segments.findByIndex(this.#next.index);
    const truncations = this.#truncations;
    const { replacements } = this.#state;
    // Asked for now: the segment may be sealed by the time its place is known.
    const end = segment instanceof ActiveSegment && { endPosition: segment.endPositionOf(limit.index) };
    const { memory, wholeMaxBytes } = this.#options;
    let place: Place;
    let piece: Piece;
    try {
      place = await this.#placeIn(segment);
      // Another store lies there now, and has the entry elsewhere. Once it is opened, below, the one that was opened is read on.
      if (replacements !== this.#state.replacements) return await this.next(pieceBytes);
      piece = await readPiece(this.#state.context, segment, { ...place, ...end, pieceBytes, memory, wholeMaxBytes });
    } catch (error) {
      this.#checkReadable();
      if (truncations !== this.#truncations || replacements !== this.#state.replacements) return this.next(pieceBytes);
      throw error;
    }
    // While the piece was read the log may have been trimmed, or truncated and written again, under it.
    this.#checkReadable();
    if (truncations !== this.#truncations) return this.next(pieceBytes);
    // A truncation that failed half-way leaves the limit inside a sealed segment, which is read to its end.
    const frames = piece.frames.filter((frame) => frame.index <= limit.index);
    const last = frames.at(-1);
    if (last === undefined) throw await this.#damage(segment, place.position, describeEnd(piece.end) ?? "no frame");
    this.#source = { segment, replacements };
    const isAll = frames.length === piece.frames.length;
    const { position, chain } = piece;
    this.#place = isAll ? { baseIndex: segment.baseIndex, replacements, position, chain } : undefined;
    this.#next = { index: last.index + 1, nextOffset: nextOffsetOf(last) };
    this.#wantedOffset = this.#next.nextOffset;
    return frames;
  }

  /** The batch of an entry that `next` has just given, where that is too large to be read whole. */
  findLargeBatch(frame: Frame, run: LargeBatchParts["run"]): FrameStartBatch | undefined {
    if (isWhole(frame) || this.#source === undefined) return undefined;
    const checkReadable = ({ index }: Frame): void => {
      this.#checkReadable();
      const { baseIndex, logStartOffset } = this.#state.base;
      if (index <= baseIndex) throw this.#outOfRange(`the log starts at ${logStartOffset} now`);
    };
    return new FrameStartBatch(frame, { ...this.#source, state: this.#state, checkReadable, run });
  }

  #checkReadable(): void {
    if (this.#truncatedAt !== undefined) {
      throw this.#outOfRange(`the log was truncated to ${this.#truncatedAt} meanwhile`);
    }
    const { logStartOffset, baseIndex } = this.#state.base;
    // Also where the segment is still there: a log start inside it is one as good as between two.
    if (this.#wantedOffset < logStartOffset || this.#next.index <= baseIndex)
      throw this.#outOfRange(`the log starts at ${logStartOffset} now`);
  }

  #outOfRange(because: string): ProglogError {
    const offset = this.#wantedOffset;
    return new ProglogError("OFFSET_OUT_OF_RANGE", `Cannot go on reading at offset ${offset}: ${because}`, {
      details: { offset, logStartOffset: this.#state.base.logStartOffset, highWatermark: this.#limit().nextOffset },
    });
  }

  async #placeIn(segment: Segment): Promise<Place> {
    const { replacements } = this.#state;
    const isKnown = this.#place?.baseIndex === segment.baseIndex && this.#place.replacements === replacements;
    if (this.#place !== undefined && isKnown) return this.#place;
    if (this.#next.index === segment.baseIndex) {
      return { position: segmentHeaderBytes, chain: this.#place?.chain ?? segment.before() };
    }
    const truncations = this.#truncations;
    const location = await findPlaceOfIndex(this.#state.context, segment, this.#next.index, () => {
      this.#checkReadable();
      if (truncations !== this.#truncations) throw this.#outOfRange("the log was truncated meanwhile");
      if (replacements !== this.#state.replacements) throw this.#outOfRange("the log was compacted meanwhile");
    });
    return { position: location.position, chain: chainBefore(location) };
  }

  #damage(segment: Segment, position: number, reason: string): Promise<Error> {
    const location: EntryLocation = { index: this.#next.index, baseOffset: this.#next.nextOffset, position };
    return damageError(this.#state.context, segment, location, reason);
  }
}
