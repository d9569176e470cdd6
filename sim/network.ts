import type { EventQueue } from "./event-queue.ts";
import type { SeededRandom } from "./random.ts";

/** How a network treats what it is given. */
export interface NetworkWeather {
  readonly delayMinMs: number;
  /** Mean of what comes on top, exponentially. */
  readonly delayMeanMs: number;
  readonly lossChance: number;
  readonly doubleChance: number;
  /** Chance that something takes ten times as long, and is overtaken. */
  readonly lateChance: number;
  /** Whether a link keeps the order, as a connection does: what comes after a late message is late, too. */
  readonly keepsOrder: boolean;
}

export const fairWeather: NetworkWeather = {
  delayMinMs: 0.1,
  delayMeanMs: 0.4,
  lossChance: 0,
  doubleChance: 0,
  lateChance: 0,
  keepsOrder: false,
};

/** How often in a row something may be lost that is sent again until it comes through. */
const resendsMaxCount = 8;

/** Carries messages between nodes: late, in another order, twice or never. Links can be cut, in one direction or both. */
export class Network {
  weather: NetworkWeather = fairWeather;
  lostCount = 0;
  sentCount = 0;
  readonly #queue: EventQueue;
  readonly #random: SeededRandom;
  /** How many faults cut a link now: two may cut the same one, and one heal before the other. */
  readonly #cuts = new Map<string, number>();
  /** When the last message of a link arrives. */
  readonly #lastMs = new Map<string, number>();

  constructor(queue: EventQueue, random: SeededRandom) {
    this.#queue = queue;
    this.#random = random;
  }

  send(from: string, to: string, deliver: () => void): void {
    const { lossChance, doubleChance } = this.weather;
    this.sentCount += 1;
    if (this.isCut(from, to) || (lossChance > 0 && this.#random.chance(lossChance))) {
      this.lostCount += 1;
      return;
    }
    this.#carry(from, to, deliver);
    if (doubleChance > 0 && this.#random.chance(doubleChance)) this.#carry(from, to, deliver);
  }

  isCut(from: string, to: string): boolean {
    return this.#cuts.size > 0 && (this.#cuts.get(`${from}>${to}`) ?? 0) > 0;
  }

  cut(from: string, to: string): void {
    this.#cuts.set(`${from}>${to}`, (this.#cuts.get(`${from}>${to}`) ?? 0) + 1);
  }

  mend(from: string, to: string): void {
    const link = `${from}>${to}`;
    const count = (this.#cuts.get(link) ?? 0) - 1;
    if (count > 0) this.#cuts.set(link, count);
    else this.#cuts.delete(link);
  }

  healAll(): void {
    this.#cuts.clear();
    this.weather = fairWeather;
  }

  /** How long something takes in this weather. */
  drawDelayMs(): number {
    const { delayMinMs, delayMeanMs, lateChance } = this.weather;
    const isLate = lateChance > 0 && this.#random.chance(lateChance);
    return delayMinMs - Math.log(1 - this.#random.float()) * delayMeanMs * (isLate ? 10 : 1);
  }

  /** How often what is sent has to be sent again until it comes through, in this weather. */
  drawLossCount(): number {
    const { lossChance } = this.weather;
    if (lossChance === 0) return 0;
    let count = 0;
    while (count < resendsMaxCount && this.#random.chance(lossChance)) count += 1;
    return count;
  }

  #carry(from: string, to: string, deliver: () => void): void {
    const drawnMs = this.drawDelayMs();
    const { keepsOrder } = this.weather;
    const link = `${from}>${to}`;
    const lastMs = this.#lastMs.get(link) ?? 0;
    const delayMs = keepsOrder ? Math.max(drawnMs, lastMs - this.#queue.nowMs) : drawnMs;
    this.#lastMs.set(link, Math.max(lastMs, this.#queue.nowMs + delayMs));
    this.#queue.after(delayMs, () => {
      // What is on its way when a link is cut doesn't arrive either.
      if (this.isCut(from, to)) this.lostCount += 1;
      else deliver();
    });
  }
}
