import { assert } from "../base/assert.ts";
import { type DiskFile, systemErrorCode } from "../base/disk.ts";
import { ProglogError } from "../base/error.ts";
import { batchUnprotectedBytes, readBatchHeader } from "../batch/batch-header.ts";
import { crc32c } from "../batch/crc32c.ts";
import { damageError } from "./entry-lookup.ts";
import { batchCrcFault, type Frame, frameHeadBytes, nextOffsetOf } from "./frame.ts";
import type { LargeBatch } from "./log.ts";
import type { LogState } from "./log-state.ts";
import type { Segment } from "./segments.ts";

/**
 * A batch of which only the frame's start was read. The rest is read as it is wanted, into memory of its own, so a reader who stands still
 * holds a piece of it and no more; no descriptor either, since each piece asks for the file anew. What was put in the file's place
 * meanwhile, and rot, show in the batch's crc, which is compared before the last piece is given.
 */
export class FrameStartBatch implements LargeBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly byteLength: number;
  readonly #parts: LargeBatchParts;
  readonly #frame: Frame;
  readonly #crc: number;

  constructor(frame: Frame, parts: LargeBatchParts) {
    this.#frame = frame;
    this.#parts = parts;
    this.baseOffset = frame.baseOffset;
    this.nextOffset = nextOffsetOf(frame);
    this.byteLength = frame.byteLength - frameHeadBytes;
    this.#crc = readBatchHeader(frame.payload).crc;
  }

  async *read(pieceBytes: number): AsyncGenerator<Buffer, void, undefined> {
    assert(pieceBytes > batchUnprotectedBytes, "the first piece reaches what the crc covers");
    let crc = 0;
    for (let at = 0; at < this.byteLength; ) {
      const bytes = await this.#parts.run(`read offset ${this.baseOffset}`, () => this.#readPiece(at, pieceBytes));
      crc = crc32c(bytes, at === 0 ? batchUnprotectedBytes : 0, bytes.length, crc);
      this.#parts.state.context.observer.read?.({
        bytes: bytes.length,
        batches: at === 0 ? 1 : 0,
        appendTime: this.#frame.appendTime,
      });
      at += bytes.length;
      if (at === this.byteLength && crc !== this.#crc) throw await this.#damage(batchCrcFault);
      yield bytes;
    }
  }

  async #readPiece(at: number, pieceBytes: number): Promise<Buffer> {
    const { payload } = this.#frame;
    // The next piece may be read over what came with the frame's start, so it is copied: that costs less than to read it again.
    if (at < payload.length) return Buffer.from(payload.subarray(at, at + pieceBytes));
    const { state, segment } = this.#parts;
    const { context } = state;
    this.#checkThere();
    const bytes = Buffer.allocUnsafeSlow(Math.min(pieceBytes, this.byteLength - at));
    let file: DiskFile;
    try {
      file = context.openFiles.acquire(context.disk, segment.storePath);
    } catch (error) {
      throw systemErrorCode(error) === "ENOENT" ? await this.#damage("the file is missing") : error;
    }
    let readBytes: number;
    try {
      readBytes = await file.read(bytes, this.#frame.position + frameHeadBytes + at);
    } finally {
      context.openFiles.release(file);
    }
    this.#checkThere();
    if (readBytes < bytes.length) throw await this.#damage("the file ends before the entry");
    return bytes;
  }

  /** Throws when the entry was trimmed or truncated away, or lies elsewhere by now. */
  #checkThere(): void {
    const { state, replacements, checkReadable } = this.#parts;
    checkReadable(this.#frame);
    if (state.replacements !== replacements)
      throw new ProglogError(
        "UNAVAILABLE",
        `Cannot go on reading at offset ${this.baseOffset}: the log was compacted meanwhile`,
        {
          hint: "Read on from that offset.",
        },
      );
  }

  #damage(reason: string): Promise<Error> {
    const { index, baseOffset, position } = this.#frame;
    return damageError(this.#parts.state.context, this.#parts.segment, { index, baseOffset, position }, reason);
  }
}

export interface LargeBatchParts {
  readonly state: LogState;
  readonly segment: Segment;
  /** `state.replacements` when the frame's start was read. */
  readonly replacements: number;
  /** Throws OFFSET_OUT_OF_RANGE when the entry is no more. */
  readonly checkReadable: (frame: Frame) => void;
  /** Counts a read, and throws LOG_CLOSED once the log is being closed. */
  readonly run: (attempt: string, read: () => Promise<Buffer>) => Promise<Buffer>;
}
