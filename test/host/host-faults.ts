import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import type { MemberProcess } from "../cluster-processes.ts";
import { hasDamagedReplica } from "../damaged-replicas.ts";
import { readReplica, type RecordedClients } from "../recorded-clients.ts";
import { waitUntil } from "../wait-until.ts";
import { FalseSyncs } from "./false-syncs.ts";
import type { HostCluster, HostNeed } from "./host-cluster.ts";

/** What happens to a host, its network and its disk while producers and readers are at work. When it returns everything is mended. */
export interface HostFault {
  readonly title: string;
  readonly needs?: HostNeed;
  readonly disturb: (scene: HostScene) => Promise<void>;
}

export interface HostScene {
  readonly host: HostCluster;
  readonly topic: string;
  readonly leader: MemberProcess;
  readonly clients: RecordedClients;
  /** A whole number from 0, below its parameter. */
  readonly draw: (below: number) => number;
}

export const hostFaults: readonly HostFault[] = [
  {
    title: "the leader's cable is pulled, for clients too: another leads",
    disturb: async (scene) => {
      scene.host.network.unplug(scene.leader.name);
      await untilReplaced(scene);
    },
  },
  {
    title: "a follower's cable is pulled",
    disturb: async (scene) => {
      scene.host.network.unplug(followerOf(scene).name);
      await scene.clients.untilAcknowledged(100);
    },
  },
  {
    title: "cables are pulled and plugged in again, one after the other, two at times",
    disturb: async ({ host, clients, draw }) => {
      for (let flap = 0; flap < 6; flap += 1) {
        for (let pulled = 1 + draw(2); pulled > 0; pulled -= 1) host.network.unplug(pick(host.members, draw).name);
        // From nobody having noticed to somebody else leading.
        await pause(draw(2_000));
        host.network.mendAll();
        await clients.untilAcknowledged(10);
      }
    },
  },
  {
    title: "nothing gets from the leader to the others: another leads",
    needs: "filter",
    disturb: async (scene) => {
      const { host, leader } = scene;
      for (const { name } of host.others(leader)) host.network.block(leader.name, name);
      await untilReplaced(scene);
    },
  },
  {
    title: "nothing gets from the others to the leader: another leads",
    needs: "filter",
    disturb: async (scene) => {
      const { host, leader } = scene;
      for (const { name } of host.others(leader)) host.network.block(name, leader.name);
      await untilReplaced(scene);
    },
  },
  {
    title: "the leader and a follower don't hear each other, and the third hears both",
    needs: "filter",
    disturb: async (scene) => {
      const follower = followerOf(scene);
      scene.host.network.block(scene.leader.name, follower.name);
      scene.host.network.block(follower.name, scene.leader.name);
      await scene.clients.untilAcknowledged(100);
    },
  },
  {
    title: "whatever the leader and the others say to each other is answered with a reset: another leads",
    needs: "filter",
    disturb: async (scene) => {
      const { host, leader } = scene;
      for (const { name } of host.others(leader)) {
        host.network.block(leader.name, name, "reset");
        host.network.block(name, leader.name, "reset");
      }
      await untilReplaced(scene);
    },
  },
  {
    title: "of what nodes send each other a part is lost",
    needs: "filter",
    disturb: async ({ host, clients, draw }) => {
      for (const from of host.members)
        for (const to of host.others(from)) host.network.block(from.name, to.name, { everyNth: 3 + draw(8) });
      await clients.untilAcknowledged(200);
    },
  },
  {
    title: "a follower's disk is full, and has room again",
    disturb: async (scene) => fill(scene, followerOf(scene)),
  },
  {
    title: "the leader's disk is full: another leads, until it has room again",
    disturb: async (scene) => fill(scene, scene.leader),
  },
  {
    title: "the disks of two are full, and with room on one it goes on",
    disturb: async (scene) => {
      const { host, clients } = scene;
      const [one, other] = [followerOf(scene), scene.leader];
      try {
        for (const member of [one, other]) host.diskOf(member).fill(0);
        await untilDamaged([one, other]);
        host.diskOf(one).free();
        await clients.untilAcknowledged(50);
      } finally {
        for (const member of [one, other]) host.diskOf(member).free();
      }
    },
  },
  {
    title: "syncs of the leader fail: another leads, and it comes back when it was restarted",
    needs: "tracing",
    disturb: async (scene) => failSyncs(scene, scene.leader),
  },
  {
    title: "syncs of a follower fail: the others go on, and it comes back when it was restarted",
    needs: "tracing",
    disturb: async (scene) => failSyncs(scene, followerOf(scene)),
  },
  {
    title: "a follower's disk fails altogether, reads too, and comes back",
    needs: "cutting off",
    disturb: async (scene) => breakDisk(scene, followerOf(scene)),
  },
  {
    title: "the leader's disk fails altogether, reads too: another leads, and it comes back",
    needs: "cutting off",
    disturb: async (scene) => breakDisk(scene, scene.leader),
  },
  {
    title: "the leader's power is cut: another leads",
    needs: "cutting off",
    disturb: async (scene) => {
      await scene.host.cutPower([scene.leader]);
      await untilReplaced(scene);
    },
  },
  {
    title: "the power of all is cut in one moment",
    needs: "cutting off",
    disturb: async ({ host }) => host.cutPower(host.members),
  },
  {
    title: "the power of all is cut, and again while they start, three times",
    needs: "cutting off",
    disturb: async ({ host, draw }) => {
      await host.cutPower(host.members);
      for (let cut = 0; cut < 3; cut += 1) {
        await pause(draw(2_000));
        await host.cutPower(host.members);
      }
    },
  },
  {
    title: "the power of one is cut while another's cable is pulled",
    needs: "cutting off",
    disturb: async ({ host, leader, draw }) => {
      host.network.unplug(pick(host.members, draw).name);
      await pause(draw(1_000));
      await host.cutPower([draw(2) === 0 ? leader : pick(host.members, draw)]);
    },
  },
];

/** Another leads, and takes appends. */
async function untilReplaced({ host, topic, leader, clients }: HostScene): Promise<void> {
  await host.processes.findLeader(topic, host.others(leader));
  await clients.untilAcknowledged(50);
}

/** There is room for a little, and then for nothing, until enough was acknowledged without it. It is read from all the same. */
async function fill({ host, topic, clients, draw }: HostScene, member: MemberProcess): Promise<void> {
  const disk = host.diskOf(member);
  try {
    disk.fill(draw(64 * 1024));
    await untilDamaged([member]);
    await clients.untilAcknowledged(100);
    assert.ok((await readReplica(member.address, topic)).length > 0);
  } finally {
    disk.free();
  }
}

async function failSyncs({ host, topic, clients }: HostScene, member: MemberProcess): Promise<void> {
  {
    await using syncs = await FalseSyncs.begin(member.pid, "fail");
    await syncs.untilSome();
    await untilDamaged([member]);
  }
  await host.processes.findLeader(topic, host.others(member));
  await clients.untilAcknowledged(100);
  await member.end("SIGKILL");
  member.start();
}

/** Its node may live on or end by itself: both are fine. */
async function breakDisk(scene: HostScene, member: MemberProcess): Promise<void> {
  const { host, topic, clients } = scene;
  host.diskOf(member).cutOff();
  await host.processes.findLeader(topic, host.others(member));
  await clients.untilAcknowledged(100);
  await host.replaceDisks([member]);
}

async function untilDamaged(members: readonly MemberProcess[]): Promise<void> {
  await waitUntil(`${members.map(({ name }) => name).join(" and ")} are out of the write path`, async () => {
    for (const member of members) await hasDamagedReplica(member);
    return true;
  });
}

function followerOf({ host, leader, draw }: HostScene): MemberProcess {
  return pick(host.others(leader), draw);
}

function pick<Item>(items: readonly Item[], draw: (below: number) => number): Item {
  const item = items[draw(items.length)];
  assert.ok(item !== undefined);
  return item;
}
