import { ProglogError } from "../base/error.ts";
import type { RecordInput } from "../batch/record.ts";
import type { ProduceRequest } from "../wire/produce-message.ts";

/**
 * The room that produce requests of a whole node share while they are under way. A bound on each stream alone bounds nothing: there may be
 * tens of thousands of them. Who finds none waits in line, first come, first served: a stream before it reads, so that what it would
 * have read fills its window and its client is held back; a single request with what it has, and of those only so many bytes may wait.
 */
export class ProduceRoom {
  readonly #maxBytes: number;
  readonly #waitingMaxBytes: number;
  #bytes = 0;
  #waitingBytes = 0;
  readonly #line: Waiter[] = [];

  constructor(options: { readonly maxBytes: number; readonly waitingMaxBytes: number }) {
    this.#maxBytes = options.maxBytes;
    this.#waitingMaxBytes = options.waitingMaxBytes;
  }

  /** Taken and not given back. */
  get bytes(): number {
    return this.#bytes;
  }

  get waitingCount(): number {
    return this.#line.length;
  }

  /** False when there is no room or somebody waits for it. One taker always fits into an empty room. */
  tryTake(bytes: number): boolean {
    if (this.#line.length > 0 || !this.#fits(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  /**
   * Waits in line, and takes. Resolves false, with nothing taken, when `signal` is aborted before. `heldBytes` are those that the waiter holds
   * in memory meanwhile; throws OVERLOADED when those of all would be too many.
   */
  async take(
    bytes: number,
    { signal, heldBytes = 0 }: { readonly signal: AbortSignal; readonly heldBytes?: number },
  ): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.tryTake(bytes)) return true;
    if (this.#waitingBytes + heldBytes > this.#waitingMaxBytes) {
      throw new ProglogError("OVERLOADED", "Cannot append: the node holds as many bytes of produce requests as it may", {
        hint: "Try again, or produce on a stream: it waits until there is room.",
      });
    }
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const leave = (): void => {
      this.#line.splice(this.#line.indexOf(waiter), 1);
      resolve(false);
      this.#admit();
    };
    const waiter: Waiter = {
      bytes,
      admit: () => {
        // From now on it is taken: an abort changes nothing about that.
        signal.removeEventListener("abort", leave);
        resolve(true);
      },
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#line.push(waiter);
    this.#waitingBytes += heldBytes;
    try {
      return await promise;
    } finally {
      this.#waitingBytes -= heldBytes;
    }
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
    this.#admit();
  }

  #admit(): void {
    for (let first = this.#line[0]; first !== undefined && this.#fits(first.bytes); first = this.#line[0]) {
      this.#line.shift();
      this.#bytes += first.bytes;
      first.admit();
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#maxBytes;
  }
}

interface Waiter {
  readonly bytes: number;
  readonly admit: () => void;
}

/** What a request holds in memory while it is under way, about. */
export function roomOf({ record, records, batch }: ProduceRequest): number {
  let bytes = requestOverheadBytes + (batch?.length ?? 0);
  if (record !== undefined) bytes += recordRoomOf(record);
  for (const each of records) bytes += recordRoomOf(each);
  return bytes;
}

function recordRoomOf({ key, value, headers }: RecordInput): number {
  let bytes = recordOverheadBytes + (key?.length ?? 0) + (value?.length ?? 0);
  for (const header of headers ?? []) bytes += headerOverheadBytes + header.key.length + (header.value?.length ?? 0);
  return bytes;
}

const requestOverheadBytes = 512;
/** Objects: of the record, and of the views of its key and value. */
const recordOverheadBytes = 256;
const headerOverheadBytes = 128;
