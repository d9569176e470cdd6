import { type Disk, systemErrorCode } from "./disk.ts";
import { messageOf, ProglogError } from "./error.ts";
import { bearerTokenMaxChars } from "./security-limits.ts";

/** What a caller shows to say who it is, as far as every kind of it looks the same: one word of visible characters. */
export function isBearerToken(text: string): boolean {
  return text.length <= bearerTokenMaxChars && /^[\x21-\x7e]+$/.test(text);
}

/**
 * The token that a file holds, without the white space around it. Throws INVALID_CONFIG where there is none, or others than the file's owner and
 * group may read it. `source`, for errors: "--token-file". What it holds is never told.
 */
export function readTokenFile(disk: Disk, path: string, source: string): string {
  const refuse = (reason: string, hint?: string, cause?: unknown): ProglogError =>
    new ProglogError("INVALID_CONFIG", `Cannot use ${source} ${path}: ${reason}`, {
      ...(hint === undefined ? {} : { hint }),
      cause,
    });
  const text = readText(disk, path, refuse).trim();
  if (disk.isReadableByOthers?.(path) === true) throw refuse("everybody may read it", `chmod 600 ${path}`);
  if (isBearerToken(text)) return text;
  const max = `${bearerTokenMaxChars} visible characters at most`;
  throw refuse(text === "" ? "it is empty" : "it holds more than a token", `It holds the token alone: ${max}.`);
}

function readText(disk: Disk, path: string, refuse: (reason: string, hint?: string, cause?: unknown) => ProglogError): string {
  let file;
  try {
    file = disk.open(path, "read");
  } catch (error) {
    const isMissing = systemErrorCode(error) === "ENOENT";
    throw refuse(isMissing ? "there is no such file" : messageOf(error), undefined, error);
  }
  try {
    const bytes = Buffer.alloc(Math.min(file.size(), fileMaxBytes));
    return bytes.subarray(0, file.readSync(bytes, 0)).toString("latin1");
  } catch (error) {
    throw refuse(messageOf(error), undefined, error);
  } finally {
    file.close();
  }
}

/** A token, some white space, and one more, by which it is seen that there is too much. */
const fileMaxBytes = bearerTokenMaxChars + 64;
