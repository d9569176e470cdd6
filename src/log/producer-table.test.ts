import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { producersMaxCount } from "../base/limits.ts";
import { dayMs } from "../base/units.ts";
import { DumbProducers } from "./dumb-producers.ts";
import {
  type ProducerClaim,
  ProducerStage,
  type ProducerState,
  ProducerTable,
  type ProducerVerdict,
} from "./producer-table.ts";

const limits = { expiryMs: dayMs, maxCount: producersMaxCount };
const startMs = 1_760_000_000_000;

function claimOf(producerId: number, producerEpoch: number, baseSequence: number, recordCount = 1): ProducerClaim {
  return { producerId, producerEpoch, baseSequence, recordCount };
}

/** A table, and the offset that its log's next record gets. */
class Writing {
  readonly table: ProducerTable;
  nextOffset = 0;
  time = startMs;

  constructor(table = new ProducerTable(limits)) {
    this.table = table;
  }

  judge(claim: ProducerClaim): string {
    return wordFor(this.table.find(claim.producerId, this.time) === undefined, judge(this.table, claim, this.time));
  }

  /** Judges, and appends what is new. */
  append(claim: ProducerClaim): string {
    const word = this.judge(claim);
    if (word === "new" || word === "new producer") this.#apply(claim);
    return word;
  }

  appendAll(...claims: readonly ProducerClaim[]): void {
    for (const claim of claims) assert.match(this.append(claim), /^new/);
  }

  #apply(claim: ProducerClaim): void {
    this.table.apply(claim, { baseOffset: this.nextOffset, appendTime: this.time });
    this.nextOffset += claim.recordCount;
  }
}

function judge(table: ProducerTable, claim: ProducerClaim, time: number): ProducerVerdict {
  return new ProducerStage(table, time).judge(claim);
}

function wordFor(isUnknown: boolean, verdict: ProducerVerdict): string {
  switch (verdict.kind) {
    case "new":
      return isUnknown ? "new producer" : "new";
    case "duplicate":
      return `duplicate of ${verdict.batch.baseOffset}`;
    case "fenced":
      return `fenced by ${verdict.currentEpoch}`;
    case "out-of-order":
      return `out of order, ${verdict.expectedSequence} expected`;
    default:
      return "too old";
  }
}

describe("a producer", () => {
  test("that isn't known may begin with any sequence, and goes on from there", () => {
    for (const first of [0, 5, 2 ** 31 - 1]) {
      const writing = new Writing();
      assert.equal(writing.append(claimOf(7, 3, first, 1)), "new producer");
      assert.equal(writing.append(claimOf(7, 3, (first + 1) % 2 ** 31, 2)), "new");
    }
  });

  test("is answered as before for each of its last five batches", () => {
    const writing = new Writing();
    const claims = [0, 2, 4, 6, 8, 10].map((sequence) => claimOf(7, 0, sequence, 2));
    writing.appendAll(...claims);
    assert.deepEqual(
      claims.map((claim) => writing.append(claim)),
      ["too old", "duplicate of 2", "duplicate of 4", "duplicate of 6", "duplicate of 8", "duplicate of 10"],
    );
    assert.equal(writing.append(claimOf(7, 0, 12)), "new");
  });

  test("is told the place and the time of the first try, however much later it asks", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 0, 0, 3));
    writing.time += 1_000;
    writing.appendAll(claimOf(7, 0, 3, 1));
    assert.deepEqual(judge(writing.table, claimOf(7, 0, 0, 3), writing.time), {
      kind: "duplicate",
      batch: { baseSequence: 0, recordCount: 3, baseOffset: 0, appendTime: startMs },
    });
  });

  test("that leaves a gap, goes back a little or packs its records another way is out of order", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 0, 0, 2), claimOf(7, 0, 2, 2));
    for (const claim of [claimOf(7, 0, 5), claimOf(7, 0, 3), claimOf(7, 0, 0, 1), claimOf(7, 0, 1, 3), claimOf(7, 0, 0, 4)])
      assert.equal(writing.append(claim), "out of order, 4 expected");
  });

  test("is told that its batch is in the log only where that is certain", () => {
    // It began in the middle: what came before may be in no log.
    const middle = new Writing();
    middle.appendAll(...[100, 101, 102, 103, 104, 105].map((sequence) => claimOf(7, 0, sequence)));
    assert.equal(middle.append(claimOf(7, 0, 99)), "out of order, 106 expected");
    assert.equal(middle.append(claimOf(7, 0, 100)), "out of order, 106 expected");
    // Those known run over the last sequence: a low one may be old or far ahead.
    const wrapping = new Writing();
    wrapping.appendAll(claimOf(7, 0, 0, 1), claimOf(7, 0, 1, 2 ** 31 - 5));
    wrapping.appendAll(...[2 ** 31 - 4, 2 ** 31 - 2, 0, 2, 4].map((sequence) => claimOf(7, 0, sequence, 2)));
    assert.equal(wrapping.append(claimOf(7, 0, 100)), "out of order, 6 expected");
    assert.equal(wrapping.append(claimOf(7, 0, 1, 1)), "out of order, 6 expected");
  });

  test("counts on from 0 after 2^31-1, also inside a batch", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 0, 2 ** 31 - 3, 2), claimOf(7, 0, 2 ** 31 - 1, 1), claimOf(7, 0, 0, 1));
    const inside = new Writing();
    inside.appendAll(claimOf(7, 0, 2 ** 31 - 2, 5), claimOf(7, 0, 3, 1));
    assert.equal(inside.append(claimOf(7, 0, 2 ** 31 - 2, 5)), "duplicate of 0");
  });

  test("of a higher epoch begins at 0, and shuts out those of lower ones", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 1, 0), claimOf(7, 1, 1));
    assert.equal(writing.append(claimOf(7, 2, 2)), "out of order, 0 expected");
    assert.equal(writing.append(claimOf(7, 2, 0)), "new");
    assert.equal(writing.append(claimOf(7, 1, 2)), "fenced by 2");
    assert.equal(writing.append(claimOf(7, 1, 1)), "fenced by 2");
    assert.equal(writing.append(claimOf(7, 2, 1)), "new");
  });

  test("has nothing to do with another one", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 1, 0), claimOf(8, 0, 0), claimOf(7, 1, 1), claimOf(8, 0, 1));
    assert.equal(writing.append(claimOf(8, 0, 0)), "duplicate of 1");
  });
});

describe("what is forgotten", () => {
  test("is who wrote nothing for longer than the expiry, by append times", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 3, 5), claimOf(8, 0, 0));
    writing.time += dayMs;
    assert.equal(writing.append(claimOf(7, 3, 5)), "duplicate of 0");
    writing.appendAll(claimOf(8, 0, 1));
    writing.time += 1;
    // Asking changes nothing: only an entry of that time does.
    assert.equal(writing.judge(claimOf(7, 3, 5)), "new producer");
    assert.equal(writing.table.count, 2);
    writing.table.expire(writing.time);
    assert.deepEqual(
      writing.table.states.map(({ producerId }) => producerId),
      [8],
    );
  });

  test("beyond the number allowed is who has been idle the longest", () => {
    const writing = new Writing();
    for (let id = 0; id < producersMaxCount; id += 1) writing.appendAll(claimOf(id, 0, 0));
    writing.appendAll(claimOf(0, 0, 1));
    assert.equal(writing.table.count, producersMaxCount);
    assert.equal(writing.judge(claimOf(1, 0, 0)), "duplicate of 1", "at the limit all are known");
    writing.appendAll(claimOf(producersMaxCount, 0, 0));
    assert.equal(writing.table.count, producersMaxCount);
    assert.equal(writing.judge(claimOf(1, 0, 0)), "new producer");
    assert.equal(writing.judge(claimOf(0, 0, 0)), "duplicate of 0");
    assert.equal(writing.judge(claimOf(2, 0, 0)), "duplicate of 2");
  });

  test("by a table that is made of more than are allowed is the same", () => {
    const few = { ...limits, maxCount: 2 };
    const writing = new Writing();
    writing.appendAll(claimOf(1, 0, 0), claimOf(2, 0, 0), claimOf(3, 0, 0), claimOf(1, 0, 1));
    const shuffled = [...writing.table.states].sort((a, b) => a.producerId - b.producerId);
    assert.deepEqual(
      new ProducerTable(few, shuffled).states.map(({ producerId }) => producerId),
      [3, 1],
    );
  });
});

describe("a stage", () => {
  test("sees what was noted on it, and the table doesn't", () => {
    const writing = new Writing();
    writing.appendAll(claimOf(7, 0, 0));
    const stage = new ProducerStage(writing.table, startMs);
    assert.equal(stage.judge(claimOf(7, 0, 1)).kind, "new");
    stage.note(claimOf(7, 0, 1), 1);
    assert.equal(stage.judge(claimOf(7, 0, 1)).kind, "duplicate");
    assert.equal(stage.judge(claimOf(7, 0, 2)).kind, "new");
    stage.note(claimOf(9, 0, 4), 2);
    assert.equal(stage.judge(claimOf(9, 0, 4)).kind, "duplicate");
    assert.equal(writing.judge(claimOf(7, 0, 1)), "new");
    assert.equal(writing.judge(claimOf(9, 0, 4)), "new producer");
  });
});

interface Step {
  readonly claim: ProducerClaim | undefined;
  readonly waitMs: number;
}

/** Few ids, epochs and sequences, so that they meet; and times around the expiry. */
const anyStep: fc.Arbitrary<Step> = fc.record({
  claim: fc.option(
    fc.record(
      {
        producerId: fc.nat(4),
        producerEpoch: fc.nat(2),
        baseSequence: fc.oneof(fc.nat(12), fc.integer({ min: 2 ** 31 - 6, max: 2 ** 31 - 1 })),
        recordCount: fc.integer({ min: 1, max: 4 }),
      },
      { noNullPrototype: true },
    ),
    { nil: undefined, freq: 8 },
  ),
  waitMs: fc.constantFrom(0, 0, 1, 40, 100, 101),
});
const smallLimits = { expiryMs: 100, maxCount: 3 };

/** Turns some claims into ones that follow: by chance hardly any would. */
function aim(step: Step, table: ProducerTable, time: number, luck: boolean): ProducerClaim | undefined {
  const { claim } = step;
  if (claim === undefined || !luck) return claim;
  const known = table.find(claim.producerId, time);
  const verdict = known === undefined ? undefined : judge(table, { ...claim, producerEpoch: known.producerEpoch }, time);
  if (known === undefined || verdict?.kind !== "out-of-order") return claim;
  return { ...claim, producerEpoch: known.producerEpoch, baseSequence: verdict.expectedSequence };
}

describe("the table does the same as one that looks through the whole log", () => {
  const anySteps = fc.array(fc.tuple(anyStep, fc.boolean()), { maxLength: 60 });

  test("whatever is sent, and when", () => {
    fc.assert(
      fc.property(anySteps, (steps) => {
        const dumb = new DumbProducers(smallLimits);
        const writing = new Writing(new ProducerTable(smallLimits));
        for (const [step, luck] of steps) {
          writing.time += step.waitMs;
          const claim = aim(step, writing.table, writing.time, luck);
          const { nextOffset: baseOffset, time: appendTime } = writing;
          if (claim === undefined) {
            writing.table.expire(appendTime);
            dumb.entries.push({ claim, baseOffset, appendTime });
            writing.nextOffset += 1;
          } else {
            const expected = dumb.judge(claim, appendTime);
            const word = writing.append(claim);
            assert.equal(word.replace(" producer", ""), expected);
            checkTruth(dumb, claim, word);
            if (word.startsWith("new")) dumb.entries.push({ claim, baseOffset, appendTime });
          }
          const expectedStates = dumb.known().map(({ id, epoch, isComplete, batches }) => {
            return { producerId: id, producerEpoch: epoch, isComplete, batches: batches.slice(-5) };
          });
          assert.deepEqual(byId(writing.table.states), expectedStates);
        }
      }),
      { numRuns: 300 },
    );
  });

  test("also when it is put together from a base record and the entries behind it, and when it was cut", () => {
    fc.assert(
      fc.property(anySteps, fc.nat(60), fc.nat(60), (steps, describedAt, cutAt) => {
        const dumb = new DumbProducers(smallLimits);
        const table = new ProducerTable(smallLimits);
        let described = new ProducerTable(smallLimits);
        let time = startMs;
        const cutOffset = Math.min(cutAt, steps.length) * 10;
        for (const [i, [step]] of steps.entries()) {
          time += step.waitMs;
          const placed = { baseOffset: i * 10, appendTime: time };
          // A fold judges nothing: it takes what is in the log.
          if (step.claim === undefined) table.expire(time);
          else table.apply(step.claim, placed);
          if (i === describedAt) described = new ProducerTable(smallLimits, table.states);
          else if (i > describedAt && step.claim === undefined) described.expire(time);
          else if (i > describedAt && step.claim !== undefined) described.apply(step.claim, placed);
          dumb.entries.push({ claim: step.claim, ...placed });
        }
        if (describedAt < steps.length) assert.deepEqual(described.states, table.states);
        for (const { batches } of table.cutTo(cutOffset).states)
          for (const batch of batches) assert.ok(batch.baseOffset < cutOffset);
        assert.deepEqual(table.cutTo(steps.length * 10).states, table.states);
      }),
      { numRuns: 200 },
    );
  });
});

/** What is said to be in the log is there, and what is taken as new isn't, or was forgotten. */
function checkTruth(dumb: DumbProducers, claim: ProducerClaim, word: string): void {
  const same = dumb.entries.filter(
    (entry) => entry.claim?.producerId === claim.producerId && entry.claim.producerEpoch === claim.producerEpoch,
  );
  if (word === "too old") {
    for (let i = 0; i < claim.recordCount; i += 1) assert.ok(same.some((entry) => holds(entry.claim, claim.baseSequence + i)));
  } else if (word.startsWith("duplicate of ")) {
    const original = dumb.entries.find((entry) => word === `duplicate of ${entry.baseOffset}` && entry.claim !== undefined);
    assert.deepEqual(original?.claim, claim);
  }
}

function holds(claim: ProducerClaim | undefined, sequence: number): boolean {
  return claim !== undefined && claim.baseSequence <= sequence && sequence < claim.baseSequence + claim.recordCount;
}

function byId(states: readonly ProducerState[]): ProducerState[] {
  return [...states].sort((a, b) => a.producerId - b.producerId);
}
