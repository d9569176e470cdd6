import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { createMemoryDisk } from "../../base/memory-disk.ts";
import { adminTokenMinChars, policyMaxBytes } from "../../base/security-limits.ts";
import type { PolicyStore } from "../../replica/policy-store.ts";
import { parseConfig } from "../config.ts";
import { emptyAccessDocument, formatAccessDocument, parseAccessDocument } from "./access-document.ts";
import { openAccessControl, type OpenedAccess } from "./open-access-control.ts";

describe("the policy's files", () => {
  test("are what the policy begins with, and nothing where there is one", async () => {
    const files = { "policy.csv": "p, root, *, produce\ng, alice, root\n", "model.conf": bookModel };
    const flags = { "acl-policy-file": "policy.csv", "acl-model-file": "model.conf" };
    const world = new World(files);
    await using opened = await world.open(flags);
    assert.equal(opened.access.isOn, true);
    const { rules, roles, isOn, model } = parseAccessDocument(world.store.text ?? "");
    assert.deepEqual(
      { rules, roles, isOn, model },
      {
        rules: [{ subject: "root", resource: "*", action: "produce" }],
        roles: [{ subject: "alice", role: "root" }],
        isOn: true,
        model: undefined,
      },
    );
    const there = formatAccessDocument({ ...emptyAccessDocument, revision: 9 });
    const other = new World(files, there);
    await using _ = await other.open(flags);
    assert.equal(other.store.text, there);
  });

  test("set it as soon as it is known that there is none; until then nobody is asked in vain", async () => {
    const world = new World({ "policy.csv": "p, root, *, produce\n" }, "unknown");
    await using opened = await world.open({ "acl-policy-file": "policy.csv" });
    assert.equal(opened.access.isKnown, false);
    world.store.failures = 2;
    world.store.set("");
    for (let turn = 0; !opened.access.isOn && turn < 100; turn += 1) {
      assert.equal(opened.access.isKnown, false);
      await new Promise(setImmediate);
      world.clock.advance(10_000);
    }
    assert.equal(opened.access.isOn, true);
  });

  test("are refused with the reason where they are wrong, missing, too large, or one of them alone", async () => {
    const world = new World({ "wrong.csv": "p, a, b\n", "empty.csv": "# none\n", "large.csv": "#".repeat(policyMaxBytes + 1) });
    const cases: readonly (readonly [Record<string, string>, RegExp])[] = [
      [{ "acl-policy-file": "wrong.csv" }, /line 1: "" is no action/],
      [{ "acl-policy-file": "empty.csv" }, /empty\.csv: it has no rule/],
      [{ "acl-policy-file": "large.csv" }, /and 524288 are read/],
      [{ "acl-policy-file": "none.csv" }, /--acl-policy-file none\.csv: there is no such file/],
      [{ "acl-model-file": "model.conf" }, /there is no policy for it/],
    ];
    for (const [flags, message] of cases) await assert.rejects(world.open(flags), { code: "INVALID_CONFIG", message });
  });
});

describe("the node's own token", () => {
  test("has as many characters as it must, and may do everything", async () => {
    const token = "t".repeat(adminTokenMinChars);
    const world = new World({ "long.token": `${token}\n`, "short.token": token.slice(1) });
    await using opened = await world.open({ "admin-token-file": "long.token" });
    const caller = await opened.access.identify({ socket: undefined, authorization: [`Bearer ${token}`] });
    assert.equal(caller.isAdmin, true);
    await assert.rejects(world.open({ "admin-token-file": "short.token" }), {
      code: "INVALID_CONFIG",
      message: /its token is too short/,
    });
  });
});

const bookModel = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
`;

class World {
  readonly disk = createMemoryDisk();
  readonly clock = createVirtualClock();
  readonly store: FakeStore;
  readonly #files: Readonly<Record<string, string>>;

  constructor(files: Readonly<Record<string, string>>, text = "") {
    this.#files = files;
    this.store = new FakeStore(text === "unknown" ? undefined : text);
  }

  async open(flags: Readonly<Record<string, string>>): Promise<OpenedAccess & AsyncDisposable> {
    for (const [name, text] of Object.entries(this.#files)) {
      if (this.disk.size(name) !== undefined) continue;
      const file = this.disk.open(name, "create");
      await file.write([Buffer.from(text)], 0);
      file.close();
    }
    const opened = await openAccessControl(parseConfig({ flags: { "data-dir": "/data", ...flags } }), {
      ...{ store: this.store, disk: this.disk, clock: this.clock, logger: silentLogger },
    });
    return { ...opened, [Symbol.asyncDispose]: () => opened.close() };
  }
}

class FakeStore implements PolicyStore {
  text: string | undefined;
  /** So many changes fail before one goes through. */
  failures = 0;
  readonly #watchers = new Set<() => void>();

  constructor(text: string | undefined) {
    this.text = text;
  }

  set(text: string): void {
    this.text = text;
    for (const run of this.#watchers) run();
  }

  watch(run: () => void): () => void {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  }

  async refresh(): Promise<void> {}

  async replace(_: string, text: string): Promise<void> {
    this.failures -= 1;
    if (this.failures >= 0) throw new ProglogError("NOT_LEADER", "Cannot set the policy: nobody leads");
    this.set(text);
  }
}
