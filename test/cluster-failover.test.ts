import { describe, test } from "node:test";
import { checkUnderLoad, type RecordedClients } from "./recorded-clients.ts";
import { TestCluster, type TestMember } from "./test-cluster.ts";

/** Three nodes under idempotent producers and tailing consumers, with the network between them in the test's hands. Clients reach all of them. */
describe("a cluster whose network fails loses nothing, and has nothing twice", () => {
  test("whatever link fails", async (context) => {
    await using cluster = await TestCluster.form();
    for (const [number, { title, disturb }] of faults().entries())
      await context.test(title, async () => {
        const topic = `kept-${number}`;
        await checkUnderLoad(cluster, topic, async (clients) => {
          const leader = await cluster.findLeader(topic);
          await disturb({ cluster, topic, leader, clients });
          await cluster.links.mendAll();
        });
      });
  });
});

interface Fault {
  readonly title: string;
  readonly disturb: (scene: Scene) => Promise<void>;
}

interface Scene {
  readonly cluster: TestCluster;
  readonly topic: string;
  readonly leader: TestMember;
  readonly clients: RecordedClients;
}

function faults(): readonly Fault[] {
  /** Another leads, and takes appends. */
  const untilReplaced = async ({ cluster, topic, leader, clients }: Scene): Promise<void> => {
    await cluster.findLeader(topic, { among: cluster.others(leader.name) });
    await clients.untilAcknowledged(50);
  };
  return [
    {
      title: "the leader's, all of them",
      disturb: async (scene) => {
        await scene.cluster.isolate(scene.leader.name);
        await untilReplaced(scene);
      },
    },
    {
      title: "the leader's, all of them and in silence",
      disturb: async (scene) => {
        await scene.cluster.isolate(scene.leader.name, { isSilent: true });
        await untilReplaced(scene);
      },
    },
    {
      title: "those from the leader to the others, in silence",
      disturb: async (scene) => {
        await scene.cluster.isolate(scene.leader.name, { isOneWay: true, isSilent: true });
        await untilReplaced(scene);
      },
    },
    {
      title: "those from the others to the leader, in silence",
      disturb: async (scene) => {
        const { cluster, leader } = scene;
        for (const { name } of cluster.others(leader.name))
          await cluster.cut(name, leader.name, { isOneWay: true, isSilent: true });
        await untilReplaced(scene);
      },
    },
    {
      title: "a follower's, all of them",
      disturb: async ({ cluster, leader, clients }) => {
        await cluster.isolate(firstOther(cluster, leader.name));
        await clients.untilAcknowledged(100);
      },
    },
    {
      title: "the one between the leader and another, and the third hears both",
      disturb: async ({ cluster, leader, clients }) => {
        await cluster.cut(leader.name, firstOther(cluster, leader.name), { isSilent: true });
        await clients.untilAcknowledged(100);
      },
    },
    {
      title: "one after the other, and back again",
      disturb: async ({ cluster, clients }) => {
        for (let round = 0; round < 9; round += 1) {
          const from = cluster.members[round % cluster.members.length]?.name ?? "";
          await cluster.cut(from, firstOther(cluster, from), { isOneWay: round % 2 === 0, isSilent: round % 3 === 0 });
          await clients.untilAcknowledged(20);
          await cluster.links.mendAll();
        }
      },
    },
  ];
}

function firstOther(cluster: TestCluster, name: string): string {
  return cluster.others(name)[0]?.name ?? "";
}
