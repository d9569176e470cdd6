import type { Clock, Timer } from "../../base/clock.ts";
import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { encodeMetrics, type MetricValues, type OtlpResource } from "./otlp-metrics.ts";
import { sendOtlp, type OtlpTarget } from "./otlp-sender.ts";

export interface MetricsPushParts {
  readonly target: OtlpTarget;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Asked for at each push: the instance may not be known before. */
  readonly resource: () => OtlpResource;
  readonly collect: () => Promise<readonly MetricValues[]>;
  readonly onPushed: (outcome: PushOutcome) => void;
}

/** `partial`: the collector took some of it. */
export type PushOutcome = "sent" | "partial" | "failed";

/**
 * Pushes the metrics to a collector, every so often, and once more at the end. One that fails isn't tried again: the figures are sums since the
 * start, and the next push has them all. Nothing gathers while nobody is there.
 */
export class MetricsPush {
  readonly #parts: MetricsPushParts;
  readonly #startMs: number;
  #timer: Timer | undefined;
  /** Of the push under way. */
  #limit = new AbortController();
  #pushing: Promise<void> | undefined;
  #isFailing = false;
  #isClosed = false;

  constructor(parts: MetricsPushParts) {
    this.#parts = parts;
    this.#startMs = parts.clock.now();
    this.#wait();
  }

  /** Pushes what there is, within `graceMs` unless that is 0, and ends. Twice is fine. */
  async close(graceMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    // What it would have said, the last one says too.
    this.#limit.abort();
    await this.#pushing;
    if (graceMs > 0) await this.#push(graceMs);
  }

  #wait(): void {
    this.#timer = this.#parts.clock.setTimer(this.#parts.intervalMs, () => {
      // No longer than until the next one is due: so never two at once.
      this.#pushing = this.#push(this.#parts.intervalMs).then(() => {
        this.#pushing = undefined;
        if (!this.#isClosed) this.#wait();
      });
    });
  }

  /** Never rejects. */
  async #push(limitMs: number): Promise<void> {
    const { target, clock, logger, resource, collect, onPushed } = this.#parts;
    const limit = new AbortController();
    this.#limit = limit;
    const timer = clock.setTimer(limitMs, () => limit.abort());
    try {
      const times = { startMs: this.#startMs, nowMs: clock.now() };
      const outcome = await sendOtlp(target, "/v1/metrics", encodeMetrics(await collect(), resource(), times), limit.signal);
      onPushed(outcome);
      if (this.#isFailing) logger.info({}, "metrics are pushed again");
      this.#isFailing = false;
    } catch (error) {
      onPushed("failed");
      // Once, and not every minute of a night.
      if (!this.#isFailing) logger.warn({ reason: messageOf(error) }, "metrics can't be pushed");
      this.#isFailing = true;
    } finally {
      timer.cancel();
    }
  }
}
