import { once } from "node:events";
import type { Writable } from "node:stream";
import { systemErrorCode } from "../base/disk.ts";

/**
 * A standard stream to write to. It waits when the reader is slow, so memory stays bounded, and knows the reader that went
 * away, as `head` does: writing then throws `OutputClosedError`, which ends a command quietly.
 */
export class Output {
  readonly #stream: Writable;
  readonly #isOptional: boolean;
  #error: Error | undefined;

  /**
   * What is optional never throws: whether anybody reads what is said beside the work, on standard error, must not decide whether the
   * work is done.
   */
  constructor(stream: Writable, { isOptional = false }: { readonly isOptional?: boolean } = {}) {
    this.#stream = stream;
    this.#isOptional = isOptional;
    // Stays on after the last write: an EPIPE that comes late must not be an uncaught error.
    stream.on("error", (error: Error) => {
      this.#error ??= error;
    });
  }

  async write(text: string | Uint8Array): Promise<void> {
    this.#check();
    if (this.#error !== undefined || this.#stream.write(text)) return;
    try {
      await once(this.#stream, "drain");
    } catch {
      // The error has reached the listener above too, and is thrown from there.
    }
    this.#check();
  }

  /** Resolves when everything written has been handed to the system: only then may the process go. Throws as `write` does. */
  async finish(): Promise<void> {
    this.#check();
    if (this.#error !== undefined) return;
    await new Promise<void>((resolve) => {
      this.#stream.once("error", () => resolve());
      this.#stream.write("", () => resolve());
    });
    this.#check();
  }

  #check(): void {
    if (this.#error === undefined || this.#isOptional) return;
    if (isClosedPipe(this.#error)) throw new OutputClosedError();
    throw this.#error;
  }
}

/** The reader of our output has gone. Nobody is left to tell, and nothing is wrong. */
export class OutputClosedError extends Error {
  override readonly name = "OutputClosedError";
}

function isClosedPipe(error: Error): boolean {
  const code = systemErrorCode(error);
  return code === "EPIPE" || code === "ERR_STREAM_DESTROYED";
}
