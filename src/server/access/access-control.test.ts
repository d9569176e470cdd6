import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { createSeededRandom } from "../../../sim/random.ts";
import { isProglogError, type ProglogError } from "../../base/error.ts";
import { silentLogger } from "../../base/logger.ts";
import { policyChanged, type PolicyStore } from "../../replica/policy-store.ts";
import { type Principal, setPrincipal } from "../principal.ts";
import { AccessControl, type Credentials } from "./access-control.ts";
import { type AccessDocument, emptyAccessDocument, formatAccessDocument } from "./access-document.ts";
import { hashSecret, makeToken } from "./bearer-token.ts";
import type { Caller } from "./caller.ts";

const rules = [
  { subject: "alice", resource: "orders", action: "consume" },
  { subject: "spiffe://example.org/bob", resource: "*", action: "produce" },
] as const;

describe("who asks", () => {
  test("is the certificate of the connection, or the token, which goes before it", () => {
    const world = new World({ isOn: true, rules });
    const bob = { kind: "certificate", name: "spiffe://example.org/bob" } as const;
    const socket = socketOf("10.0.0.1", bob);
    assert.deepEqual(world.identify({ socket, authorization: [] }).principal, bob);
    const { principal, tokenId } = world.identify({ socket, authorization: [`Bearer ${world.token.text}`] });
    assert.deepEqual({ principal, tokenId }, { principal: { kind: "token", name: "alice" }, tokenId: world.token.id });
    assert.equal(world.identify({ socket: undefined, authorization: [] }).principal.kind, "anonymous");
  });

  test("with a token that is none is nobody, whatever the certificate says", () => {
    const world = new World({ isOn: true, rules });
    const socket = socketOf("10.0.0.1", { kind: "certificate", name: "alice" });
    const { text, id } = world.token;
    const other = makeToken(createSeededRandom("other"));
    const wrong: readonly (readonly string[])[] = [
      [""],
      ["Bearer"],
      [`Basic ${text}`],
      [`Bearer ${text}x`],
      [`Bearer ${other.text}`],
      [`Bearer plg_${id}_${other.secret}`],
      [`Bearer ${text}`, `Bearer ${text}`],
      ["Bearer plg___proto______x"],
    ];
    for (const authorization of wrong) {
      const error = errorOf(() => world.identify({ socket, authorization }));
      assert.equal(error?.code, "UNAUTHENTICATED", authorization.join());
      assert.ok(!JSON.stringify([error?.message, error?.hint, error?.details]).includes(world.token.secret.slice(0, 8)));
    }
  });

  test("a token whose time is over is none, to the millisecond", () => {
    const world = new World({ isOn: true, rules }, { livesForMs: 1_000 });
    const authorization = [`Bearer ${world.token.text}`];
    world.clock.advance(999);
    const caller = world.identify({ socket: undefined, authorization });
    world.access.check(caller, "consume", "orders");
    world.clock.advance(1);
    assert.throws(() => world.identify({ socket: undefined, authorization }), { code: "UNAUTHENTICATED" });
    assert.throws(() => world.access.check(caller, "consume", "orders"), { code: "UNAUTHENTICATED" });
  });
});

describe("what they may do", () => {
  test("is what a rule allows; a denial names who, what and where, and not whether it is there", () => {
    const world = new World({ isOn: true, rules });
    const alice = world.alice();
    world.access.check(alice, "consume", "orders");
    for (const topic of ["nothing-of-that-name", "orders-eu"])
      assert.throws(() => world.access.check(alice, "produce", topic), {
        code: "PERMISSION_DENIED",
        message: `alice not permitted to produce to ${topic}`,
      });
    assert.throws(() => world.access.check(world.anyone(), "consume", "orders"), { code: "UNAUTHENTICATED" });
    assert.throws(() => world.access.checkKnown(world.anyone(), "describe"), { code: "UNAUTHENTICATED" });
    world.access.checkKnown(alice, "describe");
  });

  test("without a policy: everything from this machine or with a certificate, nothing from elsewhere", () => {
    const world = new World({});
    world.access.check(world.anyone("127.0.0.1"), "admin", "*");
    world.access.check(world.anyone("::1"), "admin", "*");
    world.access.check(world.anyone("::ffff:127.0.0.1"), "admin", "*");
    world.access.check(world.anyone("10.0.0.1", { kind: "certificate", name: "x" }), "admin", "*");
    for (const address of ["10.0.0.1", "::ffff:10.0.0.1", "", "127.0.0.1.example"])
      assert.throws(() => world.access.check(world.anyone(address), "describe", "a"), { code: "UNAUTHENTICATED" }, address);
    new World({}, { isInsecure: true }).access.check(world.anyone("10.0.0.1"), "admin", "*");
  });

  test("on this machine, too, once there is a rule", () => {
    const world = new World({});
    const local = world.anyone("127.0.0.1");
    world.access.check(local, "admin", "*");
    world.set({ isOn: true, rules });
    assert.throws(() => world.access.check(local, "describe", "orders"), { code: "UNAUTHENTICATED" });
    // Also when the last rule goes.
    world.set({ isOn: true, rules: [] });
    assert.throws(() => world.access.check(local, "describe", "orders"), { code: "UNAUTHENTICATED" });
  });

  test("while nothing is known: nothing, and one comes back", () => {
    const world = new World({}, { isUnknown: true });
    assert.throws(() => world.access.check(world.anyone("127.0.0.1"), "describe", "a"), { code: "UNAVAILABLE" });
    const authorization = [`Bearer ${world.token.text}`];
    assert.throws(() => world.identify({ socket: undefined, authorization }), { code: "UNAVAILABLE" });
    world.set({ isOn: true, rules });
    world.access.check(world.alice(), "consume", "orders");
  });

  test("by a policy that can't be read: nothing", () => {
    const world = new World({ isOn: true, rules });
    const alice = world.alice();
    world.setText('{"version":2}');
    assert.throws(() => world.access.check(alice, "consume", "orders"), { code: "UNSUPPORTED_FORMAT" });
    assert.throws(() => world.access.check(world.anyone("127.0.0.1"), "consume", "orders"), { code: "UNSUPPORTED_FORMAT" });
    world.access.check(world.admin(), "admin", "*");
  });

  test("the node's own token may do everything, always", () => {
    for (const world of [new World({ isOn: true, rules }), new World({}), new World({}, { isUnknown: true })]) {
      const admin = world.admin();
      for (const action of ["produce", "consume", "describe", "admin", "cluster"] as const)
        world.access.check(admin, action, "*");
      world.access.checkKnown(admin, "describe");
      assert.equal(admin.principal.name, "admin-token-file");
    }
  });

  test("a principal of that name by other means may nothing of it", () => {
    const world = new World({ isOn: true, rules });
    const caller = world.anyone("10.0.0.1", { kind: "certificate", name: "admin-token-file" });
    assert.throws(() => world.access.check(caller, "admin", "*"), { code: "PERMISSION_DENIED" });
  });

  test("a model of casbin, once it is loaded, and not what was open before", async () => {
    const world = new World({});
    const local = world.anyone("127.0.0.1");
    const model = `[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n[policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = r.sub == p.sub && keyMatch(r.obj, p.obj)`;
    world.set({ isOn: true, rules, model });
    assert.throws(() => world.access.check(local, "admin", "*"), { code: "UNAVAILABLE" });
    await world.access.settled();
    assert.throws(() => world.access.check(local, "admin", "*"), { code: "UNAUTHENTICATED" });
    // The model doesn't look at the action.
    world.access.check(world.alice(), "admin", "orders");
    world.set({ isOn: true, rules, model: "nonsense" });
    await world.access.settled();
    assert.throws(() => world.access.check(local, "admin", "*"), { code: "INVALID_CONFIG" });
  });
});

describe("what lasts", () => {
  test("is ended when its rule goes, with what a new request would get, once; others go on", () => {
    const world = new World({ isOn: true, rules });
    const alice = world.alice();
    const bob = world.anyone("10.0.0.1", { kind: "certificate", name: "spiffe://example.org/bob" });
    const ended: string[] = [];
    world.hold(alice, "consume", "orders", (error) => ended.push(`alice ${error.code}`));
    world.hold(bob, "produce", "x", (error) => ended.push(`bob ${error.code}`));
    const release = world.hold(alice, "consume", "orders", () => ended.push("released"));
    release();
    world.set({ isOn: true, rules: [...rules, { subject: "eve", resource: "*", action: "admin" }] });
    assert.deepEqual(ended, []);
    world.set({ isOn: true, rules: [rules[1]] });
    assert.deepEqual(ended, ["alice PERMISSION_DENIED"]);
    world.set({ isOn: true, rules: [] });
    assert.deepEqual(ended, ["alice PERMISSION_DENIED", "bob PERMISSION_DENIED"]);
    assert.equal(world.access.heldCount, 0);
  });

  test("is ended when its token is revoked, and by the first rule where nobody was asked", () => {
    const world = new World({ isOn: true, rules });
    const ended: string[] = [];
    world.hold(world.alice(), "consume", "orders", (error) => ended.push(error.code));
    world.set({ isOn: true, rules, tokens: [] });
    assert.deepEqual(ended, ["UNAUTHENTICATED"]);
    const open = new World({});
    open.hold(open.anyone("127.0.0.1"), "consume", "orders", (error) => ended.push(error.code));
    open.set({ isOn: true, rules });
    assert.deepEqual(ended, ["UNAUTHENTICATED", "UNAUTHENTICATED"]);
  });

  test("is ended within a second of its token's end, and nothing is looked at when nothing is left", () => {
    const world = new World({ isOn: true, rules }, { livesForMs: 10_000 });
    const ended: string[] = [];
    world.hold(world.alice(), "consume", "orders", (error) => ended.push(error.code));
    world.clock.advance(9_999);
    assert.deepEqual(ended, []);
    world.clock.advance(1_001);
    assert.deepEqual(ended, ["UNAUTHENTICATED"]);
    world.clock.advance(2_000);
    assert.equal(world.clock.timerCount, 0);
    world.access.close();
  });
});

class World {
  readonly clock = createVirtualClock();
  readonly token = makeToken(createSeededRandom("alice"));
  readonly access: AccessControl;
  readonly #store = new FakeStore();
  readonly #expiresAt: number | undefined;

  constructor(document: Partial<AccessDocument>, { isUnknown = false, isInsecure = false, livesForMs }: WorldOptions = {}) {
    this.#expiresAt = livesForMs === undefined ? undefined : this.clock.now() + livesForMs;
    if (!isUnknown) this.set(document);
    this.access = new AccessControl({
      ...{ store: this.#store, clock: this.clock, logger: silentLogger, isLoopbackOnly: false, isInsecure },
      adminToken: hashSecret("the-node-s-own-token-of-32-characters"),
    });
  }

  set(document: Partial<AccessDocument>): void {
    const { id, secret } = this.token;
    const expiry = this.#expiresAt === undefined ? {} : { expiresAt: this.#expiresAt };
    const tokens = [{ id, name: "alice", hash: hashSecret(secret), createdAt: 0, ...expiry }];
    this.setText(formatAccessDocument({ ...emptyAccessDocument, tokens, ...document }));
  }

  setText(text: string): void {
    this.#store.set(text);
  }

  identify(credentials: Credentials): Caller {
    const found = this.access.identify(credentials);
    assert.ok(!(found instanceof Promise));
    return found;
  }

  alice(): Caller {
    return this.identify({ socket: socketOf("10.0.0.1"), authorization: [`Bearer ${this.token.text}`] });
  }

  admin(): Caller {
    const authorization = ["Bearer the-node-s-own-token-of-32-characters"];
    return this.identify({ socket: socketOf("10.0.0.1"), authorization });
  }

  anyone(address = "10.0.0.1", principal?: Principal): Caller {
    return this.identify({ socket: socketOf(address, principal), authorization: [] });
  }

  hold(caller: Caller, action: "consume" | "produce", topic: string, end: (error: ProglogError) => void): () => void {
    return this.access.hold(caller, () => this.access.check(caller, action, topic), end);
  }
}

interface WorldOptions {
  readonly isUnknown?: boolean;
  readonly isInsecure?: boolean;
  readonly livesForMs?: number;
}

class FakeStore implements PolicyStore {
  text: string | undefined;
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
    if (basis !== this.text) throw policyChanged();
    this.set(text);
  }
}

function socketOf(remoteAddress: string, principal?: Principal): PassThrough {
  const socket = Object.assign(new PassThrough(), { remoteAddress });
  if (principal !== undefined) setPrincipal(socket, principal);
  return socket;
}

function errorOf(run: () => unknown): ProglogError | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return isProglogError(error) ? error : undefined;
  }
}
