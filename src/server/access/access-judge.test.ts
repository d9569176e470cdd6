import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../../../sim/random.ts";
import { decisionsMaxCount, rolesMaxCount } from "../../base/security-limits.ts";
import { accessActions } from "./access-action.ts";
import { type AccessDocument, emptyAccessDocument } from "./access-document.ts";
import { AccessJudge } from "./access-judge.ts";
import { openModel } from "./casbin-model.ts";

describe("decisions by a policy", () => {
  test("the book's: root may produce and consume everywhere, and nobody else anywhere", () => {
    const judge = judgeOf("p root * produce", "p root * consume");
    for (const topic of ["default", "orders", "*"]) {
      assert.equal(judge.permits("root", "produce", topic), true);
      assert.equal(judge.permits("root", "consume", topic), true);
      assert.equal(judge.permits("root", "describe", topic), true);
      assert.equal(judge.permits("root", "admin", topic), false);
      assert.equal(judge.permits("root", "cluster", topic), false);
      for (const action of accessActions) assert.equal(judge.permits("nobody", action, topic), false);
    }
  });

  test("a prefix holds for the topics that begin with it, and a name for itself alone", () => {
    const judge = judgeOf("p a orders-* produce", "p b orders produce");
    for (const [name, topic, expected] of [
      ["a", "orders-", true],
      ["a", "orders-eu", true],
      ["a", "orders", false],
      ["a", "Orders-eu", false],
      ["a", "*", false],
      ["b", "orders", true],
      ["b", "orders-eu", false],
      ["b", "orders.", false],
    ] as const)
      assert.equal(judge.permits(name, "produce", topic), expected, `${name} ${topic}`);
  });

  test("all but describe include nothing but describe", () => {
    for (const given of accessActions) {
      const judge = judgeOf(`p a t ${given}`);
      for (const asked of accessActions)
        assert.equal(judge.permits("a", asked, "t"), asked === given || asked === "describe", `${given} ${asked}`);
    }
  });

  test("roles give what they have, through others too, and a circle of them ends", () => {
    const judge = judgeOf(
      "p readers * consume",
      "g alice writers",
      "g writers readers",
      "g readers writers",
      "p writers x produce",
    );
    assert.equal(judge.permits("alice", "consume", "any"), true);
    assert.equal(judge.permits("alice", "produce", "x"), true);
    assert.equal(judge.permits("readers", "produce", "x"), true);
    assert.equal(judge.permits("bob", "consume", "any"), false);
    assert.equal(judge.knows("alice"), true);
    assert.equal(judge.knows("bob"), false);
  });

  test("as many roles count as may be, those that are nearest first", () => {
    const roles = Array.from({ length: rolesMaxCount + 1 }, (_, at) => ({
      subject: at === 0 ? "alice" : `r${at}`,
      role: `r${at + 1}`,
    }));
    const judge = (holder: string): AccessJudge =>
      new AccessJudge({
        ...emptyAccessDocument,
        isOn: true,
        roles,
        rules: [{ subject: holder, resource: "x", action: "produce" }],
      });
    assert.equal(judge(`r${rolesMaxCount}`).permits("alice", "produce", "x"), true);
    assert.equal(judge(`r${rolesMaxCount + 1}`).permits("alice", "produce", "x"), false);
  });

  test("no name is put together from others", () => {
    const judge = judgeOf("p a b produce");
    for (const [subject, resource] of [
      ["a", "b produce"],
      ["a produce", "b"],
      ["__proto__", "b"],
      ["a", "__proto__"],
      ["a", "constructor"],
      ["", "b"],
      ["a", ""],
    ] as const)
      assert.equal(judge.permits(subject, "produce", resource), false, `${subject}|${resource}`);
  });

  test("as many are remembered as may be, and longer names aren't", () => {
    const judge = judgeOf("p a * produce");
    for (let count = 0; count < decisionsMaxCount; count += 1) judge.permits("a", "produce", `t${count}`);
    assert.equal(judge.decisionCount, decisionsMaxCount);
    assert.equal(judge.permits("a", "produce", "one-more"), true);
    assert.equal(judge.decisionCount, 1);
    assert.equal(judge.permits("a", "produce", "x".repeat(251)), false);
    assert.equal(judge.decisionCount, 1);
  });

  test("casbin comes to the same with the book's model, whatever the rules", async () => {
    const random = createSeededRandom("judge");
    const names = ["root", "alice", "writers", "readers", "anonymous"];
    const resources = ["*", "orders", "orders-*", "orders-eu", "o*", "logs"];
    let permitted = 0;
    for (let round = 0; round < 40; round += 1) {
      const pick = <Item>(list: readonly Item[]): Item => list[random.integer(list.length)] ?? assert.fail();
      const lines = Array.from({ length: random.integer(8) }, () =>
        random.chance(0.3)
          ? `g ${pick(names)} ${pick(names)}x`.replace(/x$/, "")
          : `p ${pick(names)} ${pick(resources)} ${pick(accessActions)}`,
      );
      const document = documentOf([...new Set(lines)]);
      const own = new AccessJudge(document);
      const foreign = new AccessJudge(document, await openModel(bookModel, document));
      for (const name of names)
        for (const action of accessActions)
          for (const topic of ["*", "orders", "orders-eu", "orders-", "other", "logs"]) {
            const expected = foreign.permits(name, action, topic);
            permitted += Number(expected);
            assert.equal(own.permits(name, action, topic), expected, `${lines.join("; ")}: ${name} ${action} ${topic}`);
          }
    }
    assert.ok(permitted > 100, `${permitted}`);
  });
});

function judgeOf(...lines: readonly string[]): AccessJudge {
  return new AccessJudge(documentOf(lines));
}

function documentOf(lines: readonly string[]): AccessDocument {
  const fields = lines.map((line) => line.split(" "));
  return {
    ...emptyAccessDocument,
    isOn: true,
    rules: fields.flatMap(([kind, subject = "", resource = "", action]) => {
      const known = accessActions.find((one) => one === action);
      return kind === "p" && known !== undefined ? [{ subject, resource, action: known }] : [];
    }),
    roles: fields.flatMap(([kind, subject = "", role = ""]) => (kind === "g" ? [{ subject, role }] : [])),
  };
}

/** As it stands in the book's repository. */
export const bookModel = `# Request definition
[request_definition]
r = sub, obj, act

# Policy definition
[policy_definition]
p = sub, obj, act

# Policy effect
[policy_effect]
e = some(where (p.eft == allow))

# Matchers
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
`;
