import type { Clock } from "../base/clock.ts";
import { LatencyHistogram } from "./latency-histogram.ts";

/** What a measurement is made of: callers, each of which makes its next call when the one before is answered. */
export interface Load {
  /** Resolves with what it was about; with undefined when there is nothing more to call for, which ends it. */
  readonly call: () => Promise<CallSize | undefined>;
  readonly callers: number;
  /** It ends when so many records are under way or through, or when the time is over. */
  readonly limit: { readonly records: number } | { readonly durationMs: number };
  /** Ends it early: what is under way is waited for. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Called after each call that counts. */
  readonly onCall?: (measured: Measured) => void;
}

export interface CallSize {
  readonly records: number;
  readonly bytes: number;
}

export interface Measured {
  readonly calls: LatencyHistogram;
  readonly records: number;
  readonly bytes: number;
  /** From the first call that counts to the last answer. */
  readonly durationMs: number;
}

/**
 * Measures. A tenth of it goes before, and doesn't count: code that runs for the first time is slow, and connections have to be made.
 * When a call fails no further ones are made, and its error is thrown.
 */
export async function measure(load: Load): Promise<Measured> {
  const measurement = new Measurement(load);
  await measurement.run();
  return measurement;
}

class Measurement implements Measured {
  readonly calls = new LatencyHistogram();
  records = 0;
  bytes = 0;
  readonly #load: Load;
  readonly #beganAt: number;
  #issued = 0;
  #hasMore = true;
  #failure: { readonly error: unknown } | undefined;
  #countsFrom: number | undefined;
  #endedAt = 0;

  constructor(load: Load) {
    this.#load = load;
    this.#beganAt = load.clock.monotonic();
  }

  get durationMs(): number {
    return this.calls.count === 0 || this.#countsFrom === undefined ? 0 : this.#endedAt - this.#countsFrom;
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: this.#load.callers }, () => this.#callOnAndOn()));
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #callOnAndOn(): Promise<void> {
    const { call, clock, onCall } = this.#load;
    try {
      for (let since = clock.monotonic(); !this.#isOver(since); since = clock.monotonic()) {
        const isCounted = this.#isWarm(since);
        if (isCounted) this.#countsFrom ??= since;
        const size = await call();
        this.#hasMore &&= size !== undefined;
        if (size === undefined) return;
        const { records, bytes } = size;
        this.#issued += records;
        if (!isCounted) continue;
        this.#endedAt = clock.monotonic();
        this.calls.add(this.#endedAt - since);
        this.records += records;
        this.bytes += bytes;
        onCall?.(this);
      }
    } catch (error) {
      this.#failure ??= { error };
    }
  }

  #isWarm(now: number): boolean {
    const { limit } = this.#load;
    return "records" in limit ? this.#issued >= limit.records / 10 : now - this.#beganAt >= limit.durationMs / 10;
  }

  #isOver(now: number): boolean {
    const { limit, signal } = this.#load;
    if (signal.aborted || this.#failure !== undefined || !this.#hasMore) return true;
    if ("records" in limit) return this.records >= limit.records;
    return now - this.#beganAt >= limit.durationMs * 1.1;
  }
}
