import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSeededRandom } from "../sim/random.ts";
import { ClusterProcesses } from "./cluster-processes.ts";
import { Command, makeFolder } from "./command-process.ts";
import { checkUnderLoad, type RecordedClients } from "./recorded-clients.ts";

/** With PROVE=1 over and over: which node, and when, is drawn. */
const rounds = process.env["PROVE"] === undefined ? 1 : 30;

describe("a cluster whose processes end loses nothing, and has nothing twice", () => {
  test("however they end", { timeout: rounds * 180_000 }, async (context) => {
    using folder = makeFolder();
    {
      await using cluster = await ClusterProcesses.form(folder);
      for (let round = 0; round < rounds; round += 1)
        for (const [number, { title, disturb }] of ends().entries())
          await context.test(title, async () => {
            const topic = `kept-${round}-${number}`;
            const random = createSeededRandom(`cluster-kill/${round}/${number}`);
            await checkUnderLoad(cluster, topic, async (clients) => {
              await clients.untilAcknowledged(random.integer(200) + 1);
              await disturb({ cluster, topic, clients, draw: (below) => random.integer(below) });
            });
          });
      await context.test("and their files hold the same", async () => {
        await cluster.endAndCompare();
      });
    }
    await context.test("and their directories are whole", async () => {
      for (const name of ["n0", "n1", "n2"]) {
        await using verify = new Command("verify", `${folder.path}/${name}`);
        assert.deepEqual(await verify.exit(), { code: 0, signal: null }, verify.stdout + verify.stderr);
      }
    });
  });
});

interface End {
  readonly title: string;
  readonly disturb: (scene: Scene) => Promise<void>;
}

interface Scene {
  readonly cluster: ClusterProcesses;
  readonly topic: string;
  readonly clients: RecordedClients;
  readonly draw: (below: number) => number;
}

function ends(): readonly End[] {
  return [
    {
      title: "the leader is killed",
      disturb: async ({ cluster, topic, clients }) => {
        const leader = await cluster.findLeader(topic);
        await leader.end("SIGKILL");
        await cluster.findLeader(
          topic,
          cluster.members.filter((member) => member !== leader),
        );
        await clients.untilAcknowledged(50);
        leader.start();
      },
    },
    {
      title: "all are killed at once",
      disturb: async ({ cluster }) => {
        await Promise.all(cluster.members.map((member) => member.end("SIGKILL")));
        for (const member of cluster.members) member.start();
      },
    },
    {
      title: "the leader stands still, and goes on when another leads",
      disturb: async ({ cluster, topic, clients }) => {
        const leader = await cluster.findLeader(topic);
        leader.signal("SIGSTOP");
        await cluster.findLeader(
          topic,
          cluster.members.filter((member) => member !== leader),
        );
        await clients.untilAcknowledged(50);
        leader.signal("SIGCONT");
      },
    },
    {
      title: "any one is killed, and while it is away another is stopped and comes back",
      disturb: async ({ cluster, clients, draw }) => {
        const first = cluster.members[draw(3)];
        const second = cluster.members.filter((member) => member !== first)[draw(2)];
        await first?.end("SIGKILL");
        await clients.untilAcknowledged(20);
        await second?.end("SIGTERM");
        first?.start();
        await clients.untilAcknowledged(20);
        second?.start();
      },
    },
    {
      title: "each is restarted in turn, as for an upgrade",
      disturb: async ({ cluster, clients }) => {
        for (const member of cluster.members) {
          await member.end("SIGTERM");
          member.start();
          await member.untilServing();
          await clients.untilAcknowledged(20);
        }
      },
    },
  ];
}
