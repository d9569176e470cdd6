import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../sim/clock.ts";
import { isProglogError } from "../src/base/error.ts";
import { KiB } from "../src/base/units.ts";
import { type Client, connect } from "../src/client/index.ts";
import { startTestNode, type TestNode } from "./test-node.ts";

/** Streams are held back, single requests are refused, and others notice nothing. The node's clock stands still unless a test moves it. */
describe("quotas", () => {
  const perSecond = 64 * KiB;
  /** Two of them are more than a second's bytes, one isn't. */
  const value = "x".repeat(60 * KiB);
  const json = { "content-type": "application/json" };

  test("a single request beyond is refused, with when to come back; another principal's isn't", async () => {
    await using world = await World.open({ "produce-quota-bytes-per-second": perSecond });
    const { alice, bob, node } = world;
    for (let count = 0; count < 2; count += 1) await alice.append([{ value }], { topic: "orders" });
    await assert.rejects(alice.append([{ value }], { topic: "orders" }), (error) => {
      assert.ok(isProglogError(error, "QUOTA_EXCEEDED"));
      assert.deepEqual([error.details["outcome"], typeof error.details["retryAfterMs"]], ["not-appended", "number"]);
      return true;
    });
    await bob.append([{ value }], { topic: "orders" });
    const headers = { authorization: world.authorization };
    const refused = await node.post("/v1/topics/orders/records", { value: "x" }, { ...json, ...headers });
    assert.deepEqual([refused.status, refused.headers["retry-after"]], [429, "1"]);
    assert.equal((await node.post("/", { record: { value: "eA==" } }, headers)).status, 429);
    world.clock.advance(2_000);
    assert.equal((await node.post("/v1/topics/orders/records", { value: "x" }, { ...json, ...headers })).status, 200);
  });

  test("a read beyond is refused, by either protocol", async () => {
    await using world = await World.open({ "consume-quota-bytes-per-second": "64KiB" });
    const { alice, node } = world;
    await alice.append([{ value }, { value }], { topic: "orders" });
    const read = (): ReturnType<TestNode["get"]> =>
      node.get("/v1/topics/orders/records?from=start", { headers: { authorization: world.authorization } });
    assert.equal((await read()).status, 200);
    assert.equal((await read()).status, 429);
    world.clock.advance(2_000);
    assert.equal((await read()).status, 200);
  });

  test("a stream that produces is held back, and goes on", async () => {
    await using world = await World.open({ "produce-quota-bytes-per-second": perSecond });
    await using producer = world.alice.producer({ topic: "orders" });
    await producer.send({ value });
    await producer.send({ value });
    const held = world.isPending(producer.send({ value }));
    assert.equal(await held.isPending(), true);
    await using others = world.bob.producer({ topic: "orders" });
    await others.send({ value });
    world.clock.advance(2_000);
    assert.equal((await held.promise).offset, 3);
  });

  test("a stream that consumes is held back, and goes on", async () => {
    await using world = await World.open({ "consume-quota-bytes-per-second": "1MiB" });
    const { alice, bob } = world;
    for (let count = 0; count < 3; count += 1) await alice.append([{ value: "x".repeat(700 * KiB) }], { topic: "orders" });
    const records = alice.consume({ topic: "orders" })[Symbol.asyncIterator]();
    await records.next();
    await records.next();
    const held = world.isPending(records.next());
    assert.equal(await held.isPending(), true);
    for await (const { offset } of bob.consume({ topic: "orders", stopsAtEnd: true })) if (offset === 1) break;
    world.clock.advance(1_000);
    assert.equal((await held.promise).value?.offset, 2);
    await records.return?.();
  });
});

class World implements AsyncDisposable {
  readonly clock: VirtualClock;
  readonly node: TestNode;
  readonly alice: Client;
  readonly bob: Client;
  /** Alice's, over HTTP. */
  readonly authorization: string;

  private constructor(node: TestNode, clock: VirtualClock, [alice, bob]: readonly [string, string]) {
    const address = `127.0.0.1:${node.port}`;
    this.clock = clock;
    this.node = node;
    this.alice = connect(address, { token: alice });
    this.bob = connect(address, { token: bob });
    this.authorization = `Bearer ${alice}`;
  }

  static async open(flags: Readonly<Record<string, unknown>>): Promise<World> {
    const clock = createVirtualClock();
    const node = await startTestNode({ flags, clock });
    const address = `127.0.0.1:${node.port}`;
    await using first = connect(address);
    const alice = await first.access.createToken("alice");
    const bob = await first.access.createToken("bob");
    const actions = ["produce", "consume", "admin"];
    await first.access.change({
      add: ["alice", "bob"].flatMap((subject) => actions.map((action) => ({ subject, resource: "*", action }))),
    });
    return new World(node, clock, [alice.token, bob.token]);
  }

  /** The node's clock stands, so what it holds back stays so, however long it is looked at. */
  isPending<Value>(promise: Promise<Value>): { readonly promise: Promise<Value>; isPending(): Promise<boolean> } {
    const settled = new AbortController();
    const settle = (): void => settled.abort();
    promise.then(settle, settle);
    return {
      promise,
      isPending: async () => {
        for (let turn = 0; turn < 200 && !settled.signal.aborted; turn += 1) await new Promise(setImmediate);
        return !settled.signal.aborted;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.alice.close();
    await this.bob.close();
    await this.node[Symbol.asyncDispose]();
  }
}
