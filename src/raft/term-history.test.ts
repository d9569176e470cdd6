import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { extendHistory, findLastOfTerm, findTerm, type TermStart, trimHistory, truncateHistory } from "./term-history.ts";

/** Held against a plain array of terms, one for each index from 1. */
describe("a term history", () => {
  const terms = fc.array(fc.nat({ max: 3 }), { minLength: 1, maxLength: 12 }).map((steps) => {
    let term = 1;
    return steps.map((step) => (term += step === 3 ? 2 : 0));
  });

  test("knows the term of each index", () => {
    fc.assert(
      fc.property(terms, (all) => {
        const history = historyOf(all);
        assert.equal(findTerm(history, 0), undefined);
        for (const [position, term] of all.entries()) assert.equal(findTerm(history, position + 1), term);
      }),
    );
  });

  test("finds the last index at or below one whose term is at or below another", () => {
    fc.assert(
      fc.property(terms, fc.nat({ max: 14 }), fc.nat({ max: 30 }), (all, index, term) => {
        const at = Math.min(index, all.length);
        const expected = all.findLastIndex((of, position) => position < at && of <= term);
        assert.equal(findLastOfTerm(historyOf(all), { index: at, term }), expected === -1 ? undefined : expected + 1);
      }),
    );
  });

  test("forgets a suffix and a prefix, and knows the rest as before", () => {
    fc.assert(
      fc.property(terms, fc.nat({ max: 12 }), fc.nat({ max: 12 }), (all, cut, trimmed) => {
        const lastIndex = Math.min(cut, all.length);
        const baseIndex = Math.min(trimmed, lastIndex);
        const history = historyOf(all);
        truncateHistory(history, lastIndex);
        trimHistory(history, { index: baseIndex, nextOffset: 10 * baseIndex }, lastIndex);
        assert.deepEqual(history, historyOf(all.slice(0, lastIndex), baseIndex));
      }),
    );
  });
});

/** Each entry spans ten offsets. */
function historyOf(terms: readonly number[], baseIndex = 0): TermStart[] {
  const history: TermStart[] = [];
  for (const [position, term] of terms.entries())
    if (position >= baseIndex) extendHistory(history, { term, firstIndex: position + 1, firstOffset: 10 * position });
  return history;
}
