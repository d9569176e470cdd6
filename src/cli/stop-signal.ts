import type { CommandIo, StopSignal } from "./command-io.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";

/** Ctrl-C and SIGTERM: the first asks a command to stop in good order, the second ends the process at once. */
export interface StopListener extends Disposable {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** What the shell expects of a process that the signal ended; undefined when none came. */
  readonly exitCode: ExitCode | undefined;
}

export function listenForStop(io: CommandIo): StopListener {
  const controller = new AbortController();
  let exitCode: ExitCode | undefined;
  const remove = io.onStopSignal((signal) => {
    if (exitCode !== undefined) return io.exit(exitCodeOfSignal(signal));
    exitCode = exitCodeOfSignal(signal);
    controller.abort();
  });
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    [Symbol.dispose]: remove,
  };
}

function exitCodeOfSignal(signal: StopSignal): ExitCode {
  return signal === "SIGINT" ? exitCodes.interrupted : exitCodes.terminated;
}
