/** Lets a few go at a time, first come, first served. As many wait as a node has groups. */
export class OpeningTurns {
  readonly #maxCount: number;
  readonly #waiting: (() => void)[] = [];
  #runningCount = 0;

  constructor(maxCount: number) {
    this.#maxCount = maxCount;
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#runningCount < this.#maxCount) this.#runningCount += 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // Whoever is next takes this place over.
      const next = this.#waiting.shift();
      if (next === undefined) this.#runningCount -= 1;
      else next();
    }
  }
}
