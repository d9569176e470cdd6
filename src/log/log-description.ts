import { findBatchProducer } from "../batch/batch-header.ts";
import { assert } from "../base/assert.ts";
import type { BaseRecord, TermStart } from "./base-record.ts";
import type { ChainPoint } from "./chain.ts";
import { addControlEntry, type ControlEntries, cutControlEntries, trimControlEntries } from "./control-entries.ts";
import type { EntryHeader } from "./frame.ts";
import { type ProducerLimits, ProducerTable } from "./producer-table.ts";

/**
 * What a log knows of all its entries together: where its terms began, who its members are, who wrote to it lately. A fold over the
 * entries in order, and of nothing else, so whoever has a base record and the entries behind it has this.
 *
 * Most entries have no news for it. The newest one that has is kept (`newsIndex`): with that, a base record that was written long ago
 * is known to hold still: a log without producers needn't write one when it is closed, nor read its entries again when it opens.
 */
export class LogDescription {
  readonly producers: ProducerTable;
  #index: number;
  #newsIndex: number;
  #termHistory: readonly TermStart[];
  #membership: Buffer;
  #controls: ControlEntries;

  private constructor(producers: ProducerTable, sections: Omit<DescribedSections, "producers">, newsIndex: number) {
    this.producers = producers;
    this.#index = sections.describedIndex;
    this.#newsIndex = newsIndex;
    this.#termHistory = sections.termHistory;
    this.#membership = sections.membership;
    this.#controls = sections.controls;
  }

  /** What a base record says. That its last entry was no news isn't known. */
  static of(base: DescribedSections, limits: ProducerLimits): LogDescription {
    return new LogDescription(new ProducerTable(limits, base.producers), base, base.describedIndex);
  }

  /** The last entry that is described. */
  get index(): number {
    return this.#index;
  }

  /** The newest entry that changed anything, as far as it is known: none behind it did. */
  get newsIndex(): number {
    return this.#newsIndex;
  }

  /** Memberships and trims, as far back as they are known. */
  get controls(): ControlEntries {
    return this.#controls;
  }

  /** The sections of a base record that says the same. */
  sections(): DescribedSections {
    return {
      describedIndex: this.#index,
      termHistory: this.#termHistory,
      membership: this.#membership,
      producers: this.producers.states,
      controls: this.#controls,
    };
  }

  /** Takes note of the next entry. */
  apply(entry: EntryHeader, payload: Buffer): void {
    assert(entry.index > this.#index, "entries are described in order");
    this.#index = entry.index;
    if (entry.term > (this.#termHistory.at(-1)?.term ?? firstTerm)) {
      const start: TermStart = { term: entry.term, firstIndex: entry.index, firstOffset: entry.baseOffset };
      this.#termHistory = [...this.#termHistory, start];
      this.#newsIndex = entry.index;
    }
    const { kind, index } = entry;
    if (kind === "membership" || kind === "trim") {
      this.#controls = addControlEntry(this.#controls, { index, kind, payload });
      if (kind === "membership") this.#membership = Buffer.from(payload);
      this.#newsIndex = index;
    }
    const producer = entry.kind === "data" ? findBatchProducer(payload) : undefined;
    if (producer === undefined) {
      this.producers.expire(entry.appendTime);
      return;
    }
    // The span and not the record count: compaction takes records away, and their sequences stay taken.
    this.producers.apply({ ...producer, recordCount: entry.span }, entry);
    this.#newsIndex = entry.index;
  }

  /** All entries up to `point` are known to have no news. */
  passOver(point: ChainPoint): void {
    if (point.index <= this.#index) return;
    this.#index = point.index;
    this.producers.expire(point.appendTime);
  }

  /** `newsIndex`, known from elsewhere. */
  knowNews(newsIndex: number): void {
    assert(newsIndex <= this.#index, "news are described");
    this.#newsIndex = newsIndex;
  }

  /** As if the log ended with `point`, as far as it can be told from here: what was forgotten since isn't known again. */
  cutTo(point: Pick<ChainPoint, "index" | "nextOffset">): LogDescription {
    const controls = cutControlEntries(this.#controls, point.index);
    const isCut = controls.entries.length < this.#controls.entries.length;
    const membership = controls.entries.findLast(({ kind }) => kind === "membership")?.payload ?? Buffer.alloc(0);
    const sections = {
      describedIndex: Math.min(this.#index, point.index),
      termHistory: this.#termHistory.filter((start) => start.firstIndex <= point.index),
      membership: isCut ? membership : this.#membership,
      controls,
    };
    const newsIndex = Math.min(this.#newsIndex, sections.describedIndex);
    return new LogDescription(this.producers.cutTo(point.nextOffset), sections, newsIndex);
  }
}

export type DescribedSections = Pick<BaseRecord, "describedIndex" | "termHistory" | "membership" | "producers" | "controls">;

/** Of a log that only `openLog` wrote. It isn't listed in a history: entries before all of its terms are of this one. */
const firstTerm = 1;

/** `base` with what a description says. The terms are left out that ended at or before its base index: their entries are gone. */
export function describedBase(base: BaseRecord, description: LogDescription): BaseRecord {
  const sections = description.sections();
  const termHistory = sections.termHistory.filter((_, i) => {
    const next = sections.termHistory[i + 1];
    return next === undefined || next.firstIndex > base.baseIndex + 1;
  });
  return { ...base, ...sections, termHistory, controls: trimControlEntries(sections.controls, base) };
}
