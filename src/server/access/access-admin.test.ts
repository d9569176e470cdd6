import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { silentLogger } from "../../base/logger.ts";
import { accessTokensMaxCount, policyChangeTriesMaxCount, tokenLifeMaxMs } from "../../base/security-limits.ts";
import { policyChanged, type PolicyStore } from "../../replica/policy-store.ts";
import { AccessAdmin } from "./access-admin.ts";
import { AccessControl } from "./access-control.ts";
import { emptyAccessDocument, formatAccessDocument, parseAccessDocument, type TokenEntry } from "./access-document.ts";
import { hashSecret } from "./bearer-token.ts";
import { type Caller, insider } from "./caller.ts";

const rootRule = { subject: "root", resource: "*", action: "admin", role: "" };
const noTest = { remove: [], force: false };

describe("rules and tokens", () => {
  test("are changed all or nothing, each once, and taken away only where they are", async () => {
    const { admin } = new World();
    const alice = { subject: "alice", resource: "orders-*", action: "produce", role: "" };
    const role = { subject: "bob", resource: "", action: "", role: "alice" };
    const changed = await admin.change(insider, { ...noTest, add: [rootRule, alice, alice, role], force: true });
    assert.deepEqual(changed.grants, [rootRule, alice, role]);
    assert.deepEqual(await admin.change(insider, { ...noTest, add: [alice] }), { ...changed, revision: 2 });
    const missing = { ...alice, action: "consume" };
    const refused = admin.change(insider, { add: [{ ...alice, resource: "x" }], remove: [missing], force: false });
    await assert.rejects(refused, { code: "INVALID_ARGUMENT", message: /isn't there/ });
    const wrong = [
      { add: [], remove: [], force: false },
      { ...noTest, add: [{ ...alice, role: "both" }] },
      { ...noTest, add: [{ ...alice, action: "write" }] },
      { ...noTest, add: [{ ...role, role: "bob" }] },
    ];
    for (const request of wrong) await assert.rejects(admin.change(insider, request), { code: "INVALID_ARGUMENT" });
    assert.equal((await admin.describe(insider)).revision, 2);
    const { grants } = await admin.change(insider, { add: [], remove: [alice, role], force: false });
    assert.deepEqual(grants, [rootRule]);
  });

  test("are tried out by who may look, and a policy that can't be read permits nothing", async () => {
    const { admin, store } = new World();
    const question = { subject: "alice", resource: "orders", action: "produce" };
    assert.deepEqual(await admin.test(insider, question), { isPermitted: true, isOn: false });
    await admin.change(insider, { ...noTest, add: [rootRule], force: true });
    assert.deepEqual(await admin.test(insider, question), { isPermitted: false, isOn: true });
    assert.deepEqual(await admin.test(insider, { ...question, subject: "root", action: "admin" }), {
      isPermitted: true,
      isOn: true,
    });
    store.set("no policy");
    await assert.rejects(admin.test(insider, question), { code: "UNSUPPORTED_FORMAT" });
  });

  test("can't lock everybody out, unless that is what is wanted", async () => {
    const { admin } = new World();
    const own: Caller = { ...insider, isAdmin: false, principal: { kind: "certificate", name: "root" } };
    const anyone: Caller = { ...insider, isAdmin: false };
    const first = { ...noTest, add: [rootRule] };
    const reader = { ...noTest, add: [{ ...rootRule, action: "consume" }] };
    await assert.rejects(admin.change(anyone, reader), { message: /nobody would have admin/ });
    await assert.rejects(admin.change(anyone, first), { message: /root has no token yet/ });
    const viaRole = { ...noTest, add: [{ ...rootRule, subject: "admins" }] };
    await assert.rejects(admin.change(anyone, viaRole), { message: /admins has no token yet/ });
    await admin.change(own, first);
    const last = { add: [], remove: [rootRule], force: false };
    await assert.rejects(admin.change(own, last), { message: /nobody would have admin/ });
    // To a role that somebody has, it may be handed over.
    const admins = [
      { ...rootRule, subject: "admins" },
      { subject: "alice", resource: "", action: "", role: "admins" },
    ];
    await admin.change(own, { add: admins, remove: [rootRule], force: false });
    await assert.rejects(admin.describe(own), { code: "PERMISSION_DENIED" });
    const alice: Caller = { ...own, principal: { kind: "certificate", name: "alice" } };
    await assert.rejects(admin.change(alice, { ...noTest, remove: [admins[1] ?? rootRule], add: [] }), {
      message: /nobody would have admin/,
    });
    const { isOn } = await admin.change(alice, { add: [], remove: [...admins], force: true });
    assert.equal(isOn, true);
  });

  test("are changed anew when another change came between, so often and no more", async () => {
    const world = new World();
    await world.admin.change(insider, { ...noTest, add: [rootRule], force: true });
    world.store.between = policyChangeTriesMaxCount - 1;
    await world.admin.createToken(insider, { name: "alice", expiresAt: 0 });
    const { tokens, revision } = await world.admin.describe(insider);
    assert.deepEqual([tokens.length, revision], [1, 2 + policyChangeTriesMaxCount - 1]);
    world.store.between = policyChangeTriesMaxCount;
    await assert.rejects(world.admin.createToken(insider, { name: "bob", expiresAt: 0 }), { code: "CHANGE_IN_PROGRESS" });
  });

  test("a token ends in the time to come, within a hundred years", async () => {
    const { admin, clock } = new World();
    const now = Math.floor(clock.now());
    const furthest = await admin.createToken(insider, { name: "alice", expiresAt: now + tokenLifeMaxMs });
    assert.equal(furthest.expiresAt, now + tokenLifeMaxMs);
    await admin.createToken(insider, { name: "alice", expiresAt: now + 1 });
    for (const expiresAt of [now + tokenLifeMaxMs + 1, now, now - 1, -1])
      await assert.rejects(admin.createToken(insider, { name: "alice", expiresAt }), { code: "INVALID_ARGUMENT" });
    for (const name of ["", "two words", "é", "anonymous", "admin-token-file", "x".repeat(65)])
      await assert.rejects(admin.createToken(insider, { name, expiresAt: 0 }), { code: "INVALID_ARGUMENT" });
  });

  test("one token more than there may be isn't made, and none is revoked that isn't there, or asks", async () => {
    const world = new World();
    const tokens = Array.from({ length: accessTokensMaxCount - 1 }, (_, at): TokenEntry => {
      return { id: at.toString(16).padStart(12, "0"), name: "alice", hash: hashSecret(String(at)), createdAt: 0 };
    });
    world.store.set(formatAccessDocument({ ...emptyAccessDocument, revision: 1, tokens }));
    const { admin } = world;
    const { id } = await admin.createToken(insider, { name: "last", expiresAt: 0 });
    await assert.rejects(admin.createToken(insider, { name: "more", expiresAt: 0 }), { message: /1001 tokens/ });
    await assert.rejects(admin.revokeToken({ ...insider, tokenId: id }, { id, force: false }), {
      message: /the one that asks/,
    });
    await admin.revokeToken({ ...insider, tokenId: id }, { id, force: true });
    await assert.rejects(admin.revokeToken(insider, { id, force: true }), { message: /there is none of that id/ });
  });
});

class World {
  readonly clock = createVirtualClock();
  readonly store = new FakeStore();
  readonly admin: AccessAdmin;

  constructor() {
    const { clock, store } = this;
    const access = new AccessControl({ store, clock, logger: silentLogger, isLoopbackOnly: true, isInsecure: false });
    this.admin = new AccessAdmin({ store, access, clock, random: createSeededRandom("admin") });
  }
}

class FakeStore implements PolicyStore {
  text = "";
  /** So many times somebody else is faster. */
  between = 0;
  readonly #watchers = new Set<() => void>();

  set(text: string): void {
    this.text = text;
    for (const run of this.#watchers) run();
  }

  watch(run: () => void): () => void {
    this.#watchers.add(run);
    return () => void this.#watchers.delete(run);
  }

  async refresh(): Promise<void> {}

  async replace(basis: string, text: string): Promise<void> {
    if (this.between > 0) {
      this.between -= 1;
      const there = parseAccessDocument(this.text);
      this.set(formatAccessDocument({ ...there, revision: there.revision + 1 }));
    }
    if (basis !== this.text) throw policyChanged();
    this.set(text);
  }
}
