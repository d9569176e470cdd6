import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { groupTickMs } from "../../base/cluster-limits.ts";
import { controllerIntervalMs, controllerRetryMinMs } from "../../base/limits.ts";
import { defaultSettings } from "../../raft/raft-settings.ts";
import type { CatalogPartition } from "./catalog-state.ts";
import { findLeft } from "./controller-work.ts";
import type { GroupReport } from "./group-report.ts";

describe("a replica that is leaving", () => {
  const member = (number: number, incarnation: number) => ({ nodeId: `n${number}`, storageId: `s${number}/${incarnation}` });
  const partition: CatalogPartition = {
    partition: 0,
    uuid: "11111111-0000-4000-8000-000000000000",
    logId: "0".repeat(32),
    replicas: [
      { node: "n1", incarnation: 1 },
      { node: "n2", incarnation: 12 },
    ],
    leader: "n1",
    placedAt: 12,
    isMoving: true,
    leaving: [{ node: "n2", incarnation: 2 }],
  };
  const reportOf = (fields: Partial<GroupReport["membership"]>, isSettled = true): GroupReport => ({
    leader: "n1",
    isLeaderDamaged: false,
    membership: { voters: [member(1, 1)], outgoing: [], learners: [], ...fields },
    isSettled,
    lastIndex: 5,
    peers: [],
  });

  test("has left when no part of the committed membership has it, whoever else of its node is there", () => {
    assert.deepEqual(findLeft(partition, reportOf({})), { node: "n2", incarnation: 2 });
    assert.deepEqual(findLeft(partition, reportOf({ learners: [member(2, 12)] })), { node: "n2", incarnation: 2 });
    for (const part of ["voters", "outgoing", "learners"] as const)
      assert.equal(findLeft(partition, reportOf({ [part]: [member(1, 1), member(2, 2)] })), undefined, part);
  });

  test("hasn't left by a membership that may yet be taken back", () => {
    assert.equal(findLeft(partition, reportOf({}, false)), undefined);
  });
});

describe("the pauses of the controller", () => {
  const { electionTicks, heartbeatTicks } = defaultSettings;
  // Twice as long, too: that is another one's setting.
  for (const timeoutMs of [electionTicks * groupTickMs, 2 * electionTicks * groupTickMs])
    for (const pauseMs of [controllerIntervalMs, controllerRetryMinMs])
      test(`${pauseMs} ms after each other don't all come in the beginning of an election timeout of ${timeoutMs} ms`, () => {
        const unknownMs = heartbeatTicks * groupTickMs;
        for (let phaseMs = 0; phaseMs < unknownMs; phaseMs += 1) {
          const asked = [0, 1, 2, 3, 4].map((count) => (phaseMs + count * pauseMs) % timeoutMs);
          assert.ok(asked.some((atMs) => atMs > unknownMs));
        }
      });
});
