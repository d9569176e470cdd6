import { isatty } from "node:tty";
import { type DestinationStream, pino } from "pino";
import type { Logger } from "../base/logger.ts";
import type { Config } from "./config.ts";
import { PrettyLog } from "./pretty-log.ts";

/**
 * Diagnostics on stderr: stdout stays free for what a command prints. JSON lines, or for people's eyes, which by default are there where
 * it is a terminal. All levels: which of them are told, a `LevelledLogger` decides.
 */
export function createLogger({ logFormat }: Pick<Config, "logFormat">, output: LoggerOutput = standardError()): Logger {
  const isPretty = logFormat === "pretty" || (logFormat === "auto" && output.isTerminal);
  const stream: DestinationStream = isPretty ? new PrettyLog(output) : output;
  return pino({ level: "trace", base: null, timestamp: pino.stdTimeFunctions.isoTime }, stream);
}

export interface LoggerOutput {
  /** Takes whole lines. */
  write(text: string): void;
  readonly isTerminal: boolean;
  /** Whether colours are wanted: a terminal, and NO_COLOR isn't set. */
  readonly hasColors: boolean;
}

function standardError(): LoggerOutput {
  const isTerminal = isatty(2);
  const destination = pino.destination({ fd: 2, sync: true });
  return {
    write: (text) => void destination.write(text),
    isTerminal,
    hasColors: isTerminal && !process.env["NO_COLOR"],
  };
}
