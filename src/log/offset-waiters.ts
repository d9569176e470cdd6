import { ProglogError } from "../base/error.ts";
import { offsetWaitsMaxCount } from "../base/limits.ts";

/**
 * Those who wait for the high watermark to pass an offset: woken when it does, never by a timer. Kept by offset, so that each
 * append looks at those it wakes and at one more, however many wait for what is further ahead.
 */
export class OffsetWaiters {
  /** The highest offset first: who is woken next stands at the end. */
  readonly #places: Place[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /**
   * Resolves when `wake` is called with a higher offset, and with `wakeAll`. Rejects with CANCELLED on `signal`, with the error
   * given to `endAll`, and with OVERLOADED when so many wait already.
   */
  wait(offset: number, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return Promise.reject(cancelledError(offset));
    if (this.#count >= offsetWaitsMaxCount) return Promise.reject(overloadedError(offset));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const { waiters } = this.#placeOf(offset);
    const onAbort = (): void => {
      waiters.delete(waiter);
      this.#count -= 1;
      if (waiters.size === 0) this.#places.splice(this.#findPlace(offset), 1);
      reject(cancelledError(offset));
    };
    const waiter: Waiter = { resolve, reject, leave: () => signal?.removeEventListener("abort", onAbort) };
    waiters.add(waiter);
    this.#count += 1;
    signal?.addEventListener("abort", onAbort, { once: true });
    return promise;
  }

  wake(highWatermark: number): void {
    for (let next = this.#places.at(-1); next !== undefined && next.offset < highWatermark; next = this.#places.at(-1)) {
      this.#places.pop();
      this.#settle(next, (waiter) => waiter.resolve());
    }
  }

  /** For when what they wait for changed in another way than by rising: whoever still wants to wait asks again. */
  wakeAll(): void {
    for (const place of this.#places.splice(0)) this.#settle(place, (waiter) => waiter.resolve());
  }

  endAll(error: ProglogError): void {
    for (const place of this.#places.splice(0)) this.#settle(place, (waiter) => waiter.reject(error));
  }

  #settle({ waiters }: Place, settle: (waiter: Waiter) => void): void {
    this.#count -= waiters.size;
    for (const waiter of waiters) {
      waiter.leave();
      settle(waiter);
    }
  }

  #placeOf(offset: number): Place {
    const at = this.#findPlace(offset);
    const found = this.#places[at];
    if (found?.offset === offset) return found;
    const place: Place = { offset, waiters: new Set() };
    this.#places.splice(at, 0, place);
    return place;
  }

  /** Where the place of `offset` is, or belongs. */
  #findPlace(offset: number): number {
    let low = 0;
    let high = this.#places.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const place = this.#places[middle];
      if (place !== undefined && place.offset > offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** All who wait for one offset. Most wait for the same: the end of the log. */
interface Place {
  readonly offset: number;
  readonly waiters: Set<Waiter>;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** It is settled: its signal is no longer listened to. */
  readonly leave: () => void;
}

function cancelledError(offset: number): ProglogError {
  return new ProglogError("CANCELLED", `Cannot wait for offset ${offset} any longer: the wait was cancelled`);
}

function overloadedError(offset: number): ProglogError {
  return new ProglogError("OVERLOADED", `Cannot wait for offset ${offset}: ${offsetWaitsMaxCount} wait for this log already`, {
    hint: "Read once for all who want the same records, or try again later.",
    details: { maxCount: offsetWaitsMaxCount },
  });
}
