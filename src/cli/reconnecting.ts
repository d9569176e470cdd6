import { type ErrorCode, messageOf, type ProglogError } from "../base/error.ts";
import type { Output } from "./output.ts";
import { serverError } from "./server-connection.ts";

/**
 * What a command does when its server goes: it tries again, once the server was there, and says so once. Where it never was the
 * address may be wrong. What the server refuses is not tried again: whoever runs the command hears of it at once.
 */
export class Reconnecting {
  readonly #isWished: boolean;
  readonly #stderr: Output;
  #state: "new" | "reached" | "lost" = "new";

  constructor({ isWished, stderr }: { readonly isWished: boolean; readonly stderr: Output }) {
    this.#isWished = isWished;
    this.#stderr = stderr;
  }

  /** The server has answered. */
  answered(): void {
    this.#state = "reached";
  }

  mayRetry({ code, details }: ProglogError): boolean {
    if (!this.#isWished || !lostCodes.includes(code)) return false;
    // What may have been appended was sent, so somebody was there.
    const isReached = this.#state !== "new" || code !== "UNAVAILABLE" || details["outcome"] === "unknown";
    if (isReached && this.#state === "new") this.#state = "reached";
    return isReached;
  }

  /** Before it is tried again. */
  tell(error: ProglogError, topic: string): void {
    if (this.#state === "lost") return;
    this.#state = "lost";
    const shown = messageOf(serverError(error, { attempt: `produce to ${topic}` }));
    // Standard error is optional: writing there never fails, and what it says may come as late as it likes.
    void this.#stderr.write(`proglog: ${shown}; trying again for 30 s\n`);
  }
}

/** The server is gone, or doesn't lead any more. */
const lostCodes: readonly ErrorCode[] = ["UNAVAILABLE", "SHUTTING_DOWN", "NOT_LEADER", "LEADERSHIP_LOST"];
