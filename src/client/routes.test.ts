import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ProglogError } from "../base/error.ts";
import { clientTransportsMaxCount } from "../base/limits.ts";
import { encodeTopicResponse } from "../wire/topic-message.ts";
import { Routes } from "./routes.ts";
import type { Transport } from "./transport.ts";

/** A cluster that is nothing but addresses, and who leads the one partition. */
class FakeCluster {
  leader = "";
  readonly unreachable = new Set<string>();
  readonly asked: string[] = [];
  readonly open: string[] = [];

  connect(address: string): Transport {
    this.open.push(address);
    return {
      address,
      call: async () => {
        this.asked.push(address);
        if (this.unreachable.has(address)) throw new ProglogError("UNAVAILABLE", "nobody is there");
        return encodeTopicResponse({ ...orders, partitions: [{ ...partition, leaderRpcAddr: this.leader }] });
      },
      openServerStream: () => assert.fail("nothing is consumed here"),
      openStream: () => assert.fail("nothing is produced here"),
      close: async () => void this.open.splice(this.open.indexOf(address), 1),
    };
  }
}

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

function makeRoutes(addresses: readonly string[]): { readonly cluster: FakeCluster; readonly routes: Routes } {
  const cluster = new FakeCluster();
  return { cluster, routes: new Routes(addresses, (address) => cluster.connect(address)) };
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
    const { cluster, routes } = makeRoutes(["a:1"]);
    assert.equal((await routes.getLeader("orders", 0)).address, "a:1");
    cluster.leader = "b:1";
    await routes.refreshTopic("orders");
    assert.equal((await routes.getLeader("orders", 0)).address, "b:1");
    assert.equal((await routes.getLeader("orders", 9)).address, "a:1");
  });

  test("keeps so many connections and no more, its first addresses among them", async () => {
    const { cluster, routes } = makeRoutes(["a:1"]);
    for (let i = 0; i < clientTransportsMaxCount + 20; i += 1) {
      cluster.leader = `node-${i}:1`;
      await routes.refreshTopic("orders");
      await routes.getLeader("orders", 0);
    }
    assert.equal(cluster.open.length, clientTransportsMaxCount);
    assert.ok(cluster.open.includes("a:1"));
    assert.ok(cluster.open.includes(cluster.leader));
    await routes.close();
    assert.deepEqual(cluster.open, []);
  });
});
