import { GrpcStatusError } from "./grpc-status-error.ts";

/**
 * Counts what calls have received and nobody has taken yet, and their answers until they are gone, over a whole server. A bound on each call alone bounds nothing: there
 * may be many of them.
 */
export class HeldBytes {
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Throws RESOURCE_EXHAUSTED when it is too much; it is counted all the same, until it is given back by a negative number. */
  add(bytes: number, what: "message" | "answer" = "message"): void {
    this.#bytes += bytes;
    if (bytes > 0 && this.#bytes > this.#maxBytes)
      throw new GrpcStatusError("RESOURCE_EXHAUSTED", `Cannot ${attempts[what]}: the server holds as many bytes as it may`);
  }
}

const attempts = { message: "receive a message", answer: "answer the call" };
