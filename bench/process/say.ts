import { writeSync } from "node:fs";

/** A line for the process that started this one: written at once, since this one may be killed right after it. */
export function say(what: object): void {
  writeSync(1, `${JSON.stringify(what)}\n`);
}
