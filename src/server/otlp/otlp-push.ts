import type { Clock, Timer } from "../../base/clock.ts";
import { messageOf } from "../../base/error.ts";
import type { Logger } from "../../base/logger.ts";
import { sendOtlp, type OtlpTarget } from "./otlp-sender.ts";

export interface OtlpPushParts {
  readonly signal: "metrics" | "traces";
  readonly target: OtlpTarget;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The message; undefined where there is nothing to say. */
  readonly collect: () => Promise<object | undefined>;
  readonly onPushed: (outcome: PushOutcome) => void;
}

/** `partial`: the collector took some of it. */
export type PushOutcome = "sent" | "partial" | "failed";

/**
 * Pushes to a collector, every so often, and once more at the end. What fails isn't tried again: metrics are sums since the start, so the next push
 * has them all, and spans of a while ago are no loss. So nothing gathers while nobody is there.
 */
export class OtlpPush {
  readonly #parts: OtlpPushParts;
  #timer: Timer | undefined;
  /** Of the push under way. */
  #limit = new AbortController();
  #pushing: Promise<void> | undefined;
  #isFailing = false;
  #isClosed = false;

  constructor(parts: OtlpPushParts) {
    this.#parts = parts;
    this.#wait();
  }

  /** Lets the push under way come to its end, pushes what there is, each within `graceMs`, and ends. With 0 it just ends. Twice is fine. */
  async close(graceMs: number): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#timer?.cancel();
    if (graceMs === 0) this.#limit.abort();
    else if (this.#pushing !== undefined) {
      // What it says of spans nobody says again.
      const timer = this.#parts.clock.setTimer(graceMs, () => this.#limit.abort());
      await this.#pushing;
      timer.cancel();
    }
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
    const { signal, target, clock, logger, collect, onPushed } = this.#parts;
    const limit = new AbortController();
    this.#limit = limit;
    const timer = clock.setTimer(limitMs, () => limit.abort());
    try {
      const message = await collect();
      if (message === undefined) return;
      const outcome = await sendOtlp(target, `/v1/${signal}`, message, limit.signal);
      onPushed(outcome);
      if (this.#isFailing) logger.info({}, `${signal} are pushed again`);
      this.#isFailing = false;
    } catch (error) {
      onPushed("failed");
      // Once, and not every minute of a night.
      if (!this.#isFailing) logger.warn({ reason: messageOf(error) }, `${signal} can't be pushed`);
      this.#isFailing = true;
    } finally {
      timer.cancel();
    }
  }
}
