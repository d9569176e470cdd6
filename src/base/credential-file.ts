import fs from "node:fs";
import { basename, dirname, join } from "node:path";
import { systemErrorCode } from "./disk.ts";
import { messageOf, ProglogError } from "./error.ts";
import { credentialFileMaxBytes } from "./security-limits.ts";

/**
 * Certificates and keys as files. They aren't a log's, so they don't go through `Disk`: what matters of them is who else may read them.
 */
export interface ReadCredentialOptions {
  /** For errors: "--server-tls-key-file". */
  readonly source: string;
  /** A key: refused when others than its owner and his group may read it, or his group may write it. Where there are such rights. */
  readonly isSecret?: boolean;
}

/** The content of a file. Throws INVALID_CONFIG where it can't be read, is too large, or is a secret that isn't kept. */
export function readCredentialFile(path: string, { source, isSecret = false }: ReadCredentialOptions): Buffer {
  const refuse = (reason: string, hint?: string, cause?: unknown): ProglogError =>
    new ProglogError("INVALID_CONFIG", `Cannot use ${source} ${path}: ${reason}`, {
      ...(hint === undefined ? {} : { hint }),
      details: { source, path },
      cause,
    });
  let fd: number;
  try {
    // Not to wait for whoever might write to a pipe of that name.
    fd = fs.openSync(path, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
  } catch (error) {
    throw refuse(openFailures[systemErrorCode(error) ?? ""] ?? messageOf(error), undefined, error);
  }
  try {
    const stats = fs.fstatSync(fd);
    if (!stats.isFile()) throw refuse("it is no file");
    if (isSecret && process.platform !== "win32" && isExposing(stats.mode)) {
      const mode = (stats.mode & 0o777).toString(8).padStart(4, "0");
      throw refuse(`others may read or change it (its mode is ${mode})`, `chmod 600 ${path}`);
    }
    if (stats.size > credentialFileMaxBytes)
      throw refuse(`it has ${stats.size} bytes, and the limit is ${credentialFileMaxBytes}`);
    const bytes = fs.readFileSync(fd);
    if (bytes.length === 0) throw refuse("it is empty");
    return bytes;
  } finally {
    fs.closeSync(fd);
  }
}

/** Whether others may read or write a file of this mode, or its group may write it. A group may read: as containers need it. */
export function isExposing(mode: number): boolean {
  return (mode & 0o026) !== 0;
}

/** True when there is something of that name. */
export function hasCredentialFile(path: string): boolean {
  return fs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Throws INVALID_ARGUMENT when there is something of that name: for what is written in several files, or not at all. */
export function checkNoCredentialFile(path: string): void {
  if (hasCredentialFile(path)) throw occupiedError(path);
}

/**
 * Writes a file whole or not at all; its directory is made where it is missing. Throws INVALID_ARGUMENT when there is one
 * already, unless `isReplacing`.
 */
export function writeCredentialFile(
  path: string,
  text: string,
  { isSecret = false, isReplacing = false }: { readonly isSecret?: boolean; readonly isReplacing?: boolean } = {},
): void {
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  // Under another name first: a key must never be there with the rights that an older file of its name had.
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}.new`);
  fs.rmSync(draft, { force: true });
  const fd = fs.openSync(draft, "wx", isSecret ? 0o600 : 0o644);
  try {
    try {
      fs.writeFileSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    if (isReplacing) fs.renameSync(draft, path);
    else fs.linkSync(draft, path);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw error;
    throw occupiedError(path);
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function occupiedError(path: string): ProglogError {
  return new ProglogError("INVALID_ARGUMENT", `Cannot write ${path}: there is such a file already`, {
    hint: "Say --force to replace it.",
    details: { path },
  });
}

const openFailures: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  EACCES: "this user may not read it",
};
