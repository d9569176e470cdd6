import type { Logger } from "../base/logger.ts";
import type { LogObserver } from "./log-observer.ts";

export type GuardedObserver = Required<Omit<LogObserver, "stored">> & Pick<LogObserver, "stored">;

/**
 * An observer that can't harm the log: what it throws, or a promise it returns is rejected with, goes to the logger, once, and
 * is forgotten. It is called between a write and its acknowledgement, where a throw would be taken for a failed write, and
 * poison the log.
 */
export function guardObserver(observer: LogObserver, logger: Logger): GuardedObserver {
  let isTold = false;
  const report = (event: string, error: unknown): void => {
    if (isTold) return;
    isTold = true;
    try {
      logger.error({ error, event }, "the observer of a log threw; further errors of it aren't told");
    } catch {
      // A logger that throws as well leaves nobody to tell.
    }
  };
  const guard = (event: string, observe: () => unknown): void => {
    try {
      const result = observe();
      // Nothing is to be returned, but an asynchronous function fits the type.
      if (result instanceof Promise) result.catch((error: unknown) => report(event, error));
    } catch (error) {
      report(event, error);
    }
  };
  return {
    // Where nobody wants to hear of it, it isn't even put together.
    ...(observer.stored && { stored: (event) => guard("stored", () => observer.stored?.(event)) }),
    opened: (event) => guard("opened", () => observer.opened?.(event)),
    appended: (event) => guard("appended", () => observer.appended?.(event)),
    synced: (event) => guard("synced", () => observer.synced?.(event)),
    read: (event) => guard("read", () => observer.read?.(event)),
    rolled: (event) => guard("rolled", () => observer.rolled?.(event)),
    trimmed: (event) => guard("trimmed", () => observer.trimmed?.(event)),
    damaged: (event) => guard("damaged", () => observer.damaged?.(event)),
    poisoned: (event) => guard("poisoned", () => observer.poisoned?.(event)),
    scrubbed: (event) => guard("scrubbed", () => observer.scrubbed?.(event)),
    repacked: (event) => guard("repacked", () => observer.repacked?.(event)),
    compacted: (event) => guard("compacted", () => observer.compacted?.(event)),
  };
}
