import { watchedTopicsMaxCount } from "../../base/security-limits.ts";

/**
 * The topics that a stream has appended to, as far as it rests on them: it is ended when none of them is allowed any more. Of very many the first
 * count; each request is checked by itself, so nothing is appended that isn't allowed.
 */
export class WatchedTopics {
  readonly #names = new Set<string>();

  add(name: string): void {
    if (this.#names.size < watchedTopicsMaxCount) this.#names.add(name);
  }

  get names(): Iterable<string> {
    return this.#names;
  }
}
