import { ProglogError } from "../base/error.ts";

/**
 * Cuts a stream of bytes into lines at `\n` and changes nothing else: a `\r` stays, bytes that are no UTF-8 stay, an empty
 * line is a line. What follows the last `\n` is a line when it isn't empty. It holds at most one unfinished line of
 * `lineMaxBytes`.
 */
export class LineSplitter {
  readonly #lineMaxBytes: number;
  /** The pieces of the line that has not ended yet. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #lineNumber = 0;

  constructor(options: { readonly lineMaxBytes: number }) {
    this.#lineMaxBytes = options.lineMaxBytes;
  }

  /**
   * The lines that end in `chunk`, as views into it where they lie in it whole. Throws RECORD_TOO_LARGE with `details.line`
   * at a line that is too long; the lines before it have been given by then.
   */
  *push(chunk: Buffer): Generator<Buffer, void, undefined> {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(newline, start);
      const piece = end === -1 ? chunk.subarray(start) : chunk.subarray(start, end);
      if (this.#pieceBytes + piece.length > this.#lineMaxBytes)
        throw lineTooLongError(this.#lineNumber + 1, this.#lineMaxBytes);
      if (end === -1) {
        this.#keep(piece);
        return;
      }
      yield this.#finish(piece);
      start = end + 1;
    }
  }

  /** The last line, when it doesn't end in `\n`. */
  end(): Buffer | undefined {
    return this.#pieceBytes === 0 ? undefined : this.#finish(Buffer.alloc(0));
  }

  #keep(piece: Buffer): void {
    if (piece.length === 0) return;
    // A copy: a short rest must not hold on to the whole chunk, nor be overwritten with it.
    this.#pieces.push(Buffer.from(piece));
    this.#pieceBytes += piece.length;
  }

  #finish(piece: Buffer): Buffer {
    this.#lineNumber += 1;
    if (this.#pieceBytes === 0) return piece;
    const line = Buffer.concat([...this.#pieces, piece]);
    this.#pieces = [];
    this.#pieceBytes = 0;
    return line;
  }
}

const newline = 0x0a;

function lineTooLongError(line: number, lineMaxBytes: number): ProglogError {
  return new ProglogError("RECORD_TOO_LARGE", `Cannot produce line ${line}: it is longer than ${lineMaxBytes} bytes`, {
    hint: "Keep large things in an object store, and append where they are.",
    details: { line },
  });
}
