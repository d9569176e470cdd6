/** Work that several wait for together. Each may give up waiting by a signal of his own; when all have, it is told to end. */
export class SharedRun<T> {
  readonly #stop = new AbortController();
  readonly #result: Promise<T>;
  #waitingCount = 0;

  /** `work` ends early, with a result, once its signal is aborted. */
  constructor(work: (signal: AbortSignal) => Promise<T>) {
    this.#result = work(this.#stop.signal);
  }

  /** Everybody has given up: it is ending. */
  get isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** The result; undefined when `signal` is aborted while others wait on. The last one to give up gets what was done until then. */
  async wait(signal?: AbortSignal): Promise<T | undefined> {
    this.#waitingCount += 1;
    const { promise: left, resolve } = Promise.withResolvers<undefined>();
    const leave = (): void => {
      this.#waitingCount -= 1;
      if (this.#waitingCount === 0) this.#stop.abort();
      else resolve(undefined);
    };
    if (signal?.aborted === true) leave();
    else signal?.addEventListener("abort", leave, { once: true });
    try {
      return await Promise.race([this.#result, left]);
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }
}
