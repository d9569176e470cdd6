/** What retention needs to know of a segment. */
export interface SegmentAge {
  readonly storeBytes: number;
  readonly lastAppendTime: number;
}

export interface RetentionLimits {
  readonly maxBytes: number;
  readonly maxAgeMs: number;
  readonly now: number;
}

/**
 * How many segments go from the front: while the rest is larger than the limit, or the oldest one's last entry is too old.
 * `totalBytes` counts them all and the active one, which never goes here.
 */
export function countExpired(segments: Iterable<() => SegmentAge>, totalBytes: number, limits: RetentionLimits): number {
  let expired = 0;
  let leftBytes = totalBytes;
  for (const describe of segments) {
    const segment = describe();
    const isOld = limits.now - segment.lastAppendTime > limits.maxAgeMs;
    // The newest bytes up to the limit stay: a segment goes only when the log is still as large without it.
    const isSurplus = leftBytes - segment.storeBytes >= limits.maxBytes;
    if (!isOld && !isSurplus) break;
    leftBytes -= segment.storeBytes;
    expired += 1;
  }
  return expired;
}
