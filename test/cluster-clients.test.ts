import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { systemClock } from "../src/base/clock.ts";
import { systemRandom } from "../src/base/random.ts";
import { GrpcTransport } from "../src/client/grpc-transport.ts";
import { connect, isProglogError } from "../src/client/index.ts";
import { encodeProduceRequest } from "../src/wire/produce-message.ts";
import { readReplicas } from "./recorded-clients.ts";
import { type TestMember, TestCluster } from "./test-cluster.ts";
import { waitUntil } from "./wait-until.ts";

describe("clients of a cluster", () => {
  test("find who leads, are sent there, and read what they wrote from whom they like", async (context) => {
    await using cluster = await TestCluster.form();
    const client = cluster.connect();
    await client.createTopic("orders", { replicationFactor: 3 });
    const leader = await cluster.findLeader("orders");
    const [follower, other] = cluster.others(leader.name) as readonly [TestMember, TestMember];

    await context.test("any node tells the same servers, of which one leads, as the book's GetServers", async () => {
      for (const { name } of cluster.members) {
        const servers = await cluster.connect(name).getServers();
        assert.deepEqual(
          servers.map(({ id, rpcAddr }) => [id, rpcAddr]),
          cluster.members.map(({ name: id, address }) => [id, address]),
        );
        assert.equal(servers.filter(({ isLeader }) => isLeader).length, 1);
      }
    });

    await context.test("what is produced at the leader is read at all, and behind it is nothing", async () => {
      await using producer = client.producer({ topic: "orders" });
      for (const value of ["first", "second"]) await producer.send({ value });
      for (const [, records] of await readReplicas(cluster.members, "orders"))
        assert.deepEqual(records, [
          { offset: 0, content: "first" },
          { offset: 1, content: "second" },
        ]);
      for (const { address } of cluster.members) {
        const answer = await fetch(`http://${address}/v1/topics/orders/records?from=9`);
        assert.equal(answer.status, 416, await answer.text());
      }
    });

    await context.test("over HTTP a follower sends producers to the leader, and who follows redirects gets there", async () => {
      const url = `http://${follower.address}/v1/topics/orders/records`;
      const post = { method: "POST", headers: { "content-type": "application/json" }, body: `{"value":"third"}` };
      const sent = await fetch(url, { ...post, redirect: "manual" });
      assert.equal(sent.status, 307);
      assert.equal(sent.headers.get("location"), `http://${leader.address}/v1/topics/orders/records`);
      const problem = (await sent.json()) as Record<string, unknown>;
      assert.deepEqual([problem["code"], problem["outcome"]], ["NOT_LEADER", "not-appended"]);
      const followed = await fetch(url, post);
      assert.equal(followed.status, 200, await followed.clone().text());
      assert.equal((await client.describeTopic("orders")).partitions[0]?.highWatermark, 3);
    });

    await context.test("over gRPC a follower says who leads", async () => {
      // Without what a client does about it.
      const grpc = new GrpcTransport({ address: follower.address, clock: systemClock, random: systemRandom });
      for (const acks of ["quorum", "leader", "none"] as const) {
        const request = { topic: "orders", partition: 0, records: [{ value: "no" }], acks, answersErrors: false };
        await assert.rejects(grpc.call("/log.v1.Log/Produce", encodeProduceRequest(request)), (error) => {
          assert.ok(isProglogError(error, "NOT_LEADER"));
          assert.deepEqual([error.details?.["leaderId"], error.details?.["leaderRpcAddr"]], [leader.name, leader.address]);
          return true;
        });
      }
      await grpc.close();
    });

    await context.test(
      "with readFrom follower records come from the followers in turn, with what was just written",
      async () => {
        await using reading = connect(cluster.addresses, { readFrom: "follower" });
        await using producer = reading.producer({ topic: "orders" });
        for (let round = 0; round < 10; round += 1) {
          const { offset } = await producer.send({ value: `round ${round}` });
          const seen: string[] = [];
          const consumer = reading.consume({
            topic: "orders",
            from: offset,
            atLeastOffset: offset + 1,
            stopsAtEnd: true,
            partition: 0,
          });
          for await (const record of consumer) seen.push(String(record.value));
          assert.deepEqual(seen, [`round ${round}`]);
        }
      },
    );

    await context.test("whatever acks they ask for, it is there in the end, though another leads by now", async () => {
      for (const acks of ["quorum", "leader", "none"] as const) {
        const topic = `acks-${acks}`;
        // The first of all makes the topic, at whatever node it gets to.
        await using producer = client.producer({ topic, acks });
        for (let number = 0; number < 20; number += 1) await producer.send({ value: `${number}` });
        await waitUntil("another leads", () => client.cluster.transferLeadership({ topic }));
        for (let number = 20; number < 40; number += 1) await producer.send({ value: `${number}` });
        await waitUntil("all are there", async () => {
          const [, records = []] = [...(await readReplicas(cluster.members, topic))][0] ?? [];
          if (records.length === 40) return true;
          throw new Error(records.map(({ content }) => content).join(" "));
        });
      }
    });

    await context.test("a node that leaves is none of the servers any more, and the others go on", async () => {
      await client.cluster.removeNode(other.name);
      await waitUntil("it has left", async () => (await cluster.connect(leader.name).getServers()).length === 2);
      await other.stop();
      const servers = await cluster.connect(leader.name).getServers();
      assert.deepEqual(
        servers.map(({ id }) => id),
        [leader.name, follower.name].sort(),
      );
      const { offset } = await client.producer({ topic: "orders" }).send({ value: "after" });
      for (const [, records] of await readReplicas([leader, follower], "orders"))
        assert.deepEqual(records[offset], { offset, content: "after" });
    });
  });
});
