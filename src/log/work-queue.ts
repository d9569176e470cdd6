import type { BatchHeader } from "../batch/batch-header.ts";
import { ProglogError } from "../base/error.ts";
import { appendQueueMaxCount, operationQueueMaxCount } from "../base/limits.ts";
import type { AppendResult } from "./log.ts";

/**
 * What waits for the log's one writer, first come, first served: appends, which go together in groups, and operations that
 * need the log for themselves (truncate, trim, sync, close). Bounded in bytes and in number.
 */
export type Work =
  | { readonly kind: "append"; readonly append: PendingAppend }
  | { readonly kind: "operation"; readonly run: () => Promise<void> };

export interface PendingAppend {
  readonly batch: Buffer;
  readonly header: BatchHeader;
  /** Appended only when the log ends here as its turn comes. */
  readonly expectedOffset: number | undefined;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: unknown) => void;
}

export class WorkQueue {
  readonly #maxBytes: number;
  #work: Work[] = [];
  /** Of the first one that waits: shifting an array of many thousands for each would be quadratic. */
  #head = 0;
  #appendBytes = 0;
  #appendCount = 0;
  #operationCount = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get appendBytes(): number {
    return this.#appendBytes;
  }

  get appendCount(): number {
    return this.#appendCount;
  }

  get isEmpty(): boolean {
    return this.#head === this.#work.length;
  }

  /** Throws APPEND_QUEUE_FULL when so much waits already; one append always fits into an empty queue. */
  checkRoom(byteLength: number): void {
    const isFull = this.#appendBytes + byteLength > this.#maxBytes || this.#appendCount >= appendQueueMaxCount;
    if (!isFull || this.#appendCount === 0) return;
    throw new ProglogError(
      "APPEND_QUEUE_FULL",
      `Cannot append ${byteLength} bytes: ${this.#appendCount} appends of ${this.#appendBytes} bytes wait already, and ${this.#maxBytes} bytes may`,
      {
        hint: "Await earlier appends before making more, or retry later.",
        details: { queuedBytes: this.#appendBytes, maxBytes: this.#maxBytes },
      },
    );
  }

  pushAppend(append: PendingAppend): void {
    this.#work.push({ kind: "append", append });
    this.#appendBytes += append.batch.length;
    this.#appendCount += 1;
  }

  /** Throws OVERLOADED when so many operations wait already. Those that nobody asks for by the thousand needn't ask. */
  checkOperationRoom(attempt: string): void {
    if (this.#operationCount < operationQueueMaxCount) return;
    throw new ProglogError("OVERLOADED", `Cannot ${attempt}: ${this.#operationCount} operations wait already`, {
      hint: "Await earlier ones before making more, or retry later.",
      details: { maxCount: operationQueueMaxCount },
    });
  }

  pushOperation(run: () => Promise<void>): void {
    this.#work.push({ kind: "operation", run });
    this.#operationCount += 1;
  }

  peek(): Work | undefined {
    return this.#work[this.#head];
  }

  shift(): Work | undefined {
    const work = this.#work[this.#head];
    if (work === undefined) return undefined;
    this.#head += 1;
    if (work.kind === "append") {
      this.#appendBytes -= work.append.batch.length;
      this.#appendCount -= 1;
    } else {
      this.#operationCount -= 1;
    }
    if (this.#head === this.#work.length) {
      this.#work = [];
      this.#head = 0;
    } else if (this.#head >= 4096 && this.#head * 2 >= this.#work.length) {
      this.#work = this.#work.slice(this.#head);
      this.#head = 0;
    }
    return work;
  }
}
