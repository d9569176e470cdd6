import { assert } from "../../base/assert.ts";
import { isProglogError, messageOf, ProglogError } from "../../base/error.ts";
import { poisonedError } from "../../log/write-failure.ts";

/**
 * Why a replica is out of the write path: it doesn't vote, lead or acknowledge then, and readers go on. A full disk passes by itself, rot when
 * it is repaired; a write or sync that failed only with another opening of the log.
 */
export class GroupDamage {
  readonly #changed: (reason: ProglogError | undefined) => void;
  #full: ProglogError | undefined;
  #rot: ProglogError | undefined;
  #failure: ProglogError | undefined;

  /** `changed` is told the gravest reason there is, or that there is none any more. */
  constructor(changed: (reason: ProglogError | undefined) => void) {
    this.#changed = changed;
  }

  get reason(): ProglogError | undefined {
    return this.#failure ?? this.#rot ?? this.#full;
  }

  /** There is no room on the disk, or there is again. */
  stuck(error: unknown): void {
    this.#full = isProglogError(error) ? error : undefined;
    this.#changed(this.reason);
  }

  rotted(reason: string): void {
    if (this.#rot !== undefined) return;
    this.#rot = new ProglogError("LOG_CORRUPT", `Cannot append: a part of this replica's log is damaged: ${reason}`, {
      hint: "Reading what isn't hit goes on. It is repaired from the other replicas, or with proglog repair.",
    });
    this.#changed(this.reason);
  }

  repaired(): void {
    this.#rot = undefined;
    this.#changed(this.reason);
  }

  writeFailed(error: unknown): void {
    if (this.#failure !== undefined) return;
    const cause = isProglogError(error) ? error : new ProglogError("DISK_FAILED", messageOf(error), { cause: error });
    const isTold = cause.code === "LOG_POISONED" || cause.code === "LOG_CORRUPT";
    this.#failure = isTold ? cause : poisonedError("append", cause);
    this.#changed(this.reason);
  }
}

/** Rot that was mended and room that was made took nothing from the log. If anything was cut after all, this group stops here. */
export function checkRepaired(outcome: "repaired" | "refused"): void {
  assert(outcome === "repaired", "a log that is whole again has what was reported durable");
}
