import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { isProglogError } from "../../src/base/error.ts";
import { Client } from "../../src/client/client.ts";
import { NodeClock } from "../node-clock.ts";
import { createSeededRandom } from "../random.ts";
import { ClientWire } from "./client-wire.ts";
import { QuietCluster } from "./quiet-cluster.ts";

describe("the client library in a world of whole nodes", () => {
  test("appends and reads through whoever leads, while leaders are killed, lose their power, stand still and are stopped", async () => {
    const cluster = await QuietCluster.form("real client");
    const client = connect(cluster);
    const { uuid = "" } = (await cluster.answered(cluster.node("n1").catalog.createTopic({ name: "t" }))).partitions[0] ?? {};
    const producer = client.producer({ topic: "t" });
    const seen: string[] = [];
    const reading = new AbortController();
    const reader = (async () => {
      for await (const { value } of client.consume({ topic: "t", signal: reading.signal })) seen.push(String(value));
    })();
    const sends: Promise<number>[] = [];
    const send = (): void => void sends.push(producer.send({ value: `${sends.length}` }).then(({ offset }) => offset));
    for (const strike of ["kill", "cutPower", "stop", "stopGently"] as const) {
      await cluster.until("somebody leads", () => cluster.world.findGroupLeader(uuid) !== undefined);
      const leader = cluster.world.findGroupLeader(uuid)?.self.nodeId ?? "";
      send();
      send();
      await cluster.pass(1);
      void cluster.machine(leader)[strike]();
      send();
      await cluster.answered(Promise.all(sends));
      cluster.machine(leader).heal();
    }
    assert.deepEqual(await Promise.all(sends), [...sends.keys()]);
    await cluster.until("all is read", () => seen.length === sends.length);
    assert.deepEqual(
      seen,
      sends.map((_, number) => `${number}`),
    );
    reading.abort();
    await cluster.answered(reader);
    await cluster.answered(client.close());
  });

  test("hears of nodes that aren't there, and that it is too late", async () => {
    const cluster = await QuietCluster.form("nobody");
    for (const { name } of cluster.machines) cluster.machine(name).kill();
    const client = connect(cluster);
    await assert.rejects(cluster.answered(client.describeTopic("t")), (error) => isProglogError(error, "UNAVAILABLE"));
    const producer = client.producer({ topic: "t", partition: 0, deliveryTimeoutMs: 5_000 });
    await assert.rejects(cluster.answered(producer.send({ value: "late" })), (error) => isProglogError(error, "TIMEOUT"));
    await cluster.answered(client.close());
  });
});

function connect({ world, machines }: QuietCluster): Client {
  const addresses = machines.map(({ address }) => address);
  return new Client(addresses, {
    connect: (address) => new ClientWire(world, address),
    clock: new NodeClock(world.queue, { timersFollow: true }),
    random: createSeededRandom("client"),
  });
}
