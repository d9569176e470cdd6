/** Lets one go at a time, first come, first served. */
export class Turns {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /** How many wait. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Runs `work` when it is its turn. Undefined, without it, when `signal` is aborted before. */
  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
    if (!(await this.#take(signal))) return undefined;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#isTaken = false;
      else next();
    }
  }

  async #take(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (!this.#isTaken) {
      this.#isTaken = true;
      return true;
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const goOn = (): void => resolve(true);
    const giveUp = (): void => {
      const place = this.#waiting.indexOf(goOn);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      resolve(false);
    };
    this.#waiting.push(goOn);
    signal.addEventListener("abort", giveUp, { once: true });
    const hasTurn = await promise;
    signal.removeEventListener("abort", giveUp);
    return hasTurn;
  }
}
