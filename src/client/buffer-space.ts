import { ProglogError } from "../base/error.ts";

/**
 * Bytes that a producer holds for records that aren't acknowledged yet. Who comes when there are none left waits for its turn,
 * first come, first served; and when even those who wait are too many, or hold too much, is refused: a caller that doesn't wait for its promises
 * would otherwise fill the memory. Called back and not promised, since a promise's turn comes later, and someone could come between:
 * the order of records is the order in which they came.
 */
export class BufferSpace {
  readonly #maxBytes: number;
  readonly #waitersMaxCount: number;
  readonly #waiters: { readonly bytes: number; readonly enter: () => void; readonly refuse: (error: unknown) => void }[] = [];
  #usedBytes = 0;
  #waitingBytes = 0;

  /** Who waits may hold as much together as is held for those who don't. */
  constructor(options: { readonly maxBytes: number; readonly waitersMaxCount: number }) {
    this.#maxBytes = options.maxBytes;
    this.#waitersMaxCount = options.waitersMaxCount;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get waiterCount(): number {
    return this.#waiters.length;
  }

  /**
   * Calls `enter` once there is room, which is taken then: at once, or in the turn in which it comes free. Throws OVERLOADED; not for
   * what `isMore` of a call that was let in: its records are there already, whatever is said of them.
   */
  take(
    bytes: number,
    enter: () => void,
    refuse: (error: unknown) => void,
    { isMore = false }: { readonly isMore?: boolean } = {},
  ): void {
    if (this.#waiters.length === 0 && this.#hasRoom(bytes)) {
      this.#usedBytes += bytes;
      return enter();
    }
    const isTooMuch = this.#waiters.length > 0 && this.#waitingBytes + bytes > this.#maxBytes;
    if (!isMore && (isTooMuch || this.#waiters.length >= this.#waitersMaxCount)) {
      const waiting = `${this.#waiters.length} callers with ${this.#waitingBytes} bytes for room`;
      throw new ProglogError(
        "OVERLOADED",
        `Cannot take another record: ${this.#usedBytes} bytes wait to be acknowledged, and ${waiting}`,
        { hint: "Await what send returns, or raise bufferMaxBytes." },
      );
    }
    this.#waitingBytes += bytes;
    this.#waiters.push({ bytes, enter, refuse });
  }

  give(bytes: number): void {
    this.#usedBytes -= bytes;
    for (let next = this.#waiters[0]; next !== undefined && this.#hasRoom(next.bytes); next = this.#waiters[0]) {
      this.#waiters.shift();
      this.#waitingBytes -= next.bytes;
      this.#usedBytes += next.bytes;
      next.enter();
    }
  }

  /** Refuses all who wait. */
  close(reason: unknown): void {
    this.#waitingBytes = 0;
    for (const { refuse } of this.#waiters.splice(0)) refuse(reason);
  }

  /** One that is larger than all there is goes alone. */
  #hasRoom(bytes: number): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + bytes <= this.#maxBytes;
  }
}
