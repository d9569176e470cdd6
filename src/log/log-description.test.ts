import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBatch } from "../batch/encode-batch.ts";
import { encodeEmptyBatch } from "../batch/empty-batch.ts";
import type { BaseRecord } from "./base-record.ts";
import { noControlEntries } from "./control-entries.ts";
import type { EntryHeader } from "./frame.ts";
import { describedBase, LogDescription } from "./log-description.ts";

const limits = { expiryMs: 1_000, maxCount: 10 };
const nothing = {
  describedIndex: 0,
  termHistory: [],
  membership: Buffer.alloc(0),
  producers: [],
  controls: noControlEntries,
} as const;

/** Applies entries one behind the other, and keeps their indexes and offsets. */
class Fold {
  description = LogDescription.of(nothing, limits);
  index = 0;
  nextOffset = 0;
  time = 10_000;
  term = 1;

  data(producer?: { readonly id: number; readonly baseSequence: number }, count = 1): this {
    const batch = encodeBatch(
      Array.from({ length: count }, () => ({ value: "x" })),
      {
        now: 1,
        ...(producer !== undefined && {
          producerId: producer.id,
          producerEpoch: 0,
          baseSequence: producer.baseSequence,
        }),
      },
    );
    return this.apply("data", batch, count);
  }

  apply(kind: EntryHeader["kind"], payload: Buffer, span = 0): this {
    this.index += 1;
    const { index, term, nextOffset: baseOffset, time: appendTime } = this;
    const entry: EntryHeader = { kind, index, term, span, baseOffset, appendTime, syncedBack: 1, flags: 0 };
    this.description.apply(entry, payload);
    this.nextOffset += span;
    return this;
  }
}

describe("the description of a log", () => {
  test("of one that only openLog wrote has no news: one term, no members, no producers", () => {
    const { description } = new Fold().data().data().apply("no-op", Buffer.alloc(0)).apply("data", encodeEmptyBatch(3), 3);
    assert.equal(description.newsIndex, 0);
    assert.deepEqual(description.sections(), { ...nothing, describedIndex: 4 });
  });

  test("tells where each later term began", () => {
    const fold = new Fold().data(undefined, 3);
    fold.term = 4;
    fold.apply("no-op", Buffer.alloc(0)).data();
    fold.term = 6;
    fold.data();
    assert.deepEqual(fold.description.sections().termHistory, [
      { term: 4, firstIndex: 2, firstOffset: 3 },
      { term: 6, firstIndex: 4, firstOffset: 4 },
    ]);
    assert.equal(fold.description.newsIndex, 4);
    fold.data();
    assert.equal(fold.description.newsIndex, 4, "an entry of the same term is no news");
  });

  test("has the newest membership, a copy of it", () => {
    const payload = Buffer.from("a and b");
    const { description } = new Fold().data().apply("membership", Buffer.from("a")).apply("membership", payload).data();
    payload.fill(0);
    assert.equal(description.sections().membership.toString(), "a and b");
    assert.equal(description.newsIndex, 3);
  });

  test("knows who wrote, by the span of an entry and not by the records that compaction left", () => {
    const fold = new Fold().data({ id: 7, baseSequence: 0 }, 3);
    fold.time += 5;
    const emptied = encodeEmptyBatch(4);
    encodeBatch([{ value: "x" }], { now: 1, producerId: 7, producerEpoch: 0, baseSequence: 3 }).copy(emptied, 43, 43, 57);
    fold.apply("data", emptied, 4).data();
    assert.deepEqual(fold.description.sections().producers, [
      {
        producerId: 7,
        producerEpoch: 0,
        isComplete: true,
        batches: [
          { baseSequence: 0, recordCount: 3, baseOffset: 0, appendTime: 10_000 },
          { baseSequence: 3, recordCount: 4, baseOffset: 3, appendTime: 10_005 },
        ],
      },
    ]);
    assert.equal(fold.description.newsIndex, 2);
  });

  test("forgets an idle producer with any entry of a later time, and with a mark of one", () => {
    const fold = new Fold().data({ id: 7, baseSequence: 0 });
    const known = LogDescription.of(fold.description.sections(), limits);
    fold.time += 1_001;
    fold.data();
    assert.equal(fold.description.producers.count, 0);
    known.passOver({ index: 1, term: 1, nextOffset: 1, appendTime: fold.time });
    assert.equal(known.producers.count, 1, "what is described already isn't described again");
    known.passOver({ index: 2, term: 1, nextOffset: 2, appendTime: fold.time });
    assert.deepEqual([known.index, known.producers.count], [2, 0]);
  });

  test("put together from a base record and the entries behind it is the same", () => {
    const build = (fold: Fold, from: number, to: number): Fold => {
      for (let i = from; i < to; i += 1) {
        fold.time += 100;
        fold.term = 1 + (i >> 2);
        if (i % 3 === 0) fold.data();
        else fold.data({ id: i % 5, baseSequence: i }, 2);
      }
      return fold;
    };
    const whole = build(new Fold(), 0, 30).description.sections();
    for (let cut = 0; cut <= 30; cut += 1) {
      const fold = build(new Fold(), 0, cut);
      fold.description = LogDescription.of(fold.description.sections(), limits);
      assert.deepEqual(build(fold, cut, 30).description.sections(), whole, `described up to ${cut}`);
    }
  });

  test("cut to an earlier end has nothing of what lay behind", () => {
    const fold = new Fold().data({ id: 7, baseSequence: 0 });
    fold.term = 2;
    fold.data({ id: 7, baseSequence: 1 }).data({ id: 8, baseSequence: 0 });
    const cut = fold.description.cutTo({ index: 1, nextOffset: 1 });
    assert.deepEqual([cut.index, cut.newsIndex], [1, 1]);
    const { termHistory, producers } = cut.sections();
    assert.deepEqual(termHistory, []);
    assert.deepEqual(
      producers.map(({ producerId, batches }) => [producerId, batches.length]),
      [[7, 1]],
    );
  });

  test("cut to an earlier end has the membership that was in force there", () => {
    const fold = new Fold().apply("membership", Buffer.from("a")).data().apply("membership", Buffer.from("b")).data();
    const cuts = [4, 2, 0].map((index) => fold.description.cutTo({ index, nextOffset: 0 }).sections().membership.toString());
    assert.deepEqual(cuts, ["b", "a", ""]);
    assert.deepEqual(
      fold.description.controls.entries.map(({ index }) => index),
      [1, 3],
    );
  });

  test("in a base record leaves out terms of which nothing is left", () => {
    const fold = new Fold();
    for (const term of [1, 3, 3, 5, 5, 8]) {
      fold.term = term;
      fold.data();
    }
    const base: BaseRecord = {
      ...nothing,
      logId: Buffer.alloc(16),
      baseIndex: 0,
      baseTerm: 0,
      nextOffset: 0,
      logStartOffset: 0,
      otherSections: [],
    };
    const termsAt = (baseIndex: number): number[] =>
      describedBase({ ...base, baseIndex }, fold.description).termHistory.map(({ term }) => term);
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5, 6].map((baseIndex) => termsAt(baseIndex)),
      [[3, 5, 8], [3, 5, 8], [3, 5, 8], [5, 8], [5, 8], [8], [8]],
    );
  });
});
