import { assert } from "../base/assert.ts";
import { writeUint64LE } from "../base/bytes.ts";

/** Writes what `PeerReader` reads, into a buffer of `maxBytes`: whoever makes one knows how much it may become. */
export class PeerWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(maxBytes: number) {
    this.#bytes = Buffer.allocUnsafe(maxBytes);
  }

  get length(): number {
    return this.#at;
  }

  u8(value: number): void {
    this.#at = this.#bytes.writeUInt8(value, this.#at);
  }

  u16(value: number): void {
    this.#at = this.#bytes.writeUInt16LE(value, this.#at);
  }

  u32(value: number): void {
    this.#at = this.#bytes.writeUInt32LE(value, this.#at);
  }

  u64(value: number): void {
    checkUint(value);
    writeUint64LE(this.#bytes, value, this.#at);
    this.#at += 8;
  }

  uint(value: number): void {
    checkUint(value);
    let rest = value;
    let at = this.#at;
    for (; rest >= 0x80; at += 1) {
      // `%` and a division, since bit operators end at 32 bits.
      this.#bytes[at] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#bytes[at] = rest;
    this.#at = at + 1;
  }

  bytes(bytes: Buffer): void {
    assert(bytes.length <= this.#bytes.length - this.#at, "what is written fits in");
    this.#at += bytes.copy(this.#bytes, this.#at);
  }

  /** An even number of digits. */
  hex(digits: string): void {
    this.#at += this.#bytes.write(digits, this.#at, "hex");
  }

  /** What was written, as a view. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}

function checkUint(value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "a number between peers is a safe integer from 0 on");
}
