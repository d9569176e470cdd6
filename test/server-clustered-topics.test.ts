import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { connect } from "../src/client/index.ts";
import { ThreeNodes } from "./three-nodes.ts";

describe("topics in a cluster of three nodes", () => {
  let cluster: ThreeNodes;
  before(async () => {
    cluster = await ThreeNodes.start();
  });
  after(() => cluster[Symbol.asyncDispose]());

  test("a topic is led when it is made, by those who are to lead it", async () => {
    const made = await cluster.client.createTopic("orders", { partitionCount: 30 });
    assert.deepEqual([made.replicationFactor, made.partitions.filter(({ leaderId }) => leaderId === "")], [3, []]);
    for (const { partition } of made.partitions) await cluster.client.append([{ value: "x" }], { topic: "orders", partition });
    const leaders = Map.groupBy(made.partitions, ({ leaderId }) => leaderId);
    assert.deepEqual(
      [...leaders.values()].map(({ length }) => length),
      [10, 10, 10],
    );
    const { partitions } = await cluster.client.alterTopic("orders", { partitionCount: 33 });
    for (const { partition, leaderId } of partitions) assert.notEqual(leaderId, "", `${partition}`);
    await cluster.client.append([{ value: "x" }], { topic: "orders", partition: 32 });
  });

  test("a topic that a produce makes is led when it is answered, whoever is asked, and however many ask", async () => {
    for (const name of cluster.names) {
      await using client = connect(`127.0.0.1:${cluster.node(name).port}`);
      const topic = `made-by-${name}`;
      const appended = [1, 2, 3].map(() => client.append([{ value: "x" }], { topic }));
      const offsets = (await Promise.all(appended)).map(({ baseOffset }) => baseOffset);
      assert.deepEqual(
        offsets.toSorted((a, b) => a - b),
        [0, 1, 2],
      );
      const over = await cluster.node(name).post(`/v1/topics/${topic}-2/records`, { value: "x" });
      assert.ok([200, 307].includes(over.status), over.text);
    }
  });

  test("a producer goes on when the leader stops, and nothing is lost or there twice", async () => {
    await cluster.client.createTopic("going-on");
    const leader = await cluster.leaderOf("going-on");
    await using producer = cluster.client.producer({ topic: "going-on" });
    await producer.send({ value: "0" });
    const stopped = cluster.node(leader).node.close();
    for (let number = 1; number < 50; number += 1) await producer.send({ value: `${number}` });
    await stopped;
    const values: string[] = [];
    for await (const { value } of cluster.client.consume({ topic: "going-on", stopsAtEnd: true })) values.push(String(value));
    assert.deepEqual(
      values,
      Array.from({ length: 50 }, (_, number) => `${number}`),
    );
  });
});
