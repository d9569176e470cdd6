import { ProglogError } from "../base/error.ts";

/** Those who wait for the high watermark to pass an offset: woken when it does, never by a timer. */
export class OffsetWaiters {
  readonly #waiters = new Set<Waiter>();

  get count(): number {
    return this.#waiters.size;
  }

  /** Resolves when `wake` is called with a higher offset, and with `wakeAll`. Rejects with CANCELLED on `signal`, with the error given to `endAll`. */
  wait(offset: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(cancelledError(offset));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const onAbort = (): void => {
      this.#waiters.delete(waiter);
      reject(cancelledError(offset));
    };
    const settle = (): void => {
      this.#waiters.delete(waiter);
      signal?.removeEventListener("abort", onAbort);
    };
    const waiter: Waiter = {
      offset,
      resolve: () => {
        settle();
        resolve();
      },
      reject: (error) => {
        settle();
        reject(error);
      },
    };
    this.#waiters.add(waiter);
    signal?.addEventListener("abort", onAbort, { once: true });
    return promise;
  }

  wake(highWatermark: number): void {
    for (const waiter of this.#waiters) if (waiter.offset < highWatermark) waiter.resolve();
  }

  /** For when what they wait for changed in another way than by rising: whoever still wants to wait asks again. */
  wakeAll(): void {
    for (const waiter of this.#waiters) waiter.resolve();
  }

  endAll(error: ProglogError): void {
    for (const waiter of this.#waiters) waiter.reject(error);
  }
}

interface Waiter {
  readonly offset: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

function cancelledError(offset: number): ProglogError {
  return new ProglogError("CANCELLED", `Cannot wait for offset ${offset} any longer: the wait was cancelled`);
}
