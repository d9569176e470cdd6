import { constants } from "node:os";
import { dirname } from "node:path";
import { getSystemErrorMessage } from "node:util";
import { assert } from "./assert.ts";
import { ProglogError } from "./error.ts";

/**
 * The errors that every disk throws alike, so that code tried on the memory disk or in the simulator meets the same codes and
 * nearly the same texts on a real one.
 */

/** An error as Node's own file calls throw it: "ENOENT: no such file or directory, open '/a/b'", with `code`, `errno` and the rest. */
export function systemError(code: string, syscall: string, path: string, destination?: string): NodeJS.ErrnoException {
  const errno = -(Object.entries(constants.errno).find(([name]) => name === code)?.[1] ?? constants.errno.EIO);
  const where = destination === undefined ? `'${path}'` : `'${path}' -> '${destination}'`;
  return Object.assign(new Error(`${code}: ${getSystemErrorMessage(errno)}, ${syscall} ${where}`), {
    code,
    errno,
    syscall,
    path,
    ...(destination === undefined ? {} : { dest: destination }),
  });
}

/** A file used after `close`: EBADF, as the system would say it, but never by way of a descriptor that is somebody else's by now. */
export function fileClosedError(attempt: string, path: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`Cannot ${attempt} ${path}: the file is closed`), {
    code: "EBADF",
    errno: -constants.errno.EBADF,
    syscall: attempt,
    path,
  });
}

/** LOG_LOCKED for the directory of the lock file `path`. `details.pid` is the holder's, or null when it left none to read. */
export function lockedError(path: string, holderPid: number | undefined, cause?: unknown): ProglogError {
  const directory = dirname(path);
  const holder = holderPid === undefined ? "another process" : `process ${holderPid}`;
  return new ProglogError("LOG_LOCKED", `Cannot open ${directory}: ${holder} has it open`, {
    hint: "Stop that process, or use another directory.",
    details: { directory, pid: holderPid ?? null },
    cause,
  });
}

/** A position that isn't a whole number would make Node's calls use the file's own position, that is, write anywhere. */
export function assertPosition(position: number): void {
  assert(Number.isSafeInteger(position) && position >= 0, "a position is a whole number from 0");
}
