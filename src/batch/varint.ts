import type { Refuse } from "./refusal.ts";

/**
 * Kafka's integers of variable length: zigzag (0, -1, 1, -2 … become 0, 1, 2, 3 …), then seven bits a byte, lowest first, the
 * high bit saying that more follow.
 *
 *     varint    32-bit: lengths, counts, offset deltas     1 to 5 bytes
 *     varlong   64-bit: timestamp deltas                   1 to 10 bytes; taken up to ±(2^53-1), 8 bytes
 *
 * Numbers beyond 32 bits go without `bigint` and without bit operators: the lowest byte holds the sign and six bits of the
 * magnitude, each further byte seven more, and magnitudes are summed up as doubles.
 */

/** Bytes that the 32-bit integer `value` takes. */
export function varintSize(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
  if (zigzag < 0x80) return 1;
  if (zigzag < 0x4000) return 2;
  if (zigzag < 0x20_0000) return 3;
  return zigzag < 0x1000_0000 ? 4 : 5;
}

/** Writes the 32-bit integer `value` and returns the position behind it. */
export function writeVarint(buffer: Buffer, value: number, position: number): number {
  let zigzag = (value << 1) ^ (value >> 31);
  let at = position;
  while ((zigzag & ~0x7f) !== 0) {
    buffer[at] = (zigzag & 0x7f) | 0x80;
    zigzag >>>= 7;
    at += 1;
  }
  buffer[at] = zigzag;
  return at + 1;
}

/** Bytes that the safe integer `value` takes. */
export function varlongSize(value: number): number {
  if (value === (value | 0)) return varintSize(value);
  let rest = Math.floor((value < 0 ? -value - 1 : value) / 64);
  let size = 1;
  for (; rest > 0; size += 1) rest = Math.floor(rest / 128);
  return size;
}

/** Writes the safe integer `value` and returns the position behind it. */
export function writeVarlong(buffer: Buffer, value: number, position: number): number {
  if (value === (value | 0)) return writeVarint(buffer, value, position);
  const magnitude = value < 0 ? -value - 1 : value;
  let rest = Math.floor(magnitude / 64);
  let low = (magnitude % 64) * 2 + (value < 0 ? 1 : 0);
  let at = position;
  while (rest > 0) {
    buffer[at] = low | 0x80;
    low = rest % 128;
    rest = Math.floor(rest / 128);
    at += 1;
  }
  buffer[at] = low;
  return at + 1;
}

/**
 * Reads one integer behind the other from `bytes[position, end)`, and never a byte beyond `end`. An integer in more bytes than
 * it needs is taken, as Kafka does; one of more bytes or bits than its kind has is refused.
 */
export class VarintReader {
  readonly bytes: Buffer;
  readonly refuse: Refuse;
  position: number;
  /** First position that may not be read; the reader of records narrows it to a record and widens it again. */
  end: number;

  constructor(bytes: Buffer, position: number, end: number, refuse: Refuse) {
    this.bytes = bytes;
    this.position = position;
    this.end = end;
    this.refuse = refuse;
  }

  /** A 32-bit integer. `field` names it in errors. */
  readVarint(field: string): number {
    const byte = this.readByte(field);
    // Almost all are of one byte; the others have a function of their own, so that this one stays small enough to be inlined.
    return byte < 0x80 ? (byte >>> 1) ^ -(byte & 1) : this.#readLongVarint(byte, field);
  }

  /** A 64-bit integer that is a safe one. */
  readVarlong(field: string): number {
    const byte = this.readByte(field);
    return byte < 0x80 ? (byte >>> 1) ^ -(byte & 1) : this.#readLongVarlong(byte, field);
  }

  readByte(field: string): number {
    if (this.position >= this.end) throw this.refuse(`the bytes end before ${field} does`);
    // The cast says what the line above has shown: the position is within the bytes.
    const byte = this.bytes[this.position] as number;
    this.position += 1;
    return byte;
  }

  #readLongVarint(first: number, field: string): number {
    let zigzag = first & 0x7f;
    for (let shift = 7; shift <= 28; shift += 7) {
      const byte = this.readByte(field);
      if (shift === 28 && byte > 0x0f) break;
      zigzag |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (zigzag >>> 1) ^ -(zigzag & 1);
    }
    throw this.refuse(`${field} is longer than 32 bits`);
  }

  #readLongVarlong(first: number, field: string): number {
    let magnitude = (first & 0x7f) >>> 1;
    let scale = 64;
    for (let count = 2; count <= 10; count += 1) {
      const byte = this.readByte(field);
      magnitude += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) {
        const value = first & 1 ? -magnitude - 1 : magnitude;
        if (Number.isSafeInteger(value)) return value;
        throw this.refuse(`${field} is beyond 2^53-1`);
      }
    }
    throw this.refuse(`${field} is longer than 64 bits`);
  }
}
