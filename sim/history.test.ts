import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { encodeBatch } from "../src/batch/encode-batch.ts";
import type { CheckId } from "./checks.ts";
import { type AppendRecord, History } from "./history.ts";
import type { SeenBatch } from "./raft-node.ts";
import { Violation } from "./violation.ts";
import { WatchedGroup } from "./watched-group.ts";

/** Of each thing that a history may not say, one that says it: a check that can't fail proves nothing. */
describe("a history", () => {
  test("of appends and reads that agree with the log is sound", () => {
    const { history, append, commit } = begin();
    const [first, second] = [append(0), append(1)];
    commit(first, second);
    acknowledge(history, first, 0);
    acknowledge(history, second, 1);
    history.sawRead("n1", 0, seen(first, second), 2, true);
    history.answered(append(2), "refused");
    history.answered(append(3), "unknown");
    history.check();
  });

  violates("I8", "an append that is acknowledged before it is committed", ({ history, append }) =>
    history.acknowledging(append(0), 0),
  );

  violates("I8", "an append that is acknowledged at another one's offset", ({ history, append, commit }) => {
    const [first, second] = [append(0), append(1)];
    commit(first, second);
    history.acknowledging(second, 0);
  });

  violates("LOST", "an acknowledged append that isn't there", ({ history, append, commit }) => {
    commit(append(0));
    history.answered(append(1), "committed", 1);
    history.check();
  });

  violates("LOST", "an acknowledged append that is elsewhere", ({ history, append, commit }) => {
    const [first, second] = [append(0), append(1)];
    commit(second, first);
    history.answered(first, "committed", 0);
    history.check();
  });

  violates("ABORTED", "an append that was refused and is there", ({ history, append, commit }) => {
    const first = append(0);
    commit(first);
    history.answered(first, "refused");
    history.check();
  });

  violates("I12", "an append that is there twice", ({ history, append, commit }) => {
    const first = append(0);
    commit(first, first);
    history.check();
  });

  violates("I9", "a record that nobody sent", ({ history, append, commit }) => {
    commit({ ...append(0), baseSequence: 77 });
    history.check();
  });

  violates(
    "ORDER",
    "an append that got an offset below what was known when it was asked for",
    ({ history, append, commit }) => {
      const first = append(0);
      commit(append(5), first);
      acknowledge(history, first, 1);
      history.answered(append(9), "committed", 0);
    },
  );

  violates("ORDER", "one of unknown outcome that lies below what was known", ({ history, append, commit }) => {
    const late = { ...append(0), knownEnd: 9 };
    commit(late);
    Object.assign(append(0), { knownEnd: 9, outcome: "unknown" });
    history.check();
  });

  violates("I11", "a read of the latest that lacks what was acknowledged before", ({ history, append, commit }) => {
    const [first, second] = [append(0), append(1)];
    commit(first, second);
    history.sawRead("n1", 0, seen(first), 2, true);
  });

  violates("I10", "a read that shows what isn't committed", ({ history, append }) =>
    history.sawRead("n1", 0, seen(append(0)), undefined, true),
  );

  violates("I10", "a read with a gap", ({ history, append, commit }) => {
    const appends = [append(0), append(1), append(2)];
    commit(...appends);
    const { batches, nextOffset } = seen(...appends);
    history.sawRead("n1", 0, { batches: batches.filter((_, i) => i !== 1), nextOffset }, undefined, true);
  });

  violates("I10", "a read that begins elsewhere", ({ history, append, commit }) => {
    const appends = [append(0), append(1)];
    commit(...appends);
    const { batches, nextOffset } = seen(...appends);
    history.sawRead("n1", 0, { batches: batches.slice(1), nextOffset }, undefined, true);
  });

  violates("I10", "a read that ends before what is shown", ({ history, append, commit }) => {
    const appends = [append(0), append(1)];
    commit(...appends);
    const { batches, nextOffset } = seen(...appends);
    history.sawRead("n1", 0, { batches: batches.slice(0, 1), nextOffset }, undefined, true);
  });

  violates("I9", "a read that shows another record", ({ history, append, commit }) => {
    const [first, second] = [append(0), append(1)];
    commit(first);
    history.sawRead("n1", 0, seen(second), undefined, true);
  });
});

interface Begun {
  readonly history: History;
  readonly append: (baseSequence: number) => AppendRecord;
  /** Puts records into the committed log, one behind the other. */
  readonly commit: (...appends: readonly AppendRecord[]) => void;
}

function begin(): Begun {
  const group = new WatchedGroup();
  const history = new History(group.watch);
  return {
    history,
    append: (baseSequence) => {
      const crc = batchOf(baseSequence).readUInt32BE(17);
      return history.asked({ producerId: 1, baseSequence, count: 1, crc, invokedMs: 0 });
    },
    commit: (...appends) => group.append(appends.map(({ baseSequence }) => batchOf(baseSequence))),
  };
}

function violates(check: CheckId, what: string, say: (begun: Begun) => void): void {
  test(`objects to ${what}`, () => {
    assert.throws(
      () => say(begin()),
      (error) => error instanceof Violation && error.check === check,
    );
  });
}

function acknowledge(history: History, append: AppendRecord, baseOffset: number): void {
  history.acknowledging(append, baseOffset);
  history.answered(append, "committed", baseOffset);
}

function batchOf(baseSequence: number): Buffer {
  return encodeBatch([{ value: `record ${baseSequence}` }], { now: 0, producerId: 1, producerEpoch: 0, baseSequence });
}

function seen(...appends: readonly AppendRecord[]): { readonly batches: SeenBatch[]; readonly nextOffset: number } {
  const batches = appends.map(({ producerId, baseSequence, crc }, offset) => ({
    baseOffset: offset,
    nextOffset: offset + 1,
    crc,
    producerId,
    baseSequence,
  }));
  return { batches, nextOffset: appends.length };
}
