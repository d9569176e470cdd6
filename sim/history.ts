import type { GroupWatch } from "./group-watch.ts";
import type { ReadAnswer } from "./raft-node.ts";
import { Violation } from "./violation.ts";

/** One append that a client asked for. */
export interface AppendRecord {
  readonly producerId: number;
  readonly baseSequence: number;
  readonly count: number;
  /** Of what was sealed. */
  readonly crc: number;
  readonly invokedMs: number;
  /** The highest end that any client knew when it was asked for. */
  readonly knownEnd: number;
  outcome: "open" | "committed" | "refused" | "unknown";
  baseOffset: number;
}

/**
 * What clients asked and were told, held against what was committed. Offsets are the order of things, so it takes no search: a
 * history is right when each answer fits the one log and the log's order fits the clock.
 */
export class History {
  readonly #watch: GroupWatch;
  readonly #appends = new Map<string, AppendRecord>();
  /** The end of what clients were told that is there. */
  #knownEnd = 0;
  acknowledgedCount = 0;
  unknownCount = 0;
  refusedCount = 0;
  readCount = 0;

  constructor(watch: GroupWatch) {
    this.#watch = watch;
  }

  get knownEnd(): number {
    return this.#knownEnd;
  }

  asked(append: Pick<AppendRecord, "producerId" | "baseSequence" | "count" | "crc" | "invokedMs">): AppendRecord {
    const record: AppendRecord = { ...append, knownEnd: this.#knownEnd, outcome: "open", baseOffset: -1 };
    this.#appends.set(nameOf(append), record);
    return record;
  }

  /** The replica says so, at this moment: the client will hear of it later, if at all. */
  acknowledging(append: AppendRecord, baseOffset: number): void {
    const committed = this.#watch.committedAt(baseOffset);
    const isThere =
      committed !== undefined && nameOf(committed.entry) === nameOf(append) && committed.entry.seal === append.crc;
    if (!isThere) throw new Violation("I8", `${nameOf(append)} is acknowledged at ${baseOffset} and not committed there`);
  }

  answered(append: AppendRecord, outcome: "committed" | "refused" | "unknown", baseOffset = -1): void {
    append.outcome = outcome;
    append.baseOffset = baseOffset;
    if (outcome === "unknown") this.unknownCount += 1;
    if (outcome === "refused") this.refusedCount += 1;
    if (outcome !== "committed") return;
    this.acknowledgedCount += 1;
    if (baseOffset < append.knownEnd)
      throw new Violation(
        "ORDER",
        `${nameOf(append)} got offset ${baseOffset}, and ${append.knownEnd} was known when it was asked for`,
      );
    this.#knownEnd = Math.max(this.#knownEnd, baseOffset + append.count);
  }

  /** A read from `from` on, of which `knownEnd` was the known end when it was asked for; undefined when it needn't be the newest. */
  sawRead(who: string, from: number, answer: ReadAnswer, knownEnd: number | undefined, isWhole: boolean): void {
    this.readCount += 1;
    if (knownEnd !== undefined && answer.nextOffset < knownEnd)
      throw new Violation(
        "I11",
        `${who} shows ${answer.nextOffset} offsets, and ${knownEnd} were acknowledged before it was asked`,
      );
    if (answer.nextOffset > this.#watch.nextOffset)
      throw new Violation("I10", `${who} shows ${answer.nextOffset} offsets, and ${this.#watch.nextOffset} are committed`);
    let next = from;
    for (const [position, batch] of answer.batches.entries()) {
      const { baseOffset, nextOffset, crc } = batch;
      const fits = position === 0 ? baseOffset <= from && from < nextOffset : baseOffset === next;
      if (!fits) throw new Violation("I10", `${who} goes on at ${baseOffset} where ${next} follows`);
      next = nextOffset;
      const committed = this.#watch.committedAt(baseOffset);
      const isIt = committed?.entry.seal === crc && nameOf(committed.entry) === nameOf(batch);
      if (!isIt)
        throw new Violation("I9", `${who} shows ${nameOf(batch)} at ${baseOffset}, and another one is committed there`);
    }
    if (isWhole && from < answer.nextOffset && next < answer.nextOffset)
      throw new Violation("I10", `${who} ends at ${next}, and shows up to ${answer.nextOffset}`);
    // What a reader has seen is known as well as what was acknowledged.
    this.#knownEnd = Math.max(this.#knownEnd, answer.nextOffset);
  }

  /** After the run: the committed log against everything that was asked. */
  check(): void {
    const seen = new Set<string>();
    for (const { entry } of this.#watch.committed) {
      if (entry.kind !== "data") continue;
      const name = nameOf(entry);
      if (seen.has(name)) throw new Violation("I12", `${name} is there twice, the second time at ${entry.baseOffset}`);
      seen.add(name);
      const append = this.#appends.get(name);
      if (append === undefined || append.crc !== entry.seal || append.count !== entry.span)
        throw new Violation("I9", `${name} at ${entry.baseOffset} isn't what a client sent`);
      if (append.outcome === "refused") throw new Violation("ABORTED", `${name} was refused and is at ${entry.baseOffset}`);
      if (append.outcome === "committed" && append.baseOffset !== entry.baseOffset)
        throw new Violation("LOST", `${name} was acknowledged at ${append.baseOffset} and is at ${entry.baseOffset}`);
      if (entry.baseOffset < append.knownEnd)
        throw new Violation(
          "ORDER",
          `${name} is at ${entry.baseOffset}, and ${append.knownEnd} was known when it was asked for`,
        );
    }
    for (const [name, append] of this.#appends)
      if (append.outcome === "committed" && !seen.has(name))
        throw new Violation("LOST", `${name} was acknowledged at ${append.baseOffset} and is nowhere`);
  }
}

function nameOf({ producerId, baseSequence }: { readonly producerId: number; readonly baseSequence: number }): string {
  return `p${producerId}#${baseSequence}`;
}
