import type { CheckId } from "./checks.ts";

/** Something that must never be was seen. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly check: CheckId;

  constructor(check: CheckId, what: string) {
    super(`${check}: ${what}`);
    this.check = check;
  }
}
