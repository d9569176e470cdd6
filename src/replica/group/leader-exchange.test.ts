import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createVirtualClock } from "../../../sim/clock.ts";
import { isProglogError, ProglogError } from "../../base/error.ts";
import { ledGroupsMaxCount, leaderNewsRetryMs } from "../../base/cluster-limits.ts";
import { silentLogger } from "../../base/logger.ts";
import type { NodeId } from "../../raft/member.ts";
import type { PeerAddress } from "../peer-network.ts";
import { LeaderExchange } from "./leader-exchange.ts";
import { decodeLeaderNews, encodeLeaderNews, type GroupTerm } from "./leader-news.ts";
import { LeaderTable, newestLeader } from "./leader-table.ts";

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
};

interface NodeInTest {
  readonly exchange: LeaderExchange;
  readonly table: LeaderTable;
  readonly led: Map<string, number>;
  readonly out: Set<string>;
  readonly heard: string[];
}

/** Nodes whose questions are counted, held and failed as a test likes. */
class Nodes {
  readonly clock = createVirtualClock();
  readonly nodes = new Map<NodeId, NodeInTest>();
  readonly asked: string[] = [];
  failure: ProglogError | undefined;
  hold: Promise<void> | undefined;

  constructor(...nodeIds: NodeId[]) {
    for (const nodeId of nodeIds) {
      const table = new LeaderTable();
      const led = new Map<string, number>();
      const ask = async (to: PeerAddress, kind: string, body: Buffer): Promise<Buffer> => {
        assert.ok("nodeId" in to);
        this.asked.push(`${nodeId}>${to.nodeId} ${kind}`);
        await this.hold;
        if (this.failure !== undefined) throw this.failure;
        return this.get(to.nodeId).exchange.answer(nodeId, body);
      };
      const out = new Set<string>();
      const heard: string[] = [];
      const exchange = new LeaderExchange({
        ask,
        clock: this.clock,
        logger: silentLogger,
        table,
        led: () => led,
        out: () => out,
        heardOut: (peer, groupId, isOut) => heard.push(`${peer} ${groupId} ${isOut ? "out" : "back"}`),
      });
      this.nodes.set(nodeId, { exchange, table, led, out, heard });
    }
  }

  get(nodeId: NodeId): NodeInTest {
    const node = this.nodes.get(nodeId);
    assert.ok(node !== undefined);
    return node;
  }

  async tell(nodeId: NodeId): Promise<void> {
    this.get(nodeId).exchange.tell();
    await settle();
  }
}

describe("who leads what", () => {
  test("the higher term is the newer answer, and who left its lead leads no more", () => {
    const table = new LeaderTable();
    assert.equal(table.find("g"), undefined);
    assert.equal(table.led("g", { leaderId: "a", term: 3 }), true);
    assert.equal(table.led("g", { leaderId: "a", term: 3 }), false);
    assert.equal(table.led("g", { leaderId: "b", term: 2 }), false);
    assert.deepEqual(table.find("g"), { leaderId: "a", term: 3 });
    table.left("g", { leaderId: "a", term: 2 });
    assert.deepEqual(table.find("g"), { leaderId: "a", term: 3 });
    table.left("g", { leaderId: "a", term: 3 });
    assert.equal(table.find("g"), undefined);
    assert.equal(table.led("g", { leaderId: "b", term: 2 }), false, "an old answer is still old");
    assert.equal(table.led("g", { leaderId: "b", term: 4 }), true);
    table.forget("g");
    assert.equal(table.count, 0);
  });

  test("a replica that left its group knows less than those who say so in a later term", () => {
    assert.equal(newestLeader({ leader: "a", term: 5 }, { leaderId: "b", term: 6 }), "b");
    assert.equal(newestLeader({ leader: "a", term: 7 }, { leaderId: "b", term: 6 }), "a");
    assert.equal(newestLeader({ leader: undefined, term: 7 }, { leaderId: "b", term: 6 }), "b");
    assert.equal(newestLeader({ leader: "a", term: 1 }, undefined), "a");
    assert.equal(newestLeader(undefined, { leaderId: "b", term: 6 }), "b");
    assert.equal(newestLeader(undefined, undefined), undefined);
  });

  test("no more groups are remembered than there can be", () => {
    const table = new LeaderTable(2);
    for (const groupId of ["a", "b", "c"]) table.led(groupId, { leaderId: "n", term: 1 });
    assert.deepEqual([table.count, table.find("c")], [2, undefined]);
    assert.equal(table.led("a", { leaderId: "n", term: 2 }), true);
  });

  test("nodes that meet tell each other everything, and then what changes", async () => {
    const nodes = new Nodes("a", "b");
    const { exchange, led, table } = nodes.get("a");
    led.set("g1", 1);
    nodes.get("b").led.set("g2", 5);
    exchange.connected("b");
    await nodes.tell("a");
    assert.deepEqual(table.find("g2"), { leaderId: "b", term: 5 });
    assert.deepEqual(nodes.get("b").table.find("g1"), { leaderId: "a", term: 1 });
    await nodes.tell("a");
    assert.equal(nodes.asked.length, 1, "nothing new, nothing told");
    exchange.changed(["g3", 2], true);
    exchange.changed(["g1", 1], false);
    await nodes.tell("a");
    assert.deepEqual(nodes.asked, ["a>b leaders", "a>b leaders"]);
    assert.deepEqual(nodes.get("b").table.find("g3"), { leaderId: "a", term: 2 });
    assert.equal(nodes.get("b").table.find("g1"), undefined);
  });

  test("replicas that are out of action are told of, and that they are back", async () => {
    const nodes = new Nodes("a", "b");
    const [a, b] = [nodes.get("a"), nodes.get("b")];
    a.out.add("g1");
    b.out.add("g2");
    a.exchange.connected("b");
    await nodes.tell("a");
    assert.deepEqual([a.heard, b.heard], [["b g2 out"], ["a g1 out"]]);
    assert.deepEqual([b.exchange.outOf("g1"), b.exchange.outOf("g2")], [["a"], []]);
    a.out.delete("g1");
    a.out.add("g3");
    a.exchange.outChanged();
    await nodes.tell("a");
    assert.deepEqual(b.heard.slice(1), ["a g3 out", "a g1 back"]);
    await nodes.tell("a");
    assert.equal(nodes.asked.length, 2);
    b.exchange.disconnected("a");
    assert.deepEqual(b.exchange.outOf("g3"), []);
  });

  test("a replica that is back while there is no connection isn't out of action for ever", async () => {
    const nodes = new Nodes("a", "b");
    const [a, b] = [nodes.get("a"), nodes.get("b")];
    a.out.add("g1");
    a.out.add("g2");
    a.exchange.connected("b");
    await nodes.tell("a");
    b.exchange.disconnected("a");
    a.exchange.disconnected("b");
    a.out.delete("g1");
    a.exchange.connected("b");
    await nodes.tell("a");
    assert.deepEqual(b.heard, ["a g1 out", "a g2 out", "a g1 back", "a g2 back", "a g2 out"]);
  });

  test("what gathers while a question is under way goes together", async () => {
    const nodes = new Nodes("a", "b");
    const { exchange } = nodes.get("a");
    exchange.connected("b");
    const held = Promise.withResolvers<void>();
    nodes.hold = held.promise;
    await nodes.tell("a");
    for (let number = 0; number < 100; number += 1) {
      exchange.changed([`g${number}`, 1], true);
      await nodes.tell("a");
    }
    assert.equal(nodes.asked.length, 1);
    held.resolve();
    await settle();
    await nodes.tell("a");
    assert.equal(nodes.asked.length, 2);
    assert.equal(nodes.get("b").table.count, 100);
  });

  test("after a question that failed everything is told again, a second later; what isn't led any more is gone then", async () => {
    const nodes = new Nodes("a", "b");
    const { exchange, led } = nodes.get("a");
    led.set("g1", 1).set("g2", 1);
    exchange.connected("b");
    await nodes.tell("a");
    nodes.failure = new ProglogError("TIMEOUT", "Cannot ask b");
    led.delete("g2");
    exchange.changed(["g2", 1], false);
    await nodes.tell("a");
    nodes.failure = undefined;
    nodes.clock.advance(leaderNewsRetryMs - 1);
    await nodes.tell("a");
    assert.deepEqual([nodes.asked.length, nodes.get("b").table.find("g2")?.term], [2, 1]);
    nodes.clock.advance(1);
    await nodes.tell("a");
    assert.equal(nodes.asked.length, 3);
    assert.equal(nodes.get("b").table.find("g2"), undefined);
    assert.deepEqual(nodes.get("b").table.find("g1"), { leaderId: "a", term: 1 });
    exchange.disconnected("b");
    exchange.changed(["g9", 1], true);
    await nodes.tell("a");
    assert.equal(nodes.asked.length, 3);
  });

  test("news that isn't one is refused", () => {
    const good = { isFull: true, leads: [["g", 1]] as GroupTerm[], left: [], out: ["h"] };
    assert.deepEqual(decodeLeaderNews(encodeLeaderNews(good)), good);
    const bad: unknown[] = [
      null,
      [],
      { ...good, isFull: 1 },
      { ...good, out: undefined },
      { ...good, out: [1] },
      { ...good, leads: undefined },
      { ...good, leads: [["g"]] },
      { ...good, leads: [["", 1]] },
      { ...good, leads: [["g".repeat(256), 1]] },
      { ...good, left: [["g", -1]] },
      { ...good, left: [["g", 2 ** 32]] },
      { ...good, left: [["g", 1.5]] },
      { ...good, left: Array.from({ length: ledGroupsMaxCount + 1 }, () => ["g", 1]) },
    ];
    for (const value of [...bad.map((item) => Buffer.from(JSON.stringify(item))), Buffer.from("{"), Buffer.alloc(3, 0xff)])
      assert.throws(
        () => decodeLeaderNews(value),
        (error) => isProglogError(error, "INVALID_ARGUMENT"),
      );
  });
});
