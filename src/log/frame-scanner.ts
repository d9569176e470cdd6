import { isZero } from "../base/bytes.ts";
import type { DiskFile } from "../base/disk.ts";
import { readPieceBytes } from "../base/limits.ts";
import { advanceChain, type ChainPoint, findChainFault } from "./chain.ts";
import { type Frame, readFrame, readFrameStart } from "./frame.ts";
import { PieceMemory } from "./piece-memory.ts";

/**
 * Reads the frames of a store from a position on, a piece of the file at a time, verifying both crcs of each and that it
 * follows the one before. What recovery, readers, scrub, index rebuild and inspection have in common.
 */
export type ScanEnd =
  /** The end position was reached. */
  | { readonly kind: "end" }
  /** A length of zero: nothing was written from here on, unless something lies behind it. */
  | { readonly kind: "empty" }
  | { readonly kind: "bad"; readonly reason: string }
  | { readonly kind: "unsupported"; readonly reason: string };

export interface ScanOptions {
  readonly file: DiskFile;
  /** Of the first frame; never 0, where the segment header lies. */
  readonly position: number;
  /** Frames are read up to here, exclusive. */
  readonly endPosition: number;
  readonly chain: ChainPoint;
  readonly seed: number;
  readonly pieceBytes?: number;
  /** The same memory for each piece: for those who keep no payload. */
  readonly reusesMemory?: boolean;
  /** That memory, for those who scan piece by piece with a scanner each. */
  readonly memory?: PieceMemory | undefined;
  /** Of a data frame that is larger, only the start is read, and it comes alone: see `readFrameStart`. Default: all come whole. */
  readonly wholeMaxBytes?: number | undefined;
}

export class FrameScanner {
  readonly #file: DiskFile;
  readonly #endPosition: number;
  readonly #seed: number;
  readonly #memory: PieceMemory | undefined;
  readonly #pieceBytes: number;
  readonly #wholeMaxBytes: number;
  #position: number;
  #chain: ChainPoint;
  #end: ScanEnd | undefined;

  constructor(options: ScanOptions) {
    this.#file = options.file;
    this.#position = options.position;
    this.#endPosition = options.endPosition;
    this.#chain = options.chain;
    this.#seed = options.seed;
    this.#pieceBytes = options.pieceBytes ?? readPieceBytes;
    this.#wholeMaxBytes = options.wholeMaxBytes ?? Number.POSITIVE_INFINITY;
    this.#memory = options.memory ?? (options.reusesMemory === true ? new PieceMemory() : undefined);
  }

  /** Behind the last frame that was returned. */
  get position(): number {
    return this.#position;
  }

  get chain(): ChainPoint {
    return this.#chain;
  }

  /** Why there are no more frames; undefined while there may be. */
  get end(): ScanEnd | undefined {
    return this.#end;
  }

  /** The next frames, at least one; none once `end` is set. Pads are passed over. */
  async next(): Promise<Frame[]> {
    let wantedBytes = this.#pieceBytes;
    for (;;) {
      if (this.#end !== undefined) return [];
      if (this.#position >= this.#endPosition) {
        this.#end = { kind: "end" };
        return [];
      }
      const piece = this.#allocate(Math.min(wantedBytes, this.#endPosition - this.#position));
      const readBytes = await this.#file.read(piece, this.#position);
      const frames: Frame[] = [];
      const shortBy = this.#parse(piece, readBytes, frames);
      if (frames.length > 0) return frames;
      if (shortBy !== undefined) wantedBytes = Math.max(shortBy, this.#pieceBytes);
    }
  }

  /** Parses what it can, and returns how many bytes the frame at the position needs when it lies only partly in `piece`. */
  #parse(piece: Buffer, end: number, frames: Frame[]): number | undefined {
    let at = 0;
    while (at < end) {
      let read = readFrame(piece, at, end, this.#position, this.#seed);
      const isRestThere = read.outcome === "short" && end === piece.length && this.#isThere(read.byteLength);
      if (read.outcome === "short" && read.byteLength > this.#wholeMaxBytes && isRestThere) {
        // Behind others it is begun by itself the next time.
        if (at > 0) return undefined;
        const start = readFrameStart(piece, at, end, this.#position, this.#seed);
        if (start.outcome !== "frame" || start.frame.kind === "data") read = start;
      }
      switch (read.outcome) {
        case "frame": {
          const { frame } = read;
          const fault =
            frame.kind === "segment-header" ? "a segment header inside a store" : findChainFault(this.#chain, frame);
          if (fault !== undefined) {
            this.#end = { kind: "bad", reason: fault };
            return undefined;
          }
          this.#chain = advanceChain(frame);
          this.#position += frame.byteLength;
          at += frame.byteLength;
          if (frame.kind !== "pad") frames.push(frame);
          break;
        }
        case "short":
          if (isRestThere) return read.byteLength;
          // What is left is too short for any frame: zeros written ahead end anywhere.
          this.#end = isZero(piece.subarray(at, end))
            ? { kind: "empty" }
            : { kind: "bad", reason: "a frame runs past the end of the file" };
          return undefined;
        case "empty":
          this.#end = { kind: "empty" };
          return undefined;
        default:
          this.#end = { kind: read.outcome, reason: read.reason };
          return undefined;
      }
    }
    // Fewer bytes than the file promised: it was cut while it was read.
    if (at === 0) this.#end = { kind: "end" };
    return undefined;
  }

  #isThere(byteLength: number): boolean {
    return this.#position + byteLength <= this.#endPosition;
  }

  #allocate(byteLength: number): Buffer {
    return this.#memory === undefined ? Buffer.allocUnsafeSlow(byteLength) : this.#memory.take(byteLength);
  }
}
