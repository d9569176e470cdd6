import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Client, connect } from "../src/client/index.ts";
import { isProglogError } from "../src/base/error.ts";
import { ThreeNodes } from "./three-nodes.ts";

/** Rules and tokens are the cluster's: made on one node, they hold on all. */
describe("who may do what in a cluster", () => {
  let cluster: ThreeNodes;
  let leader = "";
  let follower = "";
  let rootToken = "";

  before(async () => {
    cluster = await ThreeNodes.start();
    await cluster.client.createTopic("orders");
    leader = await cluster.leaderOf("orders");
    follower = cluster.names.find((name) => name !== leader) ?? "";
  });
  after(() => cluster[Symbol.asyncDispose]());

  function clientOf(name: string, token?: string): Client {
    return connect(`127.0.0.1:${cluster.node(name).port}`, token === undefined ? {} : { token });
  }

  /** What a node answers to somebody who asks for its topics: "ok", or the code. */
  async function answerOf(name: string, token?: string): Promise<string> {
    await using client = clientOf(name, token);
    try {
      await client.listTopics();
      return "ok";
    } catch (error) {
      if (isProglogError(error)) return error.code;
      throw error;
    }
  }

  test("holds on all nodes, whichever was asked", async () => {
    await using first = clientOf(follower);
    ({ token: rootToken } = await first.access.createToken("root"));
    await using other = clientOf(leader);
    const actions = ["admin", "produce", "consume"];
    await other.access.change({ add: actions.map((action) => ({ subject: "root", resource: "*", action })) });
    for (const name of cluster.names) {
      await cluster.until(async () => (await answerOf(name)) === "UNAUTHENTICATED");
      await cluster.until(async () => (await answerOf(name, rootToken)) === "ok");
    }
  });

  test("changes at once on several nodes are all there afterwards", async () => {
    const made = await Promise.all(
      cluster.names.map(async (name) => {
        await using client = clientOf(name, rootToken);
        const { id } = await client.access.createToken(`of-${name}`);
        await client.access.change({ add: [{ subject: `of-${name}`, resource: "orders", action: "consume" }] });
        return id;
      }),
    );
    await using client = clientOf(leader, rootToken);
    const { tokens, grants, revision } = await client.access.describe();
    assert.deepEqual(
      made.filter((id) => !tokens.some((token) => token.id === id)),
      [],
    );
    assert.equal(grants.length, 3 + cluster.names.length);
    assert.equal(revision, 2 + 2 * cluster.names.length);
  });

  test("what another node takes back ends what is open on this one", async () => {
    await using root = clientOf(follower, rootToken);
    const { token, id } = await root.access.createToken("reader");
    await root.access.change({ add: [{ subject: "reader", resource: "orders", action: "consume" }] });
    await cluster.until(async () => (await answerOf(leader, token)) === "ok");
    await using reader = clientOf(leader, token);
    const records = reader.consume({ topic: "orders", from: "start" })[Symbol.asyncIterator]();
    await root.append([{ value: "seen" }], { topic: "orders" });
    assert.equal((await records.next()).done, false);
    const ended = assert.rejects(records.next(), { code: "UNAUTHENTICATED" });
    await root.access.revokeToken(id);
    await ended;
  });

  test("a node that is cut off goes by what it knew", async () => {
    cluster.isolate(follower);
    assert.equal(await answerOf(follower), "UNAUTHENTICATED");
    await using root = clientOf(follower, rootToken);
    assert.equal((await root.access.test({ subject: "root", resource: "*", action: "admin" })).isPermitted, true);
  });
});
