import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSimDisk, type SimDisk } from "../sim/disk.ts";
import { createSeededRandom } from "../sim/random.ts";
import { hasDamagedReplica } from "./damaged-replicas.ts";
import { checkUnderLoad, readReplica, type RecordedClients } from "./recorded-clients.ts";
import { checkSameFiles } from "./replica-files.ts";
import { TestCluster, type TestMember } from "./test-cluster.ts";
import { waitUntil } from "./wait-until.ts";

/** With PROVE=1 over and over: when, and by how much, is drawn. */
const rounds = process.env["PROVE"] === undefined ? 1 : 20;

/** Three nodes in this process, each on a disk of its own that fills up and fails when it is told to. */
describe("a cluster of which one disk is full, or fails, goes on and loses nothing", () => {
  test("whatever the disk says", { timeout: rounds * 180_000 }, async (context) => {
    const disks = new Map<string, SimDisk>();
    await using cluster = await TestCluster.form(3, {
      diskOf: (name) => {
        const disk = createSimDisk({ isRecording: false });
        disks.set(name, disk);
        return disk;
      },
    });
    for (let round = 0; round < rounds; round += 1)
      for (const [number, { title, disturb }] of faults.entries())
        await context.test(title, async () => {
          const topic = `kept-${round}-${number}`;
          const random = createSeededRandom(`cluster-disks/${round}/${number}`);
          await checkUnderLoad(cluster, topic, async (clients) => {
            await clients.untilAcknowledged(random.integer(100) + 1);
            const leader = await cluster.findLeader(topic);
            const diskOf = ({ name }: TestMember): SimDisk => disks.get(name) ?? assert.fail(`${name} has no disk`);
            await disturb({ cluster, topic, leader, clients, diskOf, draw: (below) => random.integer(below) });
          });
        });

    await context.test("and their files hold the same", async () => {
      for (const member of cluster.members) await member.stop();
      await checkSameFiles(cluster.members);
    });
  });
});

interface Scene {
  readonly cluster: TestCluster;
  readonly topic: string;
  readonly leader: TestMember;
  readonly clients: RecordedClients;
  readonly diskOf: (member: TestMember) => SimDisk;
  readonly draw: (below: number) => number;
}

interface Fault {
  readonly title: string;
  readonly disturb: (scene: Scene) => Promise<void>;
}

const faults: readonly Fault[] = [
  {
    title: "a follower's is full, and has room again",
    disturb: async (scene) => fill(scene, firstOther(scene)),
  },
  {
    title: "the leader's is full: another leads, until it has room again",
    disturb: async (scene) => fill(scene, scene.leader),
  },
  {
    title: "two are full, so that there is no quorum: all is read, and with room for one it goes on",
    disturb: async (scene) => {
      const { cluster, topic, leader, clients, diskOf } = scene;
      const [one, another] = [firstOther(scene), leader];
      for (const member of [one, another]) diskOf(member).capacityBytes = diskOf(member).usedBytes;
      await waitUntil(
        "both are out of the write path",
        async () => (await hasDamagedReplica(one)) && (await hasDamagedReplica(another)),
      );
      for (const { address } of cluster.members) assert.ok((await readReplica(address, topic)).length > 0);
      diskOf(one).capacityBytes = Number.POSITIVE_INFINITY;
      await clients.untilAcknowledged(50);
      diskOf(another).capacityBytes = Number.POSITIVE_INFINITY;
    },
  },
  {
    title: "a follower's fails to sync a log: the others go on without it, until its node was restarted",
    disturb: async (scene) => breakOnce(scene, firstOther(scene), "datasync"),
  },
  {
    title: "the leader's fails to sync a log: another leads",
    disturb: async (scene) => breakOnce(scene, scene.leader, "datasync"),
  },
  {
    title: "the leader's fails to write a log: another leads",
    disturb: async (scene) => breakOnce(scene, scene.leader, "write"),
  },
];

/** There is room for a little, and then for nothing, until enough was acknowledged without it. */
async function fill({ topic, clients, diskOf, draw }: Scene, member: TestMember): Promise<void> {
  const disk = diskOf(member);
  disk.capacityBytes = disk.usedBytes + draw(4_096);
  try {
    await waitUntil(`${member.name} is out of the write path`, () => hasDamagedReplica(member));
    await clients.untilAcknowledged(100);
    // It is read from all the same.
    assert.ok((await readReplica(member.address, topic)).length > 0);
  } finally {
    disk.capacityBytes = Number.POSITIVE_INFINITY;
  }
}

/** The next call on the topic's log fails, once; what wasn't synced is gone. The log is opened again with its node, and by nobody before. */
async function breakOnce(
  { cluster, topic, clients, diskOf }: Scene,
  member: TestMember,
  kind: "datasync" | "write",
): Promise<void> {
  const { partitions } = await cluster.connect().describeTopic(topic);
  const uuid = partitions[0]?.uuid ?? assert.fail();
  diskOf(member).fail({ kind, where: ({ path }) => path.includes(uuid) && path.endsWith(".store"), code: "EIO" });
  await waitUntil(`${member.name} is out of the write path`, () => hasDamagedReplica(member));
  await clients.untilAcknowledged(100);
  assert.ok((await readReplica(member.address, topic)).length > 0);
  await member.stop();
  await member.start();
}

function firstOther({ cluster, leader }: Scene): TestMember {
  return cluster.others(leader.name)[0] ?? leader;
}
