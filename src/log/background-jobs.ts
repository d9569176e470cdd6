import type { Timer } from "../base/clock.ts";
import type { LogContext } from "./log-context.ts";

/** What a log does by itself from time to time: retention, scrub. One run of each at a time, none while `isDue` says no. */
export class BackgroundJobs {
  readonly #context: Pick<LogContext, "clock" | "logger" | "directory">;
  readonly #isDue: () => boolean;
  readonly #timers = new Set<Timer>();
  #isEnded = false;

  constructor(context: Pick<LogContext, "clock" | "logger" | "directory">, isDue: () => boolean) {
    this.#context = context;
    this.#isDue = isDue;
  }

  /** Runs `work` every so often. Its failure is logged as "could not" `attempt`. */
  repeat(intervalMs: number, attempt: string, work: () => Promise<void>): void {
    const { clock, logger, directory } = this.#context;
    const timer = clock.setTimer(intervalMs, () => {
      this.#timers.delete(timer);
      if (this.#isEnded || !this.#isDue()) return;
      void work()
        .catch((error: unknown) => logger.error({ error, directory }, `could not ${attempt}`))
        .finally(() => {
          if (!this.#isEnded) this.repeat(intervalMs, attempt, work);
        });
    });
    this.#timers.add(timer);
  }

  /** No job begins any more. */
  end(): void {
    this.#isEnded = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
  }
}
