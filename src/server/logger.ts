import { pino } from "pino";
import type { Logger } from "../base/logger.ts";
import type { Config } from "./config.ts";

/** Diagnostics as JSON lines on stderr: stdout stays free for what a command prints. */
export function createLogger({ logLevel }: Pick<Config, "logLevel">): Logger {
  return pino(
    { level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
}
