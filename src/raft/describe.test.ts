import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { describeMembership, describeMessage, describeReady } from "./describe.ts";
import type { Entry } from "./entry.ts";
import type { Message } from "./message.ts";

/** Messages and states are described in every script; here is what those don't show. */
describe("a description", () => {
  const entry: Entry = { index: 5, term: 2, kind: "data", span: 1, baseOffset: 4, bytes: 10 };
  const message: Message = { kind: "timeout-now", from: "n1", fromStorage: "s1", to: "n2", term: 2 };

  test("of a ready is one line with all that is to be done", () => {
    const line = describeReady({
      role: { kind: "leader", term: 2, leader: "n1" },
      hardState: { sequence: 3, term: 2, vote: { nodeId: "n1", storageId: "s1" } },
      write: { generation: 4, install: { index: 2, term: 1, nextOffset: 2, lastIndex: 3 }, truncateTo: 4, entries: [entry] },
      commitIndex: 4,
      sends: [{ id: 1, to: "n2", term: 2, generation: 4, prevIndex: 4, prevTerm: 1, commitIndex: 4, maxBytes: 100 }],
      catchUps: [{ id: 1, to: "n3", term: 2, baseIndex: 2, matchIndex: 1 }],
      withdrawals: [{ id: 1, to: "n3" }],
      reads: [
        { id: 7, outcome: "confirmed", index: 4 },
        { id: 8, outcome: "failed" },
      ],
      isAsleep: false,
      messages: [message],
    });
    assert.equal(
      line,
      "role leader term=2 leader=n1; wakes; hard-state 3 term=2 vote=n1; " +
        "write generation=4 install=2@1 to 3 truncate=4 entries=5@2; commit 4; send n2 prev=4@1 max=100B generation=4; " +
        "catch-up n3 behind 1; catch-up 1 of n3 withdrawn; read 7 at 4; read 8 failed; n1>n2 timeout-now term=2",
    );
  });

  test("of a message that no version of ours knows is there, since it may be what was refused", () => {
    assert.equal(describeMessage({ ...message, kind: "later" } as unknown as Message), "n1>n2 later term=2");
  });

  test("of a membership names its parts", () => {
    const [one, two, three] = ["n1", "n2", "n3"].map((nodeId) => ({ nodeId, storageId: nodeId }));
    assert.equal(describeMembership({ voters: [one!], outgoing: [one!, two!], learners: [three!] }), "(n1)&(n1 n2)+n3");
    assert.equal(describeMembership({ voters: [], outgoing: [], learners: [] }), "()");
  });
});
