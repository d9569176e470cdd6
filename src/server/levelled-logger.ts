import type { Clock, Timer } from "../base/clock.ts";
import type { Logger } from "../base/logger.ts";
import type { Config } from "./config.ts";

export type LogLevel = Config["logLevel"];

/** From what tells the most to what tells nothing. */
export const logLevels: readonly LogLevel[] = ["debug", "info", "warn", "error", "silent"];

/** Lets through what its level says; the level may change while it is used, for good or for a while. */
export class LevelledLogger implements Logger {
  readonly #inner: Logger;
  readonly #clock: Clock;
  readonly #configured: LogLevel;
  #level: LogLevel;
  #return: { readonly timer: Timer; readonly at: number } | undefined;

  constructor(inner: Logger, { level, clock }: { readonly level: LogLevel; readonly clock: Clock }) {
    this.#inner = inner;
    this.#clock = clock;
    this.#configured = level;
    this.#level = level;
  }

  get status(): LogLevelStatus {
    return {
      level: this.#level,
      configured: this.#configured,
      ...(this.#return === undefined ? {} : { until: this.#return.at }),
    };
  }

  /** With `forMs` it is as configured again after that time, else when the node starts anew. */
  change(level: LogLevel, forMs?: number): void {
    const before = this.#level;
    this.close();
    // Told at both ends, or who reads the diagnostics would wonder where the rest has gone.
    if (this.#lets("info")) this.#tellChange(before, level);
    this.#level = level;
    if (forMs !== undefined) {
      const timer = this.#clock.setTimer(forMs, () => this.change(this.#configured));
      this.#return = { timer, at: this.#clock.now() + forMs };
    }
    if (!isLetBy(before, "info") && this.#lets("info")) this.#tellChange(before, level);
  }

  debug(fields: object, message: string): void {
    if (this.#lets("debug")) this.#inner.debug(fields, message);
  }

  info(fields: object, message: string): void {
    if (this.#lets("info")) this.#inner.info(fields, message);
  }

  warn(fields: object, message: string): void {
    if (this.#lets("warn")) this.#inner.warn(fields, message);
  }

  error(fields: object, message: string): void {
    if (this.#lets("error")) this.#inner.error(fields, message);
  }

  /** Ends the wait for the return to the configured level; it stays as it is. */
  close(): void {
    this.#return?.timer.cancel();
    this.#return = undefined;
  }

  #lets(level: LogLevel): boolean {
    return isLetBy(this.#level, level);
  }

  #tellChange(from: LogLevel, to: LogLevel): void {
    this.#inner.info({ from, to }, "the log level changed");
  }
}

export interface LogLevelStatus {
  readonly level: LogLevel;
  /** `--log-level`: what it goes back to. */
  readonly configured: LogLevel;
  /** When it does, in ms since 1970; absent where only a restart does. */
  readonly until?: number;
}

function isLetBy(threshold: LogLevel, level: LogLevel): boolean {
  return logLevels.indexOf(level) >= logLevels.indexOf(threshold);
}
