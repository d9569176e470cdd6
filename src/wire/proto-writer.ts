import { assert } from "../base/assert.ts";

/**
 * Writes protobuf's wire format, for the messages that `ProtoReader` reads. A message is measured first, since a length stands
 * before what it measures, and then written into one buffer of exactly that size. Fields at their default aren't written by
 * whoever calls this: that is proto3's rule.
 */
export class ProtoWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(byteLength: number) {
    this.#bytes = Buffer.allocUnsafe(byteLength);
  }

  uint(field: number, value: number): void {
    this.#varint(field * 8);
    this.#varint(value);
  }

  /** Either sign: a negative number takes ten bytes. */
  int(field: number, value: number): void {
    this.#varint(field * 8);
    if (value >= 0) return this.#varint(value);
    // Two's complement in 64 bits: 2^64 + value, of which the lower 63 bits go out in nine bytes, and the sign in the tenth.
    const low = value >>> 0;
    const high = Math.floor(value / 0x1_0000_0000) >>> 0;
    for (let shift = 0; shift < 63; shift += 7) {
      this.#bytes[this.#at] = 0x80 | bitsAt(low, high, shift);
      this.#at += 1;
    }
    this.#bytes[this.#at] = 1;
    this.#at += 1;
  }

  bool(field: number): void {
    this.uint(field, 1);
  }

  bytes(field: number, value: Uint8Array): void {
    this.#head(field, value.length);
    this.#bytes.set(value, this.#at);
    this.#at += value.length;
  }

  /** `byteLength` as `Buffer.byteLength` gave it. */
  string(field: number, value: string, byteLength: number): void {
    this.#head(field, byteLength);
    this.#at += this.#bytes.write(value, this.#at, byteLength, "utf8");
  }

  /** A field's bytes, whichever way they were given. */
  field(field: number, value: Uint8Array | string): void {
    if (typeof value === "string") this.string(field, value, Buffer.byteLength(value));
    else this.bytes(field, value);
  }

  /** Begins a message of `byteLength`, whose fields follow. */
  message(field: number, byteLength: number): void {
    this.#head(field, byteLength);
  }

  /** Bytes as they are, inside what `message` began. */
  raw(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** What was written: all that was measured. */
  finish(): Buffer {
    assert(this.#at === this.#bytes.length, "a message is as long as it was measured");
    return this.#bytes;
  }

  #head(field: number, byteLength: number): void {
    this.#varint(field * 8 + 2);
    this.#varint(byteLength);
  }

  #varint(value: number): void {
    const bytes = this.#bytes;
    let rest = value;
    let at = this.#at;
    while (rest >= 0x80) {
      bytes[at] = (rest % 0x80) | 0x80;
      rest = rest < 0x8000_0000 ? rest >>> 7 : Math.floor(rest / 0x80);
      at += 1;
    }
    bytes[at] = rest;
    this.#at = at + 1;
  }
}

function bitsAt(low: number, high: number, shift: number): number {
  if (shift < 28) return (low >>> shift) & 0x7f;
  if (shift === 28) return ((low >>> 28) | (high << 4)) & 0x7f;
  return (high >>> (shift - 32)) & 0x7f;
}

/** Bytes of a number from 0 to 2^53-1 as a varint. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; bytes += 1) rest = Math.floor(rest / 0x80);
  return bytes;
}

/** Bytes of a field with a number; fields up to 15 have a tag of one byte, and we have no others. */
export function uintBytes(value: number): number {
  return 1 + varintBytes(value);
}

export function intBytes(value: number): number {
  return value < 0 ? 11 : uintBytes(value);
}

/** Bytes of a field with `byteLength` bytes, a string or a message. */
export function spanBytes(byteLength: number): number {
  return 1 + varintBytes(byteLength) + byteLength;
}

export function fieldSpanBytes(value: Uint8Array | string): number {
  return spanBytes(typeof value === "string" ? Buffer.byteLength(value) : value.length);
}
