import { ProglogError } from "../../base/error.ts";
import { unsyncedMaxBytes, unsyncedWaitersMaxCount } from "../../base/cluster-limits.ts";

/**
 * What all groups of a node have taken and not synced yet, in bytes. Each group bounds its own; that a thousand of them don't take a
 * thousand times as much is held here: past the bound nothing more is taken before some of it is synced.
 */
export class UnsyncedBytes {
  readonly #maxBytes: number;
  #bytes = 0;
  readonly #line: Waiter[] = [];

  constructor(maxBytes: number = unsyncedMaxBytes) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get waitingCount(): number {
    return this.#line.length;
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

  /**
   * For who can wait: undefined where `bytes` may be taken now, else resolves when they may, in the order in which they came. Held back from
   * three quarters on: what was let in is counted a little later, and others can't wait. Throws OVERLOADED where too many wait.
   */
  whenRoom(bytes: number): Promise<void> | undefined {
    if (this.#line.length === 0 && this.#mayGoOn(bytes, this.#bytes)) return undefined;
    if (this.#line.length >= unsyncedWaitersMaxCount) {
      throw new ProglogError("OVERLOADED", `Cannot append: ${this.#line.length} streams wait for this node's disk already`, {
        hint: "Retry later: the disk is slower than what comes.",
        details: { maxCount: unsyncedWaitersMaxCount },
      });
    }
    return new Promise<void>((admit) => this.#line.push({ bytes, admit }));
  }

  /** One group's share. */
  account(): UnsyncedAccount {
    return new UnsyncedAccount((bytes) => this.#change(bytes));
  }

  #change(bytes: number): void {
    this.#bytes += bytes;
    if (bytes >= 0 || this.#line.length === 0) return;
    // What those take who are let in now is counted only when they have.
    let taken = this.#bytes;
    let count = 0;
    for (const waiter of this.#line) {
      if (!this.#mayGoOn(waiter.bytes, taken)) break;
      taken += waiter.bytes;
      count += 1;
    }
    for (const { admit } of this.#line.splice(0, count)) admit();
  }

  #mayGoOn(bytes: number, taken: number): boolean {
    return taken === 0 || taken + bytes <= this.#maxBytes * heldBackFrom;
  }
}

interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
}

const heldBackFrom = 0.75;

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
