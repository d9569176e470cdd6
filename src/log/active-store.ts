import { assert } from "../base/assert.ts";
import { findLastNonZero } from "../base/bytes.ts";
import { type DiskFile, systemErrorCode } from "../base/disk.ts";
import { readPieceBytes, zeroAheadMaxBytes, zeroAheadMinBytes } from "../base/limits.ts";
import { KiB } from "../base/units.ts";
import { WritePieces } from "../base/write-pieces.ts";

/** A group above this extends the file by itself: zeros ahead of it would double what is written. */
const smallGroupMaxBytes = 256 * KiB;

const zeros = Buffer.alloc(256 * KiB);

/**
 * The store file that is being appended to.
 *
 * While groups are small, zeros are written ahead of the end: a sync of blocks that were written before needn't journal a new
 * size, which halves its time (docs/format.md: a length of zero means "nothing written here yet"). It is done while nobody
 * waits for it, and the sync of the next group makes it durable.
 */
export class ActiveStore {
  readonly file: DiskFile;
  #end: number;
  /** Up to here zeros were written. */
  #zeroEnd: number;
  #zeroStep = zeroAheadMinBytes;
  #zeroing: Promise<void> | undefined;
  #canZero = true;

  constructor(file: DiskFile, end: number) {
    this.file = file;
    this.#end = end;
    this.#zeroEnd = Math.max(end, file.size());
  }

  /** Position behind the last frame. */
  get end(): number {
    return this.#end;
  }

  /** Waits until zeros being written ahead can't overwrite `byteLength` bytes at the end. */
  async makeRoom(byteLength: number): Promise<void> {
    if (this.#zeroing !== undefined && this.#end + byteLength > this.#zeroEnd) await this.#zeroing;
  }

  /**
   * Writes behind the end, after `makeRoom`; `advance` then makes it count. When it throws, `undoWrite` or the end of this log
   * follows. On the loop, which is the fastest, but a piece at a time, with a turn for others after each.
   */
  async write(buffers: readonly Uint8Array[], turn: () => Promise<void>): Promise<void> {
    const pieces = new WritePieces(buffers);
    for (let piece = pieces.next(); piece !== undefined; ) {
      this.file.writeSync(piece.buffers, this.#end + piece.start);
      pieces.wrote(
        piece.buffers.reduce((sum, buffer) => sum + buffer.length, 0),
        this.file.path,
      );
      piece = pieces.next();
      if (piece !== undefined) await turn();
    }
  }

  /** What was written is part of the log now. Apart from `write`, so that nothing can be read before the indexes know of it. */
  advance(byteLength: number): void {
    this.#end += byteLength;
    if (this.#end > this.#zeroEnd) this.#zeroEnd = this.#end;
  }

  /**
   * Takes back a write that failed half-way for want of room: cuts the file at the end, which needs none. Durably, since the
   * caller is told that nothing was appended: no crash may bring the group's whole first frames back.
   */
  async undoWrite(): Promise<void> {
    await this.#zeroing;
    this.file.truncate(this.#end);
    await this.file.datasync();
    this.#zeroEnd = this.#end;
    this.#canZero = false;
  }

  datasync(): Promise<void> {
    return this.file.datasync();
  }

  /**
   * Begins to write zeros ahead when the last group was small and would soon reach the end of them. A full disk only ends it;
   * any other failure is told to `onFailure`. No zeros are written beyond `maxEnd`, where the segment will be sealed.
   */
  zeroAhead(groupBytes: number, maxEnd: number, onFailure: (error: unknown) => void): void {
    if (!this.#canZero || this.#zeroing !== undefined || groupBytes > smallGroupMaxBytes) return;
    const left = this.#zeroEnd - this.#end;
    if (left > Math.max(2 * groupBytes, this.#zeroStep / 4)) return;
    const start = this.#zeroEnd;
    const byteLength = Math.min(this.#zeroStep, maxEnd - start);
    if (byteLength <= 0) return;
    this.#zeroStep = Math.min(2 * this.#zeroStep, zeroAheadMaxBytes);
    this.#zeroing = this.file
      .write(zeroPieces(byteLength), start)
      .then(() => {
        this.#zeroEnd = Math.max(this.#zeroEnd, start + byteLength);
      })
      .catch((error: unknown) => {
        this.#canZero = false;
        if (systemErrorCode(error) !== "ENOSPC" && systemErrorCode(error) !== "EDQUOT") onFailure(error);
      })
      .finally(() => {
        this.#zeroing = undefined;
      });
  }

  /** Removes what lies behind `end` by writing zeros over it, synced: nothing there can come back to life. */
  async cut(end: number): Promise<void> {
    assert(end <= this.#end, "a store is cut to a shorter one");
    await this.#zeroing;
    await zeroTail(this.file, end);
    await this.file.datasync();
    this.#end = end;
    this.#zeroEnd = this.file.size();
  }

  /** Cuts off the zeros behind the end; the caller syncs. */
  async trimZeros(): Promise<void> {
    await this.#zeroing;
    if (this.file.size() > this.#end) this.file.truncate(this.#end);
    this.#zeroEnd = this.#end;
  }

  /** Waits for what it began, and closes the file. */
  async close(): Promise<void> {
    await this.#zeroing;
    this.file.close();
  }
}

/** Position behind the last byte at or after `from` that isn't zero; `from` when there is none. */
export function findDataEnd(file: DiskFile, from: number): number {
  let end = file.size();
  const piece = Buffer.allocUnsafeSlow(Math.min(readPieceBytes, Math.max(0, end - from)));
  while (end > from) {
    const start = Math.max(from, end - piece.length);
    const bytes = piece.subarray(0, end - start);
    file.readSync(bytes, start);
    const last = findLastNonZero(bytes);
    if (last >= 0) return start + last + 1;
    end = start;
  }
  return from;
}

/** Writes zeros from `from` to the last byte that isn't zero. The caller syncs. Returns how many bytes went. */
export async function zeroTail(file: DiskFile, from: number): Promise<number> {
  const byteLength = findDataEnd(file, from) - from;
  for (let at = 0; at < byteLength; at += zeroAheadMaxBytes) {
    await file.write(zeroPieces(Math.min(zeroAheadMaxBytes, byteLength - at)), from + at);
  }
  return byteLength;
}

function zeroPieces(byteLength: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let left = byteLength; left > 0; left -= zeros.length)
    pieces.push(left >= zeros.length ? zeros : zeros.subarray(0, left));
  return pieces;
}
