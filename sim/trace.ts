/**
 * What happened in a run, as one number: two runs of a seed are the same if and only if (but for one in 2^64) their traces are.
 * Telling it in words costs more than the run itself, so the words are only kept where somebody asks for the story.
 */
export class Trace {
  #high = 0x811c9dc5 | 0;
  #low = 0x9e3779b9 | 0;
  #eventCount = 0;
  readonly #lines: string[] = [];
  readonly #linesMaxCount: number;
  readonly #time: () => number;

  constructor(time: () => number, storyLines = 0) {
    this.#time = time;
    this.#linesMaxCount = storyLines;
  }

  get isTelling(): boolean {
    return this.#linesMaxCount > 0;
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  get hash(): string {
    return [this.#high, this.#low].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  note(...numbers: readonly number[]): void {
    this.#eventCount += 1;
    this.#mix(this.#time() * 1024);
    for (const number of numbers) this.#mix(number);
  }

  /** For the story alone. */
  tell(words: () => string): void {
    if (this.#linesMaxCount === 0) return;
    this.#lines.push(`${this.#time().toFixed(1).padStart(9)}  ${words()}`);
    if (this.#lines.length > 2 * this.#linesMaxCount) this.#lines.splice(0, this.#linesMaxCount);
  }

  story(): readonly string[] {
    return this.#lines.slice(-this.#linesMaxCount);
  }

  #mix(number: number): void {
    const low = number | 0;
    const high = Math.floor(number / 2 ** 32) | 0;
    this.#high = Math.imul(this.#high ^ low, 0x01000193) ^ (this.#low >>> 15);
    this.#low = Math.imul(this.#low ^ high ^ (low >>> 7), 0x85ebca6b) + (this.#high | 0) + low;
    this.#low |= 0;
  }
}
