import fs from "node:fs";
import { dirname, resolve } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { lockedError } from "./disk-error.ts";
import type { DiskLock } from "./disk.ts";
import { messageOf, ProglogError } from "./error.ts";

/**
 * One process per directory. A file that merely exists is no lock: it outlives a crash, and a pid in it may be somebody
 * else's by then. The operating system's own locks end with the process, but Node has no call for them; SQLite, which Node
 * brings, has: an exclusive transaction on an empty database is a POSIX lock on that file, refused to other processes and,
 * by SQLite's own bookkeeping, to a second caller in this one. Nothing is ever written to the file.
 *
 * POSIX drops a lock as soon as its process closes *any* descriptor of that file. So nobody here may open the lock file by
 * other means, not even to look, and the holder's pid, which the error names, lies in a file of its own beside it. That file
 * proves nothing: whoever can take the lock writes it anew.
 */
export function lockFile(path: string): DiskLock {
  // Absolute, so that SQLite takes no name that begins with "file:" for a URI.
  const lockPath = resolve(path);
  const pidPath = `${lockPath}.pid`;
  // SQLite has one text for all that is wrong with a path; the usual case gets Node's own ENOENT.
  fs.statSync(dirname(lockPath));
  const database = openDatabase(lockPath);
  try {
    // The journal in memory: by default an empty file of that name would lie beside the lock for nothing.
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    fs.writeFileSync(pidPath, `${process.pid}\n`, { mode: 0o640 });
  } catch (error) {
    database.close();
    if (isBusy(error)) throw lockedError(lockPath, readPid(pidPath), error);
    throw lockFailedError(lockPath, error);
  }
  heldDatabases.add(database);
  return {
    release() {
      if (!heldDatabases.delete(database)) return;
      // Before the lock goes, not after: by then the file may be the next holder's.
      fs.rmSync(pidPath, { force: true });
      database.close();
    },
  };
}

/** A database that is collected as garbage is closed, and its lock gone: they are kept here until released. */
const heldDatabases = new Set<DatabaseSync>();

/** SQLITE_BUSY, the low byte of its result codes. */
const sqliteBusy = 5;

function openDatabase(path: string): DatabaseSync {
  // Loaded here and not above: who never locks a directory, as a client, needn't have SQLite.
  const sqlite = process.getBuiltinModule("node:sqlite");
  try {
    return new sqlite.DatabaseSync(path, { timeout: 0 });
  } catch (error) {
    throw lockFailedError(path, error);
  }
}

function lockFailedError(path: string, cause: unknown): ProglogError {
  return new ProglogError("DISK_FAILED", `Cannot lock ${dirname(path)}: ${messageOf(cause)} (${path})`, {
    hint: "The directory has to be writable, and the lock file empty.",
    details: { directory: dirname(path) },
    cause,
  });
}

function isBusy(error: unknown): boolean {
  if (!(error instanceof Error) || !("errcode" in error)) return false;
  return typeof error.errcode === "number" && (error.errcode & 0xff) === sqliteBusy;
}

function readPid(pidPath: string): number | undefined {
  let text: string;
  try {
    text = fs.readFileSync(pidPath, "utf8");
  } catch {
    // The holder is just taking the lock or letting it go. That it is held is certain all the same.
    return undefined;
  }
  return /^[1-9][0-9]*\n$/.test(text) ? Number(text) : undefined;
}
