import { isUtf8 } from "node:buffer";
import { ProglogError } from "../base/error.ts";

/**
 * Reads protobuf's wire format, field by field, for the messages of the hot path: generated code makes some two million records
 * a second, and each of their 64-bit integers a `bigint`.
 *
 *     message = { tag, value }        tag = field << 3 | wire type, as a varint
 *     wire type  0 varint   1 eight bytes   2 length (varint) and bytes   5 four bytes
 *
 * The bytes come from anybody: what doesn't fit in is refused with INVALID_ARGUMENT, and no length is trusted before it is
 * compared with what is there. Fields that aren't known are passed over, as protobuf asks, groups (3, 4) refused: nothing has
 * sent them for fifteen years.
 */
export class ProtoReader {
  /** Of the field that `next` found. */
  field = 0;
  readonly #bytes: Buffer;
  readonly #end: number;
  readonly #message: string;
  #at: number;
  #wireType = 0;
  #low = 0;
  #high = 0;

  /** Of `bytes`, `[start, end)`. `message` is its name, for errors. */
  constructor(bytes: Buffer, message: string, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#message = message;
    this.#at = start;
    this.#end = end;
  }

  /** Goes to the next field, whose value must then be taken or passed over. False at the end. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    this.#readVarint();
    if (this.#high !== 0) throw this.#refuse("a field's number is too large");
    this.field = this.#low >>> 3;
    this.#wireType = this.#low & 7;
    if (this.field === 0) throw this.#refuse("a field has the number 0");
    return true;
  }

  /** A uint64 up to 2^53-1. */
  uint64(): number {
    this.#expect(0);
    this.#readVarint();
    if (this.#high >= 0x20_0000) throw this.#refuse(`field ${this.field} is beyond 2^53-1`);
    return this.#high * 0x1_0000_0000 + this.#low;
  }

  /** An int64 from -(2^53-1) to 2^53-1. */
  int64(): number {
    this.#expect(0);
    this.#readVarint();
    const value = (this.#high | 0) * 0x1_0000_0000 + this.#low;
    if (!Number.isSafeInteger(value)) throw this.#refuse(`field ${this.field} is beyond ±(2^53-1)`);
    return value;
  }

  uint32(): number {
    this.#expect(0);
    this.#readVarint();
    if (this.#high !== 0) throw this.#refuse(`field ${this.field} is beyond 2^32-1`);
    return this.#low;
  }

  bool(): boolean {
    this.#expect(0);
    this.#readVarint();
    return this.#low !== 0 || this.#high !== 0;
  }

  /** A view, not a copy. */
  bytes(): Buffer {
    const start = this.#readSpan();
    return this.#bytes.subarray(start, this.#at);
  }

  string(): string {
    const start = this.#readSpan();
    const bytes = this.#bytes.subarray(start, this.#at);
    if (!isUtf8(bytes)) throw this.#refuse(`field ${this.field} is a string that isn't UTF-8`);
    return bytes.toString("utf8");
  }

  /** A reader of the message that is this field's value. */
  message(name: string): ProtoReader {
    const start = this.#readSpan();
    return new ProtoReader(this.#bytes, name, start, this.#at);
  }

  skip(): void {
    switch (this.#wireType) {
      case 0:
        this.#readVarint();
        return;
      case 1:
        this.#advance(8);
        return;
      case 2:
        this.#readSpan();
        return;
      case 5:
        this.#advance(4);
        return;
      default:
        throw this.#refuse(`field ${this.field} has the wire type ${this.#wireType}`);
    }
  }

  /** Where the bytes of a length-delimited field begin; it has been passed then. */
  #readSpan(): number {
    this.#expect(2);
    this.#readVarint();
    const start = this.#at;
    if (this.#high !== 0 || this.#low > this.#end - start) {
      throw this.#refuse(`field ${this.field} is longer than what there is of the message`);
    }
    this.#at = start + this.#low;
    return start;
  }

  #advance(byteLength: number): void {
    if (byteLength > this.#end - this.#at) throw this.#refuse("it ends inside a field");
    this.#at += byteLength;
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType) {
      throw this.#refuse(`field ${this.field} has the wire type ${this.#wireType}, not ${wireType}`);
    }
  }

  /** Sets `#low` and `#high`, both from 0 to 2^32-1. Ten bytes at the most; bits beyond 64 are dropped, as everywhere. */
  #readVarint(): void {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = this.#at;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (at >= end) throw this.#refuse("it ends inside a number");
      const byte = bytes[at] as number; // at < end <= length
      at += 1;
      const bits = byte & 0x7f;
      if (shift < 28) {
        low |= bits << shift;
      } else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else if (shift < 64) {
        high |= bits << (shift - 32);
      }
      if (byte < 0x80) {
        this.#at = at;
        this.#low = low >>> 0;
        this.#high = high >>> 0;
        return;
      }
    }
    throw this.#refuse("a number has more than ten bytes");
  }

  #refuse(reason: string): ProglogError {
    return new ProglogError("INVALID_ARGUMENT", `Cannot read the message ${this.#message}: ${reason}`);
  }
}
