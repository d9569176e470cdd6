import { ProglogError } from "../../base/error.ts";
import { shownWaitersMaxCount } from "../../base/cluster-limits.ts";
import type { ReadAnswer } from "../../raft/ready.ts";
import type { ReadOutcome } from "../../raft/read-index.ts";

/**
 * Readers who must not miss what was acknowledged before they asked. The core finds the index that they have to have seen, on the
 * leader or through it; then they wait until this replica shows that much.
 *
 * All who come in one turn ask one question. Nobody waits for ever: the core answers each question, and a replica that doesn't get
 * as far as the answer says within some election timeouts tells its readers to ask elsewhere.
 */
export class GroupReads {
  readonly #group: ReadGroup;
  #gathering: PromiseWithResolvers<void> | undefined;
  readonly #asked = new Map<number, Asked>();
  #waiting: ShownWaiter[] = [];
  #lastId = 0;
  #ticks = 0;

  constructor(group: ReadGroup) {
    this.#group = group;
  }

  confirm(): Promise<void> {
    if (this.#gathering !== undefined) return this.#gathering.promise;
    const readers = Promise.withResolvers<void>();
    this.#gathering = readers;
    queueMicrotask(() => {
      this.#gathering = undefined;
      this.#ask({ readers, isShownAwaited: true });
    });
    return readers.promise;
  }

  /** The same, but for who wants to know only whether this replica still leads: it needn't show anything, and may be damaged. */
  confirmLead(): Promise<void> {
    const readers = Promise.withResolvers<void>();
    this.#ask({ readers, isShownAwaited: false });
    return readers.promise;
  }

  #ask(asked: Asked): void {
    const { readers } = asked;
    const refusal = this.#group.findRefusal();
    if (refusal !== undefined) {
      readers.reject(refusal);
      return;
    }
    this.#lastId += 1;
    const id = this.#lastId;
    this.#asked.set(id, asked);
    this.#group.ask(id, ({ outcome }) => {
      if (outcome === "waiting") return;
      this.#asked.delete(id);
      readers.reject(outcome === "overloaded" ? overloadedError() : unconfirmedError("no leader is known"));
    });
  }

  /** What the core answered. */
  answer(read: ReadAnswer): void {
    const asked = this.#asked.get(read.id);
    if (asked === undefined) return;
    this.#asked.delete(read.id);
    const { readers, isShownAwaited } = asked;
    if (read.outcome === "failed") readers.reject(unconfirmedError("leadership changed, or its leader wasn't heard in time"));
    else if (!isShownAwaited || this.#group.shownIndex() >= read.index) readers.resolve();
    else if (this.#waiting.length >= shownWaitersMaxCount) readers.reject(overloadedError());
    else this.#waiting.push({ index: read.index, readers, endTick: this.#ticks + this.#group.patienceTicks });
  }

  /** This replica shows more than before. */
  shown(index: number): void {
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter((waiter) => waiter.index > index);
    for (const waiter of waiting) if (waiter.index <= index) waiter.readers.resolve();
  }

  tick(): void {
    this.#ticks += 1;
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ endTick }) => endTick > this.#ticks);
    for (const { endTick, readers } of waiting)
      if (endTick <= this.#ticks) readers.reject(unconfirmedError("this replica lags behind its leader"));
  }

  /** Nobody is answered any more. */
  end(error: ProglogError): void {
    for (const { readers } of this.#asked.values()) readers.reject(error);
    for (const { readers } of this.#waiting) readers.reject(error);
    this.#asked.clear();
    this.#waiting = [];
  }
}

export interface ReadGroup {
  /** How many ticks a reader waits for this replica to show what it must. */
  readonly patienceTicks: number;
  /** Why nobody can be answered here; undefined while somebody can. */
  findRefusal(): ProglogError | undefined;
  /** Asks the core; its answer comes to `answer`, unless `asked` says otherwise. */
  ask(id: number, asked: (outcome: ReadOutcome) => void): void;
  shownIndex(): number;
}

interface Asked {
  readonly readers: PromiseWithResolvers<void>;
  readonly isShownAwaited: boolean;
}

interface ShownWaiter {
  readonly index: number;
  readonly readers: PromiseWithResolvers<void>;
  readonly endTick: number;
}

function unconfirmedError(reason: string): ProglogError {
  return new ProglogError("UNAVAILABLE", `Cannot confirm what is there: ${reason}`, {
    hint: "Ask again, or another replica.",
  });
}

function overloadedError(): ProglogError {
  return new ProglogError("OVERLOADED", "Cannot confirm what is there: too many readers wait for it", {
    hint: "Ask again later.",
  });
}
