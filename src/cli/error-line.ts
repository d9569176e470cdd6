import { systemErrorCode } from "../base/disk.ts";
import { isProglogError, messageOf } from "../base/error.ts";
import { causeMaxDepth } from "../base/limits.ts";

/** An error in one line: `proglog: CODE: message (hint)`. */
export function errorLine(error: unknown): string {
  return `proglog: ${oneLine(describe(error))}\n`;
}

/** What `--verbose` adds below it: the stack, and those of the causes. */
export function errorCauses(error: unknown): string {
  let text = "";
  let cause: unknown = error;
  for (let depth = 0; cause !== undefined && depth < causeMaxDepth; depth += 1) {
    const stack = cause instanceof Error ? (cause.stack ?? messageOf(cause)) : messageOf(cause);
    text += `${depth === 0 ? "" : "caused by: "}${stack}\n`;
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  return text;
}

function describe(error: unknown): string {
  if (isProglogError(error)) {
    const hint = error.hint === undefined ? "" : ` (${error.hint.replace(/\.$/, "")})`;
    return `${error.code}: ${error.message}${hint}`;
  }
  const code = systemErrorCode(error);
  // Node's own file errors begin with their code: "ENOENT: no such file or directory, open '/a/b'".
  if (code !== undefined && messageOf(error).startsWith(`${code}:`)) return messageOf(error);
  return `INTERNAL: ${messageOf(error)}`;
}

function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, " ").trim();
}
