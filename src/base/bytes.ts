/**
 * 64-bit integers as numbers: two 32-bit halves, since a `bigint` costs some twenty times as much. What is read may lie beyond
 * 2^53-1 and is then not exact; whoever reads from the world checks with `Number.isSafeInteger`.
 */
const twoTo32 = 2 ** 32;

export function readUint64LE(buffer: Buffer, at: number): number {
  return buffer.readUInt32LE(at + 4) * twoTo32 + buffer.readUInt32LE(at);
}

/** `value` is a safe integer ≥ 0. */
export function writeUint64LE(buffer: Buffer, value: number, at: number): void {
  buffer.writeUInt32LE(value % twoTo32, at);
  buffer.writeUInt32LE(Math.floor(value / twoTo32), at + 4);
}

export function readInt64LE(buffer: Buffer, at: number): number {
  return buffer.readInt32LE(at + 4) * twoTo32 + buffer.readUInt32LE(at);
}

/** `value` is a safe integer of either sign. */
export function writeInt64LE(buffer: Buffer, value: number, at: number): void {
  const high = Math.floor(value / twoTo32);
  buffer.writeUInt32LE(value - high * twoTo32, at);
  buffer.writeInt32LE(high, at + 4);
}

export function readInt64BE(buffer: Buffer, at: number): number {
  return buffer.readInt32BE(at) * twoTo32 + buffer.readUInt32BE(at + 4);
}

/** `value` is a safe integer of either sign. */
export function writeInt64BE(buffer: Buffer, value: number, at: number): void {
  const high = Math.floor(value / twoTo32);
  buffer.writeInt32BE(high, at);
  buffer.writeUInt32BE(value - high * twoTo32, at + 4);
}

/** True when `bytes` holds nothing but zeros. */
export function isZero(bytes: Buffer): boolean {
  return findLastNonZero(bytes) === -1;
}

/** Position of the last byte that isn't zero, or -1. */
export function findLastNonZero(bytes: Buffer): number {
  let end = bytes.length;
  // Whole blocks by a native compare, then byte by byte inside the one that differs.
  while (end >= zeroBlock.length) {
    if (bytes.compare(zeroBlock, 0, zeroBlock.length, end - zeroBlock.length, end) !== 0) break;
    end -= zeroBlock.length;
  }
  for (let at = end - 1; at >= 0; at -= 1) if (bytes[at] !== 0) return at;
  return -1;
}

const zeroBlock = Buffer.alloc(4096);
