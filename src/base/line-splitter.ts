import { ProglogError } from "./error.ts";

/**
 * Cuts a stream of bytes into lines at `\n` and changes nothing else: a `\r` stays, bytes that are no UTF-8 stay, an empty
 * line is a line. What follows the last `\n` is a line when it isn't empty. It holds at most one unfinished line of
 * `lineMaxBytes`.
 */
export class LineSplitter {
  readonly #lineMaxBytes: number;
  /** Begins with the bytes of the line that has not ended yet: one buffer that doubles, as a line may come byte by byte. */
  #unfinished: Buffer = nothing;
  #unfinishedBytes = 0;
  #lineNumber = 0;

  constructor(options: { readonly lineMaxBytes: number }) {
    this.#lineMaxBytes = options.lineMaxBytes;
  }

  /** What it holds of the line that has not ended yet. */
  get heldBytes(): number {
    return this.#unfinishedBytes;
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
      if (this.#unfinishedBytes + piece.length > this.#lineMaxBytes)
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
    return this.#unfinishedBytes === 0 ? undefined : this.#finish(nothing);
  }

  /** A copy: a short rest must not hold on to the whole chunk, nor be overwritten with it. */
  #keep(piece: Buffer): void {
    const bytes = this.#unfinishedBytes + piece.length;
    if (bytes > this.#unfinished.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(Math.max(bytes, 2 * this.#unfinished.length), this.#lineMaxBytes));
      this.#unfinished.copy(larger, 0, 0, this.#unfinishedBytes);
      this.#unfinished = larger;
    }
    piece.copy(this.#unfinished, this.#unfinishedBytes);
    this.#unfinishedBytes = bytes;
  }

  #finish(piece: Buffer): Buffer {
    this.#lineNumber += 1;
    if (this.#unfinishedBytes === 0) return piece;
    this.#keep(piece);
    const line = this.#unfinished.subarray(0, this.#unfinishedBytes);
    // Given away: the next line gets a buffer of its own.
    this.#unfinished = nothing;
    this.#unfinishedBytes = 0;
    return line;
  }
}

const nothing = Buffer.alloc(0);

const newline = 0x0a;

function lineTooLongError(line: number, lineMaxBytes: number): ProglogError {
  return new ProglogError("RECORD_TOO_LARGE", `Cannot produce line ${line}: it is longer than ${lineMaxBytes} bytes`, {
    hint: "Keep large things in an object store, and append where they are.",
    details: { line },
  });
}
