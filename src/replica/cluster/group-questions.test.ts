import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { createRaft, type Raft } from "../../raft/raft.ts";
import { defaultSettings } from "../../raft/raft-settings.ts";
import { emptyStart } from "../../raft/raft-state.ts";
import {
  decodeChangeQuestion,
  decodeReport,
  decodeStatusQuestion,
  decodeTransferQuestion,
  encodeQuestion,
  encodeReport,
} from "./group-questions.ts";
import { reportOf } from "./group-report.ts";

const group = "11111111-0000-4000-8000-000000000000";
const n1 = { nodeId: "n1", storageId: "s1/0" };
const n2 = { nodeId: "n2", storageId: "s2/7" };

describe("what is asked of a group's leader", () => {
  test("comes through as it was", () => {
    const membership = { voters: [n1], outgoing: [], learners: [n2] };
    const changes = [
      { kind: "promote", nodeId: "n2" },
      { kind: "remove", nodeId: "n1" },
      { kind: "demote", nodeId: "n3" },
      { kind: "add-learner", member: n2 },
    ] as const;
    const change = { group, membership, changes };
    assert.deepEqual(decodeChangeQuestion(encodeQuestion(change)), change);
    assert.deepEqual(decodeStatusQuestion(encodeQuestion({ group: "c".repeat(32) })), { group: "c".repeat(32) });
    assert.deepEqual(decodeTransferQuestion(encodeQuestion({ group, to: "n2" })), { group, to: "n2" });
    const peers = [{ nodeId: "n2", lag: 3, isActive: true, isLost: false }];
    const report = { leader: "n1", isLeaderDamaged: false, membership, isSettled: true, lastIndex: 9, peers };
    assert.deepEqual(decodeReport(encodeReport(report)), report);
  });

  test("is refused when it isn't one", () => {
    const wrong: readonly string[] = [
      "{",
      "[]",
      "{}",
      `{"group":"../x"}`,
      `{"group":"${group}","more":1}`,
      `{"group":"${group}","to":""}`,
      `{"group":"${group}","membership":{"voters":[],"outgoing":[],"learners":[]},"changes":[{"kind":"fire","nodeId":"n1"}]}`,
    ];
    for (const decode of [decodeStatusQuestion, decodeChangeQuestion, decodeTransferQuestion, decodeReport]) {
      for (const text of wrong) assert.throws(() => decode(Buffer.from(text)), { code: "INVALID_ARGUMENT" });
      fc.assert(
        fc.property(fc.json(), (text) => {
          assert.throws(() => decode(Buffer.from(text)), { code: "INVALID_ARGUMENT" });
        }),
      );
    }
  });
});

describe("a group's report", () => {
  test("is made where it leads, and says when its members may be changed", () => {
    const start = emptyStart(n1, { voters: [n1], outgoing: [], learners: [] });
    const raft = createRaft(start, defaultSettings, { float: () => 0 });
    assert.equal(reportOf(raft.state), undefined);
    settle(raft);
    assert.deepEqual(reportOf(raft.state), {
      leader: "n1",
      isLeaderDamaged: false,
      membership: { voters: [n1], outgoing: [], learners: [] },
      isSettled: true,
      lastIndex: 1,
      peers: [],
    });
    assert.equal(raft.changeMembership([{ kind: "add-learner", member: n2 }]).outcome, "appended");
    const before = reportOf(raft.state);
    assert.deepEqual([before?.isSettled, before?.membership.learners], [false, [n2]]);
    settle(raft);
    const after = reportOf(raft.state);
    assert.equal(after?.isSettled, true);
    assert.deepEqual(after?.peers, [{ nodeId: "n2", lag: 2, isActive: false, isLost: false }]);
  });
});

/** A disk that is at once done with everything. */
function settle(raft: Raft): void {
  for (let ready = raft.ready(); ready !== undefined; ready = raft.ready()) {
    const { hardState, write } = ready;
    if (hardState !== undefined) raft.hardStateDurable(hardState.sequence);
    const last = write?.entries.at(-1);
    if (write !== undefined && last !== undefined) raft.durable({ index: last.index, generation: write.generation });
  }
}
