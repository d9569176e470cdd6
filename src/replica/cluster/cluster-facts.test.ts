import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ClusterFacts } from "./cluster-facts.ts";

const group = "00000000-0000-4000-8000-000000000001";

class World {
  nowMs = 1_000;
  out: readonly string[] = [];
  readonly facts = new ClusterFacts({
    self: "a",
    startedMs: 500,
    now: () => this.nowMs,
    leaderOf: () => undefined,
    outOf: () => this.out,
    lostAfterMs: 60_000,
  });

  watch(): void {
    this.facts.watchReplicas(() => [{ uuid: group, replicas: ["a", "b"].map((node) => ({ node, incarnation: 1 })) }]);
  }

  isLost(node: string, incarnation = 1): boolean {
    return this.facts.isLost(group, { node, incarnation });
  }
}

describe("what a node knows beside the catalog", () => {
  test("it is always there itself; others since they were connected, or since it began without them", () => {
    const { facts } = new World();
    assert.deepEqual(facts.presenceOf("a"), { isConnected: true, sinceMs: 500 });
    assert.deepEqual(facts.presenceOf("b"), { isConnected: false, sinceMs: 500 });
    facts.connected("b");
    assert.deepEqual(facts.presenceOf("b"), { isConnected: true, sinceMs: 1_000 });
  });

  test("being told again of a connection doesn't begin its time anew", () => {
    const world = new World();
    world.facts.connected("b");
    world.nowMs = 2_000;
    world.facts.connected("b");
    assert.equal(world.facts.presenceOf("b").sinceMs, 1_000);
    world.facts.disconnected("b");
    assert.deepEqual(world.facts.presenceOf("b"), { isConnected: false, sinceMs: 2_000 });
  });

  test("a replica is lost when it was out of action for long enough while its node was there", () => {
    const world = new World();
    world.facts.connected("b");
    world.out = ["b"];
    world.watch();
    world.nowMs += 59_999;
    world.watch();
    assert.equal(world.isLost("b"), false);
    const { lostVersion } = world.facts;
    world.nowMs += 1;
    world.watch();
    assert.equal(world.isLost("b"), true);
    assert.equal(world.isLost("b", 2), false, "its successor isn't");
    assert.ok(world.facts.lostVersion > lostVersion);
  });

  test("one that is back in between begins its time anew, and one that is lost is found again", () => {
    const world = new World();
    world.facts.connected("b");
    for (const out of [["b"], [], ["b"]]) {
      world.out = out;
      world.watch();
      world.nowMs += 40_000;
    }
    world.watch();
    assert.equal(world.isLost("b"), false);
    world.nowMs += 60_000;
    world.watch();
    assert.equal(world.isLost("b"), true);
    world.out = [];
    world.watch();
    assert.equal(world.isLost("b"), false);
  });

  test("of a node that is gone no replica is lost: it comes back, or is removed by command", () => {
    const world = new World();
    world.facts.connected("b");
    world.out = ["b"];
    world.watch();
    world.facts.disconnected("b");
    world.nowMs += 120_000;
    world.watch();
    assert.equal(world.isLost("b"), false);
  });
});
