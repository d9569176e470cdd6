/**
 * The partition of a key among `count`, as Kafka's Java client chooses it: murmur2 of the key's bytes, its sign bit cleared,
 * modulo the count. So a topic moved here from Kafka keeps its keys where they are, whoever produces.
 */
export function partitionOfKey(key: Uint8Array, count: number): number {
  return (murmur2(key) & 0x7fffffff) % count;
}

/** MurmurHash2 of 32 bits, little-endian, with Kafka's seed. The result is signed. */
export function murmur2(data: Uint8Array): number {
  const { length } = data;
  let hash = seed ^ length;
  const whole = length - (length % 4);
  for (let at = 0; at < whole; at += 4) {
    let word = byteAt(data, at) | (byteAt(data, at + 1) << 8) | (byteAt(data, at + 2) << 16) | (byteAt(data, at + 3) << 24);
    word = Math.imul(word, multiplier);
    word ^= word >>> 24;
    word = Math.imul(word, multiplier);
    hash = Math.imul(hash, multiplier) ^ word;
  }
  const rest = length - whole;
  if (rest >= 3) hash ^= byteAt(data, whole + 2) << 16;
  if (rest >= 2) hash ^= byteAt(data, whole + 1) << 8;
  if (rest >= 1) hash = Math.imul(hash ^ byteAt(data, whole), multiplier);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, multiplier);
  return hash ^ (hash >>> 15);
}

const seed = 0x9747b28c | 0;
const multiplier = 0x5bd1e995;

function byteAt(data: Uint8Array, at: number): number {
  return data[at] ?? 0;
}
