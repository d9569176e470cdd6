import { damagesMaxCount } from "../base/limits.ts";
import type { Logger } from "../base/logger.ts";
import type { LogDamage, LogObserver } from "./log-observer.ts";

/** Keeps count of the damaged places that readers and scrubs found, each told once, up to `damagesMaxCount`. */
export class DamageBook {
  readonly #logger: Logger;
  readonly #observer: LogObserver;
  readonly #places = new Set<string>();

  constructor(logger: Logger, observer: LogObserver) {
    this.#logger = logger;
    this.#observer = observer;
  }

  get count(): number {
    return this.#places.size;
  }

  /** A store is whole again: what is found there from now on is new. */
  forget(file: string): void {
    for (const place of this.#places) if (place.startsWith(`${file}:`)) this.#places.delete(place);
  }

  /** Other files are there now. */
  forgetAll(): void {
    this.#places.clear();
  }

  note(damage: LogDamage): void {
    const place = `${damage.file}:${damage.position}`;
    // A reader that tries again and again isn't a new damage each time.
    if (this.#places.has(place) || this.#places.size >= damagesMaxCount) return;
    this.#places.add(place);
    this.#observer.damaged?.(damage);
    this.#logger.error(damage, "acknowledged data is damaged");
  }
}
