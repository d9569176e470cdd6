import type { IncomingMessage } from "node:http";
import type { Clock, Timer } from "../base/clock.ts";
import { ProglogError } from "../base/error.ts";

/**
 * A request's body that is used while it comes, however long that goes on. What isn't asked for isn't read, so a slow reader slows its
 * client down. It ends by an error that tells why: the client went away, said nothing for too long, or the node stops.
 */
export class LiveBody {
  readonly #request: IncomingMessage;
  readonly #options: LiveBodyOptions;
  #end: BodyEnd | undefined;
  #waiting: (() => void) | undefined;
  #isLeft = false;

  constructor(request: IncomingMessage, options: LiveBodyOptions) {
    this.#request = request;
    this.#options = options;
    request.on("readable", this.#wake).on("end", this.#onEnd).on("close", this.#onClose).on("error", this.#onClose);
  }

  /** Somebody waits for bytes, and there are none. */
  get isWaiting(): boolean {
    return this.#waiting !== undefined;
  }

  /** The bytes that have come, at least one; undefined behind the last. Throws CANCELLED, TIMEOUT, and what `stop` was given. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#end?.kind === "failed") throw this.#end.error;
      // Its type is `any`, as streams may have objects; a request has none.
      const chunk = this.#request.read() as Buffer | null;
      if (chunk !== null) return chunk;
      if (this.#end !== undefined) return undefined;
      await this.#change();
    }
  }

  /** Ends it with this error, though more may have come. */
  stop(error: ProglogError): void {
    this.#finish({ kind: "failed", error });
  }

  /** Cuts the connection when the client does nothing for as long as it may say nothing: to be cancelled when it did. */
  watchClient(): Timer {
    const { clock, idleMs } = this.#options;
    return clock.setTimer(idleMs, () => this.#request.destroy());
  }

  /** To be called when nobody wants more of it. What comes flows on and is dropped, so that the client gets to see its answer. Twice is fine. */
  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.stop(cancelledError());
    const request = this.#request;
    request.off("readable", this.#wake).off("end", this.#onEnd).off("close", this.#onClose).off("error", this.#onClose);
    request.on("error", () => {}).on("data", () => {});
    this.#options.onLeave();
  }

  /**
   * Resolves when the rest has come, or after so long. A connection that is to be closed behind its answer must have been read to its
   * end by then: else the system resets it, and what the client hadn't read of the answer is lost.
   */
  async dropRest(withinMs: number): Promise<void> {
    this.leave();
    if (this.#request.readableEnded || this.#request.destroyed) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.clock.setTimer(withinMs, resolve);
    this.#request.once("close", resolve);
    await promise;
    timer.cancel();
  }

  async #change(): Promise<void> {
    const { clock, idleMs } = this.#options;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting = resolve;
    const timer = clock.setTimer(idleMs, () => this.stop(idleError(idleMs)));
    await promise;
    timer.cancel();
  }

  readonly #wake = (): void => {
    this.#waiting?.();
    this.#waiting = undefined;
  };

  readonly #onEnd = (): void => this.#finish({ kind: "complete" });

  /** Comes behind the end, too. */
  readonly #onClose = (): void => this.#finish({ kind: "failed", error: cancelledError() });

  #finish(end: BodyEnd): void {
    this.#end ??= end;
    this.#wake();
  }
}

type BodyEnd = { readonly kind: "complete" } | { readonly kind: "failed"; readonly error: ProglogError };

export interface LiveBodyOptions {
  readonly clock: Clock;
  /** How long it may say nothing while somebody waits for it. */
  readonly idleMs: number;
  /** Called once, when it is left. */
  readonly onLeave: () => void;
}

function cancelledError(): ProglogError {
  return new ProglogError("CANCELLED", "Cannot read the body: the client went away", { details: { outcome: "not-appended" } });
}

function idleError(idleMs: number): ProglogError {
  return new ProglogError("TIMEOUT", `Cannot wait for the body any longer: nothing came for ${idleMs / 1000} s`, {
    hint: "Send an empty line now and then, or begin again when there is more.",
    details: { outcome: "not-appended" },
  });
}
