import type { IncomingMessage, ServerResponse } from "node:http";
import { ProglogError } from "../base/error.ts";
import { formatBytes } from "../base/quantity.ts";
import type { HeldBytes } from "./held-bytes.ts";

/** Reads the bodies of requests. Their bytes are counted as they come, and given back when the answer is out. */
export class RequestBodies {
  readonly #bodyMaxBytes: number;
  readonly #held: HeldBytes;

  constructor(limits: { readonly bodyMaxBytes: number; readonly held: HeldBytes }) {
    this.#bodyMaxBytes = limits.bodyMaxBytes;
    this.#held = limits.held;
  }

  /**
   * The whole body. Throws REQUEST_TOO_LARGE (before reading, where the request says how long it is), OVERLOADED,
   * UNSUPPORTED_MEDIA_TYPE for a compressed one, and CANCELLED when the client goes away. A refused body's rest is read and dropped, so that
   * the client gets to see the answer.
   */
  async read(request: IncomingMessage, response: ServerResponse): Promise<Buffer> {
    const encoding = request.headers["content-encoding"];
    if (encoding !== undefined && encoding !== "identity") {
      throw new ProglogError("UNSUPPORTED_MEDIA_TYPE", `Cannot read the body: it is encoded as ${encoding.slice(0, 32)}`, {
        hint: "Send it as it is.",
      });
    }
    if (Number(request.headers["content-length"] ?? 0) > this.#bodyMaxBytes) throw this.#tooLarge();
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.once("close", () => this.#held.giveBack(bytes));
    const onData = (chunk: Buffer): void => {
      if (bytes + chunk.length > this.#bodyMaxBytes) return reject(this.#tooLarge());
      try {
        this.#held.take(chunk.length, "read the body");
      } catch (error) {
        return reject(error);
      }
      bytes += chunk.length;
      chunks.push(chunk);
    };
    const onEnd = (): void => resolve(Buffer.concat(chunks, bytes));
    const onClose = (): void => reject(new ProglogError("CANCELLED", "Cannot read the body: the client went away"));
    request.on("data", onData).once("end", onEnd).once("close", onClose).once("error", onClose);
    try {
      return await promise;
    } finally {
      // What is left of it flows on, and is dropped.
      request.off("data", onData).off("end", onEnd).off("close", onClose);
    }
  }

  #tooLarge(): ProglogError {
    const reason = `it is larger than ${formatBytes(this.#bodyMaxBytes)}`;
    return new ProglogError("REQUEST_TOO_LARGE", `Cannot read the body: ${reason}`, {
      hint: "Send fewer records in one request.",
      details: { maxBytes: this.#bodyMaxBytes },
    });
  }
}
