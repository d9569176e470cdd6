import { describe, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { createSeededRandom } from "../sim/random.ts";
import { checkUnderLoad, type RecordedClients } from "./recorded-clients.ts";
import { TestCluster, type TestMember } from "./test-cluster.ts";

/** With PROVE=1 over and over: which links, and how, is drawn. */
const isProving = process.env["PROVE"] !== undefined;
const rounds = isProving ? 30 : 1;

/** Three nodes under producers and readers, with the network between them in the test's hands. Clients reach all of them. */
describe("a cluster whose network fails loses nothing, and has nothing twice", () => {
  test("whatever link fails", { timeout: rounds * 180_000 }, async (context) => {
    await using cluster = await TestCluster.form();
    for (let round = 0; round < rounds; round += 1)
      for (const [number, { title, disturb }] of faults().entries())
        await context.test(title, async () => {
          const topic = `kept-${round}-${number}`;
          const random = createSeededRandom(`cluster-failover/${round}/${number}`);
          await checkUnderLoad(cluster, topic, async (clients) => {
            await clients.untilAcknowledged(random.integer(100) + 1);
            const leader = await cluster.findLeader(topic);
            await disturb({ cluster, topic, leader, clients, draw: (below) => random.integer(below) });
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
  readonly draw: (below: number) => number;
}

/** For some seconds there may be no quorum: too long for every run of the suite. */
const severalTogether: Fault = {
  title: "several together, so that nobody may have a quorum, and back again",
  disturb: async ({ cluster, clients, draw }) => {
    for (let flap = 0; flap < 3; flap += 1) {
      for (let links = 2 + draw(3); links > 0; links -= 1)
        await cluster.cut(...twoOf(cluster, draw), { isOneWay: draw(2) === 0, isSilent: draw(2) === 0 });
      // As long as an election may take; whether anything is acknowledged meanwhile hangs on which links they are.
      await pause(500 + draw(1_500));
      await cluster.links.mendAll();
      await clients.untilAcknowledged(20);
    }
  },
};

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
      disturb: async ({ cluster, clients, draw }) => {
        for (let flap = 0; flap < 9; flap += 1) {
          const [from, to] = twoOf(cluster, draw);
          await cluster.cut(from, to, { isOneWay: flap % 2 === 0, isSilent: flap % 3 === 0 });
          await clients.untilAcknowledged(20);
          await cluster.links.mendAll();
        }
      },
    },
    ...(isProving ? [severalTogether] : []),
  ];
}

/** Two of its nodes, in some order. */
function twoOf(cluster: TestCluster, draw: (below: number) => number): [string, string] {
  const from = cluster.members[draw(cluster.members.length)]?.name ?? "";
  const others = cluster.others(from);
  return [from, others[draw(others.length)]?.name ?? ""];
}

function firstOther(cluster: TestCluster, name: string): string {
  return cluster.others(name)[0]?.name ?? "";
}
