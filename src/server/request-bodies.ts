import type { IncomingMessage, ServerResponse } from "node:http";
import { type Clock, systemClock } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";
import { uploadIdleMaxMs } from "../base/limits.ts";
import { formatBytes } from "../base/quantity.ts";
import type { HeldBytes } from "./held-bytes.ts";
import { LiveBody } from "./live-body.ts";

/** Reads the bodies of requests. Their bytes are counted as they come, and given back when the answer is out. */
export class RequestBodies {
  /** What is read of bodies and still needed. */
  readonly held: HeldBytes;
  readonly #bodyMaxBytes: number;
  readonly #clock: Clock;
  readonly #live = new Set<LiveBody>();
  #stopError: ProglogError | undefined;

  constructor(options: { readonly bodyMaxBytes: number; readonly held: HeldBytes; readonly clock?: Clock }) {
    this.held = options.held;
    this.#bodyMaxBytes = options.bodyMaxBytes;
    this.#clock = options.clock ?? systemClock;
  }

  /** Live bodies under way. */
  get liveCount(): number {
    return this.#live.size;
  }

  /**
   * The whole body. Throws REQUEST_TOO_LARGE (before reading, where the request says how long it is), OVERLOADED,
   * UNSUPPORTED_MEDIA_TYPE for a compressed one, and CANCELLED when the client goes away. A refused body's rest is read and dropped, so that
   * the client gets to see the answer.
   */
  async read(request: IncomingMessage, response: ServerResponse): Promise<Buffer> {
    checkEncoding(request);
    if (Number(request.headers["content-length"] ?? 0) > this.#bodyMaxBytes) throw this.#tooLarge();
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.once("close", () => this.held.giveBack(bytes));
    const onData = (chunk: Buffer): void => {
      if (bytes + chunk.length > this.#bodyMaxBytes) return reject(this.#tooLarge());
      try {
        this.held.take(chunk.length, "read the body");
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

  /** A body of any length, to be used while it comes; its bytes are for its user to count. Throws UNSUPPORTED_MEDIA_TYPE for a compressed one. */
  open(request: IncomingMessage): LiveBody {
    checkEncoding(request);
    const body = new LiveBody(request, {
      clock: this.#clock,
      idleMs: uploadIdleMaxMs,
      onLeave: () => void this.#live.delete(body),
    });
    this.#live.add(body);
    if (this.#stopError !== undefined) body.stop(this.#stopError);
    return body;
  }

  /** Ends all live bodies, those to come too. */
  stop(error: ProglogError): void {
    this.#stopError = error;
    for (const body of this.#live) body.stop(error);
  }

  #tooLarge(): ProglogError {
    const reason = `it is larger than ${formatBytes(this.#bodyMaxBytes)}`;
    return new ProglogError("REQUEST_TOO_LARGE", `Cannot read the body: ${reason}`, {
      hint: "Send fewer records in one request.",
      details: { maxBytes: this.#bodyMaxBytes },
    });
  }
}

function checkEncoding(request: IncomingMessage): void {
  const encoding = request.headers["content-encoding"];
  if (encoding === undefined || encoding === "identity") return;
  throw new ProglogError("UNSUPPORTED_MEDIA_TYPE", `Cannot read the body: it is encoded as ${encoding.slice(0, 32)}`, {
    hint: "Send it as it is.",
  });
}
