import type { Readable, Writable } from "node:stream";
import { type Clock, holdingClock } from "../base/clock.ts";

/** What a command has of the world around it, handed in so that a test can be that world. */
export interface CommandIo {
  readonly stdin: Readable & Terminal;
  readonly stdout: Writable & Terminal;
  readonly stderr: Writable & Terminal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Calls `run` for each SIGINT and SIGTERM, in the place of what they do by themselves, until the returned function is called. */
  onStopSignal(run: (signal: StopSignal) => void): () => void;
  /** Calls `run` for each SIGHUP, which would end the process otherwise, until the returned function is called. */
  onReloadSignal(run: () => void): () => void;
  /** Ends the process now, whatever is under way. */
  exit(code: number): void;
}

interface Terminal {
  readonly isTTY?: boolean;
  /** Of a terminal. */
  readonly columns?: number;
}

export type StopSignal = "SIGINT" | "SIGTERM";

/** The process's own. */
export function processIo(): CommandIo {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    // What a command waits for keeps its process, also while there is no connection.
    clock: holdingClock,
    onStopSignal(run) {
      process.on("SIGINT", run);
      process.on("SIGTERM", run);
      return () => {
        process.off("SIGINT", run);
        process.off("SIGTERM", run);
      };
    },
    onReloadSignal(run) {
      process.on("SIGHUP", run);
      return () => process.off("SIGHUP", run);
    },
    exit: (code) => process.exit(code),
  };
}
