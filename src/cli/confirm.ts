import { createInterface } from "node:readline/promises";
import { ProglogError } from "../base/error.ts";
import type { CommandIo } from "./command-io.ts";

/**
 * Asks before something is taken away for good, and returns whether the answer was yes. Where nobody can be asked it throws
 * INVALID_ARGUMENT: a script has to say `--yes`.
 */
export async function confirm(io: CommandIo, question: string, attempt: string): Promise<boolean> {
  if (io.stdin.isTTY !== true) {
    throw new ProglogError("INVALID_ARGUMENT", `Cannot ${attempt} unasked: standard input is no terminal`, {
      hint: "Say --yes.",
    });
  }
  const reader = createInterface({ input: io.stdin, output: io.stderr });
  try {
    // End of input, as Ctrl-D gives it, answers nothing: that is no.
    const closed = new Promise<string>((resolve) => reader.once("close", () => resolve("")));
    const answer = await Promise.race([reader.question(`${question} [y/N] `), closed]);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    reader.close();
  }
}
