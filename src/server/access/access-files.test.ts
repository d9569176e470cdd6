import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { AccessJudge } from "./access-judge.ts";
import { emptyAccessDocument } from "./access-document.ts";
import { openModel, readModel } from "./casbin-model.ts";
import { readPolicyFile } from "./policy-file.ts";

const model = (matcher: string, effect = "some(where (p.eft == allow))", more = ""): string =>
  `[request_definition]\nr = sub, obj, act\n\n[policy_definition]\np = sub, obj, act\n\n${more}[policy_effect]\ne = ${effect}\n\n[matchers]\nm = ${matcher}\n`;

const book = "r.sub == p.sub && r.obj == p.obj && r.act == p.act";

describe("the book's files", () => {
  test("are taken as they are, and need no casbin to go by", async () => {
    assert.equal(await readModel(model(book)), undefined);
    assert.equal(await readModel(model("r.act==p.act&&r.sub==p.sub && r.obj == p.obj")), undefined);
    const { rules, roles } = readPolicyFile("p, root, *, produce\np, root, *, consume\n");
    const judge = new AccessJudge({ ...emptyAccessDocument, isOn: true, rules, roles });
    assert.equal(judge.permits("root", "produce", "default"), true);
    assert.equal(judge.permits("nobody", "produce", "default"), false);
  });

  test("another model is kept, and casbin goes by it", async () => {
    const text = model('r.sub == p.sub && r.act == p.act && (p.obj == "*" || keyMatch(r.obj, p.obj))');
    assert.equal(await readModel(text), text);
    const { rules, roles } = readPolicyFile("# who\n\np, alice, logs*, consume\n g , bob, alice \r\n");
    const document = { ...emptyAccessDocument, isOn: true, rules, roles };
    const judge = new AccessJudge(document, await openModel(text, document));
    assert.equal(judge.permits("alice", "consume", "logs-eu"), true);
    assert.equal(judge.permits("bob", "consume", "logs"), true);
    assert.equal(judge.permits("alice", "consume", "orders"), false);
    assert.equal(judge.permits("alice", "produce", "logs"), false);
  });

  test("a model with roles of its own goes by those", async () => {
    const text = model("g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act", undefined, "[role_definition]\ng = _, _\n\n");
    assert.equal(await readModel(text), text);
    const { rules, roles } = readPolicyFile("p, writers, orders, produce\ng, bob, writers\n");
    const document = { ...emptyAccessDocument, isOn: true, rules, roles };
    const judge = new AccessJudge(document, await openModel(text, document));
    assert.equal(judge.permits("bob", "produce", "orders"), true);
    assert.equal(judge.permits("eve", "produce", "orders"), false);
  });

  test("a model that may deny, or asks for something else, is refused with the reason", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      [model(book, "!some(where (p.eft == deny))"), /its effect isn't/],
      [model(book, "some(where (p.eft == allow)) && !some(where (p.eft == deny))"), /its effect isn't/],
      [model(book).replace("r = sub, obj, act", "r = sub, act"), /its request isn't/],
      [model(book).replace("p = sub, obj, act", "p = sub, obj, act, eft"), /its policy isn't/],
      ["nonsense", /Cannot use the access model/],
      ["", /Cannot use the access model/],
    ];
    for (const [text, reason] of cases) await assert.rejects(readModel(text), { code: "INVALID_CONFIG", message: reason });
  });

  test("a line of the policy that isn't understood is named", () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["p, root, *, produce\np, root, *, write", /line 2: "write" is no action/],
      ["p, root, *", /line 1: "" is no action/],
      ["p, root, *, produce, deny", /line 1: it is neither/],
      ["g, root", /line 1: "" is no name of a role/],
      ["q, a, b", /line 1: it is neither/],
      ['p, "root", *, produce', /line 1: quotes aren't read/],
      ["p, root, /etc/passwd, produce", /line 1: "\/etc\/passwd" is no resource/],
      ["p, root, *-x, produce", /is no resource/],
    ];
    for (const [text, message] of cases) assert.throws(() => readPolicyFile(text), { code: "INVALID_CONFIG", message });
  });
});
