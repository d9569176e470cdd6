import { assert } from "./assert.ts";
import { systemError } from "./disk-error.ts";
import { writePieceMaxBuffers, writePieceMaxBytes } from "./limits.ts";

/**
 * A gathered write, cut into the pieces that one vectored call may take, and taken up where a short write left it.
 *
 *     const pieces = new WritePieces(buffers);
 *     for (let piece = pieces.next(); piece !== undefined; piece = pieces.next()) {
 *       pieces.wrote(writev(fd, piece.buffers, position + piece.start), path);
 *     }
 */
export class WritePieces {
  readonly #buffers: readonly Uint8Array[];
  /** The first buffer that isn't written whole, and how much of it is. */
  #index = 0;
  #skipBytes = 0;
  #writtenBytes = 0;

  constructor(buffers: readonly Uint8Array[]) {
    this.#buffers = buffers;
  }

  /** What to write now, and how far behind the first byte of all it belongs; undefined when everything is written. */
  next(): { readonly buffers: readonly Uint8Array[]; readonly start: number } | undefined {
    this.#skipEmpty();
    if (this.#index === this.#buffers.length) return undefined;
    const piece: Uint8Array[] = [];
    let roomBytes: number = writePieceMaxBytes;
    for (let index = this.#index; index < this.#buffers.length && piece.length < writePieceMaxBuffers; index += 1) {
      const buffer = this.#buffers[index];
      assert(buffer !== undefined, "a write has no holes");
      const from = index === this.#index ? this.#skipBytes : 0;
      const take = Math.min(buffer.length - from, roomBytes);
      piece.push(take === buffer.length ? buffer : buffer.subarray(from, from + take));
      roomBytes -= take;
      if (roomBytes === 0) break;
    }
    return { buffers: piece, start: this.#writtenBytes };
  }

  /** Says how much of the last piece was written. Nothing at all would go on for ever, so it is an error: EIO on `path`. */
  wrote(bytes: number, path: string): void {
    if (bytes <= 0) throw systemError("EIO", "write", path);
    this.#writtenBytes += bytes;
    this.#skipBytes += bytes;
    this.#skipEmpty();
  }

  /** Steps over what is written, and over buffers with nothing in them. */
  #skipEmpty(): void {
    for (;;) {
      const buffer = this.#buffers[this.#index];
      if (buffer === undefined || this.#skipBytes < buffer.length) return;
      this.#skipBytes -= buffer.length;
      this.#index += 1;
    }
  }
}
