import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { outcomeOf } from "../../../test/test-group.ts";
import { ProglogError } from "../../base/error.ts";
import { answersWaitingMaxCount } from "../../base/cluster-limits.ts";
import type { AppendResult } from "../../log/index.ts";
import { type Acks, Proposals } from "./proposals.ts";

const lost = (): ProglogError => new ProglogError("LEADERSHIP_LOST", "lost");

describe("proposals", () => {
  test("are answered in the order of the log, up to what is committed", () => {
    const { proposals, add, answers } = begin();
    for (let index = 1; index <= 10; index += 1) add(index);
    assert.deepEqual(
      proposals.committed(4, () => true, lost),
      [100, 200, 300, 400],
      "and when they were taken is told",
    );
    assert.deepEqual(answers, ["1", "2", "3", "4"]);
    assert.deepEqual(
      proposals.committed(4, () => true, lost),
      [],
    );
    proposals.committed(10, () => true, lost);
    assert.equal(answers.length, 10);
  });

  test("are lost where another entry is committed in their place", async () => {
    const { proposals, add, answers } = begin();
    add(1);
    const second = outcomeOf(add(2).answer);
    assert.deepEqual(
      proposals.committed(2, (index) => index === 1, lost),
      [100],
    );
    assert.equal((await second).code, "LEADERSHIP_LOST");
    assert.deepEqual(answers, ["1"]);
  });

  test("of acks leader are answered when they are durable, once, and the others aren't", () => {
    const { proposals, add, answers } = begin();
    add(1, "leader");
    add(2);
    add(3, "leader");
    add(4, "none");
    assert.deepEqual(answers, ["4"]);
    proposals.durable(2);
    proposals.durable(2);
    assert.deepEqual(answers, ["4", "1"]);
    proposals.committed(1, () => true, lost);
    proposals.durable(3);
    assert.deepEqual(answers, ["4", "1", "3"]);
    proposals.committed(4, () => true, lost);
    assert.deepEqual(answers, ["4", "1", "3", "2"]);
  });

  test("are found by their offset while they wait, however many went before", () => {
    const { proposals, add } = begin();
    for (let index = 1; index <= 20_000; index += 1) {
      add(index);
      if (index % 3 === 0) proposals.committed(Math.floor(index / 2), () => true, lost);
    }
    proposals.committed(15_000, () => true, lost);
    for (const index of [1, 15_000]) assert.equal(proposals.findIndex(10 * index), undefined);
    for (const index of [15_001, 17_000, 20_000]) assert.equal(proposals.findIndex(10 * index), index);
    assert.equal(proposals.findIndex(10 * 17_000 + 1), undefined);
    assert.equal(proposals.findIndex(10 * 20_001), undefined);
  });

  test("answers that rest on an index come with it, and no sooner", () => {
    const { proposals, answers } = begin();
    for (const index of [5, 3, 4]) proposals.rest({ index, settle: () => answers.push(`rests on ${index}`), reject: () => {} });
    proposals.committed(2, () => true, lost);
    assert.deepEqual(answers, []);
    proposals.committed(4, () => true, lost);
    assert.deepEqual(answers, ["rests on 3", "rests on 4"]);
    proposals.committed(9, () => true, lost);
    assert.deepEqual(answers, ["rests on 3", "rests on 4", "rests on 5"]);
  });

  test("that are lost all hear of it, and what comes then waits anew", async () => {
    const { proposals, add, answers } = begin();
    const waiting = [outcomeOf(add(1).answer), outcomeOf(add(2).answer)];
    const resting = outcomeOf(new Promise<void>((settle, reject) => proposals.rest({ index: 2, settle, reject })));
    proposals.lose(lost);
    for (const outcome of [...waiting, resting]) assert.equal((await outcome).code, "LEADERSHIP_LOST");
    add(1, "leader");
    proposals.durable(1);
    assert.deepEqual(answers, ["1"]);
  });

  test("so many answers may rest on something, and one more is refused", () => {
    const { proposals } = begin();
    const answer = { index: 1, settle: () => {}, reject: () => {} };
    for (let count = 0; count < answersWaitingMaxCount; count += 1) proposals.rest(answer);
    assert.throws(() => proposals.rest(answer), { code: "OVERLOADED" });
  });
});

function begin(): {
  proposals: Proposals;
  add: (index: number, acks?: Acks) => { readonly answer: Promise<AppendResult> };
  answers: string[];
} {
  const proposals = new Proposals();
  const answers: string[] = [];
  const add = (index: number, acks: Acks = "quorum"): { readonly answer: Promise<AppendResult> } => {
    const baseOffset = 10 * index;
    const result = { baseOffset, lastOffset: baseOffset, count: 1, appendTime: 1, isDurable: false, isDuplicate: false };
    const answer = new Promise<AppendResult>((settle, reject) => {
      // Settled in the same turn, so that the order is seen.
      const resolve = (told: AppendResult): void => {
        if (!isAnswered) answers.push(`${index}`);
        isAnswered = true;
        settle(told);
      };
      let isAnswered = false;
      proposals.add({ index, term: 1, acks, takenMs: 100 * index, result, resolve, reject });
    });
    answer.catch(() => {});
    return { answer };
  };
  return { proposals, add, answers };
}
