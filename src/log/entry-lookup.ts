import { type DiskFile, systemErrorCode } from "../base/disk.ts";
import { isProglogError } from "../base/error.ts";
import { readEntryBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { ActiveSegment } from "./active-segment.ts";
import type { ChainPoint } from "./chain.ts";
import { corruptError } from "./corrupt-error.ts";
import type { EntryLocation } from "./entry-index.ts";
import { type Frame, nextOffsetOf } from "./frame.ts";
import { FrameScanner, type ScanEnd } from "./frame-scanner.ts";
import type { LogContext } from "./log-context.ts";
import type { LogDamage } from "./log-observer.ts";
import type { PieceMemory } from "./piece-memory.ts";
import type { Segment } from "./segments.ts";
import { segmentHeaderBytes } from "./segment-header.ts";

/** Frames read from one place of a segment. */
export interface Piece {
  /** At least one, unless `end` says why not. */
  readonly frames: readonly Frame[];
  /** Behind the last frame. */
  readonly position: number;
  readonly chain: ChainPoint;
  readonly end: ScanEnd | undefined;
}

export interface PieceStart {
  readonly position: number;
  readonly chain: ChainPoint;
  readonly pieceBytes: number;
  /** Where the frames end that may be read; the end of the file where it isn't given. */
  readonly endPosition?: number;
  /** Read into it instead of into memory of its own. */
  readonly memory?: PieceMemory | undefined;
  /** See `ScanOptions`. */
  readonly wholeMaxBytes?: number | undefined;
}

/** Reads and verifies the next frames of a segment. */
export async function readPiece(context: LogContext, segment: Segment, start: PieceStart): Promise<Piece> {
  let file: DiskFile;
  try {
    file = context.openFiles.acquire(context.disk, segment.storePath);
  } catch (error) {
    if (systemErrorCode(error) !== "ENOENT") throw error;
    const { position, chain } = start;
    return { frames: [], position, chain, end: { kind: "bad", reason: "the file is missing" } };
  }
  try {
    const { position, chain, ...rest } = start;
    const endPosition = start.endPosition ?? (segment instanceof ActiveSegment ? segment.store.end : file.size());
    const scanner = new FrameScanner({ ...rest, file, position, endPosition, chain, seed: context.seed });
    const frames = await scanner.next();
    return { frames, position: scanner.position, chain: scanner.chain, end: scanner.end };
  } finally {
    context.openFiles.release(file);
  }
}

/** The chain right before a located entry, as far as its location tells: held against it, a wrong location shows. */
export function chainBefore(location: EntryLocation): ChainPoint {
  return { index: location.index - 1, term: 0, nextOffset: location.baseOffset, appendTime: 0 };
}

/** The location of an entry, checked: the frame there is the one that was asked for. */
export interface FoundEntry {
  readonly location: EntryLocation;
  readonly frame: Frame;
}

/**
 * Called before an entry that can't be read is called damaged: throws when it was trimmed or truncated away while it was being
 * looked for. Whoever has the log to himself needs none.
 */
export type CheckThere = () => void;

/** Finds the entry of `index`, which the segment holds. Throws LOG_CORRUPT. */
export async function readEntry(context: LogContext, segment: Segment, index: number, checkThere?: CheckThere): Promise<Frame> {
  const found = await findEntry(context, segment, { ...searchOfIndex(segment, index), checkThere });
  return found.frame;
}

/** Where the entry of `index` lies, which the segment holds: the frame there says so, and of its batch nothing is read. Throws LOG_CORRUPT. */
export async function findPlaceOfIndex(
  context: LogContext,
  segment: Segment,
  index: number,
  checkThere: CheckThere,
): Promise<EntryLocation> {
  const { frame } = await findEntry(context, segment, { ...searchOfIndex(segment, index), checkThere, wholeMaxBytes: 0 });
  return { index, baseOffset: frame.baseOffset, position: frame.position };
}

/** The same for the entry that holds `offset`. */
export async function findPlaceOfOffset(
  context: LogContext,
  segment: Segment,
  offset: number,
  checkThere: CheckThere,
): Promise<EntryLocation> {
  const { location } = await findEntry(context, segment, { ...searchOfOffset(segment, offset), checkThere, wholeMaxBytes: 0 });
  return location;
}

/** Finds the entry that holds `offset`, which the segment holds. Throws LOG_CORRUPT. */
export function findEntryOfOffset(
  context: LogContext,
  segment: Segment,
  offset: number,
  checkThere?: CheckThere,
): Promise<FoundEntry> {
  return findEntry(context, segment, { ...searchOfOffset(segment, offset), checkThere });
}

function searchOfIndex(segment: Segment, index: number): Pick<EntrySearch, "locate" | "accepts"> {
  return { locate: () => segment.locateIndex(index), accepts: (frame) => frame.index === index };
}

function searchOfOffset(segment: Segment, offset: number): Pick<EntrySearch, "locate" | "accepts"> {
  return {
    locate: () => segment.locateOffset(offset),
    accepts: (frame) => frame.baseOffset <= offset && offset < nextOffsetOf(frame),
  };
}

interface EntrySearch {
  readonly locate: () => EntryLocation | Promise<EntryLocation>;
  readonly accepts: (frame: Frame) => boolean;
  readonly checkThere: CheckThere | undefined;
  /** See `ScanOptions`. */
  readonly wholeMaxBytes?: number;
}

/** The index is a hint: when the frame found isn't the one that was asked for, it is built anew, once. */
async function findEntry(context: LogContext, segment: Segment, search: EntrySearch): Promise<FoundEntry> {
  for (let isRebuilt = segment instanceof ActiveSegment; ; isRebuilt = true) {
    const location = await search.locate();
    const { wholeMaxBytes } = search;
    const pieceBytes = wholeMaxBytes === undefined ? readEntryBytes : readHeadBytes;
    const start = { position: location.position, chain: chainBefore(location), pieceBytes, wholeMaxBytes };
    const piece = location.position < segmentHeaderBytes ? undefined : await readPiece(context, segment, start);
    const frame = piece?.frames[0];
    if (frame !== undefined && search.accepts(frame)) return { location, frame };
    const reason = describeEnd(piece?.end) ?? "the index leads to another entry";
    search.checkThere?.();
    if (isRebuilt || segment instanceof ActiveSegment) throw await damageError(context, segment, location, reason);
    try {
      await segment.rebuild();
    } catch (error) {
      search.checkThere?.();
      // The store itself is bad: what was asked for is what the error is to name.
      const isBad = isProglogError(error, "LOG_CORRUPT") || systemErrorCode(error) === "ENOENT";
      throw isBad ? await damageError(context, segment, location, reason) : error;
    }
  }
}

/** Why frames ended, as far as it is a fault. */
export function describeEnd(end: ScanEnd | undefined): string | undefined {
  if (end === undefined) return undefined;
  switch (end.kind) {
    case "end":
      return "the file ends before the entry";
    case "empty":
      return "zeros where a frame should be";
    default:
      return end.reason;
  }
}

/** LOG_CORRUPT for the entry at `location`, which is reported, too. The offsets up to the next entry are said to be lost. */
export async function damageError(
  context: LogContext,
  segment: Segment,
  location: EntryLocation,
  reason: string,
): Promise<Error> {
  let nextOffset = location.baseOffset;
  try {
    nextOffset = Math.max(nextOffset, (await segment.locateIndex(location.index + 1)).baseOffset);
  } catch {
    // The last entry of its segment, or an index that is damaged as well: the range then stays open, which is no worse.
  }
  const damage: LogDamage = {
    file: segment.storePath,
    position: location.position,
    firstOffset: location.baseOffset,
    nextOffset,
    reason,
  };
  context.damages.note(damage);
  return corruptError(`read offset ${location.baseOffset}`, damage);
}

/** What is read to find where an entry lies: its head, and a few small entries more. */
const readHeadBytes = 4 * KiB;
