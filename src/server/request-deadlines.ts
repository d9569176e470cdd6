import type { IncomingMessage } from "node:http";
import type { Clock, Timer } from "../base/clock.ts";

/**
 * How long requests may take to arrive. node:http has one such limit for all, and an upload that lives as long as its source needs
 * another. One timer looks after all of them, and only while there is a body to come.
 */
export class RequestDeadlines {
  readonly #options: DeadlineOptions;
  /** By when, on the monotonic clock. */
  readonly #due = new Map<IncomingMessage, number>();
  #timer: Timer | undefined;
  #isStopped = false;

  constructor(options: DeadlineOptions) {
    this.#options = options;
  }

  /** To be called when the head is there, and again to begin anew. A request without a body has arrived. */
  start(request: IncomingMessage, withinMs: number = this.#options.requestMs): void {
    const { headers } = request;
    const hasBody = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
    if (this.#isStopped || !hasBody || request.complete || request.destroyed) return;
    if (!this.#due.has(request)) request.once("close", () => this.lift(request));
    this.#due.set(request, this.#options.clock.monotonic() + withinMs);
    this.#arm();
  }

  /** It may take as long as it likes, until `start`. */
  lift(request: IncomingMessage): void {
    this.#due.delete(request);
    if (this.#due.size > 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** Looks after none any more, those to come included. */
  stop(): void {
    this.#isStopped = true;
    this.#due.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  #arm(): void {
    this.#timer ??= this.#options.clock.setTimer(this.#options.checkMs, () => {
      this.#timer = undefined;
      this.#check();
      if (this.#due.size > 0) this.#arm();
    });
  }

  #check(): void {
    const now = this.#options.clock.monotonic();
    for (const [request, dueMs] of this.#due) {
      if (!request.complete && dueMs > now) continue;
      this.#due.delete(request);
      if (!request.complete) this.#options.onDue(request);
    }
  }
}

export interface DeadlineOptions {
  readonly clock: Clock;
  /** From a request's head to its end. */
  readonly requestMs: number;
  /** How often they are looked after. */
  readonly checkMs: number;
  readonly onDue: (request: IncomingMessage) => void;
}
