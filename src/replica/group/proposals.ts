import { answersWaitingMaxCount } from "../../base/cluster-limits.ts";
import { ProglogError } from "../../base/error.ts";
import type { AppendResult } from "../../log/index.ts";

/** When an append is answered: once a quorum has it, once this disk has it, or at once. What raft counts is the same. */
export type Acks = "quorum" | "leader" | "none";

/** An append that was proposed, until it is committed. */
export interface Proposal {
  readonly index: number;
  readonly term: number;
  readonly acks: Acks;
  /** When it was taken, by the monotonic clock. */
  readonly takenMs: number;
  readonly result: AppendResult;
  readonly resolve: (result: AppendResult) => void;
  readonly reject: (error: unknown) => void;
}

/** An answer that is true once everything up to `index` is committed: that it was a retry, or why it is refused. */
export interface RestingAnswer {
  readonly index: number;
  readonly settle: () => void;
  readonly reject: (error: unknown) => void;
}

/** Appends that this leader proposed and that aren't committed, with those who wait for them, in the order of the log. */
export class Proposals {
  #waiting: Proposal[] = [];
  /** Of the first one that isn't committed: shifting an array of many thousands for each would be quadratic. */
  #head = 0;
  /** Of the first one that isn't durable here, as far as was told. */
  #durableHead = 0;
  #resting: RestingAnswer[] = [];

  /** Behind all others. Who asked for nothing better is answered at once. */
  add(proposal: Proposal): void {
    this.#waiting.push(proposal);
    if (proposal.acks === "none") proposal.resolve(proposal.result);
  }

  /** Throws OVERLOADED when so many wait already. */
  rest(answer: RestingAnswer): void {
    if (this.#resting.length >= answersWaitingMaxCount) {
      throw new ProglogError("OVERLOADED", `Cannot append: ${this.#resting.length} retries and refusals wait already`, {
        hint: "Wait longer before trying again.",
        details: { maxCount: answersWaitingMaxCount },
      });
    }
    this.#resting.push(answer);
  }

  /** The index of the proposal whose records begin at `baseOffset`, while it isn't committed. */
  findIndex(baseOffset: number): number | undefined {
    let low = this.#head;
    let high = this.#waiting.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#waiting[middle]?.result.baseOffset ?? 0) < baseOffset) low = middle + 1;
      else high = middle;
    }
    const found = this.#waiting[low];
    return found?.result.baseOffset === baseOffset ? found.index : undefined;
  }

  /** The disk of this leader has everything up to `index`. What isn't committed isn't certain to stay. */
  durable(index: number): void {
    this.#durableHead = Math.max(this.#durableHead, this.#head);
    for (;;) {
      const proposal = this.#waiting[this.#durableHead];
      if (proposal === undefined || proposal.index > index) return;
      this.#durableHead += 1;
      if (proposal.acks === "leader") proposal.resolve(proposal.result);
    }
  }

  /** Everything up to `index` is committed; `isTheirs` tells whether an index is of a term. Returns when each that is was taken. */
  committed(index: number, isTheirs: (index: number, term: number) => boolean, lost: () => ProglogError): readonly number[] {
    const takenMs: number[] = [];
    for (;;) {
      const proposal = this.#waiting[this.#head];
      if (proposal === undefined || proposal.index > index) break;
      this.#head += 1;
      if (isTheirs(proposal.index, proposal.term)) {
        takenMs.push(proposal.takenMs);
        proposal.resolve({ ...proposal.result, isDurable: true });
      } else proposal.reject(lost());
    }
    this.#compact();
    if (this.#resting.length === 0) return takenMs;
    const resting = this.#resting;
    this.#resting = resting.filter((answer) => answer.index > index);
    for (const answer of resting) if (answer.index <= index) answer.settle();
    return takenMs;
  }

  /** What becomes of them isn't known any more. Those that were answered hear nothing. */
  lose(lost: () => ProglogError): void {
    const waiting = this.#waiting.slice(this.#head);
    const resting = this.#resting;
    this.#waiting = [];
    this.#head = 0;
    this.#durableHead = 0;
    this.#resting = [];
    for (const { reject } of [...waiting, ...resting]) reject(lost());
  }

  #compact(): void {
    if (this.#head < this.#waiting.length && (this.#head < compactedMinCount || this.#head * 2 < this.#waiting.length)) return;
    this.#durableHead = Math.max(0, this.#durableHead - this.#head);
    this.#waiting = this.#waiting.slice(this.#head);
    this.#head = 0;
  }
}

const compactedMinCount = 4096;
