import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock, type VirtualClock } from "../../sim/clock.ts";
import { createSeededRandom } from "../../sim/random.ts";
import { ProglogError } from "../base/error.ts";
import { clientHedgeMs, clientTopicIntervalMs, clientTopicsMaxCount, clientTransportsMaxCount } from "../base/limits.ts";
import { encodeTopicResponse, type TopicDescription } from "../wire/topic-message.ts";
import { Routes } from "./routes.ts";
import { TopicRoutes } from "./topic-routes.ts";
import type { Transport } from "./transport.ts";

/** A cluster that is nothing but addresses, and who leads the one partition. */
class FakeCluster {
  leader = "";
  term = 0;
  /** Of what meets a node that isn't there. */
  outcome: "unknown" | "not-appended" = "unknown";
  /** Connections stay, and nothing is answered. */
  readonly stuck = new Set<string>();
  readonly unreachable = new Set<string>();
  /** They answer, and know of no leader. */
  readonly cutOff = new Set<string>();
  readonly asked: string[] = [];
  readonly open: string[] = [];

  connect(address: string): Transport {
    this.open.push(address);
    return {
      address,
      call: async (method, _request, { signal } = {}) => {
        this.asked.push(address);
        if (this.stuck.has(address)) return new Promise((_resolve, reject) => signal?.addEventListener("abort", reject));
        const { outcome } = this;
        if (this.unreachable.has(address)) throw new ProglogError("UNAVAILABLE", "nobody is there", { details: { outcome } });
        const isCutOff = this.cutOff.has(address);
        if (isCutOff && method === change) throw new ProglogError("NOT_LEADER", "nobody leads, as far as is known");
        const leaderRpcAddr = isCutOff ? "" : this.leader;
        return encodeTopicResponse({ ...orders, partitions: [{ ...partition, leaderRpcAddr, term: this.term }] });
      },
      openServerStream: () => assert.fail("nothing is consumed here"),
      openStream: () => assert.fail("nothing is produced here"),
      close: async () => void this.open.splice(this.open.indexOf(address), 1),
    };
  }
}

const change = "/x/Change";

const orders = { name: "orders", uuid: "", createdAt: 0, settings: {}, effectiveSettings: {}, replicationFactor: 1 };
const partition = {
  partition: 0,
  uuid: "",
  leaderId: "",
  state: "open",
  logStartOffset: 0,
  highWatermark: 0,
  replicas: [],
  term: 0,
};

interface World {
  readonly cluster: FakeCluster;
  readonly clock: VirtualClock;
  readonly routes: Routes;
}

function makeRoutes(addresses: readonly string[]): World {
  const cluster = new FakeCluster();
  const clock = createVirtualClock();
  const random = createSeededRandom(1);
  return { cluster, clock, routes: new Routes(addresses, { connect: (address) => cluster.connect(address), clock, random }) };
}

describe("routes", () => {
  test("asks the next address where nobody answers, and stays with the one that did", async () => {
    const { cluster, routes } = makeRoutes(["a:1", "b:1", "c:1"]);
    cluster.unreachable.add("a:1");
    await routes.getTopic("orders");
    routes.forget("orders");
    await routes.getTopic("orders");
    assert.deepEqual(cluster.asked, ["a:1", "b:1", "b:1"]);
    for (const address of ["b:1", "c:1"]) cluster.unreachable.add(address);
    routes.forget("orders");
    await assert.rejects(routes.getTopic("orders"), { code: "UNAVAILABLE", message: /^Cannot reach a:1, b:1, c:1: / });
  });

  test("goes to who leads, and to whoever is known where nobody is said to", async () => {
    const { cluster, clock, routes } = makeRoutes(["a:1"]);
    assert.equal((await routes.getLeader("orders", 0)).address, "a:1");
    cluster.leader = "b:1";
    clock.advance(clientTopicIntervalMs);
    await routes.refreshTopic("orders");
    assert.equal((await routes.getLeader("orders", 0)).address, "b:1");
    assert.equal((await routes.getLeader("orders", 9)).address, "a:1");
  });

  test("keeps so many connections and no more, its first addresses among them", async () => {
    const { cluster, clock, routes } = makeRoutes(["a:1"]);
    for (let i = 0; i < clientTransportsMaxCount + 20; i += 1) {
      cluster.leader = `node-${i}:1`;
      clock.advance(clientTopicIntervalMs);
      await routes.refreshTopic("orders");
      await routes.getLeader("orders", 0);
    }
    assert.equal(cluster.open.length, clientTransportsMaxCount);
    assert.ok(cluster.open.includes("a:1"));
    assert.ok(cluster.open.includes(cluster.leader));
    await routes.close();
    assert.deepEqual(cluster.open, []);
  });

  test("a node that stands still is passed over after a while, and who asks at the same time asks once", async () => {
    const { cluster, clock, routes } = makeRoutes(["a:1", "b:1"]);
    cluster.stuck.add("a:1");
    const all = [routes.getTopic("orders"), routes.getTopic("orders"), routes.refreshTopic("orders")];
    assert.deepEqual(cluster.asked, ["a:1"]);
    clock.advance(clientHedgeMs);
    await Promise.all(all);
    assert.deepEqual([cluster.asked, clock.timerCount], [["a:1", "b:1"], 0]);
    // It is asked again no sooner than after `clientTopicIntervalMs`, and the one that answered is the first.
    const again = routes.refreshTopic("orders");
    await new Promise(setImmediate);
    assert.equal(cluster.asked.length, 2);
    clock.advance(2 * clientTopicIntervalMs);
    await again;
    assert.deepEqual(cluster.asked, ["a:1", "b:1", "b:1"]);
  });

  test("what changes something is asked of the next one only where nothing can have been done", async () => {
    const { cluster, routes } = makeRoutes(["a:1", "b:1"]);
    cluster.unreachable.add("a:1");
    await assert.rejects(routes.call(change, Buffer.alloc(0)), { code: "UNAVAILABLE" });
    assert.deepEqual(cluster.asked, ["a:1"]);
    const next = makeRoutes(["a:1", "b:1"]);
    next.cluster.unreachable.add("a:1");
    next.cluster.outcome = "not-appended";
    await next.routes.call(change, Buffer.alloc(0));
    assert.deepEqual(next.cluster.asked, ["a:1", "b:1"]);
  });

  test("a leader that stops and says who goes on is left for that one, and nobody is asked", async () => {
    const { cluster, routes } = makeRoutes(["a:1"]);
    cluster.leader = "b:1";
    await routes.getLeader("orders", 0);
    const asked = cluster.asked.length;
    const details = { leaderId: "c", leaderRpcAddr: "c:1" };
    const error = new ProglogError("SHUTTING_DOWN", "Cannot go on: the node is stopping", { details });
    assert.equal(routes.noteFailure({ topic: "orders", partition: 0, address: "b:1", error }), true);
    assert.equal((await routes.getLeader("orders", 0)).address, "c:1");
    assert.equal(cluster.asked.length, asked);
  });

  test("when the connection to the leader is lost another node is asked, which it was told of alone", async () => {
    const { cluster, clock, routes } = makeRoutes(["a:1"]);
    cluster.leader = "b:1";
    await routes.getLeader("orders", 0);
    const error = new ProglogError("UNAVAILABLE", "The connection broke");
    assert.equal(routes.noteFailure({ topic: "orders", partition: 0, address: "b:1", error }), false);
    cluster.unreachable.add("a:1").add("b:1");
    clock.advance(2 * clientTopicIntervalMs);
    await assert.rejects(routes.getLeader("orders", 0), { code: "UNAVAILABLE" });
    assert.deepEqual(cluster.asked, ["a:1", "a:1", "b:1"]);
  });

  test("when what a node told was no good all others are asked before it is asked again: it may be cut off", async () => {
    const { cluster, clock, routes } = makeRoutes(["a:1", "b:1", "c:1"]);
    cluster.leader = "c:1";
    for (const address of ["a:1", "b:1"]) cluster.cutOff.add(address);
    const error = new ProglogError("NOT_LEADER", "somebody else leads");
    const ask = async (): Promise<string> => {
      const leader = routes.getLeader("orders", 0);
      clock.advance(2 * clientTopicIntervalMs);
      return (await leader).address;
    };
    for (const expected of ["a:1", "b:1", "c:1", "a:1", "b:1", "c:1"]) {
      assert.equal(await ask(), expected);
      assert.equal(cluster.asked.at(-1), expected);
      routes.noteFailure({ topic: "orders", partition: 0, address: expected, error });
    }
    // What is believed is asked for anew of the one that answered last.
    await ask();
    await ask();
    const again = routes.refreshTopic("orders");
    clock.advance(2 * clientTopicIntervalMs);
    await again;
    assert.deepEqual(cluster.asked.slice(6), ["a:1", "a:1"]);
  });

  test("a change that a node turns down for want of a leader is asked of the others", async () => {
    const { cluster, routes } = makeRoutes(["a:1", "b:1"]);
    cluster.cutOff.add("a:1");
    await routes.call(change, Buffer.alloc(0));
    assert.deepEqual(cluster.asked, ["a:1", "b:1"]);
    cluster.cutOff.add("b:1");
    await assert.rejects(routes.call(change, Buffer.alloc(0)), { code: "NOT_LEADER" });
    assert.deepEqual(cluster.asked, ["a:1", "b:1", "b:1", "a:1"]);
  });

  test("keeps the leaders of so many topics, and asks again for the one it learned of first", async () => {
    const { cluster, routes } = makeRoutes(["a:1"]);
    for (let i = 0; i <= clientTopicsMaxCount; i += 1) await routes.getTopic(`topic-${i}`);
    const { length } = cluster.asked;
    await routes.getTopic(`topic-${clientTopicsMaxCount}`);
    assert.equal(cluster.asked.length, length);
    await routes.getTopic("topic-0");
    assert.equal(cluster.asked.length, length + 1);
  });
});

describe("what is known of a topic's leaders", () => {
  function described(leaderRpcAddr: string, term: number, uuid = "t"): TopicDescription {
    return { ...orders, uuid, partitions: [{ ...partition, leaderRpcAddr, term }] };
  }

  test("of two answers the one with the higher term holds, in whichever order they come", () => {
    const routes = new TopicRoutes(described("a:1", 7));
    routes.learn(described("b:1", 6));
    assert.equal(routes.leaderOf(0), "a:1");
    routes.learn(described("", 8));
    assert.equal(routes.leaderOf(0), "");
    // Another topic of the same name has terms of its own.
    routes.learn(described("c:1", 1, "another"));
    assert.equal(routes.leaderOf(0), "c:1");
  });

  test("a hint holds until a later term is heard of, or it turns out wrong", () => {
    const routes = new TopicRoutes(described("a:1", 7));
    routes.hint(0, "b:1");
    routes.learn(described("a:1", 7));
    assert.equal(routes.leaderOf(0), "b:1");
    routes.learn(described("c:1", 8));
    assert.equal(routes.leaderOf(0), "c:1");
    routes.hint(0, "b:1");
    routes.dropHint(0, "b:1");
    assert.equal(routes.leaderOf(0), "c:1");
  });
});
