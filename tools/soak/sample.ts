/** What one node is like at one moment. */
export interface Sample {
  /** Since the soak began. */
  readonly atMs: number;
  readonly node: string;
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  /** Buffers, and what native code holds. */
  readonly externalBytes: number;
  /** Undefined where the system doesn't tell: only Linux does. */
  readonly descriptors: number | undefined;
  /** Those that are set, whether they keep the process alive or not. */
  readonly timers: number;
  readonly sockets: number;
  /** Of the event loop, since the sample before. */
  readonly loopDelayP99Ms: number;
  readonly loopDelayMaxMs: number;
}

/** What lives on a node's heap when all that can go has gone; taken at the end of a calm time, so that a growth is a leak. */
export interface LiveHeap {
  readonly atMs: number;
  readonly node: string;
  readonly bytes: number;
}

/** A stretch of the soak. */
export interface Phase {
  readonly kind: "calm" | "faults";
  readonly startMs: number;
  readonly endMs: number;
}

export interface Fault {
  readonly atMs: number;
  /** "node2 killed". */
  readonly what: string;
  /** Until every partition had its leader and all its replicas again; undefined when that didn't come about. */
  readonly wholeAfterMs: number | undefined;
}

/**
 * Calm and faults in turn; it begins and ends calm, since only calm times can be held against each other. With a few minutes these are
 * thirds, with hours stretches of two or three minutes.
 */
export function planPhases(totalMs: number): readonly Phase[] {
  const pairs = Math.max(1, Math.round((totalMs / stretchMs - 1) / 2));
  const count = 2 * pairs + 1;
  const at = (number: number): number => Math.round((totalMs * number) / count);
  return Array.from({ length: count }, (_, number) => {
    return { kind: number % 2 === 0 ? "calm" : "faults", startMs: at(number), endMs: at(number + 1) };
  });
}

const stretchMs = 150_000;

/** Of a list that isn't empty. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.floor(middle - 0.5)] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}
