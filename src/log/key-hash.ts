/**
 * SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012), its 64-bit words as pairs of 32-bit ones.
 *
 * Compaction takes two keys with one hash for the same key and removes the older record, so no two may ever share one. With a
 * secret random key this is a pseudorandom function: nobody can choose keys that collide, and for a thousand million keys in a
 * log the chance that any two do is below 2^-68. That is rarer than a disk that returns a wrong block with a right checksum, so
 * keys needn't be kept, or read again, to be compared.
 */
export class KeyHash {
  /** The last hash, in four words. */
  readonly words = new Int32Array(4);
  readonly #key: Int32Array;

  /** `key` is 16 random bytes. */
  constructor(key: Buffer) {
    this.#key = Int32Array.from([0, 4, 8, 12], (at) => key.readInt32LE(at));
  }

  /** Hashes `bytes[start, end)` into `words`. */
  hash(bytes: Buffer, start: number, end: number): void {
    // The casts say that a key has four words.
    const [k0, k1, k2, k3] = this.#key as unknown as readonly [number, number, number, number];
    let v0l = k0 ^ 0x70736575;
    let v0h = k1 ^ 0x736f6d65;
    let v1l = k2 ^ 0x6e646f6d ^ 0xee;
    let v1h = k3 ^ 0x646f7261;
    let v2l = k0 ^ 0x6e657261;
    let v2h = k1 ^ 0x6c796765;
    let v3l = k2 ^ 0x79746573;
    let v3h = k3 ^ 0x74656462;
    const byteLength = end - start;
    const lastBlock = byteLength >>> 3;
    // Two blocks behind the last one finish: each yields half of the hash.
    for (let block = 0; ; block += 1) {
      let low = 0;
      let high = 0;
      let rounds = 2;
      if (block < lastBlock) {
        const at = start + 8 * block;
        low = bytes.readInt32LE(at);
        high = bytes.readInt32LE(at + 4);
        v3l ^= low;
        v3h ^= high;
      } else if (block === lastBlock) {
        high = byteLength << 24;
        for (let at = start + 8 * block, shift = 0; at < end; at += 1, shift += 8) {
          if (shift < 32) low |= (bytes[at] as number) << shift;
          else high |= (bytes[at] as number) << (shift - 32);
        }
        v3l ^= low;
        v3h ^= high;
      } else {
        rounds = 4;
        if (block === lastBlock + 1) v2l ^= 0xee;
        else v1l ^= 0xdd;
      }
      for (; rounds > 0; rounds -= 1) {
        // v0 += v1; v1 = rotl(v1, 13) ^ v0; v0 = rotl(v0, 32)
        let sum = (v0l + v1l) | 0;
        v0h = (v0h + v1h + (sum >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
        v0l = sum;
        let rotated = (v1l << 13) | (v1h >>> 19);
        v1h = ((v1h << 13) | (v1l >>> 19)) ^ v0h;
        v1l = rotated ^ v0l;
        rotated = v0l;
        v0l = v0h;
        v0h = rotated;
        // v2 += v3; v3 = rotl(v3, 16) ^ v2
        sum = (v2l + v3l) | 0;
        v2h = (v2h + v3h + (sum >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
        v2l = sum;
        rotated = (v3l << 16) | (v3h >>> 16);
        v3h = ((v3h << 16) | (v3l >>> 16)) ^ v2h;
        v3l = rotated ^ v2l;
        // v0 += v3; v3 = rotl(v3, 21) ^ v0
        sum = (v0l + v3l) | 0;
        v0h = (v0h + v3h + (sum >>> 0 < v3l >>> 0 ? 1 : 0)) | 0;
        v0l = sum;
        rotated = (v3l << 21) | (v3h >>> 11);
        v3h = ((v3h << 21) | (v3l >>> 11)) ^ v0h;
        v3l = rotated ^ v0l;
        // v2 += v1; v1 = rotl(v1, 17) ^ v2; v2 = rotl(v2, 32)
        sum = (v2l + v1l) | 0;
        v2h = (v2h + v1h + (sum >>> 0 < v1l >>> 0 ? 1 : 0)) | 0;
        v2l = sum;
        rotated = (v1l << 17) | (v1h >>> 15);
        v1h = ((v1h << 17) | (v1l >>> 15)) ^ v2h;
        v1l = rotated ^ v2l;
        rotated = v2l;
        v2l = v2h;
        v2h = rotated;
      }
      if (block <= lastBlock) {
        v0l ^= low;
        v0h ^= high;
      } else {
        const half = 2 * (block - lastBlock - 1);
        this.words[half] = v0l ^ v1l ^ v2l ^ v3l;
        this.words[half + 1] = v0h ^ v1h ^ v2h ^ v3h;
        if (half > 0) return;
      }
    }
  }
}
