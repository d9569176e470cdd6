import { ProglogError } from "../../base/error.ts";
import { unsyncedMaxBytes, unsyncedWaitersMaxCount } from "../../base/cluster-limits.ts";

/**
 * What all groups of a node have taken and not synced yet, in bytes. Each group bounds its own; that a thousand of them don't take a
 * thousand times as much is held here: past the bound nothing more is taken before some of it is synced.
 */
export class UnsyncedBytes {
  readonly #maxBytes: number;
  #bytes = 0;
  #waiters: (() => void)[] = [];

  constructor(maxBytes: number = unsyncedMaxBytes) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get waitingCount(): number {
    return this.#waiters.length;
  }

  /** Whether `bytes` more may be taken. Into nothing anything goes, or the largest entry never would. */
  hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
  }

  /** Throws OVERLOADED where there is no room: for who can't wait. */
  checkRoom(attempt: string, bytes: number): void {
    if (this.hasRoom(bytes)) return;
    throw new ProglogError(
      "OVERLOADED",
      `Cannot ${attempt}: ${this.#bytes} bytes of this node's partitions aren't synced yet, and ${this.#maxBytes} may be`,
      {
        hint: "Retry later: the disk is slower than what comes.",
        details: { unsyncedBytes: this.#bytes, maxBytes: this.#maxBytes },
      },
    );
  }

  /** Resolves when there may be room again: ask then, others were waiting too. Throws OVERLOADED where too many wait. */
  async whenRoom(bytes: number): Promise<void> {
    if (this.hasRoom(bytes)) return;
    if (this.#waiters.length >= unsyncedWaitersMaxCount) this.checkRoom("wait for the disk", bytes);
    await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  /** One group's share. */
  account(): UnsyncedAccount {
    return new UnsyncedAccount((bytes) => this.#change(bytes));
  }

  #change(bytes: number): void {
    this.#bytes += bytes;
    if (bytes >= 0 || this.#waiters.length === 0 || this.#bytes >= this.#maxBytes) return;
    for (const wake of this.#waiters.splice(0)) wake();
  }
}

/** What one group has taken and not synced. */
export class UnsyncedAccount {
  readonly #change: (bytes: number) => void;
  #bytes = 0;
  #isEnded = false;

  constructor(change: (bytes: number) => void) {
    this.#change = change;
  }

  get bytes(): number {
    return this.#bytes;
  }

  take(bytes: number): void {
    if (this.#isEnded) return;
    this.#bytes += bytes;
    this.#change(bytes);
  }

  /** They are synced, or given up. */
  give(bytes: number): void {
    const given = Math.min(bytes, this.#bytes);
    this.#bytes -= given;
    if (given > 0) this.#change(-given);
  }

  /** The group is closed, or out of the write path: it holds nothing any more, and takes nothing. */
  end(): void {
    this.give(this.#bytes);
    this.#isEnded = true;
  }
}
