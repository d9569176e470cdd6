import { createRequire } from "node:module";
import { assert } from "../base/assert.ts";

/**
 * CRC-32C (Castagnoli), the checksum of Kafka's batches and of our frames. `zlib.crc32` is another polynomial and of no use
 * here. Native code is several times faster on a batch, but crossing into it costs more than a short input takes in
 * TypeScript; so short inputs stay here, and all of them where the native package isn't installed or can't be loaded.
 */

/**
 * The checksum of `data[start, end)`. It chains: with `seed` the checksum of what came before, the result is that of both, so
 * `crc32c(ab) === crc32c(b, 0, b.length, crc32c(a))`.
 */
export function crc32c(data: Uint8Array, start = 0, end = data.length, seed = 0): number {
  if (nativeCrc32c === undefined || end - start < nativeMinBytes) return crc32cPure(data, start, end, seed);
  assert(start >= 0 && start <= end && end <= data.length, "the range of a checksum lies within its data");
  return nativeCrc32c(start === 0 && end === data.length ? data : data.subarray(start, end), seed);
}

/** True when checksums of batches are computed by native code; false when they are some four times slower. */
export function isCrc32cNative(): boolean {
  return nativeCrc32c !== undefined;
}

/** The same in TypeScript alone, eight bytes a step ("slicing by 8"). */
export function crc32cPure(data: Uint8Array, start = 0, end = data.length, seed = 0): number {
  assert(start >= 0 && start <= end && end <= data.length, "the range of a checksum lies within its data");
  const table = slicingTable;
  let crc = ~seed;
  let at = start;
  // The casts say what the assertion above has shown: every index is below `end`, and a masked byte is within its table.
  for (const stop = end - 7; at < stop; at += 8) {
    crc ^=
      (data[at] as number) |
      ((data[at + 1] as number) << 8) |
      ((data[at + 2] as number) << 16) |
      ((data[at + 3] as number) << 24);
    crc =
      (table[1792 + (crc & 0xff)] as number) ^
      (table[1536 + ((crc >>> 8) & 0xff)] as number) ^
      (table[1280 + ((crc >>> 16) & 0xff)] as number) ^
      (table[1024 + (crc >>> 24)] as number) ^
      (table[768 + (data[at + 4] as number)] as number) ^
      (table[512 + (data[at + 5] as number)] as number) ^
      (table[256 + (data[at + 6] as number)] as number) ^
      (table[data[at + 7] as number] as number);
  }
  for (; at < end; at += 1) crc = (crc >>> 8) ^ (table[(crc ^ (data[at] as number)) & 0xff] as number);
  return ~crc >>> 0;
}

/** Eight tables of 256, one behind the other: table k advances a byte's remainder by k further zero bytes. */
const slicingTable = makeSlicingTable();

function makeSlicingTable(): Int32Array {
  const reversedPolynomial = 0x82f63b78;
  const table = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte += 1) {
    let remainder = byte;
    for (let bit = 0; bit < 8; bit += 1) remainder = (remainder >>> 1) ^ (remainder & 1 ? reversedPolynomial : 0);
    table[byte] = remainder;
  }
  for (let slot = 256; slot < table.length; slot += 1) {
    const previous = table[slot - 256] as number;
    table[slot] = (previous >>> 8) ^ (table[previous & 0xff] as number);
  }
  return table;
}

type NativeCrc32c = (data: Uint8Array, seed: number) => number;

/** Where the native code overtakes, the view it needs included: 230 bytes on Node 26 and x64, a call costing some 150 ns. */
const nativeMinBytes = 256;

const nativeCrc32c = loadNative();

function loadNative(): NativeCrc32c | undefined {
  let loaded: unknown;
  try {
    // Not an import: the package is prebuilt for some platforms only, and an import that fails would take the log with it.
    loaded = createRequire(import.meta.url)("@node-rs/crc32");
  } catch {
    // Not installed, or not built for this platform. `crc32cPure` gives the same answers, so nobody needs to know.
    return undefined;
  }
  if (typeof loaded !== "object" || loaded === null || !("crc32c" in loaded)) return undefined;
  if (typeof loaded.crc32c !== "function") return undefined;
  const native = loaded.crc32c as NativeCrc32c;
  // A native build with the wrong polynomial would call every batch on disk corrupt: ask it for the known answer first.
  return native(Buffer.from("123456789"), 0) === 0xe3069283 ? native : undefined;
}
