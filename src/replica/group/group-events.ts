import { type Logger, silentLogger } from "../../base/logger.ts";
import type { GroupListener, GroupReplicaOptions } from "./group-options.ts";

/** What those around a replica are to hear, kept until all is done that brought it about: so they may ask or order what they like. */
export class GroupEvents {
  readonly #listener: GroupListener;
  readonly #groupName: string;
  readonly #logger: Logger;
  #waiting: ((listener: GroupListener) => void)[] = [];

  constructor({ listener = {}, groupName, logger = silentLogger }: GroupReplicaOptions) {
    this.#listener = listener;
    this.#groupName = groupName;
    this.#logger = logger;
  }

  push(event: (listener: GroupListener) => void): void {
    this.#waiting.push(event);
  }

  /** Whoever throws harms nobody. */
  tell(): void {
    if (this.#waiting.length === 0) return;
    const events = this.#waiting;
    this.#waiting = [];
    for (const event of events) {
      try {
        event(this.#listener);
      } catch (error) {
        this.#logger.error({ group: this.#groupName, error }, "a listener of a group threw");
      }
    }
  }
}
