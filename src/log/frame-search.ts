import type { DiskFile } from "../base/disk.ts";
import { entryMaxBytes, readPieceBytes, searchOverlapBytes, searchedHeadMaxBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import type { ChainPoint } from "./chain.ts";
import {
  type EntryHeader,
  type Frame,
  findEntryHeader,
  frameHeadBytes,
  frameMagicAt,
  frameMagicBytes,
  guessHead,
  hasIndex,
  readFrame,
} from "./frame.ts";

/** A frame's head, whose own crc is right, whatever became of its batch. */
export interface FoundHead {
  readonly position: number;
  readonly header: EntryHeader;
}

export interface SearchOptions {
  readonly file: DiskFile;
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
  readonly seed: number;
  /** The last entry that is known: what is sought has a higher index, and one that can be reached over the bytes between. */
  readonly lastIndex: number;
}

/**
 * Looks for frames where bad bytes leave no other way on than to try every position, a piece of the file at a time.
 *
 * What lies there may have been written by somebody who means ill: a record full of bytes that look like heads. So what is checked
 * is bounded by what is read. The crc of a data entry's head covers 77 bytes, wherever it seems to stand. That of a control
 * entry covers all of it, up to 1 MiB by its own word, which for a head at every few bytes would be the square: control entries
 * above `searchedHeadMaxBytes` are checked only until they have taken as many bytes as were searched. Real ones are small, and there
 * are few.
 */
export class FrameSearch {
  readonly #options: SearchOptions;
  readonly #piece: Buffer;
  readonly #maxIndex: number;
  #position: number;
  #largeBytes = 0;
  #checkedBytes = 0;

  constructor(options: SearchOptions) {
    const { from, to, lastIndex } = options;
    this.#options = options;
    this.#position = from;
    this.#piece = Buffer.allocUnsafeSlow(Math.min(readPieceBytes + searchOverlapBytes, Math.max(0, to - from)));
    // More entries don't fit in between: what is further ahead is a copy of this very store inside a record.
    this.#maxIndex = lastIndex + Math.ceil(Math.max(0, to - from) / frameHeadBytes);
  }

  /** Up to where it has looked. */
  get position(): number {
    return this.#position;
  }

  get isDone(): boolean {
    return this.#position >= this.#options.to;
  }

  /** Bytes that went into a crc. */
  get checkedBytes(): number {
    return this.#checkedBytes;
  }

  /** The heads that begin in the next piece. */
  next(): FoundHead[] {
    const { file, to, seed, lastIndex } = this.#options;
    const found: FoundHead[] = [];
    if (this.isDone) return found;
    const start = this.#position;
    const piece = this.#piece.subarray(0, Math.min(this.#piece.length, to - start));
    const end = file.readSync(piece, start);
    this.#position = Math.min(to, start + readPieceBytes);
    for (let at = piece.indexOf(frameMagicBytes); at >= 0 && at < end; at = piece.indexOf(frameMagicBytes, at + 1)) {
      const headAt = at - frameMagicAt;
      if (headAt < 0) continue;
      // What lies behind is the next piece's.
      if (headAt >= readPieceBytes) break;
      const guess = guessHead(piece, headAt, end);
      if (guess === undefined || guess.index <= lastIndex || guess.index > this.#maxIndex) continue;
      if (headAt + guess.protectedBytes > end || !this.#affords(guess.protectedBytes)) continue;
      const header = findEntryHeader(piece, headAt, end, seed);
      if (header !== undefined) found.push({ position: start + headAt, header });
    }
    return found;
  }

  #affords(byteLength: number): boolean {
    if (byteLength > searchedHeadMaxBytes) {
      const searchedBytes = this.#position - this.#options.from;
      if (this.#largeBytes + byteLength > searchedBytes + readPieceBytes) return false;
      this.#largeBytes += byteLength;
    }
    this.#checkedBytes += byteLength;
    return true;
  }
}

/** A search for the next whole frame that can follow `chain`, with entries missing between: a piece at a time, until it is there. */
export class NextFrameSearch {
  readonly #search: FrameSearch;
  readonly #options: Omit<SearchOptions, "lastIndex"> & { readonly chain: ChainPoint };

  constructor(options: Omit<SearchOptions, "lastIndex"> & { readonly chain: ChainPoint }) {
    this.#options = options;
    this.#search = new FrameSearch({ ...options, lastIndex: options.chain.index });
  }

  get position(): number {
    return this.#search.position;
  }

  get isDone(): boolean {
    return this.#search.isDone;
  }

  next(): Frame | undefined {
    const { chain } = this.#options;
    for (const { position, header } of this.#search.next()) {
      if (header.term < chain.term || header.baseOffset < chain.nextOffset || !hasIndex(header.kind)) continue;
      const frame = this.#readFrame(position);
      if (frame !== undefined) return frame;
    }
    return undefined;
  }

  #readFrame(position: number): Frame | undefined {
    const { file, seed } = this.#options;
    const fileBytes = file.size();
    let bytes = Buffer.alloc(Math.min(firstReadBytes, fileBytes - position));
    file.readSync(bytes, position);
    let read = readFrame(bytes, 0, bytes.length, position, seed);
    if (read.outcome === "short" && read.byteLength <= entryMaxBytes && position + read.byteLength <= fileBytes) {
      bytes = Buffer.alloc(read.byteLength);
      file.readSync(bytes, position);
      read = readFrame(bytes, 0, bytes.length, position, seed);
    }
    return read.outcome === "frame" ? read.frame : undefined;
  }
}

/** Most frames are whole in so much. */
const firstReadBytes = 4 * KiB;

/** Searches to the end at once: for who has the log to himself. */
export function findNextFrame(options: Omit<SearchOptions, "lastIndex"> & { readonly chain: ChainPoint }): Frame | undefined {
  const search = new NextFrameSearch(options);
  while (!search.isDone) {
    const frame = search.next();
    if (frame !== undefined) return frame;
  }
  return undefined;
}
