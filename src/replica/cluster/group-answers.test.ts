import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { memberOf, TestGroup } from "../../../test/test-group.ts";
import { isProglogError } from "../../base/error.ts";
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
      const report = await group.done(statusOf(group, name));
      const planned = planGroupStep(wish, report);
      const line = `${name}: ${describeMembership(report.membership)}`;
      if (seen.at(-1) !== line) seen.push(line);
      if (planned.kind === "settled") break;
      if (planned.kind === "change")
        await ask(group, name, "change", { membership: report.membership, changes: planned.changes });
      if (planned.kind === "transfer") await ask(group, name, "transfer", { to: planned.to });
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
    await group.done(statusOf(group, "n1"));
    assert.equal(state.isAsleep, false);
    await group.tick(5);
    const { peers } = await group.done(statusOf(group, "n1"));
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
    const { membership } = await group.done(statusOf(group, "n1"));
    const changes = [{ kind: "remove", nodeId: "n3" }];
    await assert.rejects(statusOf(group, "n2"), { code: "NOT_LEADER", details: { leaderId: "n1" } });
    await assert.rejects(ask(group, "n2", "transfer", { to: "n3" }), { code: "NOT_LEADER" });
    const noVoter = { code: "INVALID_ARGUMENT", message: /n9 is no voter/ };
    await assert.rejects(ask(group, "n1", "transfer", { to: "n9" }), noVoter);
    await ask(group, "n1", "change", { membership, changes });
    await assert.rejects(ask(group, "n1", "change", { membership, changes }), { code: "CHANGE_IN_PROGRESS" });
    await group.tick(5);
    // It came late, or again.
    const late = { code: "CHANGE_IN_PROGRESS", message: /they were changed since it was planned/ };
    await assert.rejects(ask(group, "n1", "change", { membership, changes }), late);
    const unknown = answerGroupQuestion("group/status", encodeQuestion({ group: id }), () => undefined);
    await assert.rejects(unknown, { code: "NOT_LEADER" });
    assert.ok(isGroupQuestion("group/status") && !isGroupQuestion("group/fetch"));
    await group.close();
  });

  test("isn't told of by a leader that was replaced and doesn't know yet", async () => {
    const group = await TestGroup.open();
    await group.elect("n1");
    group.isolate("n1");
    const others = ["n2", "n3"];
    await group.elect("n2", others);
    const { membership } = await group.done(statusOf(group, "n2"), others);
    await ask(group, "n2", "change", { membership, changes: [{ kind: "demote", nodeId: "n3" }] });
    await group.tick(5, others);
    // Its time has stood still meanwhile: by its own word it leads, and what it has is committed.
    assert.equal(group.replica("n1").isLeader, true);
    const told = statusOf(group, "n1");
    const ended = told.then(
      () => "told",
      (error: unknown) => (isProglogError(error) ? error.code : "another"),
    );
    await group.tick(2, others);
    group.heal();
    await group.tick(5);
    assert.equal(await ended, "UNAVAILABLE");
    await group.close();
  });

  test("is told of by a leader that is damaged: it is to be led by another", async () => {
    const group = await TestGroup.open();
    const leader = await group.elect("n1");
    for (const name of ["n2", "n3"]) await group.node(name).stop();
    await group.node("n2").start();
    leader.raft.setDamaged();
    const { isLeaderDamaged } = await group.done(statusOf(group, "n1"));
    assert.equal(isLeaderDamaged, true);
    await group.close();
  });
});

async function statusOf(group: TestGroup, name: string): Promise<GroupReport> {
  return decodeReport(await ask(group, name, "status", {}));
}

function ask(group: TestGroup, name: string, kind: keyof typeof groupQuestions, fields: object): Promise<Buffer> {
  const body = Buffer.from(JSON.stringify({ group: id, ...fields }));
  return answerGroupQuestion(groupQuestions[kind], body, () => group.replica(name));
}
