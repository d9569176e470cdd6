import { type ErrorCode, isProglogError } from "../base/error.ts";

/**
 * What the exit status of `proglog` says. A script may rely on it, so the list only grows. It is shown by `proglog --help`
 * and held against `docs/cli.md` by a test.
 */
export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  unknown: 4,
  locked: 5,
  damaged: 6,
  interrupted: 130,
  terminated: 143,
} as const;

export type ExitName = keyof typeof exitCodes;
export type ExitCode = (typeof exitCodes)[ExitName];

export const exitMeanings: Readonly<Record<ExitName, string>> = {
  done: "done",
  failed: "it was refused or went wrong; the error says why",
  usage: "the command line or the configuration is wrong; nothing was done",
  unreachable: "no server answers, or it doesn't serve now",
  unknown: "the outcome is unknown: it may or may not have been done",
  locked: "another process has the directory open",
  damaged: "files are damaged: verify found it, or the log doesn't open for it",
  interrupted: "stopped by Ctrl-C (SIGINT)",
  terminated: "stopped by SIGTERM",
};

/** The exit code for what a command threw. `details.outcome` goes first: that a record may have been appended is worse than why. */
export function exitCodeOf(error: unknown): ExitCode {
  if (!isProglogError(error)) return exitCodes.failed;
  if (error.details["outcome"] === "unknown") return exitCodes.unknown;
  return exitCodes[exitNames[error.code] ?? "failed"];
}

/** Codes that say more than "failed". */
const exitNames: Partial<Record<ErrorCode, ExitName>> = {
  INVALID_ARGUMENT: "usage",
  INVALID_CONFIG: "usage",
  INVALID_TOPIC_NAME: "usage",
  INSECURE_ADDRESS: "usage",
  UNAVAILABLE: "unreachable",
  SHUTTING_DOWN: "unreachable",
  TIMEOUT: "unreachable",
  LOG_LOCKED: "locked",
  LOG_CORRUPT: "damaged",
  MANIFEST_CORRUPT: "damaged",
  UNDECODABLE_BATCH: "damaged",
};
