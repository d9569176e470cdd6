import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../../sim/random.ts";
import { judgeClaim, type ProducerClaim, ProducerTable } from "../../log/producer-table.ts";
import { ProposedProducers } from "./proposed-producers.ts";

const limits = { expiryMs: 1_000_000, maxCount: 100 };

describe("what is proposed above the table of producers", () => {
  test("judges as a table would that has it all, however much of it is written", () => {
    const random = createSeededRandom("proposed producers");
    for (let round = 0; round < 200; round += 1) {
      // The dumb twin applies everything at once; the table behind the stage lags.
      const twin = new ProducerTable(limits);
      const table = new ProducerTable(limits);
      const proposed = new ProposedProducers(() => table);
      const unwritten: { claim: ProducerClaim; baseOffset: number; appendTime: number }[] = [];
      let nextOffset = 0;
      for (let step = 0; step < 40; step += 1) {
        const claim: ProducerClaim = {
          producerId: random.integer(3),
          producerEpoch: random.integer(2),
          baseSequence: random.integer(6),
          recordCount: 1 + random.integer(2),
        };
        const verdict = proposed.judge(claim, step);
        assert.deepEqual(verdict, judgeClaim(twin.find(claim.producerId, step), claim));
        if (verdict.kind === "new") {
          const placed = { baseOffset: nextOffset, appendTime: step };
          proposed.note(claim, placed);
          twin.apply(claim, placed);
          unwritten.push({ claim, ...placed });
          nextOffset += claim.recordCount;
        }
        for (let count = random.integer(4); count > 0 && unwritten.length > 0; count -= 1) {
          const written = unwritten.shift();
          if (written === undefined) break;
          const { claim: oldest, baseOffset, appendTime } = written;
          table.apply(oldest, { baseOffset, appendTime });
          proposed.written(baseOffset + oldest.recordCount);
        }
      }
    }
  });

  test("is as if it had never been, once it is dropped", () => {
    const proposed = new ProposedProducers(() => new ProducerTable(limits));
    const claim = { producerId: 1, producerEpoch: 0, baseSequence: 0, recordCount: 1 };
    proposed.note(claim, { baseOffset: 5, appendTime: 1 });
    assert.equal(proposed.judge(claim, 1).kind, "duplicate");
    assert.equal(proposed.newestOffsetOf(1, 1), 5);
    proposed.clear();
    assert.equal(proposed.judge(claim, 1).kind, "new");
    assert.equal(proposed.newestOffsetOf(1, 1), undefined);
  });
});
