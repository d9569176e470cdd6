import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memberOf, TestGroup } from "../../../test/test-group.ts";
import { describeMembership } from "../../raft/describe.ts";
import { answerGroupQuestion, isGroupQuestion } from "./group-answers.ts";
import { decodeReport, encodeQuestion, groupQuestions } from "./group-questions.ts";
import type { GroupReport } from "./group-report.ts";
import { planGroupStep } from "./group-step.ts";

const id = "11111111-0000-4000-8000-000000000000";

describe("a group that the controller asks about", () => {
  test("is moved from one node to another, step by step, as it is planned", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    for (let count = 0; count < 5; count += 1) await group.done(leader.append([{ value: `${count}` }]));
    await group.add("n4");
    const wish = { voters: ["n2", "n3", "n4"].map(memberOf), learners: [], leader: "n2" };
    const seen: string[] = [];
    for (let step = 0; ; step += 1) {
      const { leader: name } = group.leader();
      assert.ok(name !== undefined && step < 60, seen.join("\n"));
      const report = statusOf(group, name);
      const planned = planGroupStep(wish, report);
      const line = `${name}: ${describeMembership(report.membership)}`;
      if (seen.at(-1) !== line) seen.push(line);
      if (planned.kind === "settled") break;
      if (planned.kind === "change") ask(group, name, "change", { membership: report.membership, changes: planned.changes });
      if (planned.kind === "transfer") ask(group, name, "transfer", { to: planned.to });
      await group.tick(5);
    }
    assert.deepEqual(seen, ["n1: (n1 n2 n3)", "n1: (n1 n2 n3)+n4", "n2: (n1 n2 n3)+n4", "n2: (n2 n3 n4)"]);
    assert.deepEqual(await group.node("n4").values(), ["0", "1", "2", "3", "4"]);
    await group.close();
  });

  test("wakes, since asleep it knows of nobody whether it is there", async () => {
    const group = await TestGroup.open();
    const { state } = (await group.elect("n1")).raft;
    for (let ticks = 0; !state.isAsleep; ticks += 1) {
      assert.ok(ticks < 1_000);
      await group.tick(1);
    }
    await group.node("n3").stop();
    statusOf(group, "n1");
    assert.equal(state.isAsleep, false);
    await group.tick(5);
    const { peers } = statusOf(group, "n1");
    assert.deepEqual(
      peers.map(({ nodeId, isActive }) => [nodeId, isActive]),
      [
        ["n2", true],
        ["n3", false],
      ],
    );
    await group.close();
  });

  test("refuses what was planned on other members, and where it isn't led", async () => {
    const group = await TestGroup.open();
    await group.elect("n1");
    const { membership } = statusOf(group, "n1");
    const changes = [{ kind: "remove", nodeId: "n3" }];
    assert.throws(() => statusOf(group, "n2"), { code: "NOT_LEADER", details: { leaderId: "n1" } });
    assert.throws(() => ask(group, "n2", "transfer", { to: "n3" }), { code: "NOT_LEADER" });
    assert.throws(() => ask(group, "n1", "transfer", { to: "n9" }), { code: "INVALID_ARGUMENT", message: /n9 is no voter/ });
    ask(group, "n1", "change", { membership, changes });
    assert.throws(() => ask(group, "n1", "change", { membership, changes }), { code: "CHANGE_IN_PROGRESS" });
    await group.tick(5);
    // It came late, or again.
    assert.throws(() => ask(group, "n1", "change", { membership, changes }), {
      code: "CHANGE_IN_PROGRESS",
      message: /they were changed since it was planned/,
    });
    assert.throws(() => answerGroupQuestion("group/status", encodeQuestion({ group: id }), () => undefined), {
      code: "NOT_LEADER",
    });
    assert.ok(isGroupQuestion("group/status") && !isGroupQuestion("group/fetch"));
    await group.close();
  });
});

function statusOf(group: TestGroup, name: string): GroupReport {
  return decodeReport(ask(group, name, "status", {}));
}

function ask(group: TestGroup, name: string, kind: keyof typeof groupQuestions, fields: object): Buffer {
  const body = Buffer.from(JSON.stringify({ group: id, ...fields }));
  return answerGroupQuestion(groupQuestions[kind], body, () => group.replica(name));
}
